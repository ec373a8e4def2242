"""What actors load in `on_start` and look up in procedures: pure functions of what a `Reader` sees."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from peewee import SQL, fn

from pyros.messages.store import Change, Insert
from pyros.store.database import Reader
from pyros.store.history import dicts, tuples
from pyros.store.models import (
    Album,
    Alert,
    Detection,
    Image,
    Notice,
    Outbox,
    Plan,
    Programme,
    Request,
    Row,
    Schedule,
    ScheduledSequence,
    Sequence,
    Setting,
    Strategy,
    Trigger,
    User,
)
from pyros.store.tables import TABLES

# -- sequences -------------------------------------------------------------------------------------------------------


class PlanTree(msgspec.Struct, frozen=True):
    """One plan; see the table `plan` for the units."""

    id: int
    album_id: int
    kind: str
    filter: str
    exposure_s: float
    count: int
    done_count: int
    dither_arcsec: float
    status: str
    reason: str


class AlbumTree(msgspec.Struct, frozen=True):
    """One camera's part of a sequence, with its plans in order."""

    id: int
    sequence_id: int
    camera: str
    status: str
    reason: str
    plans: list[PlanTree]


class SequenceTree(msgspec.Struct, frozen=True):
    """One sequence with its albums, and who asked for it; see the table `sequence` for the units."""

    id: int
    request_id: int
    name: str
    kind: str
    status: str
    reason: str
    target_name: str
    ra_deg: float | None
    dec_deg: float | None
    priority: int
    duration_s: float
    overhead_s: float
    earliest: datetime | None
    latest: datetime | None
    t_preferred: datetime | None
    delta_left_s: float
    delta_right_s: float
    min_altitude_deg: float
    moon_separation_deg: float
    started_at: datetime | None
    ended_at: datetime | None
    exposed_s: float
    created_at: datetime
    request_name: str
    user_id: int | None
    programme_id: int | None
    alert_id: int | None
    albums: list[AlbumTree]


def observable_sequences(reader: Reader, statuses: tuple[str, ...] = ("OBSERVABLE", "PLANNED")) -> list[SequenceTree]:
    """Return every sequence in one of the statuses with its tree, in order of the ids.

    The default is what a planning may place: a sequence that stands in the present planning may be placed anew.
    """
    return _trees(reader, Sequence.status.in_(statuses))


def sequence_tree(reader: Reader, sequence_id: int) -> SequenceTree | None:
    """Return one sequence with its tree, or None if it does not exist."""
    trees = _trees(reader, Sequence.id == sequence_id)
    return trees[0] if trees else None


def sequences_of(reader: Reader, *, request_id: int | None = None, alert_id: int | None = None) -> list[SequenceTree]:
    """Return the sequences of a request or of an alert's requests, with their trees."""
    return _trees(reader, Sequence.request == request_id if alert_id is None else Request.alert == alert_id)


_SEQUENCE_COLUMNS = (*TABLES["sequence"].public, "request_name", "user_id", "programme_id", "alert_id")


def _trees(reader: Reader, condition: Any) -> list[SequenceTree]:
    with reader.main.atomic():  # the three queries see one instant
        chosen = Sequence.select(Sequence.id).join(Request).where(condition)
        sequences = (
            Sequence.select(Sequence, Request.name, Request.user, Request.programme, Request.alert)
            .join(Request)
            .where(condition)
            .order_by(Sequence.id)
        )
        albums = Album.select().where(Album.sequence.in_(chosen)).order_by(Album.id)
        plans = Plan.select().join(Album).where(Album.sequence.in_(chosen)).order_by(Plan.id)
        sequence_rows = dicts(sequences.bind(reader.main), _SEQUENCE_COLUMNS)
        album_rows = dicts(albums.bind(reader.main), TABLES["album"].public)
        plan_rows = dicts(plans.bind(reader.main), TABLES["plan"].public)
    trees = {row["id"]: SequenceTree(**row, albums=[]) for row in sequence_rows}
    branches = {row["id"]: AlbumTree(**row, plans=[]) for row in album_rows}
    for album in branches.values():
        trees[album.sequence_id].albums.append(album)
    for row in plan_rows:
        branches[row["album_id"]].plans.append(PlanTree(**row))
    return list(trees.values())


