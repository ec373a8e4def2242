"""The routine manager: whether a user's request is valid, the user has the time, and it is for tonight.

Takes `SubmitRequest` (answered `Submitted`), `OpenProgramme`, `CancelSequence`, `SequenceEnded`, and `MonitorState` for
the night's course; emits `RoutineManagerState`. In the evening it makes OBSERVABLE what is complete and may be observed
tonight, and expires what can never be observed again; a request ends when all of its sequences have. The rules are in
routine_rules.py. When it dies the store has everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pyros.actors import routine_rules as rules
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.messages.base import Failed, Refused
from pyros.messages.night import MonitorState, Replan, SequenceEnded
from pyros.messages.people import CancelSequence, OpenProgramme, RoutineManagerState, SubmitRequest, Submitted
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.builder import BuildError, build_request
from pyros.store.database import Reader, open_reader
from pyros.store.quota import balance, held_by, open_reservations
from pyros.store.repositories import (
    SequenceTree,
    account,
    observable_sequences,
    open_requests,
    programme,
    sequence_counts,
    sequence_tree,
    setting_write,
    settings,
)

MOST_RESUMPTIONS = 3
"""How often in a night a sequence is tried again that a device or the death of the daemon has interrupted."""

RESUMPTIONS = "resumptions"
"""The setting that counts them; durable, else a sequence that kills the daemon would do so all night."""

MOST_REFUSALS = 3
"""How often in a row the evening's changes are tried again that the store has refused."""


