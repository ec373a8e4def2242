"""What a crash costs, and how fast the virtual clock delivers. Printed by `benchmarks.kernel`."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pyros.actors.kernel import Actor, ChildSpec, Context, Supervisor, System, start_supervisor
from pyros.clock import Clock, VirtualClock, WallClock
from pyros.messages.base import GetState
from pyros.messages.night import Execute, NightStarted
from pyros.messages.system import Crash, LibrarianState, Shutdown

START = datetime(2026, 11, 22, tzinfo=UTC)
RESTARTS = 250
HEALTH_S = 0.002
"""`period_s` of the actor that is restarted: each of its crashes is a first one."""
STREAM, CRASHES = 20_000, 200
WINDOW = 5_000
"""Messages that may wait before the sender pauses; a mailbox takes 10,000."""


class House:
    """A supervisor with its children on a clock."""

    def __init__(self, clock: Clock, *specs: ChildSpec) -> None:
        self.clock = clock
        self.system = System(clock)
        self.supervisor = start_supervisor(self.system, lambda context: Supervisor(context, specs))
        while not isinstance(self.system.ask(specs[-1].name, GetState()), LibrarianState):
            continue

    def shut_down(self) -> None:
        self.system.tell("supervisor", Shutdown(cause="the benchmark is over"))
        if isinstance(self.clock, VirtualClock):
            self.clock.run(done=self.supervisor.finished.is_set)
        assert self.supervisor.finished.wait(30)


class Breaking(Actor):
    """Breaks on `Crash` and notes when, and when and in which order it handles what came with `Execute`."""

    def __init__(self, context: Context, log: Callable[[str, int], None]) -> None:
        super().__init__(context)
        self._log = log

    def on_crash(self, message: Crash) -> None:
        self._log("crash", self.epoch)
        super().on_crash(message)

    def on_execute(self, message: Execute) -> None:
        self._log("handled", message.sequence_id)

    def state(self) -> LibrarianState:
        return LibrarianState(queries=self.epoch)


def restarts() -> dict[str, Any]:
    """Time from the raise to the handling of the next message by the next incarnation, first restarts only."""
    times_s: dict[str, list[float]] = {"crash": [], "handled": []}
    handled = threading.Event()

    def log(what: str, _: int) -> None:
        times_s[what].append(time.perf_counter())
        if what == "handled":
            handled.set()

    house = House(WallClock(), ChildSpec("a", partial(Breaking, log=log), period_s=HEALTH_S))
    for number in range(RESTARTS):
        handled.clear()
        house.system.tell("a", Crash())
        house.system.tell("a", Execute(sequence_id=number))
        assert handled.wait(10)
        time.sleep(5 * HEALTH_S)
    house.shut_down()
    away_s = [after - before for before, after in zip(times_s["crash"], times_s["handled"], strict=True)]
    cuts = statistics.quantiles(away_s, n=100)
    return {
        "first_restarts": RESTARTS,
        "period_s_shortened_to": HEALTH_S,
        "p50_ms": round(cuts[49] * 1e3, 3),
        "p99_ms": round(cuts[98] * 1e3, 3),
        "worst_ms": round(max(away_s) * 1e3, 3),
    }


def crashes_in_a_stream() -> dict[str, Any]:
    """20,000 messages with 200 crashes among them: what became of each."""
    taken: list[int] = []
    last = threading.Event()

    def log(what: str, number: int) -> None:
        if what == "handled":
            taken.append(number)
            if number == STREAM - 1:
                last.set()

    rules: dict[str, Any] = {"period_s": 0.0, "intensity": CRASHES}
    house = House(WallClock(), ChildSpec("a", partial(Breaking, log=log), **rules))
    mailbox = house.system.mailbox("a")
    assert mailbox is not None
    every = STREAM // CRASHES
    began_s = time.perf_counter()
    for number in range(STREAM):
        house.system.tell("a", Crash() if number % every == every // 2 else Execute(sequence_id=number))
        while len(mailbox) > WINDOW:
            time.sleep(0.001)
    assert last.wait(60)
    seconds = time.perf_counter() - began_s
    house.shut_down()
    return {
        "rules_changed": rules,
        "sent": STREAM,
        "crashes": CRASHES,
        "handled_once_in_order": taken == [number for number in range(STREAM) if number % every != every // 2],
        "handled": len(taken),
        "dead_letters": sum(letter.message == "Crash" for letter in house.system.dead_letters),
        "seconds": round(seconds, 2),
    }


class Chatting(Actor):
    """Each second it publishes an event, which all take, and asks its neighbour for its state."""

    def __init__(self, context: Context, neighbour: str, tally: list[int]) -> None:
        super().__init__(context)
        self._neighbour = neighbour
        self._tally = tally

    def on_start(self) -> None:
        self.subscribe(NightStarted)
        self.after(1.0, Execute(sequence_id=1))

    def on_execute(self, message: Execute) -> None:
        self._tally[0] += 1
        self.after(1.0, message)
        self.publish(NightStarted(night="2026-11-22", ends=START))
        if self._neighbour:
            self.ask(self._neighbour, GetState(), 3.0, self._take)

    def _take(self, _: object) -> None:
        self._tally[0] += 1

    def on_night_started(self, _: NightStarted) -> None:
        self._tally[0] += 1

    def state(self) -> LibrarianState:
        self._tally[0] += 1
        return LibrarianState(queries=1)


def virtual_deliveries(actors: int = 6, seconds: int = 600) -> dict[str, Any]:
    """Timers, events, asks and answers handled in a real second, actors taking turns on the virtual clock."""
    tally = [0]
    names = [f"actor-{number}" for number in range(actors)]
    neighbours = ["", *names]
    specs = [
        ChildSpec(name, partial(Chatting, neighbour=neighbour, tally=tally))
        for name, neighbour in zip(names, neighbours, strict=False)
    ]
    clock = VirtualClock(START)
    house = House(clock, *specs)
    tally[0], began_s = 0, time.perf_counter()
    clock.run(START + timedelta(seconds=seconds))
    seconds_taken = time.perf_counter() - began_s
    house.shut_down()
    return {
        "actors": actors,
        "virtual_s": seconds,
        "deliveries": tally[0],
        "per_s": round(tally[0] / seconds_taken),
    }
