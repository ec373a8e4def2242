"""The kernel beside bare pykka, in one run: `python -m benchmarks.kernel [--rounds 5]` prints one JSON line.

Both sides get the very same messages, in alternating rounds, the best of which counts. Ours does all that it does on a
night: ids, causes, deadlines, validation of commands, answers told once; "recorded" with a journal as well. Bare pykka
is an actor whose `on_receive` looks its handler up by the message's type. Everything is measured twice: as the machine
schedules it, and on one CPU, because waking a thread on another, sleeping CPU costs more than either kernel, and which
of the two happens is the scheduler's lottery. `cpu_us` is the process's own time per message, which neighbours on a
busy machine disturb least. `benchmarks.recovery` measures crashes and the virtual clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pykka

from benchmarks.recovery import crashes_in_a_stream, restarts, virtual_deliveries
from pyros.actors.kernel import Actor, Answer, ChildSpec, Context, Delivery, Supervisor, System, start_supervisor
from pyros.clock import WallClock
from pyros.messages.base import Done, GetState, Message
from pyros.messages.devices import Slew
from pyros.messages.night import Execute, NightStarted
from pyros.messages.system import LibrarianState, Shutdown

TELLS = 9000
"""In one burst; a mailbox of ours takes 10,000."""
ASKS = 2000
WITHIN_S = 5.0
COMMAND = Slew(ra_deg=83.63, dec_deg=22.01, sequence_id=1)
EVENT = NightStarted(night="2026-11-22", ends=datetime(2026, 11, 23, 5, tzinfo=UTC))
QUERY = GetState()


class Tally:
    """Counts what a receiver has handled, and says when it was all."""

    def __init__(self) -> None:
        self.left = 0
        self.all_handled = threading.Event()

    def expect(self, count: int) -> None:
        self.left = count
        self.all_handled.clear()

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.all_handled.set()


class Side(ABC):
    """A receiver and an actor that asks it, by one of the two ways."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.times_s: list[float] = []

    @abstractmethod
    def tell(self, message: Message) -> None: ...

    @abstractmethod
    def ask(self, message: Message) -> Any: ...

    @abstractmethod
    def ask_between_actors(self, count: int) -> None:
        """Let one actor ask the other `count` times in a row; each round trip goes to `times_s`."""

    @abstractmethod
    def end(self) -> None: ...


# -- ours ------------------------------------------------------------------------------------------------------------


class Receiver(Actor):
    """Takes a command, an event and a query."""

    def __init__(self, context: Context, tally: Tally) -> None:
        super().__init__(context)
        self._tally = tally

    def on_slew(self, _: Slew) -> None:
        self._tally.count()

    def on_night_started(self, _: NightStarted) -> None:
        self._tally.count()

    def state(self) -> LibrarianState:
        return LibrarianState(queries=1)


class Asker(Actor):
    """Asks the receiver as often as `Execute` says, each time when the last answer is there."""

    def __init__(self, context: Context, side: Side) -> None:
        super().__init__(context)
        self._side = side
        self._asked_s = 0.0

    def on_execute(self, message: Execute) -> None:
        self._side.tally.expect(message.sequence_id)
        self._ask()

    def _ask(self) -> None:
        self._asked_s = time.perf_counter()
        self.ask("receiver", QUERY, WITHIN_S, self._take)

    def _take(self, reply: Answer) -> None:
        assert isinstance(reply, LibrarianState)
        self._side.times_s.append(time.perf_counter() - self._asked_s)
        self._side.tally.count()
        if self._side.tally.left:
            self._ask()

    def state(self) -> LibrarianState:
        return LibrarianState(queries=0)


class Ours(Side):
    """Two actors under a supervisor, on the wall clock."""

    def __init__(self, *, recorded: bool = False) -> None:
        super().__init__()
        self._system = System(WallClock())
        if recorded:
            self._system.keep_journal(deque[Delivery](maxlen=10_000).append)
        specs = [
            ChildSpec("receiver", partial(Receiver, tally=self.tally)),
            ChildSpec("asker", partial(Asker, side=self)),
        ]
        self._supervisor = start_supervisor(self._system, lambda context: Supervisor(context, specs))
        while not isinstance(self._system.ask("asker", QUERY), LibrarianState):
            continue

    def tell(self, message: Message) -> None:
        self._system.tell("receiver", message)

    def ask(self, message: Message) -> Any:
        return self._system.ask("receiver", message, WITHIN_S)

    def ask_between_actors(self, count: int) -> None:
        self._system.tell("asker", Execute(sequence_id=count))

    def end(self) -> None:
        self._system.tell("supervisor", Shutdown(cause="the benchmark is over"))
        assert self._supervisor.finished.wait(30)


# -- bare pykka ------------------------------------------------------------------------------------------------------


class BareActor(pykka.ThreadingActor):
    """What one writes with pykka alone: handlers by type."""

    use_daemon_thread = True

    def __init__(self, handlers: dict[type[Any], Callable[[Any], Any]]) -> None:
        super().__init__()
        self._handlers = handlers

    def on_receive(self, message: Any) -> Any:
        return self._handlers[type(message)](message)


