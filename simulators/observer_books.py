"""An independent auditor: what the store says of a night, against what the simulated world itself has recorded.

It reads the store's files with SQLite alone and the log of deliveries with JSON alone, and shares no code with PyROS.
Rules: a frame that is recorded was exposed, once, where it says, and lies on disk; what is recorded as done is not
exposed again; what was exposed to its end is recorded, unless something went wrong just then; plans, sequences and
quota agree with the frames; a night begins once; what was acknowledged to a broker is in the store; news have left once
each, in order.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulators.observer import Interval, Violation
from simulators.physics_frames import separation_deg
from simulators.physics_timeline import to_unix_s

SAME_START_S = 1.5
SAME_LENGTH_S = 0.2
EXCUSED_S = 240.0
"""How long after a trouble a frame may still be lost to it: an exposure that it interrupted, its readout, a restart."""
OFF_TARGET_DEG = 0.25
"""Farther from what the store says, a target is out of the field; a machine's UTC may be half a minute off."""
SKY = "light"


@dataclass(frozen=True)
class Books:
    """What the auditor looks at.

    Parameters
    ----------
    folder
        The state directory: pyros.db, images, events.jsonl.
    exposures
        The camera's own record.
    offsets_s
        Every difference between the machine's UTC and the true one that there was.
    troubles
        Instants (seconds since 1970) at which something went wrong, with the time that it lasted.
    announced
        Instants at which the beginning or end of a night was announced, and of which ("NightStarted 2026-11-22").
    acknowledged
        Names of the notices that were acknowledged to a broker.
    taken
        By centre, the ids of the news that it has, in order; empty where no centre takes part.
    """

    folder: Path
    exposures: Sequence[Interval]
    offsets_s: Sequence[float] = (0.0,)
    troubles: Sequence[tuple[float, float]] = ()
    announced: Sequence[tuple[float, str]] = ()
    acknowledged: Sequence[str] = ()
    taken: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


@dataclass(frozen=True)
class _Frame:
    file: str
    plan: int | None
    number: int
    start_s: float
    exposure_s: float
    camera: str
    place: tuple[float, float] | None


def audit(books: Books) -> list[Violation]:
    """Return every rule that is broken, in order of the rules."""
    with sqlite3.connect(f"file:{books.folder / 'pyros.db'}?mode=ro", uri=True) as store:
        store.row_factory = sqlite3.Row
        frames = _frames(store)
        asked = list(_asked(books.folder / "events.jsonl"))
        return [
            *_on_disk(frames, books),
            *_exposed(frames, books),
            *_repeated(frames, asked, books),
            *_lost(frames, asked, books),
            *_counts(store),
            *_quota(store),
            *_nights(store, books),
            *_notices(store, books),
            *_news(store, books),
        ]


def _rows(store: sqlite3.Connection, sql: str) -> list[sqlite3.Row]:
    return store.execute(sql).fetchall()


def _unix_s(value: Any) -> float:
    """Read an instant of the store: ISO text in UTC, or microseconds since 1970."""
    if isinstance(value, (int, float)):
        return float(value) / 1e6
    instant = datetime.fromisoformat(str(value))
    return to_unix_s(instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC))


def _frames(store: sqlite3.Connection) -> list[_Frame]:
    columns = "file, plan_id, number, start, exposure_s, camera, ra_deg, dec_deg"
    return [
        _Frame(row[0], row[1], row[2], _unix_s(row[3]), row[4], row[5], None if row[6] is None else (row[6], row[7]))
        for row in _rows(store, f"SELECT {columns} FROM image WHERE kind = 'light' ORDER BY id")  # noqa: S608 - our own words
    ]


def _found(rule: str, at_s: float, detail: str) -> Violation:
    return Violation(datetime.fromtimestamp(at_s, UTC), rule, detail)


@dataclass(frozen=True)
class _Asked:
    """An order to expose, as it was delivered to a camera: true instant, plan, number, length."""

    at_s: float
    camera: str
    plan: int
    number: int
    exposure_s: float