# -- alerts and notices ----------------------------------------------------------------------------------------------

_NOTICE_COLUMNS = tuple(name for name in TABLES["notice"].public if name != "raw")


def alerts_of_night(reader: Reader, night: str) -> list[dict[str, Any]]:
    """Return the alerts of a night (YYYY-MM-DD), oldest first, each with its `triggers` as dicts."""
    alerts = _all(reader, Alert, Alert.night == night)
    chosen = [row["id"] for row in alerts]
    triggers = _all(reader, Trigger, Trigger.alert.in_(chosen))
    return [row | {"triggers": [one for one in triggers if one["alert_id"] == row["id"]]} for row in alerts]


def alerts_since(reader: Reader, since: datetime) -> list[dict[str, Any]]:
    """Return the alerts whose burst is not older, oldest first."""
    return _all(reader, Alert, Alert.t0 >= since)


def loose_triggers(reader: Reader, since: datetime) -> list[dict[str, Any]]:
    """Return the triggers, not older, that belong to no alert: bursts too wide to look at, and what was no burst."""
    return _all(reader, Trigger, Trigger.alert.is_null(), Trigger.created_at >= since)


def one_alert(reader: Reader, alert_id: int) -> dict[str, Any] | None:
    """Return an alert, or None."""
    return _one(reader, Alert, Alert.id == alert_id)


def trigger(reader: Reader, mission: str, identifier: str) -> dict[str, Any] | None:
    """Return a mission's trigger, or None if it is new."""
    return _one(reader, Trigger, Trigger.mission == mission, Trigger.identifier == identifier)


def notices_about(reader: Reader, mission: str, identifier: str, limit: int = 50) -> list[dict[str, Any]]:
    """Return the last notices of a trigger, newest first, without their raw bytes."""
    return _notices(reader, limit, Notice.mission == mission, Notice.identifier == identifier)


def recent_notices(reader: Reader, since: datetime, limit: int = 1000) -> list[dict[str, Any]]:
    """Return the notices received since an instant, newest first, without their raw bytes."""
    return _notices(reader, limit, Notice.received_at >= since)


def notices_of_alert(reader: Reader, alert_id: int, limit: int = 1000) -> list[dict[str, Any]]:
    """Return the notices of an alert, newest first, without their raw bytes."""
    return _notices(reader, limit, Notice.alert == alert_id)


def raw_notices_of_alert(reader: Reader, alert_id: int) -> list[bytes]:
    """Return the raw bytes of an alert's notices, oldest first."""
    query = Notice.select(Notice.raw_bytes).where(Notice.alert == alert_id).order_by(Notice.id)
    return [bytes(raw) for (raw,) in tuples(query.bind(reader.main))]


def raw_notices_of_trigger(reader: Reader, mission: str, identifier: str) -> list[tuple[int, bytes]]:
    """Return id and raw bytes of a trigger's notices, judged ones only, oldest first."""
    query = Notice.select(Notice.id, Notice.raw_bytes).where(
        Notice.mission == mission, Notice.identifier == identifier, Notice.verdict.in_(("ACCEPTED", "REJECTED"))
    )
    return [(number, bytes(raw)) for number, raw in tuples(query.order_by(Notice.id).bind(reader.main))]


def most_candidates(reader: Reader, alert_id: int) -> int:
    """Return how many candidates the richest of an alert's images has."""
    count = fn.COUNT(Detection.id)
    query = Detection.select(count).where(Detection.alert == alert_id).group_by(Detection.image).order_by(count.desc())
    return next((number for (number,) in tuples(query.limit(1).bind(reader.main))), 0)


