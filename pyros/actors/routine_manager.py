"""The routine manager: users' requests. Is it valid, does the user have the time, is it for tonight?

Takes `SubmitRequest` (answered `Submitted`), `CancelSequence`, and `MonitorState` for the night's course; emits
`RoutineManagerState`. In the evening it makes OBSERVABLE what is complete and may be observed tonight, and expires what
can never be observed again. When it dies the store has everything.
"""

from __future__ import annotations

from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.messages.base import Failed, Refused
from pyros.messages.night import (
    CancelSequence,
    MonitorState,
    OpenProgramme,
    Replan,
    RoutineManagerState,
    SubmitRequest,
    Submitted,
)
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.builder import AlbumDraft, BuildError, PlanDraft, RequestDraft, SequenceDraft, build_request
from pyros.store.database import Reader, open_reader
from pyros.store.quota import balance, open_reservations, release
from pyros.store.repositories import account, observable_sequences, programme, sequence_counts, sequence_tree

FRAME_OVERHEAD_S = 4.0
"""Readout and the like, per frame, in the estimate of a sequence's length."""
POINTING_S = 30.0


class RoutineManager(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self._reader: Reader | None = None
        self._opened_for = ""

    def on_start(self) -> None:
        """Open the store and follow the night."""
        self._reader = open_reader(self.environment.state_folder)
        self.subscribe(MonitorState)
        self.show()

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    # -- requests ----------------------------------------------------------------------------------------------------

    def on_submit_request(self, message: SubmitRequest) -> Deferred | Refused:
        """Check a request and store it whole."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        user = account(self._reader, message.user)
        owner = programme(self._reader, message.programme)
        cameras = self.environment.settings.devices.camera
        if user is None or user["status"] != "VALIDATED":
            return Refused(reason=f"user {message.user!r} has no validated account")
        if owner is None or not owner["active"]:
            return Refused(reason=f"programme {message.programme!r} does not exist or is not open")
        if message.camera not in cameras:
            return Refused(reason=f"camera {message.camera!r} does not exist; there are {', '.join(cameras)}")
        draft = draft_of(message, user["id"], owner["id"])
        needed_s = draft.sequences[0].duration_s
        left = balance(self._reader, user["id"], owner["id"])
        if left.available_s < needed_s:
            return Refused(
                reason=f"{message.user} has {left.available_s:.0f} s left in {message.programme}; this needs {needed_s:.0f} s"
            )
        try:
            commit = build_request(draft, self.clock.now())
        except BuildError as error:
            return Refused(reason=str(error))
        return self._store_request(commit, message.name)

    def _store_request(self, commit: Commit, name: str) -> Deferred:
        answer = Deferred()

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                answer.answer(Failed(reason=f"request {name} was not stored: {getattr(reply, 'reason', reply)}"))
                return
            pairs = zip(commit.writes, reply.ids, strict=True)
            sequence_ids = [row_id for write, row_id in pairs if write.table == "sequence"]
            answer.answer(Submitted(request_id=reply.ids[0], sequence_ids=sequence_ids))
            self._open_for_tonight(f"request {name}")

        self.ask("archivist", commit, self.clock.at_least_real(10.0, 10.0), stored)
        return answer

    def on_open_programme(self, message: OpenProgramme) -> Deferred | Refused:
        """Open a programme, if it is new, and enter a grant into the ledger."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        user = account(self._reader, message.user)
        if user is None:
            return Refused(reason=f"user {message.user!r} has no account")
        known = programme(self._reader, message.name)
        writes: list[Any] = [] if known else [
            Insert(table="programme", values={"name": message.name, "title": message.title})
        ]
        writes.append(
            Insert(
                table="quota_entry",
                values={
                    "user_id": user["id"], "programme_id": known["id"] if known else {"$ref": 0}, "kind": "grant",
                    "seconds": message.grant_s, "at": self.clock.now(),
                },
            )
        )
        answer = Deferred()
        commit = Commit(writes=writes, reason=f"programme {message.name}"[:200])
        self.ask("archivist", commit, self.clock.at_least_real(10.0, 10.0), answer.answer)
        return answer

    def on_cancel_sequence(self, message: CancelSequence) -> Refused | Deferred:
        """Take a sequence out, with its reserved time given back."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        tree = sequence_tree(self._reader, message.sequence_id)
        if tree is None:
            return Refused(reason=f"sequence {message.sequence_id} does not exist")
        if tree.status not in {"DRAFT", "COMPLETE", "OBSERVABLE", "PLANNED"}:
            return Refused(reason=f"sequence {message.sequence_id} is {tree.status}; only what has not begun is cancelled")
        now = self.clock.now()
        writes: list[Any] = [
            Change(
                table="sequence", key=tree.id, expect={"status": tree.status},
                values={"status": "CANCELLED", "reason": f"cancelled by {message.by}"},
            )
        ]
        for held in open_reservations(self._reader, tree.id):
            writes += release(held, now)
        answer = Deferred()

        def stored(reply: Answer) -> None:
            answer.answer(reply)
            if isinstance(reply, Committed):
                self.tell("majordome", Replan(cause=f"sequence {tree.id} was cancelled"))
                self.show()

        self.ask("archivist", Commit(writes=writes, reason=f"sequence {tree.id} cancelled"), 10.0, stored)
        return answer

    # -- the night ---------------------------------------------------------------------------------------------------

    def on_monitor_state(self, message: MonitorState) -> None:
        """Open the requests for the night once, in the evening (or at whatever hour we start)."""
        if message.night and message.night != self._opened_for and message.ends is not None:
            self._opened_for = message.night
            self._open_for_tonight(f"night {message.night}")

    def _open_for_tonight(self, cause: str) -> None:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        monitor = self.latest(MonitorState)
        if monitor is None or monitor[0].begins is None or monitor[0].ends is None:
            return
        begins, ends = monitor[0].begins, monitor[0].ends
        now = self.clock.now()
        writes: list[Any] = []
        for tree in observable_sequences(self._reader, ("COMPLETE", "OBSERVABLE", "PLANNED", "INTERRUPTED")):
            if tree.latest is not None and tree.latest < now:
                status, reason = "EXPIRED", f"its window ended at {tree.latest:%Y-%m-%d %H:%M}"
            elif tree.status == "COMPLETE" and _overlaps(tree.earliest, tree.latest, begins, ends):
                status, reason = "OBSERVABLE", ""
            else:
                continue
            values = {"status": status, "reason": reason}
            writes.append(Change(table="sequence", key=tree.id, values=values, expect={"status": tree.status}))
            if status == "EXPIRED":
                writes += [write for held in open_reservations(self._reader, tree.id) for write in release(held, now)]
        if writes:
            self.ask("archivist", Commit(writes=writes, reason=cause[:200]), self.clock.at_least_real(20.0, 10.0), self._opened)

    def _opened(self, reply: Answer) -> None:
        if isinstance(reply, Committed):
            self.tell("majordome", Replan(cause="new observable sequences"))
        self.show()

    def state(self) -> RoutineManagerState:
        """Return how many sequences are in each state."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        return RoutineManagerState(counts=sequence_counts(self._reader))


def _overlaps(earliest: Any, latest: Any, begins: Any, ends: Any) -> bool:
    return (earliest is None or earliest < ends) and (latest is None or latest > begins)


def draft_of(message: SubmitRequest, user_id: int, programme_id: int) -> RequestDraft:
    """Return the tree of a request with one sequence, and its length with all that belongs to it."""
    plan = PlanDraft(filter=message.filter, exposure_s=message.exposure_s, count=message.count)
    duration_s = message.count * (message.exposure_s + FRAME_OVERHEAD_S) + POINTING_S
    sequence = SequenceDraft(
        name=message.name, target_name=message.target_name, ra_deg=message.ra_deg, dec_deg=message.dec_deg,
        priority=message.priority, duration_s=duration_s, earliest=message.earliest, latest=message.latest,
        min_altitude_deg=message.min_altitude_deg, moon_separation_deg=message.moon_separation_deg, status="COMPLETE",
        albums=[AlbumDraft(camera=message.camera, plans=[plan])],
    )
    return RequestDraft(
        name=message.name, user_id=user_id, programme_id=programme_id, status="SUBMITTED", sequences=[sequence]
    )
