"""The alert manager: is a notice interesting, is it the same event, which request follows.

Takes `NoticeArrived` (answered `NoticeStored` once it is in the store, before anything is decided), `CancelAlert`, and
the events of an alert's way (`Pointed`, `ShutterOpened`, `Analysed`, `SequenceEnded`); emits `NoticeJudged`,
`AlertOpened`, `AlertUpdated` and `AlertManagerState`. Its memory is a cache of tonight's alerts, loaded at the start;
when it dies, what was stored but not decided is decided by the next incarnation.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from pyros.actors.alert_manager.association import associate, moved_deg
from pyros.actors.alert_manager.ledger import AlertFile
from pyros.actors.alert_manager.notice import Notice, Position, position_of
from pyros.actors.alert_manager.strategy import Strategy, StrategyRequest, choose, defaults, dump, parse, request_for
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.verdict import AlertPolicy, Verdict, judge
from pyros.actors.alert_manager.voevent import NoticeError, read
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.messages.alerts import (
    AlertManagerState,
    AlertOpened,
    AlertStatus,
    AlertUpdated,
    Analysed,
    CancelAlert,
    NoticeArrived,
    NoticeJudged,
    NoticeStored,
)
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import ShutterOpened
from pyros.messages.night import Abort, MonitorState, ObserveAlert, Pointed, Replan, SequenceEnded
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.sky import coordinates
from pyros.sky.night import date_of
from pyros.store.builder import AlbumDraft, PlanDraft, RequestDraft, SequenceDraft, build_request
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import (
    alerts_of_night,
    raw_notices_of_alert,
    sequences_of,
    stored_notice,
    strategy_row,
    undecided_notices,
)

COMMIT_S = 20.0
MOST_REISSUES = 3


class AlertManager(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        alerts = environment.settings.alerts
        self._policy = AlertPolicy(max_error_deg=alerts.max_error_deg, max_age_s=alerts.max_age_s)
        self._strategies = (
            parse(alerts.strategies.read_text(encoding="utf-8")) if alerts.strategies is not None else defaults()
        )
        fields = [camera.field_arcmin for camera in environment.settings.devices.camera.values()]
        self._field_deg = min(fields, default=26.0) / 60
        self._reader: Reader | None = None
        self._files: dict[int, AlertFile] = {}
        self._strategy_rows: dict[str, int] = {}
        self._identities: set[tuple[str, str, str, int | None]] = set()
        self._notices = self._accepted = 0

    # -- start -------------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Take up tonight's alerts, and what a crash left undecided."""
        self._reader = open_reader(self.environment.state_folder)
        self.subscribe(Pointed, ShutterOpened, Analysed, SequenceEnded)
        for row in alerts_of_night(self._reader, self._night()):
            self._take_up(row)
        for row in undecided_notices(self._reader):
            try:
                notice = interpret(read(row["raw"]))
            except NoticeError:
                continue  # it stays undecided and visible; it was readable when it was stored
            self._decide(row["id"], notice, row["received_at"], row["received_at"])
        self.show()

    def _take_up(self, row: dict[str, Any]) -> None:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        alert_id = row["id"]
        notices = [interpret(read(raw)) for raw in raw_notices_of_alert(self._reader, alert_id)]
        position = Position(ra_deg=row["ra_deg"], dec_deg=row["dec_deg"], error_deg=row["error_deg"])
        self._files[alert_id] = AlertFile(
            alert_id=alert_id,
            name=row["name"],
            status=row["status"],
            t0=row["t0"],
            position=position,
            strategy=str(row["strategy_id"]),
            notices=notices,
            sequences=[tree.id for tree in sequences_of(self._reader, alert_id=alert_id)],
            times={step: datetime.fromisoformat(at) for step, at in row["times"].items()},
        )
        self._identities.update(notice.identity for notice in notices)

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    def _night(self) -> str:
        monitor = self.latest(MonitorState)
        return (
            monitor[0].night if monitor and monitor[0].night else str(date_of(self.environment.site, self.clock.now()))
        )

    # -- a notice comes ----------------------------------------------------------------------------------------------

    def on_notice_arrived(self, message: NoticeArrived) -> Deferred | NoticeStored:
        """Store it; answer; only then decide."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        digest = hashlib.sha256(message.raw).hexdigest()
        notice, problem = _read(message.raw)
        ivorn = notice.ivorn if notice is not None else f"unreadable:{digest[:16]}"
        known = stored_notice(self._reader, ivorn, digest)
        if known is not None:
            return NoticeStored(notice_id=known, fresh=False)
        self._notices += 1
        answer = Deferred()

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                answer.answer(Failed(reason=f"the notice could not be stored: {getattr(reply, 'reason', reply)}"))
                return
            answer.answer(NoticeStored(notice_id=reply.ids[0], fresh=True))
            if notice is not None:
                self._decide(reply.ids[0], notice, message.received_at, self.clock.now())

        write = Insert(table="notice", values=_notice_row(notice, problem, ivorn, digest, message, self.clock.now()))
        self._commit([write], f"notice {ivorn}", stored)
        self.show()
        return answer

    def _decide(self, notice_id: int, notice: Notice, received_at: datetime, stored_at: datetime) -> None:
        now = self.clock.now()
        verdict = judge(notice, self._policy, now)
        if notice.identity in self._identities and notice.trigger:
            verdict = Verdict(accepted=False, reason="a repetition of a notice that has been decided on")
        known = [file.known() for file in self._files.values()]
        association = associate(notice, known, burst=verdict.accepted)
        self._identities.add(notice.identity)
        file = self._files.get(association.alert_id) if association.alert_id is not None else None
        if file is not None:
            file.notices.append(notice)
            self._join(notice_id, notice, file, verdict, association.explanation)
        elif verdict.accepted:
            self._open(notice_id, notice, verdict, received_at, stored_at)
        else:
            self._record(notice_id, notice, verdict, None)
        self.show()

    # -- a new alert -------------------------------------------------------------------------------------------------

    def _open(
        self, notice_id: int, notice: Notice, verdict: Verdict, received_at: datetime, stored_at: datetime
    ) -> None:
        now = self.clock.now()
        strategy = choose(self._strategies, notice, self._field_deg)
        position = position_of(notice)
        if strategy is None or position is None:
            self._record(notice_id, notice, Verdict(accepted=False, reason="no strategy takes it; recorded only"), None)
            return
        request = request_for(strategy, notice, now, cameras=list(self.environment.settings.devices.camera))
        if request is None:
            self._record(notice_id, notice, Verdict(accepted=False, reason="nothing could be observed in time"), None)
            return
        t0 = notice.reference or now
        times = {"t0": t0, "received": received_at, "stored": stored_at, "decided": now}
        if notice.sent is not None:
            times["sent"] = notice.sent
        first = self._strategy_writes(strategy, now)
        strategy_key: Any = self._strategy_rows.get(_key(strategy), {"$ref": 0})
        alert_at = len(first)
        first.append(
            Insert(
                table="alert",
                values={
                    "name": request.target_name,
                    "status": "ACTIVE",
                    "reason": verdict.reason,
                    "night": self._night(),
                    "t0": t0,
                    "ra_deg": position.ra_deg,
                    "dec_deg": position.dec_deg,
                    "error_deg": position.r90_deg,
                    "strategy_id": strategy_key,
                    "times": _iso(times),
                    "created_at": now,
                },
            )
        )
        first.append(
            Insert(
                table="trigger",
                values={
                    "mission": notice.mission,
                    "identifier": notice.trigger or notice.ivorn,
                    "alert_id": {"$ref": alert_at},
                    "t0": notice.t0,
                    "created_at": received_at,
                },
            )
        )
        first.append(_notice_decision(notice_id, verdict, now, {"$ref": alert_at}))
        commit = build_request(_draft(request, {"$ref": alert_at}), now, first)

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                raise RuntimeError(f"alert {request.target_name} was not stored: {getattr(reply, 'reason', reply)}")
            if first and first[0].table == "strategy":
                self._strategy_rows[_key(strategy)] = reply.ids[0]
            sequence_id = reply.ids[_place(commit, "sequence")]
            self._opened(reply.ids[alert_at], sequence_id, notice_id, notice, request, position, t0, times, verdict)

        self._commit(commit.writes, f"alert {request.target_name}", stored)

    def _opened(
        self,
        alert_id: int,
        sequence_id: int,
        notice_id: int,
        notice: Notice,
        request: StrategyRequest,
        position: Position,
        t0: datetime,
        times: dict[str, datetime],
        verdict: Verdict,
    ) -> None:
        self._accepted += 1
        file = AlertFile(
            alert_id=alert_id,
            name=request.target_name,
            status="ACTIVE",
            t0=t0,
            position=position,
            strategy=f"{request.strategy} {request.version}",
            notices=[notice],
            sequences=[sequence_id],
            times=times,
        )
        self._files[alert_id] = file
        self._call(file, request, sequence_id)
        self.publish(
            AlertOpened(
                alert_id=alert_id,
                name=file.name,
                t0=t0,
                ra_deg=position.ra_deg,
                dec_deg=position.dec_deg,
                error_deg=position.r90_deg,
                strategy=file.strategy,
                sequence_id=sequence_id,
            )
        )
        self._judged(notice_id, notice, verdict, alert_id)
        self.show()

    def _call(self, file: AlertFile, request: StrategyRequest, sequence_id: int) -> None:
        """Send the sequence to majordome: at once if the target stands high enough, else through the planning."""
        now = self.clock.now()
        altitude_deg = coordinates.altaz(self.environment.site, request.ra_deg, request.dec_deg, now).altitude_deg
        if altitude_deg > max(request.min_altitude_deg, self.environment.settings.site.horizon_deg) + 0.1:
            self.tell(
                "majordome",
                ObserveAlert(
                    sequence_id=sequence_id,
                    alert_id=file.alert_id,
                    may_interrupt=request.may_interrupt,
                    until=min(request.latest, now + timedelta(hours=1)),
                ),
            )
        else:
            self.tell("majordome", Replan(cause=f"alert {file.name} is at altitude {altitude_deg:.1f}°, for later"))

    # -- more on a known alert ---------------------------------------------------------------------------------------

    def _join(self, notice_id: int, notice: Notice, file: AlertFile, verdict: Verdict, why: str) -> None:
        joined = Verdict(accepted=verdict.accepted, reason=f"{why}; {verdict.reason}")
        better = file.better(notice) if verdict.accepted else None
        if notice.retraction:
            self._end(file, "RETRACTED", f"retracted by {notice.ivorn}")
        elif better is not None:
            self._improve(file, notice, better)
        self._record(notice_id, notice, joined, file.alert_id)

    def _improve(self, file: AlertFile, notice: Notice, better: Position) -> None:
        """Take a better position; point again only when it has left the inner quarter of the field."""
        moved = moved_deg(file.position, better)
        file.position = better
        values = {"ra_deg": better.ra_deg, "dec_deg": better.dec_deg, "error_deg": better.r90_deg}
        self.tell(
            "archivist", Commit(writes=[Change(table="alert", key=file.alert_id, values=values)], reason="position")
        )
        if moved > self._field_deg / 4:
            self._cancel_sequences(file, f"better position, {moved:.3f}° away")
            self._issue(file, notice, f"better position from {notice.ivorn}")
        self.publish(self._update(file, f"better position, {moved:.4f}° away, from {notice.ivorn}"))

    def _issue(self, file: AlertFile, notice: Notice, cause: str) -> None:
        """Make a new sequence for an alert that goes on."""
        strategy = choose(self._strategies, notice, self._field_deg)
        cameras = list(self.environment.settings.devices.camera)
        request = (
            request_for(strategy, notice, self.clock.now(), t0=file.t0, position=file.position, cameras=cameras)
            if strategy is not None
            else None
        )
        if request is None:
            self._end(file, "EXPIRED", f"nothing more can be observed: {cause}")
            return
        commit = build_request(_draft(request, file.alert_id), self.clock.now())

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                raise RuntimeError(f"alert {file.name}: no new sequence: {getattr(reply, 'reason', reply)}")
            sequence_id = reply.ids[_place(commit, "sequence")]
            file.sequences.append(sequence_id)
            self._call(file, request, sequence_id)

        self._commit(commit.writes, f"alert {file.name}: {cause}"[:200], stored)

    def _end(self, file: AlertFile, status: AlertStatus, cause: str) -> None:
        if file.status not in {"ACTIVE", "HELD"}:
            return
        file.status = status
        change = Change(table="alert", key=file.alert_id, values={"status": status, "reason": cause[:500]})
        self.tell("archivist", Commit(writes=[change], reason=f"alert {file.name} {status}"[:200]))
        if status != "DONE":
            self._cancel_sequences(file, cause)
        self.publish(self._update(file, cause))

    def _cancel_sequences(self, file: AlertFile, cause: str) -> None:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        for tree in sequences_of(self._reader, alert_id=file.alert_id):
            if tree.status == "EXECUTING":
                self.tell("observation_manager", Abort(sequence_id=tree.id, cause=cause))
            elif tree.status in {"OBSERVABLE", "PLANNED"}:
                change = Change(
                    table="sequence",
                    key=tree.id,
                    values={"status": "CANCELLED", "reason": cause[:500]},
                    expect={"status": tree.status},
                )
                self.tell("archivist", Commit(writes=[change], reason="alert's sequence cancelled"))

    def on_cancel_alert(self, message: CancelAlert) -> Done | Refused:
        """End an alert on a person's word."""
        file = self._files.get(message.alert_id)
        if file is None:
            return Refused(reason=f"alert {message.alert_id} is not one of tonight's")
        self._end(file, "CANCELLED", f"cancelled by {message.by}")
        self.show()
        return Done()

    def _update(self, file: AlertFile, reason: str) -> AlertUpdated:
        return AlertUpdated(
            alert_id=file.alert_id,
            status=file.status,
            ra_deg=file.position.ra_deg,
            dec_deg=file.position.dec_deg,
            error_deg=file.position.r90_deg,
            reason=reason,
        )

    # -- the way of an alert -----------------------------------------------------------------------------------------

    def _file_of(self, sequence_id: int) -> AlertFile | None:
        return next((file for file in self._files.values() if sequence_id in file.sequences), None)

    def _reached(self, file: AlertFile | None, **steps: datetime) -> None:
        if file is not None and any([file.note(step, at) for step, at in steps.items()]):
            change = Change(table="alert", key=file.alert_id, values={"times": _iso(file.times)})
            self.tell("archivist", Commit(writes=[change], reason=f"alert {file.name}: times"[:200]))
            self.show()

    def on_pointed(self, message: Pointed) -> None:
        """Note when the telescope was sent and when it had settled."""
        self._reached(
            self._file_of(message.sequence_id), slew_commanded=message.commanded_at, settled=message.settled_at
        )

    def on_shutter_opened(self, message: ShutterOpened) -> None:
        """Note the first shutter."""
        self._reached(self._file_of(message.sequence_id), first_shutter=message.start)

    def on_analysed(self, message: Analysed) -> None:
        """Note the first result, and how many candidates there are."""
        file = self._files.get(message.alert_id) if message.alert_id is not None else None
        if file is None:
            return
        file.candidates = max(file.candidates, len(message.candidates))
        self._reached(file, first_result=self.clock.now())
        self.show()

    def on_sequence_ended(self, message: SequenceEnded) -> None:
        """An alert is done with its sequence; one that was broken off is tried again while it is of use."""
        file = self._file_of(message.sequence_id)
        if file is None or file.status != "ACTIVE":
            return
        if message.outcome == "EXECUTED":
            self._end(file, "DONE", "observed")
        elif message.sequence_id == file.sequences[-1]:
            file.reissued += 1
            if file.reissued > MOST_REISSUES:
                self._end(file, "EXPIRED", f"broken off {file.reissued} times; last: {message.cause}")
            else:
                self._issue(file, file.notices[-1], f"again after: {message.cause}")
        self.show()

    # -- store and state ---------------------------------------------------------------------------------------------

    def _commit(self, writes: list[Any], reason: str, then: Any) -> None:
        self.ask(
            "archivist", Commit(writes=writes, reason=reason[:200]), self.clock.at_least_real(COMMIT_S, 10.0), then
        )

    def _record(self, notice_id: int, notice: Notice, verdict: Verdict, alert_id: int | None) -> None:
        decision = _notice_decision(notice_id, verdict, self.clock.now(), alert_id)
        self.tell("archivist", Commit(writes=[decision], reason=f"verdict on {notice.ivorn}"[:200]))
        self._judged(notice_id, notice, verdict, alert_id)

    def _judged(self, notice_id: int, notice: Notice, verdict: Verdict, alert_id: int | None) -> None:
        self.publish(
            NoticeJudged(
                notice_id=notice_id,
                ivorn=notice.ivorn,
                stream=notice.stream,
                trigger=notice.trigger,
                accepted=verdict.accepted,
                reason=verdict.reason,
                alert_id=alert_id,
            )
        )

    def _strategy_writes(self, strategy: Strategy, now: datetime) -> list[Any]:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        if _key(strategy) in self._strategy_rows:
            return []
        stored = strategy_row(self._reader, strategy.name, strategy.version)
        if stored is not None:
            self._strategy_rows[_key(strategy)] = stored
            return []
        values = {"name": strategy.name, "version": strategy.version, "text": dump(strategy), "created_at": now}
        return [Insert(table="strategy", values=values)]

    def state(self) -> AlertManagerState:
        """Return tonight's alerts."""
        return AlertManagerState(
            notices=self._notices, accepted=self._accepted, alerts=[file.row() for file in self._files.values()]
        )


