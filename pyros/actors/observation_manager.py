"""The observation manager: carries out a sequence, plan by plan, and delivers its images. It decides nothing.

Takes `Execute` and `Abort`; emits `SequenceStarted`, `Pointed`, `ImageTaken`, `PlanEnded`, `SequenceEnded`,
`ExecutionRefused` and `ObservationManagerState`. The intent (EXECUTING) is in the store before anything moves, each
frame after it is on disk. However a sequence is broken off, its end is announced only when every brake has been
answered and the end is in the store: the next slew never overtakes a stop, the next planning sees what is left. When it
dies, or the daemon, the next incarnation enters a frame that was written and not recorded, pulls the brakes and marks
what was EXECUTING as INTERRUPTED; no frame recorded as done is repeated.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

from pyros.actors import observation_leftovers as leftovers
from pyros.actors import observation_rows as rows
from pyros.actors.analyzer.frame import FrameError
from pyros.actors.environment import Environment
from pyros.actors.kernel import AbortedError, Actor, Answer, Ask, AskFailedError, Context, Procedure
from pyros.messages.alerts import Analyse
from pyros.messages.base import Done, Expired, Failed, Refused
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
from pyros.messages.store import Commit, Committed
from pyros.sky.coordinates import separation_deg
from pyros.store.database import Reader, open_reader
from pyros.store.quota import open_reservations
from pyros.store.repositories import (
    AlbumTree,
    PlanTree,
    SequenceTree,
    exposed_since,
    images_of,
    observable_sequences,
    one_alert,
    sequence_tree,
)

COMMIT_S = 10.0
MOTION_S = 200.0
FRAME_S = 60.0
"""Longest time that a frame may take beyond its exposure."""
BRAKE_S = 2.0
STORE_AGAIN_S = 5.0
RECENTRE_FIELDS = 0.02
"""An alert's position that has moved by more than this part of the field is pointed at before the next plan."""
RESTARTED = "the observation manager was restarted"
KILLED = "the daemon was killed; start {boot} found it"


