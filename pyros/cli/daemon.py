"""The boot story of the daemon, shared by `pyros run` and `pyros demo`, and its end.

The processes that analyse images are started first, before any thread; then the start is counted in the store; then the
supervisor starts every actor in order. The main thread only waits: for the supervisor to end, or for a signal.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from pyros.actors.environment import Environment
from pyros.actors.kernel import Supervisor, System
from pyros.actors.make_safe import make_safe
from pyros.actors.tree import specs
from pyros.cli.daemon_log import EventLog, Line
from pyros.cli.daemon_notify import notify
from pyros.cli.daemon_state import count_boot, remember_plc
from pyros.cli.simulation.daemon import start_daemon
from pyros.clock import Clock
from pyros.config import Settings
from pyros.messages.base import Event, State
from pyros.messages.devices import PlcState
from pyros.messages.system import Shutdown

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CLOSES_WITHIN_S = 150.0
"""Time to park and to close the dome; systemd's TimeoutStopSec has to be longer than this and `STOPS_WITHIN_S`."""
STOPS_WITHIN_S = 25.0
"""Time to stop every actor once the dome is closed."""
LOOK_S = 0.5


@dataclass(frozen=True)
class Order:
    """How the daemon is wanted; `only` are the devices whose actors are started (none named: all)."""

    settings: Settings
    folder: Path
    only: tuple[str, ...] = ()
    closes_within_s: float = CLOSES_WITHIN_S
    """Clock seconds; on a scaled clock at least five real ones."""


class Daemon:
    """A running daemon: made by `boot`, ended by `stop`."""

    def __init__(self, order: Order, system: System, supervisor: Supervisor, log: EventLog) -> None:
        self.order = order
        self.system = system
        self.supervisor = supervisor
        self.log = log
        self.clock = system.clock

    @property
    def ended(self) -> bool:
        """Whether the supervisor has finished."""
        return self.supervisor.finished.is_set()

    def stop(self, ending: Ending) -> int:
        """Close the dome, stop every actor, and return the exit status; a second signal makes safe and ends at once."""
        if not self.ended:
            self.log.say("daemon", Line(f"ends: {ending.cause}; closing the dome and stopping"))
            self.system.tell("supervisor", Shutdown(cause=ending.cause))
        seen, due_s = ending.count, self.clock.monotonic_s() + self._stops_within_s()
        while not self.ended:
            if ending.count > seen or self.clock.monotonic_s() > due_s:
                return self._end_at_once("asked again" if ending.count > seen else "stopping took too long")
            ending.rest(LOOK_S / 5)
        status = self.supervisor.exit_status
        self.log.say("daemon", Line("ended in order" if status == 0 else f"ended with status {status}"))
        return status

    def _stops_within_s(self) -> float:
        closes_s = self.clock.at_least_real(self.order.closes_within_s, 5.0)
        return closes_s + STOPS_WITHIN_S * self.clock.speed

    def _end_at_once(self, why: str) -> int:
        problem = make_safe(
            self.order.settings.devices.plc.url,
            self.clock,
            why,
            telescope_url=self.order.settings.devices.telescope.url,
        )
        self.log.say("daemon", Line(f"{why}: {problem or 'the PLC has taken the order to close'}; ending now"))
        return 1


def boot(order: Order, clock: Clock, pool: Executor) -> Daemon:
    """Count the start, and start everything; returns while the actors are still starting.

    Raises
    ------
    StoreError, StateError
        If the store cannot be used.
    """
    (order.folder / "images").mkdir(parents=True, exist_ok=True)
    number = count_boot(order.folder, clock.now(), order.settings.store.synchronous)
    environment = Environment.of(order.settings, order.folder, pool, boot=number)
    log = EventLog(clock)
    log.say("daemon", Line(f"start {number} on {order.folder}"))
    system, supervisor = start_daemon(
        environment,
        clock,
        specs(environment, only=order.only),
        taps=(log, _rememberer(order)),
        closes_within_s=order.closes_within_s,
        notify=notify,
    )
    return Daemon(order, system, supervisor, log)


def _rememberer(order: Order) -> Callable[[str, Event | State], None]:
    """Return a tap that notes the PLC's address for `pyros close-dome` when it first answers."""
    noted = False

    def note(_: str, message: Event | State) -> None:
        nonlocal noted
        if not noted and isinstance(message, PlcState) and message.link == "up":
            noted = True
            remember_plc(order.folder, order.settings.devices.plc.url)

    return note


class Ending:
    """While entered, SIGINT, SIGTERM and SIGHUP do not kill: they wake the main thread, which ends in order.

    The handler runs in the main thread, between any two of its steps; so it takes no lock that this thread may hold.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn = clock.turn()
        self._causes: deque[str] = deque()
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def cause(self) -> str:
        """The first signal, or ''."""
        return self._causes[0] if self._causes else ""

    @property
    def count(self) -> int:
        """How many signals came."""
        return len(self._causes)

    def rest(self, real_s: float) -> None:
        """Wait, or less if a signal comes."""
        timer = self._clock.call_later(real_s * self._clock.speed, self._turn.wake)
        self._turn.rest()
        timer.cancel()

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._causes.append(signal.Signals(number).name)
        self._turn.wake()
