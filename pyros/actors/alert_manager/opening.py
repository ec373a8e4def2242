"""A new alert: what it is opened with, and what the one commit that opens it writes. Pure but for look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyros.actors.alert_manager import rows
from pyros.actors.alert_manager.case import Case, Deed
from pyros.actors.alert_manager.decision import companions
from pyros.actors.alert_manager.ledger import STEPS, AlertFile, LooseTrigger, opened
from pyros.actors.alert_manager.notice import Notice, Position, position_of
from pyros.actors.alert_manager.strategy import Strategy, StrategyRequest, dump
from pyros.actors.alert_manager.tactics import Tactics
from pyros.actors.courier.news import news
from pyros.config import Settings
from pyros.messages.codec import to_builtins
from pyros.messages.store import Change, Commit, Insert
from pyros.store.builder import build_request
from pyros.store.database import Reader
from pyros.store.repositories import strategy_row, trigger


@dataclass(frozen=True)
class Opening:
    """What an alert is opened with."""

    t0: datetime
    position: Position
    strategy: Strategy
    request: StrategyRequest
    companions: list[LooseTrigger]
    """Loose triggers that are the same burst."""

    @property
    def earlier(self) -> list[Notice]:
        """The companions' notices."""
        return [notice for trigger in self.companions for notice in trigger.notices]

    def times(self, case: Case) -> dict[str, datetime]:
        """Return the times of the alert's way so far."""
        sent = {} if case.notice.sent is None else {"sent": case.notice.sent}
        return {"t0": self.t0, **sent, **case.times}

    def file(self, case: Case, alert_id: int, sequence_id: int) -> AlertFile:
        """Return what is kept in mind of the alert."""
        return AlertFile(
            alert_id=alert_id,
            name=self.request.target_name,
            status="ACTIVE",
            t0=self.t0,
            position=self.position,
            strategy=f"{self.request.strategy} {self.request.version}",
            latest=self.request.latest,
            notices=[*self.earlier, case.notice],
            missions=[case.notice.mission],
            sequences=[sequence_id],
            times=self.times(case),
        )


def opening_of(case: Case, tactics: Tactics) -> Opening | str:
    """Return what an alert is opened with, or why there is nothing to observe of it."""
    notice, same = case.notice, companions(case.notice, case.memory.loose)
    told = [other.t0 for one in same for other in one.notices if other.t0 is not None]
    t0 = notice.t0 or min(told, default=None) or notice.reference or case.now
    strategy, position = tactics.choose(notice), position_of(notice)
    if strategy is None or position is None:
        return "no strategy takes it"
    request = tactics.request(strategy, notice, case.now, t0=t0)
    if request is None:
        return "nothing could be observed of it in time"
    return Opening(t0, position, strategy, request, same)


def opened_by(case: Case, opening: Opening, settings: Settings) -> Deed:
    """Return the deed that opens an alert: its rows, its triggers and notices, its whole request, its news."""
    first, strategy = _strategy_row(opening.strategy, case.reader, case.now)
    alert_at = len(first)
    first += _alert_rows(case, opening, strategy, {"$ref": alert_at})
    commit = build_request(rows.draft_of(opening.request, {"$ref": alert_at}), case.now, first)
    sequence_at = rows.place_of(commit, "sequence")
    writes = [*commit.writes, *_news(case, opening, commit, settings)]
    deed = Deed(case.decision, writes, lambda _: None, request=opening.request, cause=case.decision.verdict.reason)

    def remember(ids: list[Any]) -> None:
        deed.file = opening.file(case, ids[alert_at], ids[sequence_at])
        case.memory.alerts.append(deed.file)
        case.memory.loose = [one for one in case.memory.loose if one not in opening.companions]

    deed.remember = remember
    return deed


def _alert_rows(case: Case, opening: Opening, strategy: Any, alert: dict[str, int]) -> list[Any]:
    """Return the writes of the alert itself; `alert` refers to the first of them."""
    reason = case.decision.verdict.reason
    writes: list[Any] = [
        rows.alert_row(opening.request, reason, case.night, opening.t0, opening.position, strategy, case.now),
        rows.times_of(alert, opening.times(case), STEPS),
    ]
    for one in _by_trigger([*opening.earlier, case.notice]):
        writes += rows.trigger_row(one, alert, case.now, trigger(case.reader, one.mission, one.trigger))
    joined = [number for one in opening.companions for number in one.notice_ids]
    writes += [Change(table="notice", key=number, values={"alert_id": alert}) for number in joined]
    return [*writes, rows.decided(case.notice_id, case.decision.verdict, case.now, alert)]


def _news(case: Case, opening: Opening, commit: Commit, settings: Settings) -> list[Insert]:
    """Return the news of it: what `AlertOpened` will say, with references for the numbers that are not given yet."""
    numbers = {f"{table}_id": {"$ref": rows.place_of(commit, table)} for table in ("alert", "sequence")}
    content = to_builtins(opened(opening.file(case, 0, 0))) | numbers | {"notice": case.notice.ivorn}
    return news(settings, "alert", f"alert opened by notice {case.notice_id}", content, case.now)


def _strategy_row(strategy: Strategy, reader: Reader, now: datetime) -> tuple[list[Any], Any]:
    """Return the write of a strategy's version, unless it is stored, and its row or the reference to it."""
    known = strategy_row(reader, strategy.name, strategy.version)
    if known is not None:
        return [], known
    values = {"name": strategy.name, "version": strategy.version, "text": dump(strategy), "created_at": now}
    return [Insert(table="strategy", values=values)], {"$ref": 0}


def _by_trigger(notices: Sequence[Notice]) -> list[Notice]:
    """Return the first notice of each trigger."""
    found: dict[tuple[str, str], Notice] = {}
    for notice in notices:
        found.setdefault((notice.mission, notice.trigger), notice)
    return list(found.values())
