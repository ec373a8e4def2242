"""The supervisor: starts the children in order, restarts those that fail, stops them in reverse.

Contract
- Children are started in the order of their specs, each after the one before has said `ActorStarted` or has failed (in
  `__init__`, in `on_start`, or by saying nothing until its deadline); the others start all the same.
- A child that fails, or ends without being told to, is restarted: at once after the first failure, then after a backoff
  of 1, 2, 4 … 60 s with ±20 % of jitter. `period_s` of health makes the next failure a first one again.
- More than `intensity` failures in a row, or any failure of a `rest_for_one` child: those that need it and come later
  are stopped in reverse order, and started again in order when it is up again.
- More than twice `intensity` failures in a row of a critical child: make safe once, and end with status 1. The others
  are tried for ever. The dome is never given up.
- A child busy for longer than its message's budget is hung: it is abandoned (its lease revoked, its view closed) and
  replaced, and whoever asked gets `Failed`. More than `MOST_ABANDONED` abandoned threads: make safe, and end.
- Shutdown, in whatever state: close the dome (through majordome, or without it), a bounded wait, make safe if the dome
  was not seen closed, then the children in reverse order, each within its deadline. Meanwhile only plc is restarted.
- Should the supervisor itself break: make safe, and end with status 1.

`notify` gets what systemd wants to hear: READY=1 once every child has been started, WATCHDOG=1 from this actor's own
loop while every critical child is up and none is over its budget, STOPPING=1. It dies with the process; it asks nobody.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pyros.actors.kernel.actor import SUPERVISOR, Actor, Context
from pyros.actors.kernel.child import Child, ChildSpec
from pyros.actors.kernel.envelope import Envelope, StopOrder, answer_to, budget_of, tag_of
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.mailbox import MailboxRefusedError
from pyros.actors.kernel.procedure import Procedure, Until
from pyros.actors.kernel.system import System
from pyros.clock import Timer
from pyros.messages.base import Done, Failed
from pyros.messages.devices import CloseDome, Park, PlcState
from pyros.messages.night import StopObserving
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

WATCH_EVERY_S = 5.0
MOST_ABANDONED = 3
PLC, MAJORDOME, TELESCOPE = "plc", "majordome", "telescope"
Status = Literal["starting", "up", "stopping", "making safe"]


class Supervisor(Actor):
    """See the module's docstring. `finished` is set, and `exit_status` final, when the process is to end."""

    def __init__(
        self,
        context: Context,
        specs: Sequence[ChildSpec],
        *,
        seed: int = 0,
        make_safe: Callable[[str], object] = lambda cause: None,  # noqa: ARG005 - the default has nothing to close
        closes_within_s: float = 150.0,
        notify: Callable[[str], object] = lambda state: None,  # noqa: ARG005 - nobody listens by default
    ) -> None:
        super().__init__(context)
        _check_order(specs)
        self.finished = threading.Event()
        self.exit_status = 0
        self._system = context.system
        self._make_safe = make_safe
        self._notify = notify
        self._closes_within_s = closes_within_s
        self._dice = random.Random(seed)
        self._abandoned = 0
        self._made_safe = False
        self._status: Status = "starting"
        self._since = self.clock.now()
        self._next_watch: Timer | None = None
        self._watched_at_s = self.clock.monotonic_s()
        self._children = {spec.name: Child(spec, self._system.open_mailbox(spec.name)) for spec in specs}

    # -- start -------------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin the boot; runs in the supervisor's thread."""
        self.subscribe(ActorStarted, ActorStopped)
        self.on_watch(Watch())
        self._start_next()

    def _start_next(self) -> None:
        """Start the first child that may be started, one at a time; after the last one the boot is over."""
        if self._status in {"stopping", "making safe"} or any(c.status == "starting" for c in self._children.values()):
            return
        child = next((c for c in self._children.values() if self._may_start(c)), None)
        if child is not None:
            self._incarnate(child)
        elif self._status == "starting":
            self._set_status("up")
            self._say("READY=1")
        self.show()

    def _may_start(self, child: Child) -> bool:
        if child.status != "waiting" or child.ending:
            return False
        return not child.held_by or self._children[child.held_by].status == "up"

    def _incarnate(self, child: Child) -> None:
        child.epoch += 1
        child.status, child.held_by = "starting", ""
        child.due_s = self.clock.monotonic_s() + self._deadline_s(child.spec.start_within_s)
        child.lease = Lease(child.name, child.epoch)
        context = Context(child.name, self._system, child.lease, child.mailbox.open_view(child.epoch))
        try:
            child.spec.make(context).start_in(context)
        except BaseException as error:  # noqa: BLE001 - a constructor may fail in any way; it is the child's failure
            cause = f"{type(error).__name__}: {error}"
            self._system.bury(DeadLetter(to=child.name, message="__init__", reason=cause))
            self.tell(SUPERVISOR, ActorFailed(actor=child.name, epoch=child.epoch, cause=cause, message="__init__"))

    def on_actor_started(self, message: ActorStarted) -> None:
        """A child takes messages; go on with the next."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch or child.status != "starting":
            return
        child.status = "up"
        child.up_since_s = now_s = self.clock.monotonic_s()
        if child.epoch > 1:
            away_s = max(0.0, now_s - child.failed_at_s)
            self.publish(ActorRestarted(actor=child.name, epoch=child.epoch, cause=child.last_fault, away_s=away_s))
        if self._status == "stopping" and child.name == PLC:
            self.tell(PLC, CloseDome(cause="shutting down"))
        self._start_next()

    # -- failures ----------------------------------------------------------------------------------------------------

    def on_actor_failed(self, message: ActorFailed) -> None:
        """A child's incarnation has ended by a failure: count, and restart now or after a backoff."""
        child = self._child_of(message)
        if child is None:
            return
        self.publish(message)
        if child.ending:
            self._gone(child)
        else:
            self._replace(child, f"{message.message}: {message.cause}")

    def on_actor_stopped(self, message: ActorStopped) -> None:
        """A child has ended in order: told to, or by its own fault."""
        child = self._child_of(message)
        if child is None:
            return
        if child.ending:
            self._gone(child)
        else:
            self._replace(child, "it ended without being told to")

    def _child_of(self, message: ActorFailed | ActorStopped) -> Child | None:
        """Return the child whose present incarnation ended; what older ones report is past."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch or not (child.ending or child.status in {"up", "starting"}):
            return None
        return child

    def _replace(self, child: Child, cause: str) -> None:
        child.revoke()
        if self._status == "making safe" or (self._status == "stopping" and child.name != PLC):
            child.status, child.last_fault = "down", cause
            return
        failures = child.count_failure(self.clock.monotonic_s(), cause)
        child.status = "backing off"
        if child.spec.critical and failures > 2 * child.spec.intensity:
            self._give_up(f"{child.name} has failed {failures} times in a row; last: {cause}")
            return
        if child.spec.strategy == "rest_for_one" or failures > child.spec.intensity:
            self._stop_dependants(child, cause)
        restart = Restart(actor=child.name, epoch=child.epoch, cause=cause[:500], failed_at_s=child.failed_at_s)
        backoff_s = child.backoff_s(self._dice)
        if backoff_s == 0.0:
            self.on_restart(restart)
        else:
            self.after(backoff_s, restart)
            self._start_next()
        self.show()

    def on_restart(self, message: Restart) -> None:
        """A backoff is over."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch or child.status != "backing off":
            return
        if self._status != "making safe" and (self._status != "stopping" or child.name == PLC):
            child.restarts += 1
            self._incarnate(child)

    def _stop_dependants(self, failed: Child, cause: str) -> None:
        """Take down those that need the failed one, last first; they are started again after it."""
        gone = {failed.name: failed}
        for child in self._children.values():
            if any(need in gone for need in child.spec.needs):
                gone[child.name] = child
        for child in reversed(list(gone.values())[1:]):
            if child.status in {"up", "starting"}:
                child.failed_at_s, child.last_fault = self.clock.monotonic_s(), f"with {failed.name}: {cause}"
                child.restarts += 1
                self._order_stop(child)
            if child.status in {"up", "starting", "backing off"}:
                child.status, child.held_by = "waiting", failed.name

    def _order_stop(self, child: Child) -> None:
        child.ending = True
        stop_within_s = self._deadline_s(child.spec.stop_within_s)
        child.due_s = self.clock.monotonic_s() + stop_within_s
        try:
            child.mailbox.put(StopOrder(child.epoch), first=True)
        except MailboxRefusedError:
            child.ending = False
        self.after(stop_within_s, Watch())

    def _gone(self, child: Child) -> None:
        """Go on without a child that was told to stop and has ended, or is not waited for any longer."""
        child.ending = False
        child.revoke()
        self._start_next()

    # -- hangs -------------------------------------------------------------------------------------------------------

    def on_watch(self, _: Watch) -> None:
        """Look for children over their deadlines, arm the next look, and feed systemd's watchdog."""
        if self._next_watch is not None:
            self._next_watch.cancel()
        self._next_watch = self.after(WATCH_EVERY_S, Watch())
        now_s = self.clock.monotonic_s()
        late = now_s - self._watched_at_s > self.clock.at_least_real(2 * WATCH_EVERY_S, 5.0)
        self._watched_at_s = now_s
        if self._status == "making safe":
            return
        if not late:  # who was held up himself judges nobody
            for child in list(self._children.values()):
                self._look_at(child, now_s)
        if all(child.status == "up" for child in self._children.values() if child.spec.critical):
            self._say("WATCHDOG=1")
        self.show()

    def _look_at(self, child: Child, now_s: float) -> None:
        if child.ending:
            if now_s >= child.due_s and self._status != "stopping":
                child.last_fault = f"has not stopped within {child.spec.stop_within_s:g} s"
                self._count_abandoned(child, None, child.last_fault)
                self._gone(child)
        elif child.status == "starting":
            if now_s >= child.due_s:
                self._abandon(child, None, f"it has not started within {child.spec.start_within_s:g} s")
        elif child.status == "up" and (busy := child.mailbox.busy()) is not None:
            mail, since_s = busy
            if now_s - since_s > self.clock.at_least_real(budget_of(mail), 5.0):
                self._abandon(child, mail, f"busy with {tag_of(mail)} for {now_s - since_s:.1f} s, over its budget")

    def _abandon(self, child: Child, mail: Any, reason: str) -> None:
        tag = "on_start" if mail is None else tag_of(mail)
        self.publish(ActorFailed(actor=child.name, epoch=child.epoch, cause=f"hung: {reason}", message=tag))
        self._count_abandoned(child, mail, reason)
        self._replace(child, reason)
        if isinstance(mail, Envelope):
            answer_to(mail, Failed(reason=f"{child.name} hung: {reason}"))

    def _count_abandoned(self, child: Child, mail: Any, reason: str) -> None:
        self._abandoned += 1
        tag = "hook" if mail is None else tag_of(mail)
        self._system.bury(DeadLetter(to=child.name, message=tag, reason=f"{child.name}: {reason}"))
        if self._abandoned > MOST_ABANDONED:
            self._give_up(f"{self._abandoned} threads hang; last: {child.name}: {reason}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def report_failure(self, failure: ActorFailed) -> None:
        """End the process when the supervisor itself breaks: nobody is left to restart it."""
        self._give_up(f"the supervisor broke on {failure.message}: {failure.cause}")

    def _give_up(self, cause: str) -> None:
        self.exit_status = 1
        self._system.bury(DeadLetter(to=SUPERVISOR, message="give up", reason=cause))
        try:
            self._set_status("making safe")
            self._make_safe_once(cause)
        finally:
            self.finished.set()

    def _make_safe_once(self, cause: str) -> None:
        if self._made_safe:
            return
        self._made_safe = True
        try:
            self._make_safe(cause)
        except BaseException as error:  # noqa: BLE001 - the process must end with its status whatever the PLC does
            reason = f"{type(error).__name__}: {error}"
            self._system.bury(DeadLetter(to=SUPERVISOR, message="make safe", reason=reason))

    def on_shutdown(self, message: Shutdown) -> Procedure | Done:
        """Close first, then stop the children in reverse order, each within its deadline."""
        return Done() if self.finished.is_set() else self._shut_down(message.cause)

    def _shut_down(self, cause: str) -> Procedure:
        self._set_status("stopping")
        self._say("STOPPING=1")
        yield from self._close_dome(cause)
        for child in reversed(self._children.values()):
            yield from self._stop_child(child)
        self.show()
        self.finished.set()
        return Done()

    def _close_dome(self, cause: str) -> Procedure:
        plc, majordome = self._children.get(PLC), self._children.get(MAJORDOME)
        if plc is None:
            return None
        if majordome is not None and majordome.status == "up":
            self.tell(MAJORDOME, StopObserving(cause=cause))
        else:
            self.tell(PLC, CloseDome(cause=cause))
            if TELESCOPE in self._children:
                self.tell(TELESCOPE, Park(cause=cause))
        if not self._sees_closed() and self._hears_plc():
            yield Until(PlcState, lambda state: state.dome == "closed", self._deadline_s(self._closes_within_s, 5.0))
        if not self._sees_closed():
            self.exit_status = 1
            self._make_safe_once(f"{cause}; the dome was not seen closed")
        return None

    def _sees_closed(self) -> bool:
        latest = self.latest(PlcState)
        fresh_s = self.clock.at_least_real(10.0, 5.0)
        return latest is not None and latest[0].dome == "closed" and latest[1] <= fresh_s

    def _hears_plc(self) -> bool:
        latest = self.latest(PlcState)
        return self._children[PLC].status == "up" and latest is not None and latest[0].link == "up"

    def _stop_child(self, child: Child) -> Procedure:
        if child.status in {"up", "starting"} and not child.ending:
            self._order_stop(child)
        if child.ending:
            name, epoch = child.name, child.epoch
            end = yield Until(
                (ActorStopped, ActorFailed),
                lambda ended: ended.actor == name and ended.epoch == epoch,
                self._deadline_s(child.spec.stop_within_s),
            )
            child.last_fault = child.last_fault if end is not None else "did not stop in time"
        child.ending, child.status = False, "stopped"
        child.revoke()
        self._system.close_mailbox(child.name)
        return None

    # -- small things ------------------------------------------------------------------------------------------------

    def _deadline_s(self, seconds: float, real_s: float | None = None) -> float:
        return self.clock.at_least_real(seconds, seconds if real_s is None else real_s)

    def _say(self, state: str) -> None:
        try:
            self._notify(state)
        except Exception as error:  # noqa: BLE001 - an unreachable systemd must not bring the observatory down
            self._system.bury(DeadLetter(to="systemd", message=state, reason=f"{type(error).__name__}: {error}"))

    def _set_status(self, status: Status) -> None:
        self._status, self._since = status, self.clock.now()
        self.show()

    def state(self) -> SupervisorState:
        """Return the tree."""
        return SupervisorState(
            status=self._status, since=self._since, children=[child.row() for child in self._children.values()]
        )


def _check_order(specs: Sequence[ChildSpec]) -> None:
    """Refuse a child that needs itself or a later one: it could never be stopped before and started after it."""
    names = [spec.name for spec in specs]
    for place, spec in enumerate(specs):
        late = [need for need in spec.needs if need in names[place:]]
        if late:
            raise ValueError(f"{spec.name} needs {', '.join(late)}, which must stand earlier in the child specs")


def start_supervisor(system: System, make: Callable[[Context], Supervisor]) -> Supervisor:
    """Open the supervisor's mailbox and start it, which starts everything."""
    mailbox = system.open_mailbox(SUPERVISOR)
    context = Context(name=SUPERVISOR, system=system, lease=Lease(SUPERVISOR, 1), view=mailbox.open_view(1))
    supervisor = make(context)
    supervisor.start_in(context)
    return supervisor
