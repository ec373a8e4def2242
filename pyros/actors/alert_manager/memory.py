"""The alert manager's memory: the alerts and loose triggers of the last day and a half, as the store has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pyros.actors.alert_manager.ledger import AlertFile, LooseTrigger
from pyros.actors.alert_manager.notice import NINETY, Notice, Position
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.voevent import NoticeError, read
from pyros.store.database import Reader
from pyros.store.repositories import (
    alerts_since,
    loose_triggers,
    most_candidates,
    notices_of_alert,
    raw_notices_of_alert,
    raw_notices_of_trigger,
    sequences_of,
    strategy_of,
)

KEPT = timedelta(hours=36)
"""Association reaches back 24 hours."""


@dataclass
class Memory:
    """Alerts and loose triggers, oldest first."""

    alerts: list[AlertFile] = field(default_factory=list[AlertFile])
    loose: list[LooseTrigger] = field(default_factory=list[LooseTrigger])
    _numbered: int = 0

    def alert(self, alert_id: int | None) -> AlertFile | None:
        """Return the alert of that id, or None."""
        return next((file for file in self.alerts if file.alert_id == alert_id), None)

    def alive(self) -> list[AlertFile]:
        """Return the alerts that are to be observed."""
        return [file for file in self.alerts if file.alive]

    def of_sequence(self, sequence_id: int) -> AlertFile | None:
        """Return the alert that a sequence belongs to, or None."""
        return next((file for file in self.alerts if sequence_id in file.sequences), None)

    def loose_trigger(self, number: int | None) -> LooseTrigger:
        """Return the loose trigger of that number; None makes a new one."""
        found = next((trigger for trigger in self.loose if trigger.number == number), None)
        if found is None:
            self._numbered += 1
            found = LooseTrigger(number=-self._numbered)
            self.loose.append(found)
        return found

    def forget(self, now: datetime) -> None:
        """Drop what is too old to be associated with anything."""
        self.alerts = [file for file in self.alerts if file.alive or file.t0 >= now - KEPT]
        self.loose = [trigger for trigger in self.loose if _newest(trigger, now) >= now - KEPT]


def _newest(trigger: LooseTrigger, now: datetime) -> datetime:
    return max((notice.reference or now for notice in trigger.notices), default=now)


def load(reader: Reader, now: datetime) -> Memory:
    """Return what the store knows of the last day and a half."""
    memory = Memory(alerts=[_file(reader, row) for row in alerts_since(reader, now - KEPT)])
    for row in loose_triggers(reader, now - KEPT):
        trigger = memory.loose_trigger(None)
        for notice_id, raw in raw_notices_of_trigger(reader, row["mission"], row["identifier"]):
            notice, _ = read_notice(raw)
            if notice is not None:
                trigger.take(notice_id, notice, burst=_is_burst(notice))
    memory.loose = [trigger for trigger in memory.loose if trigger.notices]
    return memory


def _is_burst(notice: Notice) -> bool:
    """Tell what the verdict said of its nature, from what the notice alone says."""
    return notice.classification in {"", "GRB"} and not (notice.retraction or notice.flags or notice.test)


def _file(reader: Reader, row: dict[str, Any]) -> AlertFile:
    alert_id = row["id"]
    told = sorted(notices_of_alert(reader, alert_id), key=lambda notice: notice["id"])
    back = {notice["mission"] for notice in told if notice["retraction"]}
    taken = [n["mission"] for n in told if n["verdict"] == "ACCEPTED" and n["mission"] not in back]
    trees = sequences_of(reader, alert_id=alert_id)
    latest = [tree.latest for tree in trees if tree.latest is not None]
    return AlertFile(
        alert_id=alert_id,
        name=row["name"],
        status=row["status"],
        t0=row["t0"],
        position=Position(
            ra_deg=row["ra_deg"], dec_deg=row["dec_deg"], error_deg=row["error_deg"], error_meaning=NINETY
        ),
        strategy=strategy_of(reader, row["strategy_id"]),
        latest=max(latest, default=None),
        notices=[
            notice for raw in raw_notices_of_alert(reader, alert_id) if (notice := read_notice(raw)[0]) is not None
        ],
        missions=list(dict.fromkeys(taken)),
        sequences=[tree.id for tree in trees],
        times={step: datetime.fromisoformat(at) for step, at in row["times"].items()},
        candidates=most_candidates(reader, alert_id),
        reissued=max(0, sum(1 for tree in trees if tree.status in {"INTERRUPTED", "ABORTED"}) - 1),
    )


def read_notice(raw: bytes) -> tuple[Notice | None, str]:
    """Return what a notice says, or why nobody can tell."""
    try:
        return interpret(read(raw)), ""
    except NoticeError as error:
        return None, str(error)
