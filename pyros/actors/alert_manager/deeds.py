"""From a decision to a deed: what is written in one commit, what is remembered when it is written, what is aborted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyros.actors.alert_manager import rows
from pyros.actors.alert_manager.association import moved_deg
from pyros.actors.alert_manager.decision import Decision, companions
from pyros.actors.alert_manager.ledger import STEPS, AlertFile
from pyros.actors.alert_manager.memory import Memory
from pyros.actors.alert_manager.notice import Notice, position_of
from pyros.actors.alert_manager.strategy import Strategy, StrategyRequest, choose, dump, request_for
from pyros.actors.alert_manager.verdict import Verdict
from pyros.config import Camera
from pyros.messages.alerts import AlertStatus
from pyros.messages.store import Change, Commit, Insert
from pyros.store.builder import BuildError, build_request
from pyros.store.database import Reader
from pyros.store.repositories import sequences_of, strategy_row, trigger

FIELD_ARCMIN = 26.0


@dataclass
class Deed:
    """What follows from a decision."""

    decision: Decision
    writes: list[Any]
    remember: Callable[[list[Any]], None]
    """Called with the ids once the writes are in the store."""
    file: AlertFile | None = None
    """The alert it is about; of a new one, once it is remembered."""
    request: StrategyRequest | None = None
    """The new sequence's, if there is one."""
    abort: list[int] = field(default_factory=list[int])
    cause: str = ""


