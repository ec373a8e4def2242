"""What has to hold after every kill, judged from the store, the files, the broker's and the simulators' own records.

Nothing here asks an actor. Each rule returns a line for each breach; none is the only good answer.
"""

from __future__ import annotations

import json
import re
import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from astropy.io import fits
from kill_people import People
from kill_stage import Stage

OPEN = ("EXECUTING",)
OVER_S = 1e-6
SLACK = timedelta(seconds=2)
RAW_NAME = re.compile(r"[a-z]\w*?_\d{6,}_(\d{6,})_\d{6}_(\d{3,})\.fits")


class Store:
    """The observatory's store, opened read-only by one who knows nothing of PyROS but its tables."""

    def __init__(self, state: Path):
        self._database = sqlite3.connect(f"file:{state / 'pyros.db'}?mode=ro", uri=True, timeout=2.0)
        self._database.row_factory = sqlite3.Row

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._database.close()

    def rows(self, sql: str, *values) -> list[dict]:
        return [dict(row) for row in self._database.execute(sql, values)]


@dataclass
class Record:
    """What was seen to be recorded before: none of it may ever change or go."""

    images: dict[int, tuple] = field(default_factory=dict)
    checked: set[int] = field(default_factory=set)
    """Images whose files were read and found whole."""
    done: dict[int, int] = field(default_factory=dict)
    """Frames of each plan that were recorded as done."""


def breaches(stage: Stage, people: People, record: Record) -> list[str]:
    """Return every rule that is broken now, whatever instant the daemon was killed at."""
    if not (stage.state / "pyros.db").exists():
        return [] if not people.requests and not people.acknowledged() else ["the store has gone"]
    with Store(stage.state) as store:
        if not store.rows("SELECT 1 FROM sqlite_master WHERE name = 'setting'"):
            return []  # killed in the first migration
        found = [
            *store_is_whole(store),
            *notices_are_kept(store, people.acknowledged(), people.sent),
            *requests_are_kept(store, people.requests),
            *frames_are_there(store, stage.state / "images", record),
            *frames_were_exposed(store, stage.observer.exposures),
            *frames_are_not_repeated(store, stage.state / "images"),
            *the_night_began_once(store, stage.words.read_text()),
            *parts_follow_their_sequence(store),
            *the_ledger_adds_up(store),
            *news_came(store, stage.receiver),
        ]
    return [*found, *(f"the observer saw: {one.rule}: {one.detail} at {one.t}" for one in stage.observer.violations)]


def store_is_whole(store: Store) -> list[str]:
    results = [value for row in store.rows("PRAGMA integrity_check") for value in row.values()]
    orphans = store.rows("PRAGMA foreign_key_check")
    return [f"the store is damaged: {results}"] * (results != ["ok"]) + [
        f"row without parent: {row}" for row in orphans
    ]


def notices_are_kept(store: Store, acknowledged: Iterable[str], sent: Iterable[str]) -> list[str]:
    count = Counter(row["ivorn"] for row in store.rows("SELECT ivorn FROM notice"))
    lost = [f"notice {ivorn} was acknowledged and is stored {count[ivorn]} times" for ivorn in acknowledged]
    lost = [line for line, ivorn in zip(lost, acknowledged, strict=True) if count[ivorn] != 1]
    twice = [f"notice {ivorn} is stored {count[ivorn]} times" for ivorn in sent if count[ivorn] > 1]
    return lost + twice


def requests_are_kept(store: Store, accepted: dict[int, str]) -> list[str]:
    names = {row["id"]: row["name"] for row in store.rows("SELECT id, name FROM request")}
    return [
        f"request {key} ({name}) was accepted and is lost" for key, name in accepted.items() if names.get(key) != name
    ]


