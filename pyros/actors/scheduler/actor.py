"""The scheduler: what is observed when, and why the rest is not.

Takes `MakeSchedule`, answered with `ScheduleMade` (which is published too); emits `SchedulerState`. The planning itself
is the pure function in placement.py; here sequences come from the store and the planning goes into it, in one commit
with the sequences' new states and the quota they reserve. When it dies the stored planning stands.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.actors.scheduler.placement import make_schedule
from pyros.actors.scheduler.problem import Fixed, Placed, Planning, Problem, Rejected, Request
from pyros.messages.base import Failed
from pyros.messages.night import MakeSchedule, MonitorState, PlannedSequence, RejectedSequence, ScheduleMade, SchedulerState
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.sky.night import Night, date_of, night_of
from pyros.sky.visibility import NightSky
from pyros.store.database import Reader, open_reader
from pyros.store.quota import open_reservations, release, reserve
from pyros.store.repositories import SequenceTree, current_schedule, observable_sequences

ALERT_TIER = 1


class Scheduler(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._reader: Reader | None = None
        self._night: Night | None = None
        self._sky: NightSky | None = None
        self._state = SchedulerState()
        self._schedule_at = 0

    def on_start(self) -> None:
        """Open the store."""
        self._reader = open_reader(self.environment.state_folder)
        self.show()

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    def on_make_schedule(self, message: MakeSchedule) -> Deferred:
        """Plan, store, publish, answer."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        night, sky = self._tonight(message)
        trees = {str(tree.id): tree for tree in observable_sequences(self._reader, ("OBSERVABLE", "PLANNED", "EXECUTING"))}
        now = self.clock.now()
        problem = problem_of(list(trees.values()), self.environment, night, message, now)
        planning = make_schedule(problem, sky)
        answer = Deferred()
        commit = Commit(
            writes=self._writes(planning, trees, message, problem, now), reason=f"planning: {message.trigger}"[:200]
        )

        def stored(reply: Answer) -> None:
            if isinstance(reply, Committed):
                answer.answer(self._publish(planning, trees, message, reply.ids[self._schedule_at], now))
            else:
                answer.answer(Failed(reason=f"the planning could not be stored: {getattr(reply, 'reason', reply)}"))

        self.ask("archivist", commit, self.clock.at_least_real(20.0, 10.0), stored)
        return answer

    def _tonight(self, message: MakeSchedule) -> tuple[Night, NightSky]:
        monitor = self.latest(MonitorState)
        site = self.environment.site
        on = date.fromisoformat(monitor[0].night) if monitor and monitor[0].night else date_of(site, self.clock.now())
        if self._night is None or self._sky is None or self._night.date != on or message.first_schedule:
            self._night = night_of(site, on, self.settings.night.sun_altitude_max_deg)
            self._sky = NightSky(site, self._night)
        return self._night, self._sky

    def _writes(
        self, planning: Planning, trees: dict[str, SequenceTree], message: MakeSchedule, problem: Problem, now: datetime
    ) -> list[Any]:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        old = current_schedule(self._reader)
        writes: list[Any] = [] if old is None else [
            Change(table="schedule", key=old["id"], values={"status": "SUPERSEDED"}, expect={"status": "CURRENT"})
        ]
        self._schedule_at = len(writes)
        night = problem.night
        writes.append(
            Insert(
                table="schedule",
                values={
                    "night": str(night.date), "status": "CURRENT", "trigger": message.trigger,
                    "first_of_night": message.first_schedule, "created_at": now,
                    "plan_start": message.night_start or now, "plan_end": message.night_end or night.ends or now,
                },
            )
        )
        for placed in planning.placed:
            writes += self._placed(placed, trees[placed.id], now)
        for rejected in planning.rejected:
            writes += self._rejected(rejected, trees[rejected.id], now)
        return writes

    def _placed(self, placed: Placed, tree: SequenceTree, now: datetime) -> list[Any]:
        row = Insert(
            table="scheduled_sequence",
            values={
                "schedule_id": {"$ref": self._schedule_at}, "sequence_id": tree.id, "planned_start": placed.start,
                "planned_end": placed.end, "delta_tl_s": placed.delta_tl_s, "delta_tr_s": placed.delta_tr_s,
            },
        )
        if tree.status != "OBSERVABLE":
            return [row]
        change = Change(table="sequence", key=tree.id, values={"status": "PLANNED"}, expect={"status": "OBSERVABLE"})
        if tree.user_id is None:
            return [row, change]
        return [row, change, *reserve(tree.user_id, tree.id, tree.duration_s, now, tree.programme_id)]

    def _rejected(self, rejected: Rejected, tree: SequenceTree, now: datetime) -> list[Any]:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        row = Insert(
            table="scheduled_sequence",
            values={
                "schedule_id": {"$ref": self._schedule_at}, "sequence_id": tree.id, "reject_code": str(rejected.code),
                "reject_reason": rejected.reason,
            },
        )
        if tree.status != "PLANNED":
            return [row]
        change = Change(table="sequence", key=tree.id, values={"status": "OBSERVABLE"}, expect={"status": "PLANNED"})
        refunds = [write for held in open_reservations(self._reader, tree.id) for write in release(held, now)]
        return [row, change, *refunds]

    def _publish(
        self, planning: Planning, trees: dict[str, SequenceTree], message: MakeSchedule, schedule_id: int, now: datetime
    ) -> ScheduleMade:
        placed = [
            PlannedSequence(
                sequence_id=int(row.id), name=trees[row.id].target_name, start=row.start, end=row.end,
                delta_tl_s=row.delta_tl_s, delta_tr_s=row.delta_tr_s, priority=trees[row.id].priority,
            )
            for row in planning.placed
            if trees[row.id].status != "EXECUTING"
        ]
        rejected = [
            RejectedSequence(sequence_id=int(row.id), code=str(row.code), reason=row.reason) for row in planning.rejected
        ]
        made = ScheduleMade(schedule_id=schedule_id, trigger=message.trigger, placed=placed, rejected=rejected)
        self._state = SchedulerState(
            schedule_id=schedule_id, trigger=message.trigger, made_at=now, placed=placed, rejected=len(rejected)
        )
        self.publish(made)
        self.show()
        return made

    def state(self) -> SchedulerState:
        """Return the current planning in short."""
        return self._state


