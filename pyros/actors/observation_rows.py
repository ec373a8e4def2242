"""What a sequence's execution writes to the store, as pure functions: its intent, its frames, its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pyros.messages.devices import Exposed
from pyros.messages.store import Change, Insert
from pyros.store.quota import Reservation, settle
from pyros.store.repositories import AlbumTree, PlanTree, SequenceTree

AGAIN = ("ABORTED", "FAILED")
"""What a plan or an album has to leave for WAITING before it is executed again."""


def step(table: str, key: int, before: str, after: str, **values: Any) -> Change:
    """Return the change of a row's status, refused if the row is not as expected."""
    return Change(table=table, key=key, values={"status": after, **values}, expect={"status": before})


def refusal_of(tree: SequenceTree | None, cameras: Sequence[str]) -> str | None:
    """Say why a sequence cannot be carried out, or None if it can."""
    if tree is None:
        return "there is no such sequence"
    allowed = ("PLANNED", "OBSERVABLE") if tree.user_id is None else ("PLANNED",)  # a user's has its time reserved
    if tree.status not in allowed:
        return f"it is {tree.status}; only {' or '.join(allowed)} is carried out"
    if tree.ra_deg is None or tree.dec_deg is None:
        return "it has no target"
    unknown = [album.camera for album in tree.albums if album.camera not in cameras]
    return f"camera {unknown[0]!r} does not exist; there are {', '.join(cameras)}" if unknown else None


def intent(tree: SequenceTree, now: datetime) -> list[Change]:
    """Return the write that comes before anything moves."""
    return [step("sequence", tree.id, tree.status, "EXECUTING", started_at=now, reason="")]


def begun(table: str, row: AlbumTree | PlanTree) -> list[Change]:
    """Return the writes that make an album or a plan EXECUTING, whatever an earlier execution left of it."""
    if row.status == "EXECUTING":
        return []
    again = [step(table, row.id, row.status, "WAITING", reason="")] if row.status in AGAIN else []
    return [*again, step(table, row.id, "WAITING" if again else row.status, "EXECUTING")]


def frame_done(
    tree: SequenceTree, plan: PlanTree, exposed: Exposed, number: int, aim: tuple[float | None, float | None]
) -> list[Any]:
    """Return the writes of one frame: its row, and that the plan has one frame more; the last one ends the plan."""
    ends = {"status": "EXECUTED"} if number + 1 == plan.count else {}
    image = {
        "file": exposed.file,
        "plan_id": plan.id,
        "sequence_id": tree.id,
        "alert_id": tree.alert_id,
        "camera": exposed.camera.removeprefix("camera:"),
        "filter": exposed.filter,
        "kind": exposed.frame,
        "number": number,
        "start": exposed.start,
        "exposure_s": exposed.exposure_s,
        "ra_deg": aim[0],
        "dec_deg": aim[1],
        "datasum": exposed.datasum,
    }
    progress = {"done_count": number + 1, **ends}
    return [
        Insert(table="image", values=image),
        Change(table="plan", key=plan.id, values=progress, expect={"done_count": number, "status": "EXECUTING"}),
    ]


def is_through(tree: SequenceTree) -> bool:
    """Tell whether every frame of a sequence is recorded as done."""
    return all(plan.status == "EXECUTED" for album in tree.albums for plan in album.plans)


def end(
    tree: SequenceTree, status: str, parts: str, cause: str, exposed_s: float, held: list[Reservation], now: datetime
) -> list[Change | Insert]:
    """Return the writes of a sequence's end: itself, what of it is still EXECUTING, and its quota, settled once.

    Parameters
    ----------
    tree : SequenceTree
        As the store has it now.
    status, parts : str
        What the sequence becomes, and what becomes of albums and plans under way.
    exposed_s : float
        Exposure time of this execution, seconds.
    held : list of Reservation
        The owner's open reservations for it.
    """
    writes: list[Change | Insert] = []
    for album in tree.albums:
        closed = {"reason": cause[:500]}
        open_plans = [plan for plan in album.plans if plan.status == "EXECUTING"]
        writes += [step("plan", plan.id, "EXECUTING", parts, **closed) for plan in open_plans]
        if album.status == "EXECUTING":
            writes.append(step("album", album.id, "EXECUTING", parts, **closed))
    values = {"reason": cause[:500], "ended_at": now, "exposed_s": tree.exposed_s + exposed_s}
    writes.append(step("sequence", tree.id, "EXECUTING", status, **values))
    return writes + [write for one in held for write in settle(one, exposed_s, now)]
