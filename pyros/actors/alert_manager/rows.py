"""What the alert manager writes to the store, as pure functions: notices, verdicts, alerts, triggers, requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pyros.actors.alert_manager.notice import Notice, Position
from pyros.actors.alert_manager.strategy import StrategyRequest
from pyros.actors.alert_manager.verdict import Verdict
from pyros.messages.alerts import NoticeArrived
from pyros.messages.store import Change, Commit, Insert
from pyros.store.builder import AlbumDraft, PlanDraft, RequestDraft, SequenceDraft
from pyros.store.repositories import SequenceTree

LONGEST_IVORN = 1000


def notice_row(notice: Notice, digest: str, message: NoticeArrived) -> Insert:
    """Return the write of a notice that could be read; its verdict comes later."""
    values = _as_it_came(notice.ivorn, digest, message) | {
        "stream": notice.stream,
        "sent_at": notice.sent,
        "kind": notice.kind,
        "mission": notice.mission,
        "identifier": notice.trigger,
        "t0": notice.t0,
        "ra_deg": notice.ra_deg,
        "dec_deg": notice.dec_deg,
        "error_deg": notice.error_deg,
        "error_meaning": notice.error_meaning,
        "significance": notice.significance,
        "retraction": notice.retraction,
        "test": notice.test,
    }
    return Insert(table="notice", values=values)


def quarantined_row(digest: str, message: NoticeArrived, problem: str, now: datetime) -> Insert:
    """Return the write of bytes that nobody can make sense of: kept, with the reason, and never tried again."""
    values = _as_it_came(unreadable_name(digest), digest, message)
    return Insert(table="notice", values=values | {"verdict": "QUARANTINED", "reason": problem, "decided_at": now})


def unreadable_name(digest: str) -> str:
    """Return the name under which unreadable bytes are kept."""
    return f"unreadable:{digest[:16]}"


def _as_it_came(ivorn: str, digest: str, message: NoticeArrived) -> dict[str, Any]:
    return {
        "ivorn": ivorn[:LONGEST_IVORN],
        "content_sha256": digest,
        "raw": message.raw,
        "transport": message.transport,
        "received_at": message.received_at,
    }


def decided(notice_id: int, verdict: Verdict, now: datetime, alert_id: Any) -> Change:
    """Return the write of a verdict."""
    word = "ACCEPTED" if verdict.accepted else "REJECTED"
    values = {"verdict": word, "reason": verdict.reason, "decided_at": now, "alert_id": alert_id}
    return Change(table="notice", key=notice_id, values=values, expect={"verdict": "PENDING"})


def quarantined(notice_id: int, reason: str, now: datetime) -> Change:
    """Return the write that sets a stored notice aside."""
    values = {"verdict": "QUARANTINED", "reason": reason[:2000], "decided_at": now}
    return Change(table="notice", key=notice_id, values=values, expect={"verdict": "PENDING"})


def alert_row(
    request: StrategyRequest, reason: str, night: str, t0: datetime, position: Position, strategy: Any, now: datetime
) -> Insert:
    """Return the write of a new alert; `strategy` is its row or the reference to it."""
    values = {
        "name": request.target_name,
        "status": "ACTIVE",
        "reason": reason,
        "night": night,
        "t0": t0,
        **place(position),
        "strategy_id": strategy,
        "created_at": now,
    }
    return Insert(table="alert", values=values)


def place(position: Position) -> dict[str, float]:
    """Return a position as columns of an alert."""
    return {"ra_deg": position.ra_deg, "dec_deg": position.dec_deg, "error_deg": position.r90_deg}


def trigger_row(notice: Notice, alert_id: Any, now: datetime, known: dict[str, Any] | None) -> list[Insert | Change]:
    """Return the write that gives a trigger to an alert (or keeps it without one); `known` is its row, if it has one.

    A trigger that belongs to an alert stays there.
    """
    if not notice.mission or not notice.trigger:
        return []
    if known is None:
        values = {"mission": notice.mission, "identifier": notice.trigger, "alert_id": alert_id, "t0": notice.t0}
        return [Insert(table="trigger", values=values | {"created_at": now})]
    if alert_id is None or known["alert_id"] is not None:
        return []
    return [Change(table="trigger", key=known["id"], values={"alert_id": alert_id}, expect={"alert_id": None})]


def cancelled(trees: Iterable[SequenceTree], cause: str) -> list[Change]:
    """Return the writes that take an alert's sequences out which have not begun."""
    return [
        Change(
            table="sequence",
            key=tree.id,
            values={"status": "CANCELLED", "reason": cause[:500]},
            expect={"status": tree.status},
        )
        for tree in trees
        if tree.status in {"OBSERVABLE", "PLANNED"}
    ]


def draft_of(request: StrategyRequest, alert_id: Any) -> RequestDraft:
    """Return the tree of a strategy's request."""
    albums = [
        AlbumDraft(
            camera=album.camera,
            plans=[PlanDraft(filter=plan.filter, exposure_s=plan.exposure_s, count=plan.count) for plan in album.plans],
        )
        for album in request.albums
    ]
    sequence = SequenceDraft(
        name=request.target_name,
        target_name=request.target_name,
        ra_deg=request.ra_deg,
        dec_deg=request.dec_deg,
        priority=request.priority,
        duration_s=request.duration_s,
        earliest=request.earliest,
        latest=request.latest,
        min_altitude_deg=request.min_altitude_deg,
        moon_separation_deg=request.moon_separation_deg,
        status="OBSERVABLE",
        albums=albums,
    )
    return RequestDraft(
        name=request.target_name,
        kind="alert",
        alert_id=alert_id,
        status="ACCEPTED",
        sequences=[sequence],
        reason=f"strategy {request.strategy} {request.version}",
    )


def place_of(commit: Commit, table: str) -> int:
    """Return the index of the first new row of a table, which is that of its id in the answer."""
    writes = enumerate(commit.writes)
    return next(index for index, write in writes if isinstance(write, Insert) and write.table == table)


def times_of(alert_id: Any, times: dict[str, datetime], steps: Sequence[str]) -> Change:
    """Return the write of an alert's times, in the order of the steps."""
    text = {step: times[step].isoformat().replace("+00:00", "Z") for step in steps if step in times}
    return Change(table="alert", key=alert_id, values={"times": text})