class Bare(Side):
    """Two actors of pykka's."""

    def __init__(self) -> None:
        super().__init__()
        self._receiver = BareActor.start(
            {Slew: self._count, NightStarted: self._count, GetState: lambda _: LibrarianState(queries=1)}
        )
        self._asker = BareActor.start({Execute: self._ask_on})

    def _count(self, _: Message) -> Done:
        self.tally.count()
        return Done()

    def _ask_on(self, message: Execute) -> None:
        self.tally.expect(message.sequence_id)
        for _ in range(message.sequence_id):
            asked_s = time.perf_counter()
            assert isinstance(self._receiver.ask(QUERY, timeout=WITHIN_S), LibrarianState)
            self.times_s.append(time.perf_counter() - asked_s)
            self.tally.count()

    def tell(self, message: Message) -> None:
        self._receiver.tell(message)

    def ask(self, message: Message) -> Any:
        return self._receiver.ask(message, timeout=WITHIN_S)

    def ask_between_actors(self, count: int) -> None:
        self._asker.tell(Execute(sequence_id=count))

    def end(self) -> None:
        for ref in (self._receiver, self._asker):
            ref.stop()


# -- what is measured ------------------------------------------------------------------------------------------------


def tells(message: Message, side: Side) -> dict[str, float]:
    """Microseconds per message of a burst told from outside, until the last one is handled."""
    side.tally.expect(TELLS)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for _ in range(TELLS):
        side.tell(message)
    assert side.tally.all_handled.wait(60)
    return {"us": (time.perf_counter() - began_s) / TELLS * 1e6, "cpu_us": cpu_us_since(began_cpu_s, TELLS)}


def asks(message: Message, expected: type[Message], side: Side) -> dict[str, float]:
    """Round trips from outside, in microseconds."""
    times_s: list[float] = []
    began_cpu_s = time.process_time()
    for _ in range(ASKS):
        asked_s = time.perf_counter()
        reply = side.ask(message)
        times_s.append(time.perf_counter() - asked_s)
        assert isinstance(reply, expected)
    return {**percentiles_us(times_s), "cpu_us": cpu_us_since(began_cpu_s, ASKS)}


def asks_between_actors(side: Side) -> dict[str, float]:
    """Round trips from actor to actor, in microseconds."""
    side.times_s = []
    side.tally.expect(ASKS)
    began_cpu_s = time.process_time()
    side.ask_between_actors(ASKS)
    assert side.tally.all_handled.wait(60)
    return {**percentiles_us(side.times_s), "cpu_us": cpu_us_since(began_cpu_s, ASKS)}


def cpu_us_since(began_cpu_s: float, count: int) -> float:
    return (time.process_time() - began_cpu_s) / count * 1e6


def percentiles_us(times_s: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times_s, n=100)
    return {"p50_us": cuts[49] * 1e6, "p99_us": cuts[98] * 1e6}


def compare(measure: Callable[[Side], dict[str, float]], rounds: int, *, recorded: bool = False) -> dict[str, Any]:
    """Measure both sides in alternating rounds; the best of each figure, and ours over bare pykka's."""
    ours, bare = Ours(recorded=recorded), Bare()
    try:
        found = [(measure(ours), measure(bare)) for _ in range(rounds)]
    finally:
        ours.end()
        bare.end()
    report: dict[str, Any] = {}
    for figure in found[0][0]:
        best = min(one[figure] for one, _ in found), min(other[figure] for _, other in found)
        report[figure] = {"ours": round(best[0], 2), "pykka": round(best[1], 2), "ratio": round(best[0] / best[1], 2)}
    return report


def mail(rounds: int) -> dict[str, Any]:
    """Everything that both sides can do."""
    return {
        "tell_command": compare(partial(tells, COMMAND), rounds),
        "tell_command_recorded": compare(partial(tells, COMMAND), rounds, recorded=True),
        "tell_event": compare(partial(tells, EVENT), rounds),
        "ask_query": compare(partial(asks, QUERY, LibrarianState), rounds),
        "ask_command": compare(partial(asks, COMMAND, Done), rounds),
        "ask_between_actors": compare(asks_between_actors, rounds),
    }


def on_one_cpu(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure with this thread, and all that it starts, on one CPU."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        return measure()
    finally:
        os.sched_setaffinity(0, cpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-mail", action="store_true", help="leave out crashes and the virtual clock")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "benchmark": "kernel",
        "rounds": options.rounds,
        "as_scheduled": mail(options.rounds),
        "on_one_cpu": on_one_cpu(partial(mail, options.rounds)),
    }
    if not options.only_mail:
        report |= {
            "restart": restarts(),
            "crashes_in_a_stream": crashes_in_a_stream(),
            "virtual_clock": virtual_deliveries(),
        }
    pressure = Path("/proc/pressure/cpu")
    report["cpu_pressure"] = pressure.read_text().splitlines()[0] if pressure.exists() else None
    print(json.dumps(report))


if __name__ == "__main__":
    main()
