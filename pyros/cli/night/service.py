"""A simulated service manager: it treats the daemon of a virtual night as systemd treats the real one.

The daemon ends by itself with a status, is killed by an event of the scenario, or starves the watchdog. Whatever the
reason, what `ExecStopPost=` names is run, in a process of its own, and then the next daemon is started on the same
state directory. Ends and starts are told in the vocabulary of actors: the daemon is the actor `daemon`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pyros.actors.kernel import Supervisor, System
from pyros.actors.kernel.envelope import AnswerTo
from pyros.actors.kernel.lease import Lease
from pyros.cli.night.process import Machine, ProcessClock, hang_up, start_thread
from pyros.clock import Timer
from pyros.messages.base import Command, Event, Expired
from pyros.messages.system import ActorFailed, ActorRestarted, Shutdown

DAEMON = "daemon"
RESTART_S = 5.0
START_WITHIN_S = 180.0
WATCHDOG_S = 30.0
"""RestartSec, TimeoutStartSec and WatchdogSec of the unit."""


class StartError(Exception):
    """The daemon could not even begin: it ends with status 1 and one line."""


@dataclass
class Daemon:
    """One daemon: the process it runs in, and the leases of its actors."""

    clock: ProcessClock
    system: System
    supervisor: Supervisor
    leases: list[Lease] = field(default_factory=list[Lease])


Boot = Callable[[ProcessClock, Callable[[str], None]], Daemon]
"""Starts a daemon in a process; the second argument is its way to notify the manager. Raises `StartError`."""


class Service:
    """Keeps a daemon running until `stop`.

    Parameters
    ----------
    boot
        Starts a daemon.
    stop_post
        What is done after each end; it runs in a thread of the given process and may sleep on its clock.
    tell
        Hears of ends and starts.
    """

    def __init__(
        self,
        machine: Machine,
        boot: Boot,
        stop_post: Callable[[ProcessClock, str], object],
        tell: Callable[[str, Event], object],
    ) -> None:
        self.daemon: Daemon | None = None
        self.stopped = False
        """Whether the daemon has ended in order, as it was told to."""
        self.restarts = 0
        self._machine = machine
        self._boot = boot
        self._stop_post = stop_post
        self._tell = tell
        self._deadline: Timer | None = None
        self._starting = True
        """Whether READY has not come yet, from which on the watchdog counts."""
        self._down_since_s = 0.0
        self._cause = ""

    def start(self) -> None:
        """Start a daemon."""
        clock = ProcessClock(self._machine)
        self._watch_for(START_WITHIN_S, "it did not start in time")
        try:
            self.daemon = self._boot(clock, lambda state: self._notified(clock, state))
        except StartError as error:
            clock.end()
            self._ended(str(error))
            return
        if self._cause:
            self.restarts += 1
            away_s = self._machine.clock.monotonic_s() - self._down_since_s
            self._tell(DAEMON, ActorRestarted(actor=DAEMON, epoch=self.restarts + 1, cause=self._cause, away_s=away_s))
        self._cause = ""

    @property
    def needs_care(self) -> bool:
        """Whether the daemon has ended by itself, so that `care` has to be called."""
        return self.daemon is not None and self.daemon.supervisor.finished.is_set()

    def care(self) -> None:
        """Take up the end of a daemon that ended by itself."""
        daemon = self.daemon
        if daemon is None or not daemon.supervisor.finished.is_set():
            return
        if self.stopped:
            self._bury(daemon)
            return
        self.kill(f"exit status {daemon.supervisor.exit_status}: {_last_words(daemon.system)}")

    def kill(self, cause: str) -> None:
        """End the daemon's process at this instant, whatever it is doing."""
        if self.daemon is not None:
            self._bury(self.daemon)
            self._ended(cause)

    def send(self, actor: str, message: Command, user: str = "") -> None:
        """Tell an actor something; while no daemon runs nobody hears it."""
        if self.daemon is not None:
            self.daemon.system.tell(actor, message, user=user)

    def ask(self, actor: str, message: Command, within_s: float, then: AnswerTo, user: str = "") -> None:
        """Ask an actor from outside; the answer does not come if the daemon dies before it."""
        if self.daemon is None:
            then(Expired(reason="no daemon runs"))
        else:
            self.daemon.system.question(actor, message, within_s, then, user=user)

    def stop(self, cause: str) -> None:
        """Order the daemon to end; it is not started again."""
        if self.daemon is not None and not self.stopped:
            self.stopped = True
            self.send("supervisor", Shutdown(cause=cause))

    def _bury(self, daemon: Daemon) -> None:
        self._stop_watching()
        self.daemon = None
        daemon.clock.end()
        hang_up(daemon.leases)

    def _ended(self, cause: str) -> None:
        self._stop_watching()
        if not self._cause:
            self._down_since_s = self._machine.clock.monotonic_s()
        self._cause = cause[:500]
        self._tell(DAEMON, ActorFailed(actor=DAEMON, epoch=self.restarts + 1, cause=self._cause, message="process"))
        clock = ProcessClock(self._machine)

        def clean_up() -> None:
            self._stop_post(clock, cause)
            self._machine.clock.call_later(RESTART_S, self.start)

        start_thread(clock, "ExecStopPost", clean_up)

    # -- the watchdog ------------------------------------------------------------------------------------------------

    def _notified(self, clock: ProcessClock, state: str) -> None:
        """Take what the supervisor says, in its thread."""
        words = state.splitlines()
        if clock.alive and not self.stopped and ("READY=1" in words or "WATCHDOG=1" in words):
            if "READY=1" not in words and self._starting:
                return  # the watchdog counts from READY on
            self._watch_for(WATCHDOG_S, "the watchdog was not fed")
            self._starting = False
        if "STOPPING=1" in words:
            self._stop_watching()

    def _watch_for(self, seconds: float, cause: str) -> None:
        self._stop_watching()
        self._starting = seconds == START_WITHIN_S
        self._deadline = self._machine.clock.call_later(seconds, lambda: self.kill(cause))

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _last_words(system: System) -> str:
    letters = [letter for letter in system.dead_letters if letter.message == "give up"]
    return letters[-1].reason if letters else "no reason given"