def strategy_row(reader: Reader, name: str, version: int) -> int | None:
    """Return the id of a version of a strategy, or None if it is not stored yet."""
    row = _one(reader, Strategy, Strategy.name == name, Strategy.version == version)
    return None if row is None else row["id"]


def strategy_of(reader: Reader, strategy_id: int | None) -> str:
    """Return name and version of a strategy's row, or nothing."""
    row = _one(reader, Strategy, Strategy.id == strategy_id)
    return "" if row is None else f"{row['name']} {row['version']}"


def programme(reader: Reader, name: str) -> dict[str, Any] | None:
    """Return a programme, or None."""
    return _one(reader, Programme, Programme.name == name)


def open_requests(reader: Reader) -> dict[int, list[tuple[str, str]]]:
    """Return (kind, status) of every sequence of each ACCEPTED or HELD request, in order of the ids."""
    query = (
        Sequence.select(Sequence.request, Sequence.kind, Sequence.status)
        .join(Request)
        .where(Request.status.in_(("ACCEPTED", "HELD")))
        .order_by(Sequence.id)
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for request_id, kind, status in tuples(query.bind(reader.main)):
        found.setdefault(request_id, []).append((kind, status))
    return found


def sequence_counts(reader: Reader) -> dict[str, int]:
    """Return how many sequences are in each state."""
    query = Sequence.select(Sequence.status, fn.COUNT(Sequence.id)).group_by(Sequence.status).order_by(Sequence.status)
    return dict(tuples(query.bind(reader.main)))


def undecided_notices(reader: Reader) -> list[dict[str, Any]]:
    """Return what is stored but not judged, oldest first, with raw bytes: the work that a crash left."""
    return _all(reader, Notice, Notice.verdict == "PENDING")


def pending_notice(reader: Reader, notice_id: int) -> dict[str, Any] | None:
    """Return a notice that is not judged yet, with raw bytes, or None."""
    return _one(reader, Notice, Notice.id == notice_id, Notice.verdict == "PENDING")


def stored_notice(reader: Reader, ivorn: str, content_sha256: str) -> int | None:
    """Return the id of the very same notice if it is stored already."""
    row = _one(reader, Notice, Notice.ivorn == ivorn, Notice.content_sha256 == content_sha256)
    return None if row is None else row["id"]


def _notices(reader: Reader, limit: int, *conditions: Any) -> list[dict[str, Any]]:
    fields = [TABLES["notice"].columns[name].field for name in _NOTICE_COLUMNS]
    query = Notice.select(*fields).where(*conditions).order_by(Notice.id.desc()).limit(limit)
    return dicts(query.bind(reader.main), _NOTICE_COLUMNS)


# -- plannings, images, outbox ---------------------------------------------------------------------------------------


def current_schedule(reader: Reader) -> dict[str, Any] | None:
    """Return the current planning with its `entries` in order of planned start (rejected ones last), or None."""
    with reader.main.atomic():
        row = _one(reader, Schedule, Schedule.status == "CURRENT")
        return None if row is None else row | {"entries": schedule_entries(reader, row["id"])}


def schedule_entries(reader: Reader, schedule_id: int) -> list[dict[str, Any]]:
    """Return each sequence's place in a planning, in order of planned start, then the rejected ones."""
    order = SQL("planned_start IS NULL, planned_start, id")
    query = ScheduledSequence.select().where(ScheduledSequence.schedule == schedule_id).order_by(order)
    return dicts(query.bind(reader.main), TABLES["scheduled_sequence"].public)


def images_of(
    reader: Reader, *, alert_id: int | None = None, sequence_id: int | None = None, plan_id: int | None = None
) -> list[dict[str, Any]]:
    """Return the images of an alert, a sequence or a plan (of all that are given), in order of time."""
    wanted = ((Image.alert, alert_id), (Image.sequence, sequence_id), (Image.plan, plan_id))
    conditions = [field == value for field, value in wanted if value is not None]
    if not conditions:
        return []
    query = Image.select().where(*conditions).order_by(Image.start, Image.id)
    return dicts(query.bind(reader.main), TABLES["image"].public)


def image_rows(reader: Reader, ids: list[int]) -> list[dict[str, Any]]:
    """Return these images in order of time."""
    query = Image.select().where(Image.id.in_(ids)).order_by(Image.start, Image.id)
    return dicts(query.bind(reader.main), TABLES["image"].public)


def exposed_since(reader: Reader, sequence_id: int, start: datetime) -> float:
    """Return the exposure time, seconds, of a sequence's frames that were begun at or after `start`."""
    query = Image.select(fn.COALESCE(fn.SUM(Image.exposure_s), 0.0))
    query = query.where(Image.sequence == sequence_id, Image.start >= start)
    return float(tuples(query.bind(reader.main))[0][0])


def unanalysed_images(reader: Reader, since: datetime) -> list[dict[str, Any]]:
    """Return the frames of the sky, not older, that nobody has measured yet, in order of time."""
    wanted = (Image.kind == "light", Image.quality == {}, Image.start >= since)
    query = Image.select().where(*wanted).order_by(Image.start, Image.id)
    return dicts(query.bind(reader.main), TABLES["image"].public)


def last_images(reader: Reader, limit: int = 20) -> list[dict[str, Any]]:
    """Return the images taken last, newest first."""
    query = Image.select().order_by(Image.start.desc(), Image.id.desc()).limit(limit)
    return dicts(query.bind(reader.main), TABLES["image"].public)


def pending_outbox(reader: Reader, destination: str, limit: int = 100) -> list[dict[str, Any]]:
    """Return what waits to be sent to a destination, in the order of sending."""
    query = (
        Outbox.select()
        .where(Outbox.destination == destination, Outbox.status == "PENDING")
        .order_by(Outbox.id)
        .limit(limit)
    )
    return dicts(query.bind(reader.main), TABLES["outbox"].public)


def waiting_outbox(reader: Reader) -> dict[str, tuple[int, datetime]]:
    """Return, for each destination for which rows wait, how many they are and when the oldest was written."""
    first: Any = fn.MIN(Outbox.created_at)
    query = Outbox.select(Outbox.destination, fn.COUNT(Outbox.id), first).where(Outbox.status == "PENDING")
    found = tuples(query.group_by(Outbox.destination).bind(reader.main))
    return {destination: (count, oldest) for destination, count, oldest in found}


# -- accounts and settings -------------------------------------------------------------------------------------------


def account(reader: Reader, name: str) -> dict[str, Any] | None:
    """Return an account with its password hash, for the user manager alone, or None."""
    found = dicts(User.select().where(User.name == name).bind(reader.main), tuple(TABLES["user"].columns))
    return found[0] if found else None


def settings(reader: Reader) -> dict[str, Any]:
    """Return every small durable fact by its key."""
    found = dicts(Setting.select().bind(reader.main), TABLES["setting"].public)
    return {row["key"]: row["value"] for row in found}


def setting_write(reader: Reader, key: str, value: Any, at: datetime, by: str) -> Insert | Change:
    """Return the write that gives a setting its value, whether it exists already or not."""
    values = {"value": value, "changed_at": at, "changed_by": by}
    if _one(reader, Setting, Setting.key == key) is None:
        return Insert(table="setting", values={"key": key, **values})
    return Change(table="setting", key=key, values=values)


def _all(reader: Reader, model: type[Row], *conditions: Any) -> list[dict[str, Any]]:
    meta: Any = model._meta  # noqa: SLF001 - peewee's documented place for a model's description
    query = model.select().where(*conditions).order_by(meta.primary_key)
    return dicts(query.bind(reader.main), TABLES[meta.table_name].public)


def _one(reader: Reader, model: type[Row], *conditions: Any) -> dict[str, Any] | None:
    found = _all(reader, model, *conditions)
    return found[0] if found else None