class ObservationManager(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        fields = [camera.field_arcmin for camera in self.settings.devices.camera.values()]
        self._recentre_deg = RECENTRE_FIELDS * min(fields, default=26.0) / 60
        self._reader: Reader | None = None
        self._tree: SequenceTree | None = None
        self._plan: PlanTree | None = None
        self._aim: tuple[float, float] | None = None
        self._step = ""
        self._frame = 0
        self._until: datetime | None = None
        self._ready = False
        self._left = 0
        """Answers still wanted before the end of a broken sequence may be announced."""

    def on_start(self) -> None:
        """Wait for what the last incarnation had sent to the archivist; then look what it was at."""
        self._reader = open_reader(self.environment.state_folder)
        self._tell_store([], "before the observation manager begins", lambda _: self._look_back())
        self.show()

    def _look_back(self) -> None:
        """Stop and mark what the last incarnation was at: it is interrupted, neither done nor repeated."""
        self._ready = True
        executing = observable_sequences(self._store, ("EXECUTING",))
        self._account_for_frames(executing)
        killed = self.lease.epoch == 1
        cause = KILLED.format(boot=self.environment.boot) if killed else RESTARTED
        for tree in executing:
            if self._tree is None:
                self._tree = tree
                self._break_off(tree, "INTERRUPTED", "WAITING", cause)
            else:  # cannot be, but must not stay so either
                self._write_end(tree.id, "INTERRUPTED", "WAITING", cause, lambda _: None)

    def _account_for_frames(self, executing: list[SequenceTree]) -> None:
        """Enter or set aside the frames that were written and not recorded; the archivist gets them before the end."""
        images = self.environment.images
        if self.lease.epoch == 1:
            leftovers.sweep(images)
        for frame in leftovers.raw_frames(images):
            if any(row["file"] == frame.file for row in images_of(self._store, plan_id=frame.plan_id)):
                continue
            try:
                entry = leftovers.account_for(images, frame, executing)
            except FrameError as error:
                note = leftovers.note_of(frame.file, str(error), self.name, self.clock.now())
                self._tell_store([note], "a frame set aside", lambda _: None)
            else:
                self._tell_store(entry.writes, "a frame found", lambda reply, one=entry: self._entered(one, reply))

    def _entered(self, entry: leftovers.Entry, reply: Answer) -> None:
        if isinstance(reply, Committed):
            self._hand_over(entry.tree, entry.album, entry.plan, entry.exposed, reply.ids[0])

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    @property
    def _store(self) -> Reader:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        return self._reader

    # -- a sequence --------------------------------------------------------------------------------------------------

    def on_execute(self, message: Execute) -> Procedure | Refused:
        """Begin a sequence, unless one runs or this one may not."""
        tree = sequence_tree(self._store, message.sequence_id)
        if self._tree is not None:
            refusal = f"sequence {self._tree.id} is running"
        elif not self._ready:
            refusal = "the observation manager has just been started"
        else:
            refusal = rows.refusal_of(tree, list(self.settings.devices.camera))
        if refusal is not None or tree is None:
            return self._refuse(message.sequence_id, refusal or "")
        return self._execute(tree)

    def _refuse(self, sequence_id: int, reason: str) -> Refused:
        self.publish(ExecutionRefused(sequence_id=sequence_id, reason=reason))
        return Refused(reason=reason)

    def _execute(self, tree: SequenceTree) -> Procedure:
        self._tree, self._aim = tree, None
        self._show_step("beginning")
        try:
            refusal = yield from self._intend(tree)
            if refusal is not None:
                self._forget()
                return self._refuse(tree.id, refusal)
            self.publish(SequenceStarted(sequence_id=tree.id, name=tree.target_name, alert_id=tree.alert_id))
            for album in tree.albums:
                yield from self._album(tree, album)
            yield from self._complete(tree)
        except AskFailedError as error:
            self._break_off(tree, "INTERRUPTED", "FAILED", str(error))
            return Refused(reason=str(error))
        except AbortedError as error:
            self._break_off(tree, "ABORTED", "ABORTED", str(error))
            raise
        return Done()

    def _intend(self, tree: SequenceTree) -> Generator[Any, Any, str | None]:
        """Write the intent; a planning that was made in between is no reason to give up."""
        try:
            yield from self._commit(rows.intent(tree, self.clock.now()), "begin")
        except AskFailedError as error:
            fresh = sequence_tree(self._store, tree.id)
            refusal = rows.refusal_of(fresh, list(self.settings.devices.camera))
            if fresh is None or refusal is not None or fresh.status == tree.status:
                return refusal or str(error)
            try:
                yield from self._commit(rows.intent(fresh, self.clock.now()), "begin")
            except AskFailedError as again:
                return str(again)
        return None

    def _album(self, tree: SequenceTree, album: AlbumTree) -> Procedure:
        if album.status == "EXECUTED":
            return None
        writes: list[Any] = list(rows.begun("album", album))
        for plan in album.plans:
            if plan.status == "EXECUTED":
                continue  # finished before an alert came between
            yield from self._commit([*writes, *rows.begun("plan", plan)], "plan")
            writes = []
            yield from self._carry_out(tree, album, plan)
        yield from self._commit([*writes, rows.step("album", album.id, "EXECUTING", "EXECUTED")], "album done")
        return None

    def _carry_out(self, tree: SequenceTree, album: AlbumTree, plan: PlanTree) -> Procedure:
        self._plan, self._frame = plan, plan.done_count
        yield from self._point(tree)
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

    def _point(self, tree: SequenceTree) -> Procedure:
        """Slew to the target, before the first plan and whenever an alert's position has become a better one."""
        wanted = self._target(tree)
        if self._aim is not None and separation_deg(*self._aim, *wanted) <= self._recentre_deg:
            return None
        self._show_step("slewing")
        slew = Slew(ra_deg=wanted[0], dec_deg=wanted[1], sequence_id=tree.id)
        slewed = yield Ask("telescope", slew, self._real(MOTION_S))
        assert isinstance(slewed, Slewed)  # noqa: S101 - refusals have raised
        self._aim = wanted
        self.publish(
            Pointed(
                sequence_id=tree.id,
                alert_id=tree.alert_id,
                commanded_at=slewed.commanded_at,
                settled_at=slewed.settled_at,
            )
        )
        return None

    def _target(self, tree: SequenceTree) -> tuple[float, float]:
        alert = one_alert(self._store, tree.alert_id) if tree.alert_id is not None else None
        if alert is not None:
            return alert["ra_deg"], alert["dec_deg"]
        assert tree.ra_deg is not None and tree.dec_deg is not None  # noqa: S101, PT018 - refused otherwise
        return tree.ra_deg, tree.dec_deg

    def _frame_of(self, tree: SequenceTree, album: AlbumTree, plan: PlanTree, number: int) -> Procedure:
        assert self._aim is not None  # noqa: S101 - pointed before
        expose = Expose(
            exposure_s=plan.exposure_s,
            frame=plan.kind,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # checked by the store
            filter=plan.filter,
            sequence_id=tree.id,
            plan_id=plan.id,
            number=number,
            target=Target(
                name=tree.target_name,
                ra_deg=self._aim[0],
                dec_deg=self._aim[1],
                trigger=tree.request_name if tree.kind == "alert" else "",
            ),
        )
        exposed = yield Ask(f"camera:{album.camera}", expose, plan.exposure_s + self._real(FRAME_S))
        assert isinstance(exposed, Exposed)  # noqa: S101 - refusals have raised
        self._until = None
        committed = yield from self._commit(rows.frame_done(tree, plan, exposed, number, self._aim), "image")
        self._hand_over(tree, album, plan, exposed, committed.ids[0])
        return None

    def _hand_over(self, tree: SequenceTree, album: AlbumTree, plan: PlanTree, exposed: Exposed, image_id: int) -> None:
        self.publish(
            ImageTaken(
                image_id=image_id,
                file=exposed.file,
                camera=album.camera,
                filter=plan.filter,
                sequence_id=tree.id,
                plan_id=plan.id,
                alert_id=tree.alert_id,
                start=exposed.start,
                exposure_s=exposed.exposure_s,
                datasum=exposed.datasum,
            )
        )
        self.tell("analyzer", Analyse(image_ids=[image_id], alert_id=tree.alert_id))

    def _complete(self, tree: SequenceTree) -> Procedure:
        self._show_step("ending")
        fresh = sequence_tree(self._store, tree.id) or tree
        exposed_s = self._exposed_s(fresh)
        held = open_reservations(self._store, tree.id)
        writes = rows.end(fresh, "EXECUTED", "EXECUTED", "done", exposed_s, held, self.clock.now())
        yield from self._commit(writes, f"sequence {tree.id} EXECUTED")
        self._announce_end(tree, "EXECUTED", "", exposed_s)
        return None

    def _announce_end(self, tree: SequenceTree, outcome: Outcome, cause: str, exposed_s: float) -> None:
        self._forget()
        self.publish(SequenceEnded(sequence_id=tree.id, outcome=outcome, cause=cause, exposed_s=exposed_s))

    def _forget(self) -> None:
        self._tree = self._plan = self._aim = self._until = None
        self._step, self._frame = "", 0
        self.show()

    # -- breaking off ------------------------------------------------------------------------------------------------

    def on_abort(self, message: Abort) -> Done | Refused:
        """End the running sequence; the devices stop by their brakes."""
        if self._tree is None or self._tree.id != message.sequence_id:
            return Refused(reason=f"sequence {message.sequence_id} is not running")
        if not self.abort(message.cause):
            return Refused(reason=f"sequence {message.sequence_id} is being ended already")
        return Done()

    def _break_off(self, tree: SequenceTree, outcome: Outcome, parts: str, cause: str) -> None:
        """Halt the procedures, pull every brake, write the end, and announce it when all of this is answered."""
        cameras = [f"camera:{album.camera}" for album in tree.albums if album.camera in self.settings.devices.camera]
        devices = ["telescope", *cameras]
        self._left, self._until = len(devices) + 1, None
        self._show_step("aborting")

        def answered(_: Answer | None) -> None:
            self._left -= 1
            if self._left == 0:
                self._announce_broken(tree, outcome, cause)

        for device in devices:
            self.tell(device, Halt(cause=cause))
            self.ask(f"{device}.brake", Brake(cause=cause), self.clock.at_least_real(BRAKE_S, BRAKE_S), answered)
        for name in self.settings.devices.filter_wheel:
            self.tell(f"filter_wheel:{name}", Halt(cause=cause))
        again = outcome == "ABORTED" and tree.kind == "routine"
        self._write_end(tree.id, "OBSERVABLE" if again else outcome, parts, cause, answered)

    def _write_end(self, sequence_id: int, status: str, parts: str, cause: str, then: Any) -> None:
        """Wait until all earlier writes are in the store, then write the end of what the store then says.

        A store that fails is asked again until it takes it: what it does not know is not over.
        """

        def written(reply: Answer) -> None:
            if isinstance(reply, Failed | Expired):
                self.clock.call_later(STORE_AGAIN_S, lambda: self.continue_with(begin))
            else:
                then(reply)

        def settled(_: Answer) -> None:
            fresh = sequence_tree(self._store, sequence_id)
            if fresh is None or fresh.status != "EXECUTING":
                then(None)  # the intent was not written, or the end was already
                return
            held = open_reservations(self._store, sequence_id)
            ending = ("EXECUTED", "EXECUTED", "done") if rows.is_through(fresh) else (status, parts, cause)
            writes = rows.end(fresh, *ending, self._exposed_s(fresh), held, self.clock.now())
            self._tell_store(writes, f"sequence {sequence_id} {ending[0]}", written)

        def begin() -> None:
            self._tell_store([], f"before the end of sequence {sequence_id}", settled)

        begin()

    def _announce_broken(self, tree: SequenceTree, outcome: Outcome, cause: str) -> None:
        fresh = sequence_tree(self._store, tree.id)
        if fresh is not None and fresh.status == "EXECUTED":
            outcome, cause = "EXECUTED", ""  # its last frame was taken when the abort came
        self._announce_end(tree, outcome, cause, self._exposed_s(fresh))

    # -- store -------------------------------------------------------------------------------------------------------

    def _exposed_s(self, tree: SequenceTree | None) -> float:
        """Return what this execution has exposed, as the store has it."""
        if tree is None or tree.started_at is None:
            return 0.0
        return exposed_since(self._store, tree.id, tree.started_at)

    def _commit(self, writes: list[Any], reason: str) -> Generator[Any, Any, Committed]:
        committed = yield Ask("archivist", Commit(writes=writes, reason=reason), self._real(COMMIT_S))
        assert isinstance(committed, Committed)  # noqa: S101 - refusals have raised
        return committed

    def _tell_store(self, writes: list[Any], reason: str, then: Any) -> None:
        self.ask("archivist", Commit(writes=writes, reason=reason), self._real(COMMIT_S), then)

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