def frames_are_there(store: Store, images: Path, record: Record) -> list[str]:
    """Every recorded frame is on disk, whole; what was recorded once stays so, and each frame of a plan once."""
    rows = store.rows("SELECT id, file, plan_id, number, datasum FROM image ORDER BY id")
    found = []
    for row in rows:
        key = (row["file"], row["plan_id"], row["number"], row["datasum"])
        if record.images.setdefault(row["id"], key) != key:
            found.append(f"image {row['id']} has changed: {record.images[row['id']]} is {key}")
        elif row["id"] not in record.checked:
            record.checked.add(row["id"])
            found += [f"image {row['id']}: {fault}" for fault in _file_faults(images / row["file"], row["datasum"])]
    gone = record.images.keys() - {row["id"] for row in rows}
    found += [f"image {key} was recorded and has gone" for key in sorted(gone)]
    counted = Counter((row["plan_id"], row["number"]) for row in rows)
    found += [f"frame {key} of a plan is recorded {n} times" for key, n in counted.items() if n > 1]
    per_plan = Counter(row["plan_id"] for row in rows)
    for plan in store.rows("SELECT id, done_count, count, status FROM plan"):
        done = plan["done_count"]
        if per_plan[plan["id"]] != done or (plan["status"] == "EXECUTED") != (done == plan["count"]):
            found.append(f"plan {plan} has {per_plan[plan['id']]} images")
        if record.done.setdefault(plan["id"], done) > done:
            found.append(f"plan {plan['id']} had {record.done[plan['id']]} frames and has {done}")
        record.done[plan["id"]] = done
    return found


def _file_faults(path: Path, datasum: str) -> list[str]:
    if not path.is_file():
        return [f"{path} does not exist"]
    with fits.open(path, memmap=False) as hdus:
        if hdus[0].verify_datasum() != 1 or hdus[0].verify_checksum() != 1:
            return [f"{path}: its checksum does not hold"]
        return [] if str(hdus[0].header["DATASUM"]) == datasum else [f"{path}: its DATASUM is not the store's"]


def frames_were_exposed(store: Store, exposures: list) -> list[str]:
    """Every recorded frame has a whole exposure of its own in the camera's life."""
    lived = sorted((one.start, one.end) for one in exposures)
    found, used = [], Counter()
    for row in store.rows("SELECT id, start, exposure_s FROM image"):
        at, wanted_s = _instant(row["start"]), row["exposure_s"]
        first = bisect_left(lived, (at - SLACK,))
        near = [k for k in range(first, min(first + 4, len(lived))) if abs(lived[k][0] - at) <= SLACK]
        whole = [k for k in near if (lived[k][1] - lived[k][0]).total_seconds() >= wanted_s - OVER_S]
        if not whole:
            found.append(f"image {row['id']} at {at} was never exposed for {wanted_s} s")
        used.update(whole[:1])
    return found + [f"the exposure at {lived[k][0]} is recorded {n} times" for k, n in used.items() if n > 1]


def frames_are_not_repeated(store: Store, images: Path) -> list[str]:
    """No file tells of an exposure that began after the same frame of the same plan had been recorded."""
    recorded = {
        (row["plan_id"], row["number"]): (row["file"].rpartition("/")[2], _instant(row["start"]))
        for row in store.rows("SELECT plan_id, number, file, start FROM image")
    }
    found = []
    for path in sorted(images.rglob("*.fits")):
        name = RAW_NAME.fullmatch(path.name)
        file, first = recorded.get((int(name[1]), int(name[2])), ("", None)) if name else ("", None)
        if first is not None and path.name != file and _instant(fits.getval(path, "DATE-OBS")) > first:
            found.append(f"{path.name} was exposed again; {file} was recorded before")
    return found


def frames_are_accounted_for(store: Store, images: Path) -> list[str]:
    """Once a daemon is up no raw frame lies among the night's without a row, and nothing is half written."""
    recorded = {row["file"] for row in store.rows("SELECT file FROM image")}
    nights = [path for path in sorted(images.glob("????-??-??/*.fits")) if RAW_NAME.fullmatch(path.name)]
    loose = [path.relative_to(images).as_posix() for path in nights]
    return [f"{file} has no row and is not set aside" for file in loose if file not in recorded]


def the_night_began_once(store: Store, words: str) -> list[str]:
    """One row for the night; said once by all daemons together; no fact is news twice."""
    nights = Counter(f"the row of night {row['date']}" for row in store.rows("SELECT date FROM night"))
    said = Counter(line.partition("monitor: ")[2] for line in words.splitlines() if " begins, until " in line)
    told = Counter(
        f"{row['destination']}: {row['subject']}" for row in store.rows("SELECT destination, subject FROM outbox")
    )
    return [f"{what} is there {n} times" for what, n in (nights + said + told).items() if n > 1]


