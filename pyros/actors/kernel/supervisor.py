"""The supervisor: starts the children in order, watches them, restarts those that fail, stops them in reverse.

The contract is docs/supervision.md. Takes `Shutdown`, its own timers `Watch` and `Restart`, and what the children's
threads report: `ActorStarted`, `ActorFailed`, `ActorStopped`. Emits `ActorFailed`, `ActorRestarted` and
`SupervisorState`; tells majordome, telescope and plc to close at a shutdown. Asks nobody. It dies with the process:
should its own thread break, it makes safe and the process ends with status 1.
"""

from __future__ import annotations

import random
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pyros.actors.kernel.actor import SUPERVISOR, Actor, Context
from pyros.actors.kernel.backoff import Backoff
from pyros.actors.kernel.child import Child, ChildSpec
from pyros.actors.kernel.children import Children, check_order
from pyros.actors.kernel.ending import LEAST_STOP_S, PLC, DomeClosing, stop_child, wait_s
from pyros.actors.kernel.envelope import StopOrder
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.procedure import Procedure
from pyros.actors.kernel.service import Service, status_line
from pyros.actors.kernel.system import System
from pyros.actors.kernel.watch import FASTEST_LOOK_S, PATIENCE_S, WATCH_EVERY_S, Abandoned, Hang, VitalSigns, hang_of
from pyros.clock import Timer
from pyros.messages.base import Done, State
from pyros.messages.devices import PlcState
from pyros.messages.night import MajordomeState, SafetyVerdict
from pyros.messages.system import (
    ActorFailed,
    ActorRestarted,
    ActorStarted,
    ActorStopped,
    DeadLetter,
    Restart,
    Shutdown,
    SupervisorState,
    Watch,
)

MOST_ABANDONED = 3
MOST_SILENT_S = 60.0
"""A critical child that owes a sign of life for longer is as bad as one that cannot be kept up."""
S = TypeVar("S", bound=State)
Status = Literal["starting", "up", "stopping", "making safe"]


