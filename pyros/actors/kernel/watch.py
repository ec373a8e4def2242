"""What the supervisor looks for: children over their deadlines, signs of life, threads that were left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyros.actors.kernel.actor import Actor
from pyros.actors.kernel.child import Child
from pyros.actors.kernel.envelope import Resume, StopOrder, budget_of, tag_of
from pyros.clock import Clock
from pyros.messages.base import GetState

WATCH_EVERY_S = 5.0
FASTEST_LOOK_S = 1.0
"""Real seconds: more often than this a fast clock's supervisor does not look."""
PATIENCE_S = 5.0
"""Real seconds: nobody is judged to be hung earlier."""


@dataclass(frozen=True)
class Hang:
    """A child that does not come back: from what, and in words."""

    tag: str
    reason: str


def hang_of(child: Child, now_s: float, clock: Clock) -> Hang | None:
    """Judge one child at the clock's monotonic second `now_s`: over its message's budget, its start's or its end's.

    Judged too is a thread that could not even report its end; not at the first look, for the report may be on its way.
    """
    if child.ending:
        return _if_due(child, now_s, Hang(stuck_in(child), f"it has not stopped within {child.spec.stop_within_s:g} s"))
    if child.status == "starting":
        return _if_due(child, now_s, Hang("on_start", f"it has not started within {child.spec.start_within_s:g} s"))
    if child.status != "up":
        return None
    if child.actor is not None and child.actor.has_ended:
        seen, child.end_seen = child.end_seen, True
        return Hang("loop", "its thread has ended without a word") if seen else None
    if (busy := child.mailbox.busy()) is not None:
        return _over_budget(*busy, now_s, clock)
    return None


def stuck_in(child: Child) -> str:
    """Return the tag of what a child that does not stop is busy with: a message, or its end itself."""
    busy = child.mailbox.busy()
    return "on_stop" if busy is None or isinstance(busy[0], StopOrder) else tag_of(busy[0])


def _if_due(child: Child, now_s: float, hang: Hang) -> Hang | None:
    return hang if now_s >= child.due_s - 1e-6 else None


def _over_budget(mail: Any, since_s: float, now_s: float, clock: Clock) -> Hang | None:
    if now_s - since_s <= clock.at_least_real(budget_of(mail), PATIENCE_S):
        return None
    return Hang(tag_of(mail), f"busy with {tag_of(mail)} for {now_s - since_s:.1f} s, over its budget")


class Abandoned:
    """Threads that were left hanging. One that ends after all is forgiven."""

    def __init__(self) -> None:
        self._actors: list[Actor] = []

    def add(self, actor: Actor | None) -> int:
        """Count one more; return how many hang at present."""
        if actor is not None:
            self._actors.append(actor)
        return self.count()

    def count(self) -> int:
        """Return how many hang at present."""
        self._actors = [actor for actor in self._actors if not actor.has_ended]
        return len(self._actors)


class _Sign:
    """One sign of life that was asked for. Answered in the child's own thread."""

    def __init__(self, epoch: int, asked_s: float) -> None:
        self.epoch = epoch
        self.asked_s = asked_s
        self.given = False

    def give(self) -> None:
        self.given = True


class VitalSigns:
    """Asks children for signs of life, through their own mailboxes and behind what waits there."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._signs: dict[str, _Sign] = {}

    def ask(self, child: Child, now_s: float) -> None:
        """Ask for the next sign, unless this incarnation still owes one or is not up."""
        sign = self._signs.get(child.name)
        owes = sign is not None and sign.epoch == child.epoch and not sign.given
        if child.status == "up" and not child.ending and not owes:
            sign = self._signs[child.name] = _Sign(child.epoch, now_s)
            child.mailbox.put(Resume(child.epoch, sign.give, GetState()), always=True)

    def silent_s(self, child: Child, now_s: float) -> float:
        """Return for how long the child has owed a sign: 0 up to a look, and for an incarnation not asked yet."""
        sign = self._signs.get(child.name)
        if sign is None or sign.epoch != child.epoch or sign.given:
            return 0.0
        silent_s = now_s - sign.asked_s
        return silent_s if silent_s >= self._every_s - 1e-6 else 0.0

    def forgive(self, now_s: float) -> None:
        """Begin every wait anew: it was the supervisor that was held up."""
        for sign in self._signs.values():
            sign.asked_s = now_s
