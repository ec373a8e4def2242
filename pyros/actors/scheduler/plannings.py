"""From stored sequences to a scheduling problem, and from a planning to the writes that make it the current one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.scheduler.placement import ITERATIONS
from pyros.actors.scheduler.problem import Fixed, Placed, Planning, Problem, Rejected, Request
from pyros.messages.night import MakeSchedule, PlannedSequence, RejectedSequence, ScheduleMade
from pyros.messages.store import Change, Insert
from pyros.sky.night import Night
from pyros.store.quota import Reservation, release, reserve
from pyros.store.repositories import SequenceTree

ALERT_TIER = 1
REQUESTS_X_ITERATIONS = 300
"""61 requests hold the mailbox for 32 to 35 ms with 4 rounds; 20 rounds for 60 took 180 to 250 ms (measured)."""
URGENT_ITERATIONS = 2
SHORTEST_S = 1.0
Held = Mapping[int, list[Reservation]]
"""The open reservations of sequences, by their ids."""


def owner_of(tree: SequenceTree) -> str:
    """Return the key of whose observing time a sequence takes; a programme's time is its own."""
    return "" if tree.user_id is None else f"{tree.user_id}:{tree.programme_id or ''}"


def iterations_for(requests: Sequence[Request]) -> int:
    """Return how many rounds of prices a planning may take without holding the mailbox up; few when an alert waits."""
    if any(request.tier >= ALERT_TIER for request in requests):
        return URGENT_ITERATIONS
    return min(ITERATIONS, REQUESTS_X_ITERATIONS // max(1, len(requests)))


def remaining_s(tree: SequenceTree) -> float:
    """Return what is left of a sequence's length, by the exposures of its albums that are not recorded as done."""
    shares = [1.0 - done / wanted for done, wanted in map(_exposures_s, tree.albums) if wanted > 0]
    return max(SHORTEST_S, tree.duration_s * max(shares, default=1.0))


def _exposures_s(album: Any) -> tuple[float, float]:
    return (
        sum(plan.done_count * plan.exposure_s for plan in album.plans),
        sum(plan.count * plan.exposure_s for plan in album.plans),
    )


def problem_of(
    trees: Sequence[SequenceTree],
    environment: Environment,
    night: Night,
    message: MakeSchedule,
    now: datetime,
    quotas_s: Mapping[str, float],
) -> Problem:
    """Return the scheduling problem that the stored sequences pose now; what is executing stays where it is."""
    located = [tree for tree in trees if tree.ra_deg is not None]
    fixed = tuple(
        Fixed(str(tree.id), tree.started_at, max(tree.started_at + _length(tree), now))
        for tree in located
        if tree.status == "EXECUTING" and tree.started_at is not None
    )
    return Problem(
        site=environment.site,
        night=night,
        requests=tuple(_request(tree, night) for tree in located),
        overhead_s=environment.settings.scheduler.overhead_s,
        first_schedule=message.first_schedule,
        night_start=message.night_start,
        night_end=message.night_end,
        now=now,
        fixed=fixed,
        quotas_s=quotas_s,
    )


def _length(tree: SequenceTree) -> timedelta:
    return timedelta(seconds=remaining_s(tree) + tree.overhead_s)


def _request(tree: SequenceTree, night: Night) -> Request:
    assert tree.ra_deg is not None and tree.dec_deg is not None  # noqa: S101, PT018 - chosen so
    earliest = max(tree.earliest or night.noon_before, night.noon_before)
    latest = max(min(tree.latest or night.noon_after, night.noon_after), earliest)
    return Request(
        id=str(tree.id),
        ra_deg=tree.ra_deg,
        dec_deg=tree.dec_deg,
        priority=float(tree.priority),
        duration_s=_length(tree).total_seconds(),
        earliest=earliest,
        latest=latest,
        t_preferred=tree.t_preferred,
        delta_left_s=tree.delta_left_s,
        delta_right_s=tree.delta_right_s,
        user=owner_of(tree),
        min_altitude_deg=tree.min_altitude_deg,
        moon_separation_deg=tree.moon_separation_deg,
        tier=ALERT_TIER if tree.kind == "alert" else 0,
    )


# -- writes ----------------------------------------------------------------------------------------------------------


def planning_writes(
    planning: Planning,
    trees: Mapping[str, SequenceTree],
    held: Held,
    old_id: int | None,
    message: MakeSchedule,
    problem: Problem,
    now: datetime,
) -> tuple[list[Any], int]:
    """Return the writes of a planning and the place of the schedule among them."""
    writes: list[Any] = [] if old_id is None else [_step("schedule", old_id, "CURRENT", "SUPERSEDED")]
    schedule_at = len(writes)
    start = max(message.night_start or now, now)
    values = {
        "night": str(problem.night.date),
        "status": "CURRENT",
        "trigger": message.trigger,
        "first_of_night": message.first_schedule,
        "created_at": now,
        "plan_start": start,
        "plan_end": max(message.night_end or problem.night.ends or start, start),
    }
    writes.append(Insert(table="schedule", values=values))
    entry = {"schedule_id": {"$ref": schedule_at}}
    for placed in planning.placed:
        writes += _placed(placed, trees[placed.id], entry, now)
    for rejected in planning.rejected:
        writes += _rejected(rejected, trees[rejected.id], entry, held, now)
    return writes, schedule_at


def _placed(placed: Placed, tree: SequenceTree, entry: dict[str, Any], now: datetime) -> list[Any]:
    place = {
        "sequence_id": tree.id,
        "planned_start": placed.start,
        "planned_end": placed.end,
        "delta_tl_s": placed.delta_tl_s,
        "delta_tr_s": placed.delta_tr_s,
    }
    row = Insert(table="scheduled_sequence", values=entry | place)
    if tree.status != "OBSERVABLE":
        return [row]
    change = _step("sequence", tree.id, "OBSERVABLE", "PLANNED")
    if tree.user_id is None:
        return [row, change]
    return [row, change, *reserve(tree.user_id, tree.id, remaining_s(tree), now, tree.programme_id)]


def _rejected(rejected: Rejected, tree: SequenceTree, entry: dict[str, Any], held: Held, now: datetime) -> list[Any]:
    place = {"sequence_id": tree.id, "reject_code": str(rejected.code), "reject_reason": rejected.reason}
    row = Insert(table="scheduled_sequence", values=entry | place)
    return [row, *(_released(tree, held, now) if tree.status == "PLANNED" else [])]


def _released(tree: SequenceTree, held: Held, now: datetime) -> list[Any]:
    refunds = [write for one in held.get(tree.id, []) for write in release(one, now)]
    return [_step("sequence", tree.id, "PLANNED", "OBSERVABLE"), *refunds]


def night_closed(schedule_id: int, planned: Sequence[SequenceTree], held: Held, now: datetime) -> list[Any]:
    """Return the writes of a night's end: the planning is over, what it had not begun is free, its time given back."""
    writes: list[Any] = [_step("schedule", schedule_id, "CURRENT", "END_OF_NIGHT")]
    return writes + [write for tree in planned for write in _released(tree, held, now)]


def _step(table: str, key: int, before: str, after: str) -> Change:
    return Change(table=table, key=key, values={"status": after}, expect={"status": before})


# -- what is told ----------------------------------------------------------------------------------------------------


def made_of(planning: Planning, trees: Mapping[str, SequenceTree], trigger: str, schedule_id: int) -> ScheduleMade:
    """Return the planning as majordome and the page see it; what is executing is not in it."""
    placed = [
        PlannedSequence(
            sequence_id=int(row.id),
            name=trees[row.id].target_name,
            start=row.start,
            end=row.end,
            delta_tl_s=row.delta_tl_s,
            delta_tr_s=row.delta_tr_s,
            priority=trees[row.id].priority,
        )
        for row in planning.placed
        if trees[row.id].status != "EXECUTING"
    ]
    rejected = [
        RejectedSequence(sequence_id=int(row.id), code=str(row.code), reason=row.reason) for row in planning.rejected
    ]
    return ScheduleMade(schedule_id=schedule_id, trigger=trigger, placed=placed, rejected=rejected)