class Supervisor(Actor):
    """See the module's docstring. `finished` is set, and `exit_status` final, when the process is to end.

    Parameters
    ----------
    make_safe
        Closes the dome by a connection of its own; called at most once, with the cause, in the supervisor's thread.
    closes_within_s, stops_within_s
        Deadlines of a shutdown in clock seconds, on a scaled clock at least 5 and `stops_within_s` real ones: until the
        closed switch makes, and for all children together to stop.
    notify
        Gets what systemd wants to hear.
    watch_every_s
        Seconds between two looks; on a fast clock at most a real one.
    """

    def __init__(
        self,
        context: Context,
        specs: Sequence[ChildSpec],
        *,
        seed: int = 0,
        make_safe: Callable[[str], object] = lambda cause: None,  # noqa: ARG005 - the default has nothing to close
        closes_within_s: float = 150.0,
        stops_within_s: float = 20.0,
        notify: Callable[[str], object] = lambda state: None,  # noqa: ARG005 - nobody listens by default
        watch_every_s: float = WATCH_EVERY_S,
    ) -> None:
        super().__init__(context)
        check_order(specs)
        self.finished = threading.Event()
        self.exit_status = 0
        self._system = context.system
        self._make_safe = make_safe
        self._made_safe = False
        self._judges = True
        self._service = Service(notify, context.system.bury)
        self._status: Status = "starting"
        self._since = self.clock.now()
        dice = random.Random(seed)
        self._children = Children(
            [Child(spec, self._system.open_mailbox(spec.name), Backoff(dice, spec.period_s)) for spec in specs]
        )
        self._dome = DomeClosing(self, self._children, self.clock.at_least_real(closes_within_s, 5.0))
        self._stops_within_s = self._deadline_s(stops_within_s)
        self._watch_every_s = self.clock.at_least_real(watch_every_s, min(watch_every_s, FASTEST_LOOK_S))
        self._watched_at_s = self.clock.monotonic_s()
        self._next_watch: Timer | None = None
        self._signs = VitalSigns(self._watch_every_s)
        self._abandoned = Abandoned()

    # -- start -------------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin the boot; runs in the supervisor's thread."""
        self.subscribe(ActorStarted, ActorStopped)
        self.on_watch(Watch())
        self._start_next()

    def _start_next(self) -> None:
        """Start the first child that may be started, one at a time; after the last one the boot is over."""
        if self._ends:
            return
        child = self._children.next_to_start()
        if child is not None:
            self._incarnate(child)
        elif self._status == "starting" and not any(child.status == "starting" for child in self._children):
            self._set_status("up")
            self._service.ready(self._status_line())
        self.show()

    def _incarnate(self, child: Child) -> None:
        child.epoch += 1
        child.status, child.held_by = "starting", ()
        child.due_s = self.clock.monotonic_s() + self._deadline_s(child.spec.start_within_s)
        lease = Lease(child.name, child.epoch)
        try:
            child.begin(Context(child.name, self._system, lease, child.mailbox.open_view(child.epoch)))
        except BaseException as error:  # noqa: BLE001 - a constructor may fail in any way; it is the child's failure
            self._bury(child.name, "__init__", "".join(traceback.format_exception(error))[-8000:])
            cause = f"{type(error).__name__}: {error}"[:500]
            self.tell(SUPERVISOR, ActorFailed(actor=child.name, epoch=child.epoch, cause=cause, message="__init__"))

    def on_actor_started(self, message: ActorStarted) -> None:
        """A child takes messages; go on with the next."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch or child.status != "starting":
            return
        now_s = self.clock.monotonic_s()
        child.status = "up"
        child.backoff.up(now_s)
        if child.epoch > 1:
            away_s = max(0.0, now_s - child.failed_at_s)
            self.publish(ActorRestarted(actor=child.name, epoch=child.epoch, cause=child.last_fault, away_s=away_s))
        if self._status == "stopping":
            self._dome.came_up(child.name, "shutting down")
        self._start_next()

    # -- failures ----------------------------------------------------------------------------------------------------

    def on_actor_failed(self, message: ActorFailed) -> None:
        """A child's incarnation has ended by a failure: count, and restart now or after a backoff."""
        child = self._children.who_ended(message)
        if child is None:
            return
        self.publish(message)  # before its links close: the gateway's last word is that it broke
        child.revoke()
        if child.ending:
            self._gone(child)
        else:
            self._replace(child, f"{message.message}: {message.cause}")

    def on_actor_stopped(self, message: ActorStopped) -> None:
        """A child has ended in order: told to, or by its own fault."""
        child = self._children.who_ended(message)
        if child is None:
            return
        child.revoke()
        if child.ending:
            self._gone(child)
        else:
            self._replace(child, "it ended without being told to")

    def _replace(self, child: Child, cause: str) -> None:
        child.failed_at_s, child.last_fault = self.clock.monotonic_s(), cause
        if not self._may_restart(child):
            child.status = "down"
            if self._status == "stopping":
                self._dome.went_down(child.name, cause)
            return
        wait_s = child.backoff.failed(child.failed_at_s)
        child.status, failures = "backing off", child.backoff.failures
        if child.spec.critical and failures > 2 * child.spec.intensity:
            self._give_up(f"{child.name} has failed {failures} times in a row; last: {cause}")
            return
        if child.spec.strategy == "rest_for_one" or failures > child.spec.intensity:
            self._stop_dependants(child, cause)
        self._restart_in(wait_s, child)

    def _restart_in(self, wait_s: float, child: Child) -> None:
        restart = Restart(
            actor=child.name, epoch=child.epoch, cause=child.last_fault[:500], failed_at_s=child.failed_at_s
        )
        if wait_s == 0.0:
            self.on_restart(restart)
        else:
            self.after(wait_s, restart)
            self._start_next()
        self.show()

    def on_restart(self, message: Restart) -> None:
        """A backoff is over."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch or child.status != "backing off":
            return
        if self._may_restart(child):
            self._incarnate(child)

    def _may_restart(self, child: Child) -> bool:
        return not self._ends or (self._status == "stopping" and child.name == PLC)

    def _stop_dependants(self, failed: Child, cause: str) -> None:
        """Take down those that need the failed one, last first; they are started again after it."""
        for child in reversed(self._children.dependants_of(failed)):
            if child.status in {"up", "starting"}:
                child.failed_at_s, child.last_fault = self.clock.monotonic_s(), f"with {failed.name}: {cause}"
                self._order_stop(child, self._deadline_s(child.spec.stop_within_s))
            if child.status in {"up", "starting", "backing off"} or child.held_by:
                child.status, child.held_by = "waiting", (*child.held_by, failed.name)

    def _order_stop(self, child: Child, within_s: float) -> None:
        child.ending = True
        child.due_s = self.clock.monotonic_s() + within_s
        child.mailbox.put(StopOrder(child.epoch), first=True)
        self.after(within_s, Watch())

    def _gone(self, child: Child) -> None:
        """Go on without a child that was told to stop and has ended, or is not waited for any longer."""
        child.ending = False
        self._start_next()

    # -- watch -------------------------------------------------------------------------------------------------------

    def on_watch(self, _: Watch) -> None:
        """Look for children that hang, ask for signs of life, feed systemd's watchdog, and arm the next look."""
        if self._next_watch is not None:
            self._next_watch.cancel()
        self._next_watch = self.after(self._watch_every_s, Watch())
        now_s = self.clock.monotonic_s()
        held_up = now_s - self._watched_at_s > max(2 * self._watch_every_s, self.clock.at_least_real(0.0, PATIENCE_S))
        self._watched_at_s = now_s
        if held_up:  # who was held up himself judges nobody
            self._signs.forgive(now_s)
        elif self._judges:
            self._look_for_hangs(now_s)
        if self._status != "making safe":
            self._ask_for_signs(now_s)
        if self._status == "up":
            self._service.show(self._status_line())
        self.show()

    def _look_for_hangs(self, now_s: float) -> None:
        for child in self._children:
            hang = hang_of(child, now_s, self.clock)
            if hang is not None and not (child.ending and self._status == "stopping"):
                self._abandon(child, hang)
            if not self._judges:
                return

    def _abandon(self, child: Child, hang: Hang) -> None:
        """Leave a thread behind that does not come back, and go on without it."""
        ending = child.ending
        self._leave_behind(child, hang)
        if not ending:
            cause = f"hung: {hang.reason}"
            self.publish(ActorFailed(actor=child.name, epoch=child.epoch, cause=cause, message=hang.tag))
        hanging = self._abandoned.count()
        if hanging > MOST_ABANDONED:
            self._give_up(f"{hanging} threads hang; last: {child.name}: {hang.reason}")
        elif ending:
            self._gone(child)
        else:
            self._replace(child, hang.reason)

    def _leave_behind(self, child: Child, hang: Hang) -> None:
        self._bury(child.name, hang.tag, hang.reason)
        child.last_fault = hang.reason
        child.forsake(f"hung: {hang.reason}")
        self._abandoned.add(child.actor)

    def _ask_for_signs(self, now_s: float) -> None:
        """Feed the watchdog if every critical child is up and owes no sign of life for longer than a look."""
        critical = [child for child in self._children if child.spec.critical]
        silent = {child.name: self._signs.silent_s(child, now_s) for child in critical}
        if not any(silent.values()) and all(child.status == "up" for child in critical):
            self._service.alive()
        most_s = self.clock.at_least_real(MOST_SILENT_S, MOST_SILENT_S)
        lost = next((name for name, silent_s in silent.items() if silent_s > most_s), "")
        if lost and not self._ends:
            self._give_up(f"{lost} has given no sign of life for {silent[lost]:.0f} s")
        for child in critical:
            self._signs.ask(child, now_s)

    # -- the end -----------------------------------------------------------------------------------------------------

    def report_failure(self, failure: ActorFailed) -> None:
        """End the process when the supervisor itself breaks: nobody is left to restart it."""
        self._give_up(f"the supervisor broke on {failure.message}: {failure.cause}")

    def _give_up(self, cause: str) -> None:
        self.exit_status = 1
        self._judges = False
        self._status, self._since = "making safe", self.clock.now()
        try:
            self._bury(SUPERVISOR, "give up", cause)
            self._service.stopping(f"making safe: {cause}")
            self.show()
        except BaseException as error:  # noqa: BLE001 - whatever breaks in saying so, the dome is closed
            sys.excepthook(type(error), error, error.__traceback__)
        self._make_safe_once(cause)
        self.finished.set()

    def _make_safe_once(self, cause: str) -> None:
        if self._made_safe:
            return
        self._made_safe = True
        try:
            self._make_safe(cause)
        except BaseException as error:  # noqa: BLE001 - the process must end with its status whatever the PLC does
            self._bury(SUPERVISOR, "make safe", f"{type(error).__name__}: {error}")

    def on_shutdown(self, message: Shutdown) -> Procedure | Done:
        """Close first, then stop the children in reverse order, each within its deadline."""
        return Done() if self.finished.is_set() else self._shut_down(message.cause)

    def _shut_down(self, cause: str) -> Procedure:
        self._set_status("stopping")
        self._service.stopping(f"stopping: {cause}")
        closed = yield from self._dome.close(cause)
        if not closed:
            self.exit_status = 1
            self._make_safe_once(f"{cause}; the dome was not seen closed")
        self._judges = False  # each has its deadline to stop, and none keeps the others from theirs
        due_s = self.clock.monotonic_s() + self._stops_within_s
        for others, child in reversed(list(enumerate(self._children))):
            left_s, own_s = due_s - self.clock.monotonic_s(), self._deadline_s(child.spec.stop_within_s)
            within_s = wait_s(own_s, left_s, others, self._deadline_s(LEAST_STOP_S))
            yield from stop_child(child, within_s, self._order_stop, self._leave_behind)
            self._system.close_mailbox(child.name)
        self.show()
        self.finished.set()
        return Done()

    # -- small things ------------------------------------------------------------------------------------------------

    @property
    def _ends(self) -> bool:
        return self._status in {"stopping", "making safe"}

    def _deadline_s(self, seconds: float) -> float:
        return self.clock.at_least_real(seconds, seconds)

    def _bury(self, to: str, message: str, reason: str) -> None:
        self._system.bury(DeadLetter(to=to, message=message, reason=reason))

    def _status_line(self) -> str:
        return status_line(self.state(), self._last(MajordomeState), self._last(SafetyVerdict), self._last(PlcState))

    def _last(self, state: type[S]) -> S | None:
        latest = self.latest(state)
        return None if latest is None else latest[0]

    def _set_status(self, status: Status) -> None:
        self._status, self._since = status, self.clock.now()
        self.show()

    def state(self) -> SupervisorState:
        """Return the tree."""
        return SupervisorState(
            status=self._status, since=self._since, children=[child.row() for child in self._children]
        )


def start_supervisor(system: System, make: Callable[[Context], Supervisor]) -> Supervisor:
    """Open the supervisor's mailbox and start it, which starts everything."""
    mailbox = system.open_mailbox(SUPERVISOR)
    context = Context(name=SUPERVISOR, system=system, lease=Lease(SUPERVISOR, 1), view=mailbox.open_view(1))
    supervisor = make(context)
    supervisor.start_in(context)
    return supervisor
