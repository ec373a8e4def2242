"""What the alert manager keeps in mind of an alert: its notices, its sequences, and the times of its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pyros.actors.alert_manager.association import KnownAlert, better_position, known_alert
from pyros.actors.alert_manager.notice import Notice, Position, position_of
from pyros.messages.alerts import AlertRow, AlertStatus

STEPS = ("t0", "sent", "received", "stored", "decided", "slew_commanded", "settled", "first_shutter", "first_result")
"""The steps of an alert's way, in order."""


@dataclass
class AlertFile:
    """One alert in the manager's memory; a cache of what the store has."""

    alert_id: int
    name: str
    status: AlertStatus
    t0: datetime
    position: Position
    strategy: str
    notices: list[Notice] = field(default_factory=list[Notice])
    sequences: list[int] = field(default_factory=list[int])
    times: dict[str, datetime] = field(default_factory=dict[str, datetime])
    candidates: int = 0
    reissued: int = 0

    def known(self) -> KnownAlert:
        """Return what association looks at."""
        return known_alert(self.alert_id, self.notices)

    def note(self, step: str, at: datetime) -> bool:
        """Note when a step was first reached; tell whether it was the first time."""
        if step in self.times:
            return False
        self.times[step] = at
        return True

    def better(self, notice: Notice) -> Position | None:
        """Return the notice's position if it is better than the one we go by."""
        position = position_of(notice)
        return position if better_position(self.position, position) else None

    def row(self) -> AlertRow:
        """Return the alert in short."""
        return AlertRow(
            alert_id=self.alert_id,
            name=self.name,
            status=self.status,
            t0=self.t0,
            ra_deg=self.position.ra_deg,
            dec_deg=self.position.dec_deg,
            error_deg=self.position.r90_deg,
            strategy=self.strategy,
            notices=len(self.notices),
            times=dict(self.times),
            candidates=self.candidates,
        )
