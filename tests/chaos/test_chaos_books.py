"""The auditor of the store: a night's books in order please it, and each rule fires, once, when they are falsified."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.store.database import open_store
from pyros.store.migrations import migrate
from simulators.observer import Interval
from simulators.observer_books import Books, audit
from simulators.observer_hours import closed_by_people

BEGUN = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
IVORN = "ivo://org.example/bursts#1"
FRAMES = 3
EXPOSURE_S = 60.0


def stamp(when):
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def start_of(number):
    return BEGUN + timedelta(seconds=70 * number)


class Night:
    """A store of one executed sequence of three frames, with the camera's record and the log that belong to it."""

    def __init__(self, folder):
        self.folder = folder
        store = open_store(folder, "off")
        migrate(store)
        store.close()
        self.books = Books(
            folder,
            [Interval(start_of(n), start_of(n) + timedelta(seconds=EXPOSURE_S), "camera:vis light") for n in range(3)],
            announced=[(1.0, "NightStarted 2026-11-22"), (2.0, "NightEnded 2026-11-22")],
            acknowledged=[IVORN],
            taken={"ic": ["a", "b"]},
        )
        (folder / "images").mkdir()
        with (folder / "events.jsonl").open("w") as log:
            for number in range(FRAMES):
                log.write(ordered(number, start_of(number)))
                (folder / "images" / f"{number}.fits").touch()
        self._fill()

    def _fill(self):
        self.insert("sequence", id=1, request_id=1, name="s", kind="routine", status="EXECUTED", exposed_s=180.0)
        self.insert("plan", id=1, album_id=1, kind="light", filter="g", exposure_s=EXPOSURE_S, count=3, done_count=3,
                    status="EXECUTED")  # fmt: skip
        for number in range(FRAMES):
            self.insert("image", id=number + 1, file=f"{number}.fits", plan_id=1, sequence_id=1, camera="vis",
                        number=number, kind="light", start=stamp(start_of(number)), exposure_s=EXPOSURE_S)  # fmt: skip
        self.insert("quota_entry", id=1, sequence_id=1, user_id=1, kind="reserve", seconds=200.0)
        self.insert("quota_entry", id=2, sequence_id=1, user_id=1, kind="debit", seconds=180.0, reservation_id=1)
        self.insert("night", id=1, date="2026-11-22", status="ENDED")
        self.insert("notice", id=1, ivorn=IVORN, content_sha256="0" * 64, verdict="ACCEPTED", reason="good")
        for number, name in enumerate("ab", start=1):
            self.insert("outbox", id=number, destination="ic", dedup_key=name, payload=json.dumps({"id": name}),
                        status="SENT", sent_at=stamp(BEGUN))  # fmt: skip

    def write(self, sql, *values):
        with sqlite3.connect(self.folder / "pyros.db") as store:
            store.executescript("PRAGMA foreign_keys = 0; PRAGMA ignore_check_constraints = 1")
            store.execute(sql, values)

    def insert(self, table, **values):
        """Insert a row; columns that must not be empty and are not given get something."""
        with sqlite3.connect(self.folder / "pyros.db") as store:
            columns = store.execute(f"PRAGMA table_info({table})").fetchall()
        rest = {name: filler(kind) for _, name, kind, wanted, default, _ in columns if wanted and default is None}
        row = rest | values
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        self.write(f"INSERT INTO {table} ({names}) VALUES ({marks})", *row.values())

    def rules(self, **changed):
        return [one.rule for one in audit(dataclasses.replace(self.books, **changed))]


def filler(kind):
    return 0 if kind in {"INTEGER", "REAL"} else stamp(BEGUN) if kind == "TEXT" else ""


def ordered(number, at):
    content = {"type": "Expose", "exposure_s": EXPOSURE_S, "frame": "light", "plan_id": 1, "number": number}
    line = {"t": stamp(at), "from": "observation_manager", "to": "camera:vis", "type": "Expose", "content": content}
    return json.dumps(line, separators=(",", ":")) + "\n"


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path)


def test_books_in_order_please_the_auditor(night):
    assert night.rules() == []


def test_a_machine_whose_clock_was_wrong_has_its_books_in_order_all_the_same(night):
    late = [dataclasses.replace(one, start=one.start - timedelta(seconds=9), end=one.end - timedelta(seconds=9))
            for one in night.books.exposures]  # fmt: skip
    assert "a recorded frame was not exposed" in night.rules(exposures=late)
    moved = "".join(ordered(n, start_of(n) - timedelta(seconds=9)) for n in range(FRAMES))
    (night.folder / "events.jsonl").write_text(moved)
    assert night.rules(exposures=late, offsets_s=(0.0, 9.0)) == []


