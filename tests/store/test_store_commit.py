"""Commits are all or nothing, harm no neighbour, and survive a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from conftest import AT, ROWS, insert, write
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.messages.base import Failed, Refused
from pyros.messages.store import Change, Commit, Committed, GetRows, Insert
from pyros.store.commit import apply
from pyros.store.database import open_store
from pyros.store.history import rows
from pyros.store.migrations import migrate
from pyros.store.models import Setting

TREE = [
    Insert(table="request", values=ROWS["request"] | {"kind": "calibration", "user_id": None, "programme_id": None}),
    Insert(table="sequence", values=ROWS["sequence"] | {"request_id": {"$ref": 0}}),
    Insert(table="album", values=ROWS["album"] | {"sequence_id": {"$ref": 1}}),
    Change(table="sequence", key={"$ref": 1}, values={"status": "PLANNED"}, expect={"status": "OBSERVABLE"}),
]


def counts(store):
    return {
        table: store.main.execute_sql(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0]
        for table in ("request", "sequence", "album")
    }


def test_later_writes_refer_to_the_rows_of_earlier_ones(store, reader):
    insert(store, "user")
    answer = write(store, *TREE)
    assert answer == Committed(ids=[1, 1, 1, 1])
    assert rows(reader, GetRows(table="album")).rows[0]["sequence_id"] == 1
    assert rows(reader, GetRows(table="sequence")).rows[0]["status"] == "PLANNED"


def test_a_refused_commit_harms_no_neighbour_and_leaves_no_row(store):
    """CO-C4: all or nothing."""
    good = Commit(writes=TREE, reason="good")
    bad = Commit(writes=[*TREE, Insert(table="album", values=ROWS["album"] | {"sequence_id": 99})], reason="bad")
    first, second, third = apply(store, [good, bad, good])
    assert (first, third) == (Committed(ids=[1, 1, 1, 1]), Committed(ids=[2, 2, 2, 2]))
    assert second == Refused(
        reason="commit 'bad', write 4: album: FOREIGN KEY constraint failed: "
        "sequence_id is 99, and sequence has no such row"
    )
    assert counts(store) == {"request": 2, "sequence": 2, "album": 2}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Insert(table="sequenze", values={}), "there is no table sequenze; there are user, programme"),
        (Insert(table="log_entry", values={"colour": 1}), "table log_entry has no column colour; it has id, at, level"),
        (Insert(table="log_entry", values=ROWS["log_entry"] | {"id": 7}), "the archivist gives row numbers"),
        (Insert(table="log_entry", values=ROWS["log_entry"] | {"level": "LOUD"}), "log_entry_level_known"),
        (
            Insert(table="log_entry", values={"at": AT, "level": "INFO", "actor": "a"}),
            "NOT NULL constraint failed: log_entry.text",
        ),
        (Insert(table="log_entry", values=ROWS["log_entry"] | {"text": 3}), "log_entry.text is 3; it must be text"),
        (Insert(table="log_entry", values=ROWS["log_entry"] | {"actor": "x" * 256}), "256 characters; at most 255"),
        (Insert(table="log_entry", values=ROWS["log_entry"] | {"text": "\ud800"}), "surrogates not allowed"),
        (Insert(table="log_entry", values=ROWS["log_entry"] | {"detail": object()}), "log_entry.detail is <object"),
        (
            Insert(table="log_entry", values=ROWS["log_entry"] | {"text": {"$ref": 0}}),
            "$ref is 0; it must be the index of an earlier write",
        ),
        (
            Insert(table="sequence", values=ROWS["sequence"] | {"ra_deg": float("nan")}),
            "sequence.ra_deg is nan; it must be a finite number",
        ),
        (Insert(table="sequence", values=ROWS["sequence"] | {"ra_deg": "12"}), "sequence.ra_deg is '12'"),
        (Insert(table="sequence", values=ROWS["sequence"] | {"priority": 2**63}), "whole number of 64 bits"),
        (Insert(table="sequence", values=ROWS["sequence"] | {"priority": True}), "whole number"),
        (Insert(table="sequence", values=ROWS["sequence"] | {"priority": np.int64(3)}), "whole number"),
        (
            Insert(table="sequence", values=ROWS["sequence"] | {"status": "EXECUTED"}),
            "a new sequence cannot be EXECUTED",
        ),
        (Insert(table="notice", values=ROWS["notice"] | {"raw": "text"}), "notice.raw is 'text'; it must be bytes"),
        (Insert(table="notice", values=ROWS["notice"] | {"test": 1}), "notice.test is 1; it must be true or false"),
        (Change(table="sequence", key=99, values={"priority": 3}), "sequence 99 does not exist"),
        (Change(table="sequence", key=1, values={"id": 3}), "a row keeps its key"),
        (
            Change(table="sequence", key=1, values={"status": "EXECUTED"}),
            "OBSERVABLE cannot become EXECUTED; from OBSERVABLE follows: COMPLETE, PLANNED",
        ),
        (Change(table="sequence", key=1, values={"priority": 101}), "sequence_priority_range"),
        (
            Change(table="sequence", key=1, values={"priority": 3}, expect={"status": "PLANNED"}),
            "sequence 1: status is 'OBSERVABLE', not 'PLANNED' as expected",
        ),
        (Change(table="sequence", key={"$ref": -1}, values={}), "$ref is -1"),
        (
            Change(table="album", key=1, values={"camera": "vis", "sequence_id": 2}),
            "sequence_id is 2, and sequence has no such row",
        ),
    ],
)
def test_a_bad_write_is_refused_with_one_line_that_names_it(full, reader, bad, words):
    before = rows(reader, GetRows(table="sequence"))
    good = Insert(table="log_entry", values=ROWS["log_entry"])
    bad_answer = write(full, bad)
    assert isinstance(bad_answer, Refused)
    assert words in bad_answer.reason
    assert "\n" not in bad_answer.reason
    assert isinstance(write(full, good, bad), Refused)
    assert rows(reader, GetRows(table="sequence")) == before
    assert rows(reader, GetRows(table="log_entry")).total == 1


def test_a_commit_across_the_two_files_is_refused(store):
    both = [
        Insert(table="log_entry", values=ROWS["log_entry"]),
        Insert(table="device_sample", values=ROWS["device_sample"]),
    ]
    assert "one file each" in write(store, *both).reason
    assert [type(one) for one in apply(store, [Commit(writes=[one], reason="x") for one in both])] == [
        Committed,
        Committed,
    ]


def test_a_file_that_fails_fails_all_its_commits_and_only_its(full):
    full.telemetry.execute_sql("PRAGMA query_only = 1")
    full.main.execute_sql("PRAGMA max_page_count = 1")  # a full disk
    log = Insert(table="log_entry", values=ROWS["log_entry"] | {"text": "x" * 900_000})
    sample = Insert(table="device_sample", values=ROWS["device_sample"])
    small = Change(table="sequence", key=1, values={"priority": 7})
    answers = apply(full, [Commit(writes=[one], reason="x") for one in (small, log, sample)])
    assert [type(one) for one in answers] == [Failed, Failed, Failed]
    assert "pyros.db took none of 2 commits: database or disk is full" in answers[0].reason
    assert "telemetry.db took none of 1 commits" in answers[2].reason
    full.main.execute_sql("PRAGMA max_page_count = 1000000")
    assert full.main.execute_sql("SELECT priority FROM sequence").fetchall() == [(50,)]
    assert write(full, small) == Committed(ids=[1])


def test_the_same_status_again_is_no_step(full):
    change = Change(
        table="sequence",
        key=1,
        values={"status": "OBSERVABLE", "priority": 9},
        expect={"latest": AT + timedelta(hours=1)},
    )
    assert write(
        full, change, Change(table="setting", key="boot", values={"value": [4]}, expect={"value": 3})
    ) == Committed(ids=[1, "boot"])


def test_values_from_the_wire_are_stored_as_those_of_the_process(store, reader):
    here = Commit(
        writes=[Insert(table=table, values=ROWS[table]) for table in ("user", "log_entry", "setting")], reason="x"
    )
    there = msgspec.convert(msgspec.to_builtins(here, builtin_types=(bytes,)), Commit)
    assert isinstance(apply(store, [there])[0], Committed)
    assert rows(reader, GetRows(table="log_entry")).rows[0]["at"] == AT


KEYS = st.sampled_from("abc")
OPERATIONS = st.tuples(KEYS, st.integers(0, 3), st.none() | st.integers(0, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(OPERATIONS, max_size=4), max_size=8))
def test_any_mixture_of_commits_leaves_what_a_dict_would(tmp_path_factory, groups):
    """Insert when the key is new, else compare and set; a refused commit changes nothing."""
    model = {}
    with open_store(tmp_path_factory.mktemp("store"), "off") as store:
        migrate(store)
        commits, wanted = [], []
        for group in groups:
            trial, writes, good = dict(model), [], True
            for key, value, expected in group:
                values = {"value": value, "changed_at": AT, "changed_by": "x"}
                if expected is None:
                    writes.append(Insert(table="setting", values={"key": key, **values}))
                    good &= key not in trial
                else:
                    writes.append(Change(table="setting", key=key, values=values, expect={"value": expected}))
                    good &= trial.get(key) == expected
                trial[key] = value if good else None
            commits.append(Commit(writes=writes, reason="x"))
            wanted.append(Committed if good else Refused)
            model = trial if good else model
        assert [type(answer) for answer in apply(store, commits)] == wanted
        assert {row.key: row.value for row in Setting.select().bind(store.main)} == model


WRITER = """
import sys
from datetime import UTC, datetime
from pyros.messages.store import Commit, Insert
from pyros.store.commit import apply
from pyros.store.database import open_store
at = datetime(2026, 11, 22, tzinfo=UTC)
with open_store(sys.argv[1], "off") as store:
    for number in range(100_000):
        log = [Insert(table="log_entry", values={"at": at, "level": "INFO", "actor": "a", "text": str(number)})] * 2
        print(*apply(store, [Commit(writes=log, reason="x")])[0].ids, flush=True)
"""


def test_a_kill_loses_no_acknowledged_commit_and_keeps_no_half(store, reader):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(store.folder)], stdout=subprocess.PIPE, text=True)
    for _ in range(200):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    process.wait(10)
    acknowledged = 200 + rest.count("\n")
    stored = rows(reader, GetRows(table="log_entry", limit=1)).total
    assert stored % 2 == 0
    assert stored >= 2 * acknowledged
    assert store.main.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