def parts_follow_their_sequence(store: Store) -> list[str]:
    """No album or plan is EXECUTING in a sequence that is not, and only one sequence is."""
    lonely = store.rows(
        "SELECT 'album ' || a.id AS what, s.status FROM album a JOIN sequence s ON s.id = a.sequence_id "
        "WHERE a.status = 'EXECUTING' AND s.status <> 'EXECUTING' UNION ALL "
        "SELECT 'plan ' || p.id, s.status FROM plan p JOIN album a ON a.id = p.album_id "
        "JOIN sequence s ON s.id = a.sequence_id WHERE p.status = 'EXECUTING' AND s.status <> 'EXECUTING'"
    )
    executing = store.rows("SELECT id FROM sequence WHERE status = 'EXECUTING'")
    found = [f"{row['what']} is EXECUTING, its sequence {row['status']}" for row in lonely]
    return found + ([f"{len(executing)} sequences are EXECUTING at once"] if len(executing) > 1 else [])


def left_executing(stage: Stage, begun_before: datetime) -> list[str]:
    """Return what a daemon that lives should have ended: sequences of an earlier one that are still EXECUTING."""
    with Store(stage.state) as store:
        rows = store.rows("SELECT id, started_at FROM sequence WHERE status = 'EXECUTING'")
    return [
        f"sequence {row['id']} is still EXECUTING since {row['started_at']}"
        for row in rows
        if _instant(row["started_at"]) < begun_before
    ]


def the_ledger_adds_up(store: Store) -> list[str]:
    """Each reservation is settled once, in full, and a sequence is debited for what it exposed, no more and no less."""
    entries = store.rows("SELECT * FROM quota_entry")
    settled: dict[int, float] = {}
    for row in entries:
        if row["reservation_id"] is not None:
            settled[row["reservation_id"]] = settled.get(row["reservation_id"], 0.0) + row["seconds"]
    reserved = {row["id"]: row["seconds"] for row in entries if row["kind"] == "reserve"}
    found = [
        f"reservation {key} of {reserved[key]} s is settled with {seconds} s"
        for key, seconds in settled.items()
        if abs(seconds - reserved[key]) > OVER_S
    ]
    debits = Counter()
    for row in entries:
        if row["kind"] == "debit":
            debits[row["sequence_id"]] += row["seconds"]
    rows = store.rows(
        "SELECT s.id, s.status, s.exposed_s, r.user_id, COALESCE(SUM(i.exposure_s), 0) AS seconds FROM sequence s "
        "JOIN request r ON r.id = s.request_id LEFT JOIN image i ON i.sequence_id = s.id GROUP BY s.id"
    )
    for row in rows:
        if row["status"] in OPEN:
            continue
        if abs(row["exposed_s"] - row["seconds"]) > OVER_S:
            found.append(f"sequence {row['id']} has {row['exposed_s']} s, its images {row['seconds']} s")
        if row["user_id"] is not None and abs(debits[row["id"]] - row["seconds"]) > OVER_S:
            found.append(f"sequence {row['id']} is debited {debits[row['id']]} s, its images have {row['seconds']} s")
        still = [key for key in reserved if key not in settled and _sequence(entries, key) == row["id"]]
        if still and row["status"] != "PLANNED":
            found.append(f"sequence {row['id']} is {row['status']} and holds reservation {still}")
    return found


def _sequence(entries: list[dict], key: int) -> int:
    return next(row["sequence_id"] for row in entries if row["id"] == key)


def news_came(store: Store, receiver) -> list[str]:
    """Every row that says SENT has come as it stands there; no id came with two contents; none was given up."""
    rows = [(row, json.loads(row["payload"])) for row in store.rows("SELECT id, status, payload FROM outbox")]
    found = [f"news {key} came with two contents" for key in receiver.conflicts]
    found += [f"news row {row['id']} was given up" for row, _ in rows if row["status"] == "FAILED"]
    lost = [row["id"] for row, news in rows if row["status"] == "SENT" and receiver.news.get(str(news["id"])) != news]
    return found + [f"news row {key} is SENT and has not come" for key in lost]


def _instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when
