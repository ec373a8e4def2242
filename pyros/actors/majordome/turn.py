"""Whose turn it is: the sequence that was told to run, since when, and how the last ones ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from pyros.actors.majordome.agenda import Item
from pyros.messages.night import ObserveAlert, Outcome, PlannedSequence
from pyros.store.repositories import SequenceTree

LOST_AFTER_S = 30.0
"""A sequence that the observation manager does not name for so long is not running."""
WAIT_S = (0.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""How long to wait after so many interruptions in a row: a broken device must not use up the night's sequences."""


class Turn:
    """At most one sequence. Times are seconds of the monotonic clock, except those that people read."""

    def __init__(self) -> None:
        self.item: Item | None = None
        self.name = ""
        self.until: datetime | None = None
        self.interruptions = 0
        self._since_s = 0.0
        self._ended_s = 0.0

    @property
    def sequence_id(self) -> int | None:
        """The running sequence."""
        return None if self.item is None else self.item.sequence_id

    @property
    def is_alert(self) -> bool:
        """Whether an alert has it."""
        return isinstance(self.item, ObserveAlert)

    def begin(self, item: Item, now_s: float) -> None:
        """Give the turn."""
        self.forget()
        self.item, self._since_s = item, now_s
        if isinstance(item, PlannedSequence):
            self.name, self.until = item.name, item.end

    def started(self, name: str, tree: SequenceTree | None, now: datetime) -> None:
        """Note that it really runs, and until when it will."""
        self.name = name
        if tree is not None:
            self.until = now + timedelta(seconds=tree.duration_s + tree.overhead_s)

    def adopt(self, tree: SequenceTree, now: datetime, now_s: float) -> None:
        """Take over what runs already, after a restart."""
        start = tree.started_at or now
        end = start + timedelta(seconds=tree.duration_s + tree.overhead_s)
        item: Item = (
            PlannedSequence(
                sequence_id=tree.id,
                name=tree.target_name,
                start=start,
                end=end,
                delta_tl_s=0.0,
                delta_tr_s=0.0,
                priority=tree.priority,
            )
            if tree.alert_id is None
            else ObserveAlert(sequence_id=tree.id, alert_id=tree.alert_id, may_interrupt=True, until=tree.latest or end)
        )
        self.begin(item, now_s)
        self.name, self.until = tree.target_name, end

    def forget(self) -> None:
        """Nobody has the turn."""
        self.item, self.name, self.until = None, "", None

    def end(self, outcome: Outcome, now_s: float) -> None:
        """Take the turn back, and count how often in a row something went wrong."""
        self.forget()
        self._ended_s = now_s
        self.interruptions = self.interruptions + 1 if outcome == "INTERRUPTED" else 0

    def waits_s(self, now_s: float) -> float:
        """Seconds still to wait before the next planned sequence."""
        return self._ended_s + WAIT_S[min(self.interruptions, len(WAIT_S) - 1)] - now_s if self.interruptions else 0.0

    def is_lost(self, observed: int | None, now_s: float, limit_s: float) -> bool:
        """Tell whether the observation manager, who names `observed`, has not taken the turn in time."""
        if self.item is not None and observed == self.item.sequence_id:
            self._since_s = now_s
        return self.item is not None and now_s - self._since_s > limit_s