def _read(raw: bytes) -> tuple[Notice | None, str]:
    try:
        return interpret(read(raw)), ""
    except NoticeError as error:
        return None, str(error)


def _notice_row(
    notice: Notice | None, problem: str, ivorn: str, digest: str, message: NoticeArrived, now: datetime
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ivorn": ivorn,
        "content_sha256": digest,
        "raw": message.raw,
        "transport": message.transport,
        "received_at": message.received_at,
    }
    if notice is None:
        return row | {"verdict": "QUARANTINED", "reason": problem, "decided_at": now}
    return row | {
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


def _notice_decision(notice_id: int, verdict: Verdict, now: datetime, alert_id: Any) -> Change:
    word = "ACCEPTED" if verdict.accepted else "REJECTED"
    values = {"verdict": word, "reason": verdict.reason, "decided_at": now, "alert_id": alert_id}
    return Change(table="notice", key=notice_id, values=values)


def _draft(request: StrategyRequest, alert_id: Any) -> RequestDraft:
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


def _place(commit: Commit, table: str) -> int:
    return next(index for index, write in enumerate(commit.writes) if write.table == table)


def _iso(times: dict[str, datetime]) -> dict[str, str]:
    return {step: at.isoformat().replace("+00:00", "Z") for step, at in times.items()}


def _key(strategy: Strategy) -> str:
    return f"{strategy.name} {strategy.version}"