def _lines(path: Path, *words: bytes) -> Iterator[dict[str, Any]]:
    """Return the lines of the log that hold one of the words."""
    with path.open("rb") as log:
        for line in log:
            if any(word in line for word in words):
                yield json.loads(line)


def _asked(path: Path) -> Iterator[_Asked]:
    for line in _lines(path, b'"type":"Expose"'):
        content = line["content"]
        if content["frame"] == SKY:
            at_s = to_unix_s(datetime.fromisoformat(line["t"]))
            camera = line["to"].removeprefix("camera:")
            yield _Asked(at_s, camera, content["plan_id"], content["number"], content["exposure_s"])


# -- frames ----------------------------------------------------------------------------------------------------------


def _on_disk(frames: Sequence[_Frame], books: Books) -> Iterator[Violation]:
    seen: dict[tuple[int | None, int], str] = {}
    for frame in frames:
        if not (books.folder / "images" / frame.file).is_file():
            yield _found("a recorded frame is not on disk", frame.start_s, frame.file)
        key = (frame.plan, frame.number)
        if key in seen:
            yield _found("a frame is recorded twice", frame.start_s, f"{frame.file} and {seen[key]}")
        seen[key] = frame.file


def _exposed(frames: Sequence[_Frame], books: Books) -> Iterator[Violation]:
    """Each recorded frame has an exposure of its own in the camera's record."""
    left = [one for one in books.exposures if one.what.endswith(SKY)]
    for frame in frames:
        match = next((one for one in left if _same(frame, one, books)), None)
        if match is None:
            yield _found("a recorded frame was not exposed", frame.start_s, frame.file)
            continue
        left.remove(match)
        if frame.place is not None and match.place is not None:
            off_deg = separation_deg(*frame.place, *match.place)
            if off_deg > OFF_TARGET_DEG:
                yield _found("a recorded frame shows another place", frame.start_s, f"{frame.file}: {off_deg:.2f}° off")


def _same(frame: _Frame, exposure: Interval, books: Books) -> bool:
    length_s = (exposure.end - exposure.start).total_seconds()
    if f"camera:{frame.camera} " not in exposure.what or length_s < frame.exposure_s - SAME_LENGTH_S:
        return False
    return any(abs(frame.start_s - by - to_unix_s(exposure.start)) < SAME_START_S for by in books.offsets_s)


def _repeated(frames: Sequence[_Frame], asked: Sequence[_Asked], books: Books) -> Iterator[Violation]:
    slack_s = max(abs(by) for by in books.offsets_s) + SAME_START_S
    for one in asked:
        earlier = [
            frame
            for frame in frames
            if (frame.plan, frame.number) == (one.plan, one.number) and frame.start_s < one.at_s - slack_s
        ]
        if earlier and frames:
            detail = f"frame {one.number} of plan {one.plan} is {earlier[0].file} already"
            yield _found("what is recorded as done was exposed again", one.at_s, detail)


def _lost(frames: Sequence[_Frame], asked: Sequence[_Asked], books: Books) -> Iterator[Violation]:
    """Whatever was exposed to its end is recorded, unless there was trouble."""
    for one in asked:
        exposure = next((e for e in books.exposures if 0.0 <= to_unix_s(e.start) - one.at_s < SAME_START_S), None)
        if exposure is None or (exposure.end - exposure.start).total_seconds() < one.exposure_s - SAME_LENGTH_S:
            continue
        recorded = any(_same(frame, exposure, books) for frame in frames)
        begin_s, end_s = one.at_s, to_unix_s(exposure.end)
        excused = any(
            at_s - EXCUSED_S <= end_s and begin_s <= at_s + lasts_s + EXCUSED_S for at_s, lasts_s in books.troubles
        )
        if not recorded and not excused:
            yield _found("an exposure was lost", one.at_s, f"frame {one.number} of plan {one.plan}")


# -- plans, quota, nights --------------------------------------------------------------------------------------------


