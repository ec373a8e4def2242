"""A child of the supervisor: its spec, its present incarnation, and how often it has failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pyros.actors.kernel.actor import Actor, Context
from pyros.actors.kernel.backoff import Backoff
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.mailbox import Mailbox
from pyros.messages.base import Failed
from pyros.messages.system import ChildRow, ChildStatus

Strategy = Literal["one_for_one", "rest_for_one"]


@dataclass(frozen=True)
class ChildSpec:
    """How a child is made and what its death means.

    Parameters
    ----------
    make
        Makes one incarnation; called in the supervisor's thread, for every restart.
    critical
        Without it the observatory cannot be kept safe: when it cannot be kept up, make safe and end.
    strategy
        `rest_for_one`: each of its failures takes down those that need it.
    needs
        Names of earlier children. Names that are not in the tree are ignored.
    start_within_s, stop_within_s
        Deadlines in clock seconds, on a scaled clock at least as many real ones.
    intensity, period_s
        More failures than this without `period_s` of health between them, and its dependants are restarted with it.
    """

    name: str
    make: Callable[[Context], Actor]
    critical: bool = False
    strategy: Strategy = "one_for_one"
    needs: tuple[str, ...] = ()
    start_within_s: float = 15.0
    stop_within_s: float = 5.0
    intensity: int = 3
    period_s: float = 60.0

    def breaking(self, why: Callable[[], str]) -> ChildSpec:
        """Return the spec of a child that breaks in `on_start` as long as `why()` gives a reason; for scenarios."""

        def make(context: Context) -> Actor:
            actor = self.make(context)
            start = actor.on_start

            def on_start() -> None:
                if reason := why():
                    raise RuntimeError(reason)
                start()

            actor.on_start = on_start  # type: ignore[method-assign]
            return actor

        return replace(self, make=make)


@dataclass(eq=False)
class Child:
    """A spec and its present incarnation. Only the supervisor changes it."""

    spec: ChildSpec
    mailbox: Mailbox
    backoff: Backoff
    actor: Actor | None = None
    """The present incarnation, unless it could not even be made."""
    lease: Lease | None = None
    status: ChildStatus = "waiting"
    epoch: int = 0
    failed_at_s: float = 0.0
    last_fault: str = ""
    ending: bool = False
    """Told to stop, because of the one in `held_by` or for good, and not yet gone."""
    held_by: tuple[str, ...] = ()
    """The children that have to be up again before this one is started."""
    end_seen: bool = False
    """Whether an earlier look has found the incarnation's thread ended."""
    due_s: float = 0.0
    """When its start, or its end, must be over (the clock's monotonic seconds)."""

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.spec.name

    def begin(self, context: Context) -> None:
        """Make the incarnation that this context is for, and start its thread. What `make` raises goes through."""
        self.actor, self.lease, self.end_seen = None, context.lease, False
        actor = self.spec.make(context)
        actor.start_in(context)
        self.actor = actor

    def revoke(self) -> None:
        """End its incarnation's right to act."""
        if self.lease is not None:
            self.lease.revoke()

    def forsake(self, reason: str) -> None:
        """Give its incarnation up for lost: whoever waits for it is answered `Failed`."""
        self.revoke()
        if self.actor is not None:
            self.actor.forsake(Failed(reason=f"{self.name}: {reason}"))

    def row(self) -> ChildRow:
        """Return its line in `SupervisorState`."""
        return ChildRow(
            actor=self.name,
            status=self.status,
            epoch=self.epoch,
            restarts=max(0, self.epoch - 1),
            mailbox=len(self.mailbox),
            last_fault=self.last_fault,
        )
