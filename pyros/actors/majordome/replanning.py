"""When a planning is due: the first of a night with its times, later ones from now on. Pure but for its memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pyros.messages.night import MakeSchedule, MonitorState


@dataclass
class Replanning:
    """Wishes for a planning, the earliest of which counts; at most one planning is under way."""

    night_planned: str = ""
    """The night that has had its first planning."""
    due: datetime | None = None
    cause: str = ""
    under_way: bool = False

    def want(self, cause: str, due: datetime) -> None:
        """Wish for a planning at `due`, or before if somebody else wishes so."""
        if self.due is None or due < self.due:
            self.due, self.cause = due, cause[:200]

    def order(self, monitor: MonitorState, now: datetime, before_s: float) -> MakeSchedule | None:
        """Return the planning that is due, from `before_s` before the night on, and count it as under way."""
        if self.under_way or monitor.begins is None or monitor.ends is None:
            return None
        if now < monitor.begins - timedelta(seconds=before_s):
            return None
        if self.night_planned != monitor.night:
            self.night_planned, self.due, self.under_way = monitor.night, None, True
            start = max(monitor.begins, now)
            return MakeSchedule(
                first_schedule=True, night_start=start, night_end=monitor.ends, trigger="first of the night"
            )
        if self.due is None or now < self.due:
            return None
        self.due, self.under_way = None, True
        return MakeSchedule(first_schedule=False, trigger=self.cause)
