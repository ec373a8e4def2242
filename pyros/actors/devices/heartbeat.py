"""When the PLC's dead-man may be fed: only after the loop has decided. Pure but for its memory of beats.

A beat counts if majordome sent it, a later incarnation or a later count than the last, about the monitor's last verdict
or one just before it, while that verdict is fresh. So a hung, abandoned or repeated link of the chain feeds nothing.
Ages are by the monotonic clock; of the verdicts' UTC only the difference of two of them counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import inf

from pyros.messages.devices import Beat

FEEDER = "majordome"
EVERY_S = 5.0
"""At most; a quarter of the dead-man's time where that is shorter."""
NUMBERS = 65_536


@dataclass(frozen=True)
class Postmark:
    """Who sent a beat, and in which incarnation."""

    sender: str
    epoch: int


class Heartbeat:
    """What has been heard and what has been written.

    Parameters
    ----------
    max_age_s
        How old a verdict, and a beat, may be.
    every_s
        The time between two writes.
    """

    def __init__(self, max_age_s: float, every_s: float) -> None:
        self._max_age_s = max_age_s
        self._every_s = every_s
        self._heard = self._written = (0, 0)
        """Incarnation and count: later beats are greater."""
        self._heard_s = self._written_s = -inf
        self._number = 0

    def hear(
        self, beat: Beat, postmark: Postmark, verdict_at: datetime | None, verdict_age_s: float, now_s: float
    ) -> str | None:
        """Take a beat, or say why it does not show that the loop has decided just now.

        Parameters
        ----------
        verdict_at, verdict_age_s
            The monitor's last verdict.
        now_s
            The monotonic clock.
        """
        if postmark.sender != FEEDER:
            return f"a beat comes from {FEEDER}, not from {postmark.sender or 'outside'}"
        mark = (postmark.epoch, beat.count)
        if mark <= self._heard:
            return f"beat {mark[1]} of incarnation {mark[0]} does not follow {self._heard[1]} of {self._heard[0]}"
        if verdict_at is None or verdict_age_s > self._max_age_s:
            return "there is no fresh verdict that it could be about"
        behind_s = (verdict_at - beat.verdict_at).total_seconds()
        if not 0.0 <= behind_s <= self._max_age_s:
            return f"it is about a verdict {behind_s:.1f} s before the last one"
        self._heard, self._heard_s = mark, now_s
        return None

    def is_due(self, now_s: float) -> bool:
        """Tell whether to write: a beat is fresh and not written yet, and the last write was long enough ago."""
        fresh = self._heard > self._written and now_s - self._heard_s <= self._max_age_s
        return fresh and now_s - self._written_s >= self._every_s

    def next_number(self) -> int:
        """Return the number to write, which differs from the last."""
        self._number = (self._number + 1) % NUMBERS
        return self._number

    def written(self, now_s: float) -> None:
        """Note that the PLC has it."""
        self._written, self._written_s = self._heard, now_s