def problem_of(
    trees: list[SequenceTree], environment: Environment, night: Night, message: MakeSchedule, now: datetime
) -> Problem:
    """Return the scheduling problem that the stored sequences pose now."""
    overhead_s = environment.settings.scheduler.overhead_s
    requests = tuple(_request(tree, night) for tree in trees if tree.ra_deg is not None)
    fixed = tuple(
        Fixed(str(tree.id), tree.started_at, tree.started_at + _length(tree))
        for tree in trees
        if tree.status == "EXECUTING" and tree.started_at is not None
    )
    return Problem(
        site=environment.site, night=night, requests=requests, overhead_s=overhead_s,
        first_schedule=message.first_schedule, night_start=message.night_start, night_end=message.night_end,
        now=now, fixed=fixed,
    )


def _length(tree: SequenceTree) -> timedelta:
    return timedelta(seconds=tree.duration_s + tree.overhead_s)


def _request(tree: SequenceTree, night: Night) -> Request:
    assert tree.ra_deg is not None and tree.dec_deg is not None  # noqa: S101, PT018 - chosen so
    length_s = _length(tree).total_seconds()
    earliest = max(tree.earliest or night.noon_before, night.noon_before)
    latest = max(min(tree.latest or night.noon_after, night.noon_after), earliest)
    return Request(
        id=str(tree.id),
        ra_deg=tree.ra_deg,
        dec_deg=tree.dec_deg,
        priority=float(tree.priority),
        duration_s=length_s,
        earliest=earliest,
        latest=latest,
        t_preferred=tree.t_preferred,
        delta_left_s=tree.delta_left_s,
        delta_right_s=tree.delta_right_s,
        user=str(tree.user_id or ""),
        min_altitude_deg=tree.min_altitude_deg,
        moon_separation_deg=tree.moon_separation_deg,
        tier=ALERT_TIER if tree.kind == "alert" else 0,
    )
