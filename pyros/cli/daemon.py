"""The boot story of the daemon, shared by `pyros run` and `pyros demo`, and its end.

Signals are noted before anything is begun. The processes that analyse images are started first, before any thread;
then the start is counted in the store; then the supervisor starts every actor in order. The main thread only waits:
for the supervisor to end, or for a signal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from pyros.actors.environment import Environment
from pyros.actors.kernel import Supervisor, System
from pyros.actors.kernel.supervisor import WATCH_EVERY_S
from pyros.actors.make_safe import CLOSED_WITHIN_S, Closing, make_safe
from pyros.actors.tree import specs
from pyros.cli.daemon_log import EventLog, Line
from pyros.cli.daemon_notify import notify, watchdog_beat_s
from pyros.cli.daemon_state import count_boot
from pyros.cli.ending import Ending
from pyros.cli.last_good import LastGood, remember
from pyros.cli.recorder import recorder_for
from pyros.cli.simulation.daemon import start_daemon
from pyros.clock import Clock
from pyros.config import Settings
from pyros.flight import FlightRecorder
from pyros.messages.base import Event, State
from pyros.messages.devices import PlcState
from pyros.messages.system import Shutdown, SupervisorState

CLOSES_WITHIN_S = 150.0
"""Time to park and to close the dome; systemd's TimeoutStopSec has to be longer than this and `STOPS_WITHIN_S`."""
STOPS_WITHIN_S = 25.0
"""Time to stop every actor once the dome is closed."""
BOOT_ENDS_WITHIN_S = 10.0
"""Real seconds that a boot may still take once it is told to end: before it is over nobody knows how the dome is."""
LOOK_S = 0.5
AGAIN = "asked again"


@dataclass(frozen=True)
class Order:
    """How the daemon is wanted; `only` are the devices whose actors are started (none named: all)."""

    settings: Settings
    folder: Path
    only: tuple[str, ...] = ()
    closes_within_s: float = CLOSES_WITHIN_S
    """Clock seconds; on a scaled clock at least five real ones."""

    @property
    def shuts_within_s(self) -> float:
        """The same, with the time that a roof may wait for the telescope."""
        dome = self.settings.dome
        return self.closes_within_s + (dome.park_within_s if dome.parks_first else 0.0)


class Daemon:
    """A running daemon: made by `boot`, ended by `stop`."""

    def __init__(
        self, order: Order, system: System, supervisor: Supervisor, log: EventLog, recorder: FlightRecorder
    ) -> None:
        self.order = order
        self.recorder = recorder
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
        status = self._stop(ending)
        if status:
            self.recorder.note(f"the daemon ended with status {status}")
        self.recorder.close()
        return status

    def _stop(self, ending: Ending) -> int:
        if not self.ended:
            self.log.say("daemon", Line(f"ends: {ending.cause}; closing the dome and stopping"))
            self._finish_boot(ending)
            self.system.tell("supervisor", Shutdown(cause=ending.cause))
        due_s = self.clock.monotonic_s() + self._stops_within_s()
        while not self.ended:
            if ending.again or self.clock.monotonic_s() > due_s:
                return self._end_at_once(AGAIN if ending.again else "stopping took too long")
            ending.rest(self.clock, LOOK_S / 5)
        status = self.supervisor.exit_status
        self.log.say("daemon", Line("ended in order" if status == 0 else f"ended with status {status}"))
        return status

    def _finish_boot(self, ending: Ending) -> None:
        due_s = self.clock.monotonic_s() + BOOT_ENDS_WITHIN_S * self.clock.speed
        while self._is_booting() and not ending.again and self.clock.monotonic_s() < due_s:
            ending.rest(self.clock, LOOK_S / 5)

    def _is_booting(self) -> bool:
        tree = self.system.events.latest(SupervisorState)
        return not self.ended and (tree is None or tree[0].status == "starting")

    def _stops_within_s(self) -> float:
        closes_s = self.clock.at_least_real(self.order.shuts_within_s, 5.0)
        return closes_s + STOPS_WITHIN_S * self.clock.speed

    def _end_at_once(self, why: str) -> int:
        within_s = 0.0 if why == AGAIN else CLOSED_WITHIN_S / 2
        problem = make_safe(Closing.of(self.order.settings), self.clock, why, closed_within_s=within_s)
        said = Line(problem, logging.CRITICAL) if problem else Line("the PLC has taken the order to close")
        self.log.say("daemon", said._replace(text=f"{why}: {said.text}; ending now"))
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
    recorder = recorder_for(environment, clock)
    system, supervisor = start_daemon(
        environment,
        clock,
        specs(environment, only=order.only),
        taps=(log, _rememberer(order, log), recorder.hear),
        closes_within_s=order.shuts_within_s,
        notify=notify,
        watch_every_s=min(WATCH_EVERY_S, watchdog_beat_s() or WATCH_EVERY_S),
    )
    recorder.attach(system)
    return Daemon(order, system, supervisor, log, recorder)


def _rememberer(order: Order, log: EventLog) -> Callable[[str, Event | State], None]:
    """Return a tap that notes what closing needs, for when there is no daemon, as soon as the PLC first answers."""
    noted = False

    def note(_: str, message: Event | State) -> None:
        nonlocal noted
        if noted or not isinstance(message, PlcState) or message.link != "up":
            return
        noted = True
        try:
            remember(order.folder, LastGood.of(order.settings))
        except OSError as error:
            reason = f"{order.folder} cannot be written: {error.strerror}; close-dome knows only what it knew before"
            log.say("daemon", Line(reason, logging.ERROR))

    return note
