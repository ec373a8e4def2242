"""Whether time went on as usual between two looks, or the process stood still, the machine slept, UTC was set.

Two witnesses are compared: the monotonic clock, which only runs, and UTC, which people and NTP set. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

STEP_S = 2.0
"""UTC may differ by so much from the monotonic clock between two looks: a leap second is no jump."""


@dataclass(frozen=True)
class Look:
    """An instant by both clocks."""

    now: datetime
    at_s: float
    """Seconds of the monotonic clock."""


@dataclass(frozen=True)
class Jump:
    """What was found; `str` of it is a reason in words."""

    gap_s: float
    """Seconds of the monotonic clock in which nobody looked."""
    step_s: float
    """By how much UTC has moved more than the monotonic clock; negative backward."""
    stood: bool
    """Whether the gap was too long, and not only UTC was set."""

    def __str__(self) -> str:
        stood = f"the daemon stood still for {self.gap_s:.0f} s" if self.stood else ""
        step = f"the machine's UTC was set by {self.step_s:+.0f} s" if abs(self.step_s) > STEP_S else ""
        return " and ".join(words for words in (stood, step) if words)


def jump_between(before: Look | None, after: Look, longest_s: float) -> Jump | None:
    """Return the jump between two looks, or None.

    Parameters
    ----------
    before
        None at the first look, which has nothing to compare with.
    longest_s
        How long a daemon at work may take from one look to the next.
    """
    if before is None:
        return None
    gap_s = after.at_s - before.at_s
    step_s = (after.now - before.now).total_seconds() - gap_s
    if gap_s <= longest_s and abs(step_s) <= STEP_S:
        return None
    return Jump(gap_s, step_s, stood=gap_s > longest_s)
