"""What the routine manager decides, as pure functions: is a request possible, what is it for tonight, is it over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pyros.config import Settings
from pyros.messages.people import SubmitRequest
from pyros.messages.store import Change
from pyros.sky.site import Site
from pyros.store.builder import AlbumDraft, PlanDraft, RequestDraft, SequenceDraft
from pyros.store.quota import Reservation, release
from pyros.store.repositories import SequenceTree

FRAME_OVERHEAD_S = 4.0
"""Readout and the like, per frame, in the estimate of a sequence's length."""
POINTING_S = 30.0
OVER = ("EXECUTED", "CANCELLED", "REJECTED", "UNPLANNABLE", "EXPIRED", "ABORTED")
"""Ends of a sequence."""


def draft_of(message: SubmitRequest, user_id: int, programme_id: int) -> RequestDraft:
    """Return the tree of a request with one sequence, and its length with all that belongs to it."""
    plan = PlanDraft(filter=message.filter, exposure_s=message.exposure_s, count=message.count)
    sequence = SequenceDraft(
        name=message.name,
        target_name=message.target_name,
        ra_deg=message.ra_deg,
        dec_deg=message.dec_deg,
        priority=message.priority,
        duration_s=message.count * (message.exposure_s + FRAME_OVERHEAD_S) + POINTING_S,
        earliest=message.earliest,
        latest=message.latest,
        min_altitude_deg=message.min_altitude_deg,
        moon_separation_deg=message.moon_separation_deg,
        status="COMPLETE",
        albums=[AlbumDraft(camera=message.camera, plans=[plan])],
    )
    return RequestDraft(
        name=message.name, user_id=user_id, programme_id=programme_id, status="SUBMITTED", sequences=[sequence]
    )


def impossible(message: SubmitRequest, settings: Settings, site: Site, now: datetime) -> str | None:
    """Say why a request can never be observed here, or None."""
    camera = settings.devices.camera.get(message.camera)
    if camera is None:
        return f"camera {message.camera!r} does not exist; there are {', '.join(settings.devices.camera)}"
    wheel = None if camera.filter_wheel is None else settings.devices.filter_wheel[camera.filter_wheel]
    if wheel is not None and message.filter not in wheel.filters:
        return f"camera {message.camera} has no filter {message.filter!r}; it has {', '.join(wheel.filters)}"
    highest_deg = 90.0 - abs(site.latitude_deg - message.dec_deg)
    least_deg = max(message.min_altitude_deg, settings.site.horizon_deg)
    if highest_deg < least_deg:
        return (
            f"dec_deg is {message.dec_deg:g}: at {site.name} it never rises above {highest_deg:.1f}°, "
            f"and at least {least_deg:g}° are asked for"
        )
    if message.latest is not None and message.latest <= now:
        return f"latest is {message.latest:%Y-%m-%dT%H:%M:%SZ}, which is past"
    return None


def for_tonight(
    tree: SequenceTree, begins: datetime, ends: datetime, now: datetime, available_s: float
) -> tuple[str, str] | None:
    """Return what a sequence becomes for the night, and why; None if it stays what it is.

    OBSERVABLE is what is complete, meets the night, and whose owner has the time; later the plannings see to that.
    """
    if tree.latest is not None and tree.latest < now:
        return "EXPIRED", f"its window ended at {tree.latest:%Y-%m-%dT%H:%M:%SZ}"
    if tree.kind != "routine":
        return None
    meets = (tree.earliest is None or tree.earliest < ends) and (tree.latest is None or tree.latest > begins)
    if tree.status in {"COMPLETE", "INTERRUPTED"} and meets and available_s >= tree.duration_s:
        return "OBSERVABLE", ""
    if tree.status == "OBSERVABLE" and not meets:
        return "COMPLETE", "its window does not meet the night"
    return None


def step(tree: SequenceTree, status: str, reason: str, held: Iterable[Reservation], now: datetime) -> list[Any]:
    """Return the writes of a sequence's step: its status, its parts where it is cancelled, its reserved time back."""
    values = {"status": status, "reason": reason[:500]}
    writes: list[Any] = [Change(table="sequence", key=tree.id, values=values, expect={"status": tree.status})]
    if status == "CANCELLED":
        rows = [("album", album.id, album.status) for album in tree.albums]
        rows += [("plan", plan.id, plan.status) for album in tree.albums for plan in album.plans]
        writes += [
            Change(table=table, key=key, values={"status": "CANCELLED"}, expect={"status": "WAITING"})
            for table, key, before in rows
            if before == "WAITING"
        ]
    if status in {"CANCELLED", "EXPIRED"}:
        writes += [write for one in held for write in release(one, now)]
    return writes


def request_over(sequences: Sequence[tuple[str, str]]) -> str | None:
    """Return what a request becomes whose sequences (kind, status) are all over; None while one is not.

    An alert's sequence that was interrupted is over too: the alert goes on with a new one.
    """
    statuses = [status for _, status in sequences]
    if any(status not in OVER and (kind, status) != ("alert", "INTERRUPTED") for kind, status in sequences):
        return None
    if "EXECUTED" in statuses:
        return "EXECUTED"
    return "CANCELLED" if "CANCELLED" in statuses else "EXPIRED"
