"""From a decision to a deed: what is written in one commit, what is remembered when it is written, what is aborted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pyros.actors.alert_manager import rows
from pyros.actors.alert_manager.association import moved_deg
from pyros.actors.alert_manager.case import Case, Deed
from pyros.actors.alert_manager.decision import Decision, companions
from pyros.actors.alert_manager.ledger import AlertFile, updated
from pyros.actors.alert_manager.opening import opened_by, opening_of
from pyros.actors.alert_manager.strategy import Strategy, StrategyRequest
from pyros.actors.alert_manager.tactics import Tactics
from pyros.actors.alert_manager.verdict import Verdict
from pyros.actors.courier.news import news
from pyros.config import Settings
from pyros.messages.alerts import AlertStatus
from pyros.messages.codec import to_builtins
from pyros.messages.store import Change, Commit, Insert
from pyros.store.builder import build_request
from pyros.store.database import Reader
from pyros.store.repositories import SequenceTree, sequences_of, trigger


class Deeds:
    """Makes deeds."""

    def __init__(self, strategies: Sequence[Strategy], settings: Settings) -> None:
        self.tactics = Tactics(strategies, settings.devices.camera)
        self._settings = settings

    def of(self, case: Case) -> Deed:
        """Return the deed of a decision on a notice."""
        file = case.memory.alert(case.decision.number)
        if case.decision.action == "open":
            return self._open(case)
        if file is None:
            return _loose(case, case.decision)
        match case.decision.action:
            case "improve":
                return self._improve(case, file)
            case "retract":
                return self._retract(case, file)
            case _:
                return _kept(case, file)

    def _open(self, case: Case) -> Deed:
        opening = opening_of(case, self.tactics)
        if not isinstance(opening, str):
            return opened_by(case, opening, self._settings)
        verdict = Verdict(
            accepted=False, reason=f"{opening}, recorded only: {case.decision.verdict.reason}", burst=True
        )
        same = companions(case.notice, case.memory.loose)
        return _loose(case, Decision(action="loose", verdict=verdict, number=same[0].number if same else None))

    def _improve(self, case: Case, file: AlertFile) -> Deed:
        """Take a better position; point again only when it has left the inner quarter of the field."""
        better = file.better(case.notice) or file.position
        moved = moved_deg(file.position, better)
        cause = f"better position from {case.notice.ivorn}, {moved:.4f}° away"
        request = self._request_at(case, file, better) if moved > self.tactics.field_deg / 4 else None
        revived: dict[str, Any] = {} if request is None else {"status": "ACTIVE"}
        after = replace(file, position=better, **revived)
        row = Change(table="alert", key=file.alert_id, values={**rows.place(better), **revived})
        subject = f"alert {file.alert_id} improved by notice {case.notice_id}"
        writes = [*_joins(case, file), row, *self._news(after, subject, cause, case.now)]
        deed = Deed(case.decision, writes, lambda _: None, file, request, cause=cause)
        sequence_at = self._replace_sequence(deed, case, file) if request is not None else -1

        def remember(ids: list[Any]) -> None:
            file.notices.append(case.notice)
            file.missions = list(dict.fromkeys([*file.missions, case.notice.mission]))
            file.position, file.status = after.position, after.status
            if request is not None:
                file.sequences.append(ids[sequence_at])
                file.latest, file.reissue_at = request.latest, None

        deed.remember = remember
        return deed

    def _request_at(self, case: Case, file: AlertFile, position: Any) -> StrategyRequest | None:
        strategy = self.tactics.choose(case.notice)
        return self.tactics.request(strategy, case.notice, case.now, t0=file.t0, position=position)

    @staticmethod
    def _replace_sequence(deed: Deed, case: Case, file: AlertFile) -> int:
        """Add to a deed the end of the alert's sequences and its new one; return the place of that one's id."""
        assert deed.request is not None  # noqa: S101 - asked by the caller
        trees = sequences_of(case.reader, alert_id=file.alert_id)
        deed.abort = [tree.id for tree in trees if tree.status == "EXECUTING"]
        first = [*rows.cancelled(trees, deed.cause), *deed.writes]
        commit = build_request(rows.draft_of(deed.request, file.alert_id), case.now, first)
        deed.writes = list(commit.writes)
        return rows.place_of(commit, "sequence")

    def _retract(self, case: Case, file: AlertFile) -> Deed:
        cause = f"retracted by {case.notice.ivorn}"
        writes, running = self.ended(file, "RETRACTED", cause, case.reader, case.now)

        def remember(_: list[Any]) -> None:
            file.notices.append(case.notice)
            file.status, file.reissue_at = "RETRACTED", None
            file.missions = []

        return Deed(case.decision, [*_joins(case, file), *writes], remember, file, abort=running, cause=cause)

    # -- without a notice --------------------------------------------------------------------------------------------

    def ended(
        self, file: AlertFile, status: AlertStatus, cause: str, reader: Reader, now: datetime
    ) -> tuple[list[Any], list[int]]:
        """Return the writes of an alert's end, and its sequences that are being executed."""
        change = Change(table="alert", key=file.alert_id, values={"status": status, "reason": cause[:500]})
        trees: list[SequenceTree] = sequences_of(reader, alert_id=file.alert_id)
        last = f" after sequence {file.sequences[-1]}" if file.sequences else ""
        told = self._news(replace(file, status=status), f"alert {file.alert_id} {status}{last}", cause, now)
        running = [tree.id for tree in trees if tree.status == "EXECUTING"]
        return [change, *rows.cancelled(trees, cause), *told], running

    def again(self, file: AlertFile, now: datetime) -> tuple[StrategyRequest, Commit] | None:
        """Return a new request for an alert that goes on, by the last notice that a strategy takes; None: too late."""
        for notice in reversed(file.notices):
            strategy = self.tactics.choose(notice)
            request = self.tactics.request(strategy, notice, now, t0=file.t0, position=file.position)
            if request is not None:
                return request, build_request(rows.draft_of(request, file.alert_id), now)
        return None

    def _news(self, after: AlertFile, subject: str, cause: str, now: datetime) -> list[Insert]:
        """Return the news of an alert that has changed: what `AlertUpdated` will say, and the alert's name."""
        content = to_builtins(updated(after, cause)) | {"name": after.name}
        return news(self._settings, "alert", subject, content, now)