class Deeds:
    """Makes deeds; knows the strategies and the cameras."""

    def __init__(self, strategies: Sequence[Strategy], cameras: Mapping[str, Camera]) -> None:
        self._strategies = strategies
        self._cameras = list(cameras)
        self._field_deg = min((camera.field_arcmin for camera in cameras.values()), default=FIELD_ARCMIN) / 60

    def of(
        self,
        decision: Decision,
        notice_id: int,
        notice: Notice,
        memory: Memory,
        reader: Reader,
        times: dict[str, datetime],
        night: str,
        now: datetime,
    ) -> Deed:
        """Return the deed of a decision on a notice; `times` are those of the notice's reception and decision."""
        file = memory.alert(decision.number)
        if decision.action == "open":
            return self._open(decision, notice_id, notice, memory, reader, times, night, now)
        if file is None:
            return self._loose(decision, notice_id, notice, memory, reader, now)
        writes: list[Any] = [
            *rows.trigger_row(notice, file.alert_id, now, trigger(reader, notice.mission, notice.trigger)),
            rows.decided(notice_id, decision.verdict, now, file.alert_id),
        ]
        if decision.action == "improve":
            return self._improve(decision, notice, file, writes, reader, now)
        if decision.action == "retract":
            return self._retract(decision, notice, file, writes, reader)

        def remember(_: list[Any]) -> None:
            file.notices.append(notice)
            if notice.retraction and notice.mission in file.missions:
                file.missions.remove(notice.mission)

        return Deed(decision, writes, remember, file)

    # -- a new alert -------------------------------------------------------------------------------------------------

    def _open(
        self,
        decision: Decision,
        notice_id: int,
        notice: Notice,
        memory: Memory,
        reader: Reader,
        times: dict[str, datetime],
        night: str,
        now: datetime,
    ) -> Deed:
        same = companions(notice, memory.loose)
        earlier = [other for one in same for other in one.notices]
        t0 = notice.t0 or min((n.t0 for n in earlier if n.t0 is not None), default=None) or notice.reference or now
        strategy = choose(self._strategies, notice, self._field_deg)
        position = position_of(notice)
        request = self._request(strategy, notice, now, t0=t0)
        if strategy is None or request is None or position is None:
            why = "no strategy takes it" if strategy is None else "nothing could be observed of it in time"
            verdict = Verdict(accepted=False, reason=f"{why}, recorded only: {decision.verdict.reason}", burst=True)
            number = same[0].number if same else None
            kept = Decision(action="loose", verdict=verdict, number=number)
            return self._loose(kept, notice_id, notice, memory, reader, now)
        times = {"t0": t0, **({} if notice.sent is None else {"sent": notice.sent}), **times}
        first, strategy_ref = _strategy_row(strategy, reader, now)
        alert_at, alert_ref = len(first), {"$ref": len(first)}
        first.append(rows.alert_row(request, decision.verdict.reason, night, t0, position, strategy_ref, now))
        first.append(rows.times_of(alert_ref, times, STEPS))
        for one in _by_trigger([*earlier, notice]):
            first += rows.trigger_row(one, alert_ref, now, trigger(reader, one.mission, one.trigger))
        joined = [number for one in same for number in one.notice_ids]
        first += [Change(table="notice", key=number, values={"alert_id": alert_ref}) for number in joined]
        first.append(rows.decided(notice_id, decision.verdict, now, alert_ref))
        commit = build_request(rows.draft_of(request, alert_ref), now, first)
        deed = Deed(decision, list(commit.writes), lambda _: None, request=request, cause=decision.verdict.reason)

        def remember(ids: list[Any]) -> None:
            deed.file = AlertFile(
                alert_id=ids[alert_at],
                name=request.target_name,
                status="ACTIVE",
                t0=t0,
                position=position,
                strategy=f"{request.strategy} {request.version}",
                latest=request.latest,
                notices=[*earlier, notice],
                missions=[notice.mission],
                sequences=[ids[rows.place_of(commit, "sequence")]],
                times=times,
            )
            memory.alerts.append(deed.file)
            memory.loose = [one for one in memory.loose if one not in same]

        deed.remember = remember
        return deed

    def _request(
        self, strategy: Strategy | None, notice: Notice, now: datetime, **known: Any
    ) -> StrategyRequest | None:
        """Return the strategy's request if it can be stored: its window has to hold it."""
        if strategy is None:
            return None
        request = request_for(strategy, notice, now, cameras=self._cameras, **known)
        try:
            if request is not None:
                build_request(rows.draft_of(request, 1), now)
        except BuildError:
            return None
        return request

    @staticmethod
    def _loose(
        decision: Decision, notice_id: int, notice: Notice, memory: Memory, reader: Reader, now: datetime
    ) -> Deed:
        """Keep a notice without an alert; a burst's trigger is kept in mind, for a later notice of better position."""
        row = trigger(reader, notice.mission, notice.trigger)
        owner = None if row is None else row["alert_id"]  # an alert older than what is kept in mind
        writes: list[Any] = [rows.decided(notice_id, decision.verdict, now, owner)]
        if decision.action == "loose":
            writes += rows.trigger_row(notice, None, now, row)

        def remember(_: list[Any]) -> None:
            if decision.action == "loose":
                one = memory.loose_trigger(decision.number)
                one.take(notice_id, notice, burst=decision.verdict.burst)

        return Deed(decision, writes, remember)

    # -- more on a known alert ---------------------------------------------------------------------------------------

    def _improve(
        self, decision: Decision, notice: Notice, file: AlertFile, writes: list[Any], reader: Reader, now: datetime
    ) -> Deed:
        """Take a better position; point again only when it has left the inner quarter of the field."""
        better = file.better(notice) or file.position
        moved = moved_deg(file.position, better)
        cause = f"better position from {notice.ivorn}, {moved:.4f}° away"
        deed = Deed(decision, writes, lambda _: None, file, cause=cause)
        status: AlertStatus = file.status
        sequence_at = -1
        if moved > self._field_deg / 4:
            strategy = choose(self._strategies, notice, self._field_deg)
            deed.request = self._request(strategy, notice, now, t0=file.t0, position=better)
        values: dict[str, Any] = rows.place(better)
        trees = sequences_of(reader, alert_id=file.alert_id)
        if deed.request is not None:
            status = "ACTIVE"
            values |= {"status": status}
            writes += rows.cancelled(trees, cause)
            deed.abort = [tree.id for tree in trees if tree.status == "EXECUTING"]
        writes.append(Change(table="alert", key=file.alert_id, values=values))
        if deed.request is not None:
            commit = build_request(rows.draft_of(deed.request, file.alert_id), now, writes)
            deed.writes, sequence_at = list(commit.writes), rows.place_of(commit, "sequence")

        def remember(ids: list[Any]) -> None:
            file.notices.append(notice)
            file.missions = list(dict.fromkeys([*file.missions, notice.mission]))
            file.position, file.status = better, status
            if deed.request is not None:
                file.sequences.append(ids[sequence_at])
                file.latest, file.reissue_at = deed.request.latest, None

        deed.remember = remember
        return deed

    def _retract(self, decision: Decision, notice: Notice, file: AlertFile, writes: list[Any], reader: Reader) -> Deed:
        cause = f"retracted by {notice.ivorn}"
        more, running = self.ended(file, "RETRACTED", cause, reader)

        def remember(_: list[Any]) -> None:
            file.notices.append(notice)
            file.status, file.reissue_at = "RETRACTED", None
            file.missions = []

        return Deed(decision, [*writes, *more], remember, file, abort=running, cause=cause)

    @staticmethod
    def ended(file: AlertFile, status: AlertStatus, cause: str, reader: Reader) -> tuple[list[Any], list[int]]:
        """Return the writes of an alert's end, and its sequences that are being executed."""
        change = Change(table="alert", key=file.alert_id, values={"status": status, "reason": cause[:500]})
        trees = sequences_of(reader, alert_id=file.alert_id)
        return [change, *rows.cancelled(trees, cause)], [tree.id for tree in trees if tree.status == "EXECUTING"]

    def again(self, file: AlertFile, now: datetime) -> tuple[StrategyRequest, Commit] | None:
        """Return a new request for an alert that goes on, by the last notice that a strategy takes; None: too late."""
        for notice in reversed(file.notices):
            strategy = choose(self._strategies, notice, self._field_deg)
            request = self._request(strategy, notice, now, t0=file.t0, position=file.position)
            if request is not None:
                return request, build_request(rows.draft_of(request, file.alert_id), now)
        return None


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