def _counts(store: sqlite3.Connection) -> Iterator[Violation]:
    sql = (
        "SELECT plan.id, plan.status, plan.done_count, plan.count, COUNT(image.id) AS frames FROM plan "
        "LEFT JOIN image ON image.plan_id = plan.id GROUP BY plan.id"
    )
    for row in _rows(store, sql):
        whole = row["done_count"] == row["count"]
        if row["done_count"] != row["frames"] or whole != (row["status"] == "EXECUTED"):
            counted = f"{row['done_count']} of {row['count']}, {row['frames']} frames"
            detail = f"plan {row['id']} is {row['status']} with {counted}"
            yield _found("a plan disagrees with its frames", 0.0, detail)
    for row in _rows(store, "SELECT id FROM sequence WHERE status = 'EXECUTING'"):
        yield _found("a sequence was left executing", 0.0, f"sequence {row['id']}")


def _quota(store: sqlite3.Connection) -> Iterator[Violation]:
    """What was debited for a sequence is what its frames were exposed for."""
    sql = (
        "SELECT sequence.id, COALESCE((SELECT SUM(seconds) FROM quota_entry WHERE sequence_id = sequence.id AND "
        "kind = 'debit'), 0) AS debited, COALESCE((SELECT SUM(exposure_s) FROM image WHERE sequence_id = sequence.id), "
        "0) AS exposed FROM sequence WHERE EXISTS (SELECT 1 FROM quota_entry WHERE sequence_id = sequence.id)"
    )
    for row in _rows(store, sql):
        if abs(row["debited"] - row["exposed"]) > 1.0:
            detail = f"sequence {row['id']}: {row['debited']:.0f} s debited, {row['exposed']:.0f} s exposed"
            yield _found("quota disagrees with the frames", 0.0, detail)


def _nights(store: sqlite3.Connection, books: Books) -> Iterator[Violation]:
    for row in _rows(store, "SELECT date, COUNT(*) AS rows FROM night GROUP BY date HAVING COUNT(*) > 1"):
        yield _found("a night was begun twice", 0.0, f"{row['date']} has {row['rows']} rows")
    for at_s, what in books.announced:
        if [said for _, said in books.announced].index(what) != books.announced.index((at_s, what)):
            yield _found("a night was begun twice", at_s, f"{what} was said twice")


# -- notices and news ------------------------------------------------------------------------------------------------


def _notices(store: sqlite3.Connection, books: Books) -> Iterator[Violation]:
    known = {row["ivorn"] for row in _rows(store, "SELECT ivorn FROM notice")}
    for ivorn in books.acknowledged:
        if ivorn not in known:
            yield _found("an acknowledged notice is not in the store", 0.0, ivorn)
    for row in _rows(store, "SELECT id FROM notice WHERE verdict = 'PENDING'"):
        yield _found("a notice was never judged", 0.0, f"notice {row['id']}")


def _news(store: sqlite3.Connection, books: Books) -> Iterator[Violation]:
    """Every row that is SENT has arrived; what arrived stands in the outbox; in order."""
    for centre, ids in books.taken.items():
        rows = store.execute(
            "SELECT payload, status FROM outbox WHERE destination = ? ORDER BY id", (centre,)
        ).fetchall()
        written = [str(json.loads(row["payload"])["id"]) for row in rows]
        sent = [identifier for identifier, row in zip(written, rows, strict=True) if row["status"] == "SENT"]
        missing = [identifier for identifier in sent if identifier not in ids]
        if missing:
            yield _found("news were lost", 0.0, f"{centre} has never had {', '.join(missing)}")
        foreign = [identifier for identifier in ids if identifier not in written]
        if foreign:
            yield _found("news came from nowhere", 0.0, f"{centre} has {', '.join(foreign)}")
        if _in_order(ids, written) is False:
            yield _found("news came out of order", 0.0, centre)


def _in_order(ids: Iterable[str], written: Sequence[str]) -> bool:
    places = [written.index(identifier) for identifier in ids if identifier in written]
    return places == sorted(places)
