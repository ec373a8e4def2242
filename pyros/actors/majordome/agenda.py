"""What waits to be observed: alerts that may go at once, and the planning. Which is next? Pure but for its lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pyros.messages.night import ObserveAlert, PlannedSequence

Item = PlannedSequence | ObserveAlert
TRIES = 5
"""How often an alert whose execution was refused is offered again: what hindered it may be over in a moment."""


@dataclass
class Agenda:
    """Alerts in the order of their coming, and the current planning."""

    plan: list[PlannedSequence] = field(default_factory=list[PlannedSequence])
    alerts: list[ObserveAlert] = field(default_factory=list[ObserveAlert])
    _tries: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, alert: ObserveAlert) -> None:
        """Take an alert; a second word on the same sequence replaces the first."""
        self.alerts = [known for known in self.alerts if known.sequence_id != alert.sequence_id] + [alert]

    def offer_again(self, alert: ObserveAlert) -> bool:
        """Take an alert back whose execution was refused; tell whether it was not the last try."""
        self._tries[alert.sequence_id] = self._tries.get(alert.sequence_id, 0) + 1
        if self._tries[alert.sequence_id] >= TRIES:
            return False
        self.add(alert)
        return True

    def take(self, item: Item) -> None:
        """Strike out what is being started, wherever it stands."""
        self.alerts = [alert for alert in self.alerts if alert.sequence_id != item.sequence_id]
        self.plan = [planned for planned in self.plan if planned.sequence_id != item.sequence_id]

    def next_item(self, now: datetime, lead_s: float) -> Item | None:
        """Return what to start now: an alert before anything planned."""
        self.alerts = [alert for alert in self.alerts if now < alert.until]
        return next_alert(self.alerts, now) or next_planned(self.plan, now, lead_s)

    def following(self) -> Item | None:
        """Return what stands first, whenever its time comes."""
        return self.alerts[-1] if self.alerts else self.plan[0] if self.plan else None

    def drop_missed(self, now: datetime) -> bool:
        """Strike out what can no longer be started in time; tell whether there was any."""
        late = missed(self.plan, now)
        self.plan = [planned for planned in self.plan if planned not in late]
        return bool(late)


def next_alert(pending: Sequence[ObserveAlert], now: datetime) -> ObserveAlert | None:
    """Return the latest alert that may still be observed: the youngest burst fades fastest."""
    alive = [alert for alert in pending if now < alert.until]
    return alive[-1] if alive else None


def next_planned(plan: Sequence[PlannedSequence], now: datetime, lead_s: float) -> PlannedSequence | None:
    """Return the planned sequence whose time has come: `lead_s` before its earliest start, up to its latest.

    What stood before it may have ended early or been lost: an idle telescope starts the next one as soon as its slack
    to the left allows.
    """
    for planned in plan:
        if now <= _latest_start(planned):
            earliest = planned.start - timedelta(seconds=planned.delta_tl_s + lead_s)
            return planned if now >= earliest else None
    return None


def missed(plan: Sequence[PlannedSequence], now: datetime) -> list[PlannedSequence]:
    """Return what can no longer be started in time."""
    return [planned for planned in plan if now > _latest_start(planned)]


def _latest_start(planned: PlannedSequence) -> datetime:
    return planned.start + timedelta(seconds=planned.delta_tr_s + 1.0)
