"""What computes in the flight recorder: the ring, what is secret, what is kept, what is an occasion."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import msgpack
import pytest
from flight_stage import CLOSING, OPEN, START, START_US, beat, history, last_states, patient, plc, shown, steps
from hypothesis import given
from hypothesis import strategies as st

from pyros.flight.occasions import AFTERMATH_S, APART_S, MOST_CAUSES, Spacing, Watch
from pyros.flight.record import Loss, Publication, packed, recorded
from pyros.flight.redaction import HIDDEN, SECRETS, redacted, without_addresses
from pyros.flight.ring import Ring
from pyros.flight.shelf import KEEP_AT_LEAST, MOST_BYTES, MOST_FILES, NAME, name_for, surplus
from pyros.flight.spool import Segment, outdated
from pyros.messages.devices import DomeMoved
from pyros.messages.people import AddUser, Authenticate
from pyros.messages.store import Change, Commit, Insert, Rows
from pyros.messages.system import ActorFailed, ActorRestarted, DeadLetter, SupervisorState, WebState


def second_of(record):
    return (record.t_us - START_US) / 1e6


# -- the ring --------------------------------------------------------------------------------------------------------


@patient
@given(steps, st.integers(1, 20))
def test_the_ring_never_holds_more_than_its_window_and_its_number(steps, most):
    ring = Ring(window_s=600.0, most=most)
    for record in history(steps):
        ring.append(record, second_of(record))
        held = ring.records()
        assert held[-1] is record
        assert len(held) <= most
        assert second_of(held[0]) >= second_of(held[-1]) - 600.0


@patient
@given(steps, st.integers(1, 20))
def test_the_ring_drops_nothing_that_it_has_room_for_and_time_for(steps, most):
    ring, everything = Ring(window_s=600.0, most=most), history(steps)
    for record in everything:
        ring.append(record, second_of(record))
    young = [one for one in everything if second_of(one) >= second_of(everything[-1]) - 600.0]
    assert ring.records() == young[-most:]


@patient
@given(steps, st.integers(1, 20))
def test_every_actors_last_state_can_be_read_from_the_ring_whatever_it_has_dropped(steps, most):
    ring, everything = Ring(window_s=600.0, most=most), history(steps)
    for record in everything:
        ring.append(record, second_of(record))
    assert last_states([*ring.standing(), *ring.records()]) == last_states(everything)


def test_a_step_of_the_machines_utc_empties_no_ring():
    ring = Ring()
    for at_s, t_s in ((0.0, 0.0), (1.0, 3600.0), (2.0, -3600.0)):
        ring.append(beat(1, t_s), at_s)
    assert len(ring.records()) == 3


def test_what_was_said_before_the_first_record_stands_and_what_came_later_does_not():
    ring = Ring()
    ring.append(beat(1, 10.0), 10.0)
    ring.begin_with([shown(1, 5.0, "plc"), shown(2, 11.0, "monitor")])
    assert ring.standing() == [shown(1, 5.0, "plc")]


# -- secrets ---------------------------------------------------------------------------------------------------------

SECRET = "correct horse battery staple"
ACCOUNT = {"name": "eve", "password_hash": SECRET}


@pytest.mark.parametrize(
    "message",
    [
        Authenticate(name="eve", password=SECRET),
        AddUser(name="eve", email="eve@example.org", role="observer", password_hash=SECRET),
        Commit(writes=[Insert(table="user", values=ACCOUNT)], reason="a user"),
        Commit(writes=[Change(table="user", key=1, values=ACCOUNT, expect=ACCOUNT)], reason="a user"),
        Rows(table="user", rows=[ACCOUNT], more=False, total=1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_no_password_and_no_hash_is_ever_written(message):
    raw = packed([Publication(0, "user_manager", message)])
    assert SECRET.encode() not in raw
    assert b"eve" in raw
    assert recorded(msgpack.unpackb(raw)).message() is not None, "the message can still be read"


builtins = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.sampled_from(sorted(SECRETS)), inner)
    ),
)


def values_under_secret_keys(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [item] if key in SECRETS else values_under_secret_keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from values_under_secret_keys(item)


@patient
@given(builtins)
def test_whatever_a_secret_key_holds_is_hidden_at_any_depth_and_nothing_else_changes(value):
    hidden = redacted(value)
    assert all(item == HIDDEN or not item for item in values_under_secret_keys(hidden))
    if not any(values_under_secret_keys(value)):
        assert hidden == value


def test_the_address_that_news_is_posted_to_is_cut_to_its_host():
    places = [{"name": "people", "url": "https://user:word@hooks.example.org/T0/secret", "topics": []}]
    cut = without_addresses({"courier": {"destination": places}, "mode": "robotic"})
    assert cut["courier"]["destination"][0]["url"] == "https://hooks.example.org"
    assert cut["mode"] == "robotic"
    assert without_addresses({})["courier"] == {"destination": []}


# -- records ---------------------------------------------------------------------------------------------------------


def test_a_message_that_cannot_be_written_says_so_in_its_place():
    odd = Commit(writes=[Insert(table="image", values={"x": object(), "y": 1 << 70})], reason="odd")
    huge = Commit(writes=[Insert(table="image", values={"y": 1 << 70})], reason="huge")
    raw = packed([Publication(0, "a", odd), Publication(1, "a", huge), beat(1)])
    unpacker = msgpack.Unpacker()
    unpacker.feed(raw)
    first, second, third = [recorded(row) for row in unpacker]
    assert first.tag == second.tag == "Commit"
    assert "unwritable" in first.body
    assert "unwritable" in second.body
    assert first.message() is None
    assert third.message() == beat(1).message


def test_lost_records_are_counted_where_they_were_lost():
    row = recorded(msgpack.unpackb(packed([Loss(5, 3)])))
    assert (row.t_us, row.kind, row.body) == (5, "lost", {"count": 3})


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["delivered", "published"]),
    lambda inner: st.lists(inner, min_size=7, max_size=7) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@patient
@given(junk)
def test_what_is_no_record_is_not_taken_for_one(row):
    record = recorded(row)
    if record is not None:
        assert isinstance(record.t_us, int)
        assert all(isinstance(part, str) for part in record[1:6])
        record.message()


# -- which files stay ------------------------------------------------------------------------------------------------

sizes = st.lists(st.integers(0, MOST_BYTES // 8), max_size=MOST_FILES + 40)


@patient
@given(sizes)
def test_the_newest_fifty_recordings_stay_and_the_rest_is_bounded(sizes):
    files = [(name_for(START + timedelta(seconds=at), "rain"), size) for at, size in enumerate(sizes)]
    gone = surplus(files)
    kept = [one for one in files if one[0] not in gone]
    assert files[-KEEP_AT_LEAST:] == kept[-KEEP_AT_LEAST:]
    assert len(kept) <= MOST_FILES
    assert len(kept) <= KEEP_AT_LEAST or sum(size for _, size in kept[:-KEEP_AT_LEAST]) <= MOST_BYTES
    assert gone == [name for name, _ in files[: len(gone)]], "oldest first"


def test_files_that_are_not_recordings_are_left_alone():
    strangers = [("notes.txt", MOST_BYTES), ("0-rain.msgpack", MOST_BYTES), ("20261122T030000Z-rain.msgpack.new", 9)]
    assert surplus(strangers * 300) == []


@patient
@given(st.text(max_size=200), st.integers(0, 3))
def test_a_recordings_name_is_a_plain_file_name_that_is_free(cause, others):
    taken = set()
    for _ in range(others):
        taken.add(name_for(START, cause, taken))
    name = name_for(START, cause, taken)
    assert NAME.fullmatch(name)
    assert name not in taken
    assert len(name) < 100


# -- occasions -------------------------------------------------------------------------------------------------------


def causes_in(*messages):
    watch = Watch()
    return [cause for cause in map(watch.cause_in, messages) if cause]


def test_a_closing_of_the_dome_is_one_occasion_with_its_cause():
    assert causes_in(OPEN, CLOSING, plc("closing"), plc("closed")) == ["dome closing: rain contact"]


def test_every_closing_counts_also_the_one_that_nobody_saw_begin():
    found = DomeMoved(before="unknown", after="closed", cause="as found")
    assert causes_in(OPEN, plc("unknown"), found) == ["dome closed: as found"]
    assert causes_in(OPEN, CLOSING, OPEN, CLOSING) == ["dome closing: rain contact"] * 2
    assert causes_in(plc("open"), plc("closing")) == ["dome closing: seen by its switches"]


def test_a_dome_that_is_found_closed_at_the_start_is_no_occasion():
    assert causes_in(plc("unknown"), DomeMoved(before="unknown", after="closed", cause="as found"), plc("closed")) == []


def test_the_closing_of_an_ordered_stop_says_so():
    stopping = SupervisorState(status="stopping", since=START, children=[])
    assert causes_in(OPEN, stopping, CLOSING) == ["dome closing: ordered stop: rain contact"]


def test_a_failure_a_restart_and_giving_up_are_occasions():
    failed = ActorFailed(actor="monitor", epoch=1, cause="ValueError: x", message="Poll")
    restarted = ActorRestarted(actor="monitor", epoch=2, cause="Poll: ValueError: x", away_s=0.0)
    up = SupervisorState(status="up", since=START, children=[])
    safe = SupervisorState(status="making safe", since=START, children=[])
    letter = DeadLetter(to="monitor", message="Poll", reason="late")
    assert causes_in(up, letter, failed, restarted, safe, safe) == [
        "monitor failed on Poll: ValueError: x",
        "monitor restarted: Poll: ValueError: x",
        "supervisor is making safe",
    ]
    assert causes_in(DeadLetter(to="supervisor", message="give up", reason="plc failed")) == [
        "supervisor gives up: plc failed"
    ]
    assert causes_in(WebState(page="", restarts=0)) == []


@patient
@given(st.lists(st.tuples(st.floats(0, 200), st.booleans()), min_size=1, max_size=40))
def test_every_occasion_is_in_exactly_one_recording_a_minute_apart(gaps):
    """A recorder that looks now and then writes each cause once, after its aftermath, at most a minute late."""
    spacing, now_s, noted, written = Spacing(), 0.0, {}, []
    for number, (gap_s, occasion) in enumerate(gaps):
        for _ in range(int(gap_s) + 1):  # it looks each second
            now_s += 1.0
            causes = spacing.due(now_s)
            if causes:
                spacing.written(causes, now_s)
                written.append((now_s, causes))
        if occasion:
            noted[str(number)] = now_s
            spacing.note(str(number), now_s)
    now_s += APART_S + AFTERMATH_S
    rest = spacing.due(now_s)
    told = [cause for _, causes in written for cause in causes] + rest
    assert told[:MOST_CAUSES] == list(noted)[:MOST_CAUSES]
    assert len(told) == len(set(told))
    for at_s, causes in written:
        assert all(at_s - noted[cause] <= APART_S + AFTERMATH_S + 1.0 for cause in causes)
        assert at_s - noted[causes[0]] >= AFTERMATH_S - 1e-6
    assert all(later - earlier >= APART_S - 1e-6 for (earlier, _), (later, _) in pairwise(written))


def test_a_storm_of_failures_names_the_first_of_them():
    spacing = Spacing()
    for number in range(1000):
        spacing.note(str(number), 0.0)
    assert spacing.due(5.0) == [str(number) for number in range(MOST_CAUSES)]


# -- segments --------------------------------------------------------------------------------------------------------


@patient
@given(st.lists(st.tuples(st.floats(1, 90), st.integers(0, 9)), min_size=1, max_size=30))
def test_segments_go_only_when_they_are_too_old_or_too_many(parts):
    now_s, segments = 0.0, []
    for length_s, size in parts:
        segments.append(Segment(None, now_s, size, now_s + length_s))
        now_s += length_s
    segments[-1].until_s = float("inf")
    count = outdated(segments, now_s, 600.0, most_bytes=40)
    gone, kept = segments[:count], segments[count:]
    assert kept, "the one that is written stays"
    assert len(kept) == 1 or (sum(one.size for one in kept) <= 40 and kept[0].until_s >= now_s - 600.0)
    left = sum(one.size for one in segments)
    for segment in gone:
        assert segment.until_s < now_s - 600.0 or left > 40
        left -= segment.size
