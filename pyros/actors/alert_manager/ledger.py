"""What the alert manager keeps in mind: alerts with the times of their way, and triggers that opened none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pyros.actors.alert_manager.association import KnownAlert, better_position, known_alert
from pyros.actors.alert_manager.notice import Notice, Position, position_of
from pyros.messages.alerts import AlertOpened, AlertRow, AlertStatus, AlertUpdated

STEPS = ("t0", "sent", "received", "stored", "decided", "slew_commanded", "settled", "first_shutter", "first_result")
"""The steps of an alert's way, in order."""


@dataclass
class Undecided:
    """A stored notice whose turn has not come."""

    notice_id: int
    notice: Notice
    received_at: datetime
    stored_at: datetime
    tries: int = 0


@dataclass
class LooseTrigger:
    """A trigger that belongs to no alert: a burst too wide to look at, something else than a burst, or retracted."""

    number: int
    """Below 0, so that it cannot be taken for an alert's."""
    notices: list[Notice] = field(default_factory=list[Notice])
    notice_ids: list[int] = field(default_factory=list[int])
    burst: bool = False

    @property
    def retracted(self) -> bool:
        """Whether its mission took it back."""
        return any(notice.retraction for notice in self.notices)

    def take(self, notice_id: int, notice: Notice, *, burst: bool) -> None:
        """Add a notice; the last one that says what it is counts."""
        self.notices.append(notice)
        self.notice_ids.append(notice_id)
        self.burst = burst

    def known(self) -> KnownAlert:
        """Return what association looks at; what is no burst, or none any more, is found by its name alone."""
        found = known_alert(self.number, self.notices, burst=self.burst)
        return found if self.burst and not self.retracted else by_name_only(found)


@dataclass
class AlertFile:
    """One alert in the manager's memory; a cache of what the store has."""

    alert_id: int
    name: str
    status: AlertStatus
    t0: datetime
    position: Position
    strategy: str
    latest: datetime | None = None
    """Nothing is observed of it after this instant."""
    notices: list[Notice] = field(default_factory=list[Notice])
    missions: list[str] = field(default_factory=list[str])
    """Those whose position was good enough to look at and that have not taken it back."""
    sequences: list[int] = field(default_factory=list[int])
    """The last one counts; the end of an earlier one asks for nothing."""
    times: dict[str, datetime] = field(default_factory=dict[str, datetime])
    candidates: int = 0
    reissued: int = 0
    reissue_at: datetime | None = None
    """When a new sequence is to be made."""
    resume_at: datetime | None = None
    """When the store is to be asked again how its last sequence stands."""

    @property
    def alive(self) -> bool:
        """Whether it is to be observed."""
        return self.status in {"ACTIVE", "HELD"}

    def known(self) -> KnownAlert:
        """Return what association looks at; a retracted burst is found by its name alone."""
        found = known_alert(self.alert_id, self.notices)
        return by_name_only(found) if self.status == "RETRACTED" else found

    def note(self, steps: dict[str, datetime]) -> bool:
        """Note when steps were first reached; tell whether any is new."""
        new = {step: at for step, at in steps.items() if step not in self.times}
        self.times.update(new)
        return bool(new)

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
            times={step: self.times[step] for step in STEPS if step in self.times},
            candidates=self.candidates,
        )


def by_name_only(known: KnownAlert) -> KnownAlert:
    """Return an alert that only its identifiers and citations lead to."""
    return KnownAlert(
        alert_id=known.alert_id, triggers=known.triggers, position=None, burst=known.burst, ivorns=known.ivorns
    )


def opened(file: AlertFile) -> AlertOpened:
    """Return the news of a new alert."""
    return AlertOpened(
        alert_id=file.alert_id,
        name=file.name,
        t0=file.t0,
        ra_deg=file.position.ra_deg,
        dec_deg=file.position.dec_deg,
        error_deg=file.position.r90_deg,
        strategy=file.strategy,
        sequence_id=file.sequences[-1],
    )


def updated(file: AlertFile, reason: str) -> AlertUpdated:
    """Return the news of an alert that has changed."""
    return AlertUpdated(
        alert_id=file.alert_id,
        status=file.status,
        ra_deg=file.position.ra_deg,
        dec_deg=file.position.dec_deg,
        error_deg=file.position.r90_deg,
        reason=reason,
    )