class RoutineManager(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self._reader: Reader | None = None
        self._opened_for = ""
        self._opening = False
        self._open_again = ""
        """Why the requests have to be gone through once more when the present opening is stored."""
        self._refusals = 0
        self._resumptions: Counter[int] = Counter()
        """By sequence, how often it was made observable again in the night that is open."""

    def on_start(self) -> None:
        """Open the store and follow the night."""
        self._reader = open_reader(self.environment.state_folder)
        self.subscribe(MonitorState, SequenceEnded)
        self._end_requests()
        monitor = self.latest(MonitorState)
        if monitor is not None:  # what was published before we subscribed does not come again
            self.on_monitor_state(monitor[0])
        self.show()

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    @property
    def _store(self) -> Reader:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        return self._reader

    def _commit(self, writes: list[Any], reason: str, then: Callable[[Answer], None]) -> None:
        commit = Commit(writes=writes, reason=reason[:200])
        self.ask("archivist", commit, self.clock.at_least_real(20.0, 10.0), then)

    # -- requests ----------------------------------------------------------------------------------------------------

    def on_submit_request(self, message: SubmitRequest) -> Deferred | Refused:
        """Check a request, store it whole, and take it for tonight if it is for tonight."""
        user = account(self._store, message.user)
        owner = programme(self._store, message.programme)
        if user is None or user["status"] != "VALIDATED":
            return Refused(reason=f"user {message.user!r} has no validated account")
        if owner is None or not owner["active"]:
            return Refused(reason=f"programme {message.programme!r} does not exist or is not open")
        now = self.clock.now()
        refusal = rules.impossible(message, self.environment.settings, self.environment.site, now)
        if refusal is not None:
            return Refused(reason=refusal)
        draft = rules.draft_of(message, user["id"], owner["id"])
        needed_s, left_s = draft.sequences[0].duration_s, balance(self._store, user["id"], owner["id"]).available_s
        if left_s < needed_s:
            return Refused(
                reason=f"{message.user} has {left_s:.0f} s left in {message.programme}; this needs {needed_s:.0f} s"
            )
        try:
            commit = build_request(draft, now)
        except BuildError as error:
            return Refused(reason=str(error))
        return self._store_request(commit, message.name)

    def _store_request(self, commit: Commit, name: str) -> Deferred:
        """Store the request and, in the same commit, accept it: it has just been checked."""
        answer = Deferred()
        accepted = Change(
            table="request", key={"$ref": 0}, values={"status": "ACCEPTED"}, expect={"status": "SUBMITTED"}
        )

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                answer.answer(Failed(reason=f"request {name} was not stored: {getattr(reply, 'reason', reply)}"))
                return
            pairs = zip(commit.writes, reply.ids, strict=False)
            sequence_ids = [row_id for write, row_id in pairs if write.table == "sequence"]
            answer.answer(Submitted(request_id=reply.ids[0], sequence_ids=sequence_ids))
            self._open_for_tonight(f"request {name}")

        self._commit([*commit.writes, accepted], commit.reason, stored)
        return answer

    def on_open_programme(self, message: OpenProgramme) -> Deferred | Refused:
        """Open a programme, if it is new, and enter a grant into the ledger."""
        user = account(self._store, message.user)
        if user is None:
            return Refused(reason=f"user {message.user!r} has no account")
        known = programme(self._store, message.name)
        fresh = Insert(table="programme", values={"name": message.name, "title": message.title})
        grant = {
            "user_id": user["id"],
            "programme_id": known["id"] if known else {"$ref": 0},
            "kind": "grant",
            "seconds": message.grant_s,
            "at": self.clock.now(),
        }
        answer = Deferred()
        writes: list[Any] = [*([] if known else [fresh]), Insert(table="quota_entry", values=grant)]
        self._commit(writes, f"programme {message.name}", answer.answer)
        return answer

    def on_cancel_sequence(self, message: CancelSequence) -> Refused | Deferred:
        """Take a sequence out, with its reserved time given back."""
        tree = sequence_tree(self._store, message.sequence_id)
        if tree is None:
            return Refused(reason=f"sequence {message.sequence_id} does not exist")
        if tree.status not in {"DRAFT", "COMPLETE", "OBSERVABLE", "PLANNED", "INTERRUPTED"}:
            return Refused(reason=f"sequence {tree.id} is {tree.status}; only what has not begun is cancelled")
        held = open_reservations(self._store, tree.id)
        writes = rules.step(tree, "CANCELLED", f"cancelled by {message.by}", held, self.clock.now())
        answer = Deferred()

        def stored(reply: Answer) -> None:
            answer.answer(reply)
            if isinstance(reply, Committed):
                self._end_requests()
                self.tell("majordome", Replan(cause=f"sequence {tree.id} was cancelled"))
                self.show()

        self._commit(writes, f"sequence {tree.id} cancelled", stored)
        return answer

    # -- the night ---------------------------------------------------------------------------------------------------

    def on_monitor_state(self, message: MonitorState) -> None:
        """Open the requests for the night once, in the evening (or at whatever hour we start)."""
        if message.night and message.night != self._opened_for and message.ends is not None:
            self._opened_for = message.night
            self._resumptions = self._resumed_in(message.night)
            self._open_for_tonight(f"night {message.night}")

    def on_sequence_ended(self, message: SequenceEnded) -> None:
        """End its request if it was the last; what was interrupted is tried again, a few times a night."""
        if message.outcome == "INTERRUPTED":
            self._open_for_tonight(f"after the interruption of sequence {message.sequence_id}")
        self._end_requests()
        self.show()

    def _open_for_tonight(self, cause: str) -> None:
        """Go through all sequences that may change for tonight; one going through at a time."""
        monitor = self.latest(MonitorState)
        if monitor is None or monitor[0].begins is None or monitor[0].ends is None:
            return
        if self._opening:
            self._open_again = cause
            return
        now, writes = self.clock.now(), list[Any]()
        trees = observable_sequences(self._store, ("COMPLETE", "OBSERVABLE", "PLANNED", "INTERRUPTED"))
        held = held_by(self._store, [tree.id for tree in trees])
        resumed = list[int]()
        for tree in trees:
            change = rules.for_tonight(tree, monitor[0].begins, monitor[0].ends, now, self._available_s(tree))
            again = tree.status == "INTERRUPTED" and change is not None and change[0] == "OBSERVABLE"
            if change is None or (again and self._resumptions[tree.id] >= MOST_RESUMPTIONS):
                continue
            writes += rules.step(tree, *change, held[tree.id], now)
            resumed += [tree.id] if again else []
        if writes:
            self._opening = True
            self._commit([*writes, *self._counted(resumed)], cause, self._opened)

    def _resumed_in(self, night: str) -> Counter[int]:
        """Return what the store says of a night's resumptions."""
        kept = settings(self._store).get(RESUMPTIONS, {})
        counts = kept.get("counts", {}) if kept.get("night") == night else {}
        return Counter({int(number): count for number, count in counts.items()})

    def _counted(self, resumed: list[int]) -> list[Any]:
        """Count sequences that are resumed; return the write that goes with them."""
        if not resumed:
            return []
        self._resumptions.update(resumed)
        counts = {str(number): count for number, count in sorted(self._resumptions.items()) if count}
        value = {"night": self._opened_for, "counts": counts}
        return [setting_write(self._store, RESUMPTIONS, value, self.clock.now(), self.name)]

    def _available_s(self, tree: SequenceTree) -> float:
        return 0.0 if tree.user_id is None else balance(self._store, tree.user_id, tree.programme_id).available_s

    def _opened(self, reply: Answer) -> None:
        self._opening = False
        again, self._open_again = self._open_again, ""
        self._refusals = self._refusals + 1 if isinstance(reply, Refused) else 0
        if isinstance(reply, Committed):
            self.tell("majordome", Replan(cause="new observable sequences"))
            self._end_requests()
        else:
            self._resumptions = self._resumed_in(self._opened_for)
        if again or 0 < self._refusals <= MOST_REFUSALS:  # refused: a row has changed since it was read
            self._open_for_tonight(again or "again")
        self.show()

    def _end_requests(self) -> None:
        """End the requests whose sequences are all over."""
        ended = {number: rules.request_over(rows) for number, rows in open_requests(self._store).items()}
        writes = [
            Change(table="request", key=number, values={"status": status}) for number, status in ended.items() if status
        ]
        if writes:
            self._commit(writes, "requests that are over", lambda _: None)

    def state(self) -> RoutineManagerState:
        """Return how many sequences are in each state."""
        return RoutineManagerState(counts=sequence_counts(self._store))
