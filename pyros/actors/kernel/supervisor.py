"""The supervisor: starts the children in order, restarts those that fail, stops them in reverse.

Contract
- Children are started in the order of their specs, each after the one before has said `ActorStarted` or has missed its
  deadline (the others start all the same; the tree shows what is missing).
- A child that fails is restarted: at once the first time in `period_s`, then after a backoff of 1, 2, 4 … 60 s with
  ±20 % of jitter. `rest_for_one` children take those with them that come later and need them.
- More than `intensity` failures in `period_s`: its dependants are restarted with it. More than twice that, and the
  child is critical: make safe, and end the process with status 1. The dome is never given up.
- A child busy for longer than its message's budget is hung: it is abandoned (fenced by its lease and its epoch) and
  replaced. Too many abandoned threads: make safe, and end.
- Ordered shutdown: `StopObserving` to majordome, a bounded wait for the dome, then the children in reverse order.

It dies with the process; it asks nobody.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage]

from pyros.actors.kernel.actor import SUPERVISOR, Actor, Context
from pyros.actors.kernel.envelope import Envelope, Resume
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.mailbox import Mailbox, MailboxRefusedError
from pyros.actors.kernel.procedure import Procedure, Until
from pyros.actors.kernel.system import System
from pyros.messages.base import Done
from pyros.messages.devices import PlcState
from pyros.messages.night import StopObserving
from pyros.messages.system import (
    ActorFailed,
    ActorRestarted,
    ActorStarted,
    ActorStopped,
    ChildRow,
    ChildStatus,
    DeadLetter,
    Restart,
    Shutdown,
    SupervisorState,
    Watch,
)

Strategy = Literal["one_for_one", "rest_for_one"]
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
JITTER = 0.2
WATCH_EVERY_S = 5.0
MOST_ABANDONED = 3


@dataclass(frozen=True)
class ChildSpec:
    """How a child is made and what its death means."""

    name: str
    make: Callable[[Context], Actor]
    critical: bool = False
    strategy: Strategy = "one_for_one"
    needs: tuple[str, ...] = ()
    start_within_s: float = 15.0
    stop_within_s: float = 5.0
    intensity: int = 3
    period_s: float = 60.0


@dataclass
class _Child:
    """A spec and its present incarnation."""

    spec: ChildSpec
    mailbox: Mailbox
    lease: Lease | None = None
    status: ChildStatus = "waiting"
    epoch: int = 0
    restarts: int = 0
    failed_at_s: float = 0.0
    last_fault: str = ""
    failures_s: deque[float] = field(default_factory=lambda: deque(maxlen=100))


class Supervisor(Actor):
    """See the module's docstring."""

    def __init__(
        self,
        context: Context,
        specs: Sequence[ChildSpec],
        *,
        seed: int = 0,
        make_safe: Callable[[str], None] = lambda cause: None,  # noqa: ARG005
        closes_within_s: float = 150.0,
    ) -> None:
        super().__init__(context)
        self.finished = threading.Event()
        self.exit_status = 0
        self._make_safe = make_safe
        self._closes_within_s = closes_within_s
        self._random = random.Random(seed)
        self._abandoned = 0
        self._status: Literal["starting", "up", "stopping", "making safe"] = "starting"
        self._since = self.clock.now()
        self._children = {spec.name: _Child(spec, self._system.open_mailbox(spec.name)) for spec in specs}

    # -- start -------------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin the boot; runs in the supervisor's thread."""
        self.subscribe(ActorStarted, ActorStopped)
        self._start_next()
        self.after(WATCH_EVERY_S, Watch())

    def _start_next(self) -> None:
        child = next((c for c in self._children.values() if c.status == "waiting"), None)
        if child is None:
            if self._status == "starting":
                self._status = "up"
            self.show()
            return
        self._incarnate(child)

    def _incarnate(self, child: _Child) -> None:
        child.epoch += 1
        child.status = "starting"
        child.lease = Lease(child.spec.name, child.epoch)
        view = child.mailbox.open_view(child.epoch)
        context = Context(name=child.spec.name, system=self._system, lease=child.lease, view=view)
        try:
            child.spec.make(context).start_in(context)
        except Exception as error:  # noqa: BLE001 - a constructor may fail in any way; it is the child's failure
            cause = f"{type(error).__name__}: {error}"
            self.tell(
                SUPERVISOR, ActorFailed(actor=child.spec.name, epoch=child.epoch, cause=cause, message="__init__")
            )
        epoch = child.epoch
        self._later(child.spec.start_within_s, lambda: self._check_started(child, epoch), Watch())

    def _check_started(self, child: _Child, epoch: int) -> None:
        if child.status == "starting" and child.epoch == epoch:
            child.last_fault = f"has not started within {child.spec.start_within_s:g} s"
            child.status = "down"
            self._start_next()

    def on_actor_started(self, message: ActorStarted) -> None:
        """A child takes messages; go on with the next."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch:
            return
        child.status = "up"
        if child.epoch > 1:
            away_s = self.clock.monotonic_s() - child.failed_at_s
            self.publish(
                ActorRestarted(
                    actor=message.actor, epoch=message.epoch, cause=child.last_fault, away_s=max(0.0, away_s)
                )
            )
        self._start_next()

    # -- failures ----------------------------------------------------------------------------------------------------

    def on_actor_failed(self, message: ActorFailed) -> None:
        """A child's incarnation has ended by a failure: count, and restart now or after a backoff."""
        child = self._children.get(message.actor)
        if child is None or child.epoch != message.epoch or self._status == "stopping":
            return
        self.publish(message)
        self._replace(child, f"{message.message}: {message.cause}")

    def _replace(self, child: _Child, cause: str) -> None:
        now_s = self.clock.monotonic_s()
        child.failed_at_s, child.last_fault = now_s, cause
        if child.lease is not None:
            child.lease.revoke()
        child.failures_s.append(now_s)
        recent = sum(1 for t in child.failures_s if now_s - t <= child.spec.period_s)
        if recent > 2 * child.spec.intensity and child.spec.critical:
            self._give_up(f"{child.spec.name} has failed {recent} times in {child.spec.period_s:g} s; last: {cause}")
            return
        if child.spec.strategy == "rest_for_one" or recent > child.spec.intensity:
            self._stop_dependants(child, cause)
        child.status = "backing off"
        delay_s = 0.0 if recent <= 1 else BACKOFF_S[min(recent - 2, len(BACKOFF_S) - 1)]
        delay_s *= 1 + JITTER * (2 * self._random.random() - 1)
        restart = Restart(actor=child.spec.name, epoch=child.epoch, cause=cause, failed_at_s=now_s)
        if delay_s == 0.0:
            self.on_restart(restart)
        else:
            self.after(delay_s, restart)
        self.show()

    def on_restart(self, message: Restart) -> None:
        """A backoff is over."""
        child = self._children[message.actor]
        if child.epoch == message.epoch and child.status == "backing off" and self._status != "stopping":
            child.restarts += 1
            self._incarnate(child)

    def _stop_dependants(self, failed: _Child, cause: str) -> None:
        """Take down those that need the failed one and come after it; they are started again after it."""
        gone = {failed.spec.name}
        for child in self._children.values():
            if gone & set(child.spec.needs):
                gone.add(child.spec.name)
                if child.status in {"up", "starting"}:
                    self._order_stop(child)
                    if child.lease is not None:
                        child.lease.revoke()
                    child.failed_at_s, child.last_fault = self.clock.monotonic_s(), f"with {failed.spec.name}: {cause}"
                    child.restarts += 1
                    child.status = "waiting"

    def on_watch(self, _: Watch) -> None:
        """Look for hung children; arm the next look."""
        self.after(WATCH_EVERY_S, Watch())
        now_s = self.clock.monotonic_s()
        for child in self._children.values():
            since_s, mail = child.mailbox.busy_since_s, child.mailbox.current
            if child.status != "up" or since_s is None:
                continue
            budget_s = self.clock.at_least_real(_budget_s(mail), 5.0)
            if now_s - since_s > budget_s:
                self._abandon(child, mail, now_s - since_s)

    def _abandon(self, child: _Child, mail: object, busy_s: float) -> None:
        tag = _tag(mail)
        self._abandoned += 1
        reason = f"{child.spec.name} has been busy with {tag} for {busy_s:.1f} s, over its budget"
        self._system.bury(DeadLetter(to=child.spec.name, message=tag, reason=reason))
        if self._abandoned > MOST_ABANDONED:
            self._give_up(f"{self._abandoned} threads hang; last: {reason}")
            return
        failure = ActorFailed(actor=child.spec.name, epoch=child.epoch, cause="hung", message=tag)
        self.publish(failure)
        self._replace(child, reason)

    def _give_up(self, cause: str) -> None:
        self._status = "making safe"
        self.show()
        self._make_safe(cause)
        self.exit_status = 1
        self.finished.set()

    # -- shutdown ----------------------------------------------------------------------------------------------------

    def on_shutdown(self, message: Shutdown) -> Procedure:
        """Close first, then stop the children in reverse order, each within its deadline."""
        self._status = "stopping"
        self.show()
        self.tell("majordome", StopObserving(cause=message.cause))
        latest = self.latest(PlcState)
        if latest is not None and latest[0].dome not in {"closed", "unknown"}:
            yield Until(PlcState, lambda state: state.dome == "closed", self._closes_within_s)
        for child in reversed(self._children.values()):
            if child.status not in {"up", "starting"}:
                continue
            self._order_stop(child)
            name = child.spec.name
            yield Until(ActorStopped, lambda stopped, name=name: stopped.actor == name, child.spec.stop_within_s)
            child.status = "stopped"
            if child.lease is not None:
                child.lease.revoke()
        self.finished.set()
        return Done()

    def on_actor_stopped(self, message: ActorStopped) -> None:
        """A child has ended in order; one that is to come back with a failed one is started again in its turn."""

    @staticmethod
    def _order_stop(child: _Child) -> None:
        try:
            child.mailbox.put(_ActorStop(), first=True)
        except MailboxRefusedError:
            return  # it has ended already

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> SupervisorState:
        """Return the tree."""
        rows = [
            ChildRow(
                actor=child.spec.name,
                status=child.status,
                epoch=child.epoch,
                restarts=child.restarts,
                mailbox=0,
                last_fault=child.last_fault,
            )
            for child in self._children.values()
        ]
        return SupervisorState(status=self._status, since=self._since, children=rows)


def start_supervisor(system: System, make: Callable[[Context], Supervisor]) -> Supervisor:
    """Open the supervisor's mailbox and start it, which starts everything."""
    mailbox = system.open_mailbox(SUPERVISOR)
    lease = Lease(SUPERVISOR, 1)
    context = Context(name=SUPERVISOR, system=system, lease=lease, view=mailbox.open_view(1))
    supervisor = make(context)
    supervisor.start_in(context)
    return supervisor


def _budget_s(mail: object) -> float:
    if isinstance(mail, Envelope):
        return mail.message.budget_s
    return mail.about.budget_s if isinstance(mail, Resume) else 1.0


def _tag(mail: object) -> str:
    if isinstance(mail, Envelope):
        return type(mail.message).__name__
    return type(mail.about).__name__ if isinstance(mail, Resume) else type(mail).__name__
