"""The observation manager: carries out a sequence, plan by plan, and delivers its images. It decides nothing.

Takes `Execute` and `Abort`; emits `SequenceStarted`, `ImageTaken`, `PlanEnded`, `SequenceEnded`, `ExecutionRefused` and
`ObservationManagerState`. The intent (EXECUTING) is in the store before anything moves, each image and each finished
plan after it. On an abort the brakes are asked and answered before the end is announced, so that the next slew never
overtakes a stop. When it dies, majordome's permit ends with the sequence; what was EXECUTING is marked at the next
start as INTERRUPTED.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import AbortedError, Actor, Answer, Ask, AskFailedError, Context, Procedure
from pyros.messages.base import Done, Refused
from pyros.messages.alerts import Analyse
from pyros.messages.devices import Brake, Expose, Exposed, Halt, SetFilter, Slew, Slewed, Target
from pyros.messages.night import (
    Abort,
    Execute,
    ExecutionRefused,
    ImageTaken,
    ObservationManagerState,
    Outcome,
    PlanEnded,
    Pointed,
    SequenceEnded,
    SequenceStarted,
)
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.database import Reader, open_reader
from pyros.store.quota import open_reservations, settle
from pyros.store.repositories import AlbumTree, PlanTree, SequenceTree, observable_sequences, sequence_tree

COMMIT_S = 10.0
MOTION_S = 200.0
FRAME_S = 60.0
"""Longest time that a frame may take beyond its exposure."""


class ObservationManager(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._reader: Reader | None = None
        self._tree: SequenceTree | None = None
        self._plan: PlanTree | None = None
        self._step = ""
        self._frame = 0
        self._until: datetime | None = None
        self._exposed_s = 0.0
        self._brakes_left = 0

    def on_start(self) -> None:
        """Mark what was being executed when the last incarnation ended: it is interrupted, not done and not repeated."""
        self._reader = open_reader(self.environment.state_folder)
        for tree in observable_sequences(self._reader, ("EXECUTING",)):
            self._end_in_store(tree, "INTERRUPTED", "the observation manager was restarted", tree.exposed_s)
            self.publish(
                SequenceEnded(
                    sequence_id=tree.id, outcome="INTERRUPTED", cause="the observation manager was restarted", exposed_s=0.0
                )
            )
        self.show()

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    # -- a sequence --------------------------------------------------------------------------------------------------

    def on_execute(self, message: Execute) -> Procedure | Refused:
        """Begin a sequence, unless one runs or this one may not."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        tree = sequence_tree(self._reader, message.sequence_id)
        refusal = self._refuse(tree)
        if refusal is not None or tree is None:
            self.publish(ExecutionRefused(sequence_id=message.sequence_id, reason=refusal or ""))
            return Refused(reason=refusal or "")
        return self._execute(tree)

    def _refuse(self, tree: SequenceTree | None) -> str | None:
        if self._tree is not None:
            return f"sequence {self._tree.id} is running"
        if tree is None:
            return "there is no such sequence"
        if tree.status not in {"PLANNED", "OBSERVABLE"}:
            return f"it is {tree.status}"
        if tree.ra_deg is None or tree.dec_deg is None:
            return "it has no target"
        return None

    def _execute(self, tree: SequenceTree) -> Procedure:
        self._tree, self._exposed_s = tree, 0.0
        outcome: Outcome = "EXECUTED"
        cause = ""
        try:
            yield from self._commit(
                [_change("sequence", tree.id, tree.status, "EXECUTING", started_at=self.clock.now())], "begin"
            )
            self.publish(SequenceStarted(sequence_id=tree.id, name=tree.target_name, alert_id=tree.alert_id))
            yield from self._slew(tree)
            for album in tree.albums:
                yield from self._album(tree, album)
            self._end_in_store(tree, "EXECUTED", "done", self._exposed_s)
        except AskFailedError as error:
            outcome, cause = "INTERRUPTED", str(error)
            self._end_in_store(tree, outcome, cause, self._exposed_s)
        except AbortedError as error:
            outcome, cause = "ABORTED", str(error)
            again = tree.kind == "routine"
            self._end_in_store(tree, "OBSERVABLE" if again else "ABORTED", cause, self._exposed_s)
            self._pull_brakes(outcome, cause)
            raise
        self._announce_end(tree, outcome, cause)
        return Done()

    def _announce_end(self, tree: SequenceTree, outcome: Outcome, cause: str) -> None:
        self._tree = self._plan = self._until = None
        self._step, self._frame = "", 0
        self.show()
        self.publish(SequenceEnded(sequence_id=tree.id, outcome=outcome, cause=cause, exposed_s=self._exposed_s))

    def _slew(self, tree: SequenceTree) -> Procedure:
        self._show_step("slewing")
        assert tree.ra_deg is not None and tree.dec_deg is not None  # noqa: S101, PT018 - refused otherwise
        slewed = yield Ask("telescope", Slew(ra_deg=tree.ra_deg, dec_deg=tree.dec_deg, sequence_id=tree.id), self._real(MOTION_S))
        assert isinstance(slewed, Slewed)  # noqa: S101 - refusals have raised
        self.publish(
            Pointed(
                sequence_id=tree.id, alert_id=tree.alert_id, commanded_at=slewed.commanded_at, settled_at=slewed.settled_at
            )
        )
        return None

    def _album(self, tree: SequenceTree, album: AlbumTree) -> Procedure:
        writes: list[Change | Insert] = [] if album.status == "EXECUTING" else [
            _change("album", album.id, album.status, "EXECUTING")
        ]
        for plan in album.plans:
            if plan.status == "EXECUTED":
                continue  # finished before an alert came between
            yield from self._commit([*writes, _change("plan", plan.id, plan.status, "EXECUTING")], "plan")
            writes = []
            yield from self._carry_out(tree, album, plan)
        yield from self._commit([*writes, _change("album", album.id, "EXECUTING", "EXECUTED")], "album done")
        return None

    def _carry_out(self, tree: SequenceTree, album: AlbumTree, plan: PlanTree) -> Procedure:
        self._plan = plan
        wheel = self.settings.devices.camera[album.camera].filter_wheel
        if wheel is not None and plan.filter:
            self._show_step(f"filter {plan.filter}")
            yield Ask(f"filter_wheel:{wheel}", SetFilter(filter=plan.filter), self._real(FRAME_S))
        for number in range(plan.done_count, plan.count):
            self._frame = number + 1
            self._until = self.clock.now() + timedelta(seconds=plan.exposure_s)
            self._show_step("exposing")
            yield from self._frame_of(tree, album, plan, number)
        self.publish(PlanEnded(sequence_id=tree.id, plan_id=plan.id, frames=plan.count, outcome="EXECUTED"))
        return None

    def _frame_of(self, tree: SequenceTree, album: AlbumTree, plan: PlanTree, number: int) -> Procedure:
        assert tree.ra_deg is not None and tree.dec_deg is not None  # noqa: S101, PT018 - refused otherwise
        target = Target(
            name=tree.target_name, ra_deg=tree.ra_deg, dec_deg=tree.dec_deg,
            trigger=tree.request_name if tree.kind == "alert" else "",
        )
        expose = Expose(
            exposure_s=plan.exposure_s, frame=plan.kind, filter=plan.filter, sequence_id=tree.id, plan_id=plan.id,  # type: ignore[arg-type]
            number=number, target=target,
        )
        exposed = yield Ask(f"camera:{album.camera}", expose, plan.exposure_s + self._real(FRAME_S))
        assert isinstance(exposed, Exposed)  # noqa: S101 - refusals have raised
        self._exposed_s += exposed.exposure_s
        done = number + 1 == plan.count
        values: dict[str, Any] = {"done_count": number + 1} | ({"status": "EXECUTED"} if done else {})
        committed = yield from self._commit(
            [_image_row(tree, plan, exposed, number), Change(table="plan", key=plan.id, values=values)], "image"
        )
        self._hand_over(tree, album, plan, exposed, committed.ids[0])
        return None

    def _hand_over(self, tree: SequenceTree, album: AlbumTree, plan: PlanTree, exposed: Exposed, image_id: int) -> None:
        self.publish(
            ImageTaken(
                image_id=image_id, file=exposed.file, camera=album.camera, filter=plan.filter, sequence_id=tree.id,
                plan_id=plan.id, alert_id=tree.alert_id, start=exposed.start, exposure_s=exposed.exposure_s,
                datasum=exposed.datasum,
            )
        )
        self.tell("analyzer", Analyse(image_ids=[image_id], alert_id=tree.alert_id))

    # -- aborting ----------------------------------------------------------------------------------------------------

    def on_abort(self, message: Abort) -> Done | Refused:
        """End the running sequence; the devices stop by their brakes."""
        if self._tree is None or self._tree.id != message.sequence_id:
            return Refused(reason=f"sequence {message.sequence_id} is not running")
        if not self.abort(message.cause):
            return Refused(reason=f"sequence {message.sequence_id} is being aborted already")
        return Done()

    def _pull_brakes(self, outcome: Outcome, cause: str) -> None:
        """Halt the procedures, ask every brake, and announce the end when all have answered."""
        tree = self._tree
        assert tree is not None  # noqa: S101 - a sequence is being aborted
        devices = ["telescope", *(f"camera:{album.camera}" for album in tree.albums)]
        self._brakes_left = len(devices)
        self._show_step("aborting")

        def pulled(_: Answer) -> None:
            self._brakes_left -= 1
            if self._brakes_left == 0:
                self._announce_end(tree, outcome, cause)

        for device in devices:
            self.tell(device, Halt(cause=cause))
            self.ask(f"{device}.brake", Brake(cause=cause), self._real(2.0), pulled)
        for name in self.settings.devices.filter_wheel:
            self.tell(f"filter_wheel:{name}", Halt(cause=cause))

    # -- store -------------------------------------------------------------------------------------------------------

    def _commit(self, writes: list[Any], reason: str) -> Procedure:
        committed = yield Ask("archivist", Commit(writes=writes, reason=reason), self._real(COMMIT_S))
        assert isinstance(committed, Committed)  # noqa: S101 - refusals have raised
        return committed

    def _end_in_store(self, tree: SequenceTree, status: str, cause: str, exposed_s: float) -> None:
        """Write a sequence's end: its state, its unfinished parts, and its quota. Tells only."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        now = self.clock.now()
        writes: list[Change | Insert] = []
        if status != "EXECUTED":
            fresh = sequence_tree(self._reader, tree.id) or tree
            for album in fresh.albums:
                writes += [_change("plan", p.id, "EXECUTING", "WAITING") for p in album.plans if p.status == "EXECUTING"]
                if album.status == "EXECUTING":
                    writes.append(_change("album", album.id, "EXECUTING", "WAITING"))
        writes.append(
            Change(
                table="sequence", key=tree.id, expect={"status": "EXECUTING"},
                values={"status": status, "reason": cause[:500], "ended_at": now, "exposed_s": tree.exposed_s + exposed_s},
            )
        )
        for reservation in open_reservations(self._reader, tree.id):
            writes += settle(reservation, exposed_s, now)
        self.tell("archivist", Commit(writes=writes, reason=f"sequence {tree.id} {status}"))

    # -- state -------------------------------------------------------------------------------------------------------

    def _real(self, seconds: float) -> float:
        return self.clock.at_least_real(seconds, 10.0)

    def _show_step(self, step: str) -> None:
        self._step = step
        self.show()

    def state(self) -> ObservationManagerState:
        """Return where the running sequence stands."""
        if self._tree is None:
            return ObservationManagerState()
        return ObservationManagerState(
            sequence_id=self._tree.id,
            name=self._tree.target_name,
            step=self._step,
            plan_id=self._plan.id if self._plan else None,
            frame=self._frame,
            frames=self._plan.count if self._plan else 0,
            until=self._until,
        )


def _change(table: str, key: int, before: str, after: str, **values: Any) -> Change:
    return Change(table=table, key=key, values={"status": after, **values}, expect={"status": before})


def _image_row(tree: SequenceTree, plan: PlanTree, exposed: Exposed, number: int) -> Insert:
    return Insert(
        table="image",
        values={
            "file": exposed.file, "plan_id": plan.id, "sequence_id": tree.id, "alert_id": tree.alert_id,
            "camera": exposed.camera.removeprefix("camera:"), "filter": exposed.filter, "kind": exposed.frame,
            "number": number, "start": exposed.start, "exposure_s": exposed.exposure_s, "ra_deg": tree.ra_deg,
            "dec_deg": tree.dec_deg, "datasum": exposed.datasum,
        },
    )
