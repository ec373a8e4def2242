"""What the supervisor knows of a child: its spec, its present incarnation, and how often it has failed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pyros.actors.kernel.actor import Actor, Context
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.mailbox import Mailbox
from pyros.messages.system import ChildRow, ChildStatus

Strategy = Literal["one_for_one", "rest_for_one"]
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
JITTER = 0.2


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


@dataclass(eq=False)
class Child:
    """A spec and its present incarnation. Only the supervisor changes it."""

    spec: ChildSpec
    mailbox: Mailbox
    lease: Lease | None = None
    status: ChildStatus = "waiting"
    epoch: int = 0
    restarts: int = 0
    failures: int = 0
    """In a row: without `period_s` of health between them."""
    up_since_s: float | None = None
    failed_at_s: float = 0.0
    last_fault: str = ""
    ending: bool = False
    """Told to stop, because of the one in `held_by`, and not yet gone."""
    held_by: str = ""
    """The child that has to be up again before this one is started."""
    due_s: float = 0.0
    """When its start, or its end, must be over (the clock's monotonic seconds)."""

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.spec.name

    def count_failure(self, now_s: float, cause: str) -> int:
        """Note a failure; return how many there were in a row."""
        healthy = self.up_since_s is not None and now_s - self.up_since_s >= self.spec.period_s
        self.failures = 1 if healthy else self.failures + 1
        self.up_since_s = None
        self.failed_at_s, self.last_fault = now_s, cause
        return self.failures

    def backoff_s(self, dice: random.Random) -> float:
        """Seconds to wait before the next incarnation: none after the first failure in a row, then 1, 2, 4 … 60."""
        if self.failures <= 1:
            return 0.0
        delay_s = BACKOFF_S[min(self.failures - 2, len(BACKOFF_S) - 1)]
        return delay_s * (1 + JITTER * dice.uniform(-1, 1))

    def revoke(self) -> None:
        """End its incarnation's right to act."""
        if self.lease is not None:
            self.lease.revoke()

    def row(self) -> ChildRow:
        """Return its line in `SupervisorState`."""
        return ChildRow(
            actor=self.name,
            status=self.status,
            epoch=self.epoch,
            restarts=self.restarts,
            mailbox=len(self.mailbox),
            last_fault=self.last_fault,
        )