def _joins(case: Case, file: AlertFile) -> list[Any]:
    """Return the writes that give a notice and its trigger to an alert."""
    known = trigger(case.reader, case.notice.mission, case.notice.trigger)
    return [
        *rows.trigger_row(case.notice, file.alert_id, case.now, known),
        rows.decided(case.notice_id, case.decision.verdict, case.now, file.alert_id),
    ]


def _kept(case: Case, file: AlertFile) -> Deed:
    """Put a notice to its alert, which stays as it is."""

    def remember(_: list[Any]) -> None:
        file.notices.append(case.notice)
        if case.notice.retraction and case.notice.mission in file.missions:
            file.missions.remove(case.notice.mission)

    return Deed(case.decision, _joins(case, file), remember, file)


def _loose(case: Case, decision: Decision) -> Deed:
    """Keep a notice without an alert; a burst's trigger is kept in mind, for a later notice of better position."""
    row = trigger(case.reader, case.notice.mission, case.notice.trigger)
    owner = None if row is None else row["alert_id"]  # an alert older than what is kept in mind
    writes: list[Any] = [rows.decided(case.notice_id, decision.verdict, case.now, owner)]
    if decision.action == "loose":
        writes += rows.trigger_row(case.notice, None, case.now, row)

    def remember(_: list[Any]) -> None:
        if decision.action == "loose":
            one = case.memory.loose_trigger(decision.number)
            one.take(case.notice_id, case.notice, burst=decision.verdict.burst)

    return Deed(decision, writes, remember)