def test_a_frame_that_is_not_on_disk_is_seen(night):
    (night.folder / "images" / "1.fits").unlink()
    assert night.rules() == ["a recorded frame is not on disk"]


def test_a_frame_that_was_never_exposed_is_seen(night):
    assert night.rules(exposures=night.books.exposures[:2]) == ["a recorded frame was not exposed"]


def test_a_frame_that_shows_another_place_is_seen(night):
    night.write("UPDATE image SET ra_deg = 359.9, dec_deg = 40.0")
    there = [dataclasses.replace(one, place=(0.1, 40.0)) for one in night.books.exposures]
    assert night.rules(exposures=there) == []
    there[1] = dataclasses.replace(there[1], place=(0.3, 40.0))
    assert night.rules(exposures=there) == ["a recorded frame shows another place"]


def test_a_frame_that_is_recorded_twice_is_seen(night):
    night.write("UPDATE image SET number = 1 WHERE id = 3")
    assert "a frame is recorded twice" in night.rules()


def test_exposing_again_what_is_recorded_as_done_is_seen(night):
    with (night.folder / "events.jsonl").open("a") as log:
        log.write(ordered(1, BEGUN + timedelta(hours=1)))
    assert night.rules() == ["what is recorded as done was exposed again"]


def test_an_exposure_that_is_not_recorded_is_seen_unless_there_was_trouble_just_then(night):
    night.write("DELETE FROM image WHERE id = 3")
    night.write("UPDATE plan SET done_count = 2, status = 'WAITING'")
    night.write("UPDATE quota_entry SET seconds = 120.0 WHERE id = 2")
    assert night.rules() == ["an exposure was lost"]
    assert night.rules(troubles=[(start_of(3).timestamp(), 5.0)]) == []
    assert night.rules(troubles=[(start_of(0).timestamp() - 600.0, 5.0)]) == ["an exposure was lost"]


def test_a_plan_that_counts_other_frames_than_it_has_is_seen(night):
    night.write("UPDATE plan SET done_count = 2, status = 'WAITING'")
    assert night.rules() == ["a plan disagrees with its frames"]


def test_a_sequence_left_executing_is_seen(night):
    night.write("UPDATE sequence SET status = 'EXECUTING'")
    assert night.rules() == ["a sequence was left executing"]


def test_observing_time_that_was_never_debited_is_seen(night):
    night.write("DELETE FROM quota_entry WHERE id = 2")
    assert night.rules() == ["quota disagrees with the frames"]


def test_a_night_that_begins_twice_is_seen(night):
    again = [*night.books.announced, (3.0, "NightStarted 2026-11-22")]
    assert night.rules(announced=again) == ["a night was begun twice"]


def test_a_notice_that_was_acknowledged_and_is_not_stored_is_seen(night):
    assert night.rules(acknowledged=[IVORN, "ivo://org.example/bursts#2"]) == [
        "an acknowledged notice is not in the store"
    ]


def test_a_notice_that_nobody_judged_is_seen(night):
    night.write("UPDATE notice SET verdict = 'PENDING', reason = ''")
    assert night.rules() == ["a notice was never judged"]


@pytest.mark.parametrize(
    ("arrived", "rule"),
    [(["a"], "news were lost"), (["a", "b", "c"], "news came from nowhere"), (["b", "a"], "news came out of order")],
)
def test_news_that_are_lost_invented_or_out_of_order_are_seen(night, arrived, rule):
    assert night.rules(taken={"ic": arrived}) == [rule]


# -- people ----------------------------------------------------------------------------------------------------------

COMMANDS = ("pause", "resume", "stop", "start", "lockdown", "release", "reset-latch")


def test_a_lockdown_holds_until_its_release_whatever_else_is_ordered():
    orders = [(0.0, "lockdown"), (10.0, "pause"), (20.0, "start"), (30.0, "release")]
    assert closed_by_people(orders, 100.0) == [(0.0, 30.0)]


@given(st.lists(st.sampled_from(COMMANDS), max_size=12))
def test_after_a_release_and_a_start_nobody_keeps_the_dome_closed(commands):
    orders = [(float(place), command) for place, command in enumerate([*commands, "release", "start"])]
    spans = closed_by_people(orders, 100.0)
    assert all(begin < end <= len(orders) for begin, end in spans)
    assert all(one[1] < other[0] for one, other in pairwise(spans))
