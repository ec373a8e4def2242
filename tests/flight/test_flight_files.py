"""Recordings and segments as files: whole or not at all, read up to where they break, never mistaken for another."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import msgpack
import pytest
from flight_stage import HEADER, START_US, beat, patient, shown, verdict
from hypothesis import given
from hypothesis import strategies as st

from pyros.flight import FlightError, read_recording
from pyros.flight import spool as spool_module
from pyros.flight.record import packed
from pyros.flight.recording import assembled, opening, write_file
from pyros.flight.spool import Spool, leftovers

RECORDS = [beat(number, number) for number in range(8)]
WHOLE = opening(HEADER, [verdict("SAFE", -5.0)]) + packed(RECORDS)
ENDS = [len(WHOLE) - len(packed(RECORDS[number:])) for number in range(len(RECORDS))]


def counts(recording):
    return [row.body["count"] for row in recording.records if row.tag == "Beat"]


def read_bytes(raw):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "x.msgpack"
        file.write_bytes(raw)
        return read_recording(file)


def test_a_recording_is_read_as_it_was_written():
    recording = read_bytes(WHOLE)
    assert recording.header == HEADER
    assert [row.message() for row in recording.standing] == [verdict("SAFE", -5.0).message]
    assert [row.message() for row in recording.records] == [record.message for record in RECORDS]
    assert [(row.t_us, row.sender, row.to, row.id, row.cause) for row in recording.records] == [
        (one.t_us, one.sender, one.to, one.id, one.cause) for one in RECORDS
    ]
    assert recording.broken == ""


@patient
@given(st.integers(0, len(WHOLE) - 1))
def test_a_recording_that_breaks_off_anywhere_is_read_up_to_there(length):
    if length < len(opening(HEADER, [])) - 1:
        with pytest.raises(FlightError, match="no recording"):
            read_bytes(WHOLE[:length])
        return
    recording = read_bytes(WHOLE[:length])
    whole = sum(1 for end in ENDS[1:] if end <= length)
    assert len(recording.records) == whole
    assert bool(recording.broken) == (length not in ENDS)


@patient
@given(st.integers(ENDS[0], len(WHOLE) - 1), st.binary(min_size=1, max_size=40))
def test_rubbish_in_a_recording_costs_what_follows_it_and_nothing_before(place, rubbish):
    recording = read_bytes(WHOLE[:place] + rubbish + WHOLE[place + len(rubbish) :])
    before = sum(1 for end in ENDS[1:] if end <= place)
    assert [row.t_us for row in recording.records[:before]] == [one.t_us for one in RECORDS[:before]]
    for row in recording.records:
        row.message()


@patient
@given(st.binary(max_size=200))
def test_a_file_of_another_kind_is_refused_in_one_line(raw):
    with pytest.raises(FlightError) as refused:
        read_bytes(raw)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"pyros_flight": 99}, "format 99"),
        ({"pyros_flight": 1}, "damaged header"),
        ({"pyros_flight": 1, "at": "yesterday"}, "damaged header"),
        ([], "no recording"),
    ],
)
def test_a_header_of_another_version_or_a_damaged_one_is_named(fields, word):
    with pytest.raises(FlightError, match=word):
        read_bytes(msgpack.packb(fields))


def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FlightError, match=r"nothing\.msgpack cannot be read: No such file"):
        read_recording(tmp_path / "nothing.msgpack")
    with pytest.raises(FlightError, match="cannot be read: Is a directory"):
        read_recording(tmp_path)


def test_a_file_that_cannot_be_finished_is_not_there_at_all(tmp_path):
    def chunks():
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "x", chunks())
    assert list(tmp_path.iterdir()) == []


def test_what_is_recorded_is_for_its_owner_alone(tmp_path):
    write_file(tmp_path / "x", [b"x"])
    assert (tmp_path / "x").stat().st_mode & 0o077 == 0


# -- the spool -------------------------------------------------------------------------------------------------------


def filled(folder, seconds, standing=list, **rules):
    """A spool that got a record each second."""
    spool = Spool(folder, HEADER, standing, **rules)
    for second in range(seconds):
        spool.write([beat(second, second)], float(second))
    return spool


def gathered(folder, spool):
    write_file(folder / "all.msgpack", assembled(HEADER, spool.paths()))
    return read_recording(folder / "all.msgpack")


def test_the_spool_holds_the_last_ten_minutes_and_at_most_a_segment_more(tmp_path):
    spool = filled(tmp_path / "spool", 1500)
    held = counts(gathered(tmp_path, spool))
    assert held == list(range(held[0], 1500)), "nothing is missing and nothing comes twice"
    assert 1500 - 600 - 62 <= held[0] <= 1500 - 600
    assert len(spool.paths()) <= 12
    assert sorted((tmp_path / "spool").iterdir()) == spool.paths()


def test_a_flood_makes_segments_by_size_and_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 500)
    monkeypatch.setattr(spool_module.outdated, "__defaults__", (2_000,))
    spool = filled(tmp_path / "spool", 100, segment_s=1e9)
    assert sum(path.stat().st_size for path in spool.paths()) < 4_000
    held = counts(gathered(tmp_path, spool))
    assert held == list(range(held[0], 100))


def test_each_segment_says_what_stood_when_it_began_so_any_may_be_the_first(tmp_path):
    said = []
    spool = filled(tmp_path / "spool", 1, standing=lambda: list(said))
    said.append(shown(1, 30.0))
    for second in range(1, 700):
        spool.write([beat(second, second)], float(second))
    recording = gathered(tmp_path, spool)
    assert [row.body["queries"] for row in recording.standing] == [1]
    assert recording.records[0].t_us > START_US + 30e6


def test_what_is_said_in_the_first_second_does_not_stand_before_it(tmp_path):
    spool = Spool(tmp_path / "spool", HEADER, lambda: [shown(1, -1.0, "plc"), shown(2, 0.5, "monitor")])
    spool.write([beat(0, 0.0), shown(2, 0.5, "monitor")], 1.0)
    recording = gathered(tmp_path, spool)
    assert [row.sender for row in recording.standing] == ["plc"]


def test_what_a_full_disk_has_taken_of_a_write_is_taken_back(tmp_path, monkeypatch):
    spool, real = filled(tmp_path / "spool", 3), os.write
    room = [20]

    def write(file, raw):
        taken = min(room[0], len(raw))
        room[0] -= taken
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, bytes(raw)[:taken])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        spool.write([beat(3, 3.0)], 3.0)
    monkeypatch.setattr(os, "write", real)
    spool.write([beat(3, 3.0), beat(4, 4.0)], 4.0)
    recording = gathered(tmp_path, spool)
    assert counts(recording) == [0, 1, 2, 3, 4]
    assert recording.broken == ""


def test_a_full_disk_at_the_first_write_leaves_no_half_segment(tmp_path, monkeypatch):
    spool, real = Spool(tmp_path, HEADER, list), os.write

    def full(file, raw):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        spool.write([beat(0)], 0.0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "write", real)
    spool.write([beat(0)], 1.0)
    assert counts(read_recording(spool.paths()[0])) == [0]


def test_an_ordered_end_leaves_no_segments(tmp_path):
    spool = filled(tmp_path, 200)
    spool.clear()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_gathered_start_by_start(tmp_path):
    for name in ("000002-000001.part", "000010-000002.part", "000010-000001.part", "note.txt"):
        (tmp_path / name).touch()
    assert [[path.name for path in one] for one in leftovers(tmp_path)] == [
        ["000002-000001.part"],
        ["000010-000001.part", "000010-000002.part"],
    ]


@patient
@given(st.integers(0, 3), st.integers(0, 400))
def test_segments_that_were_killed_while_they_were_begun_or_written_still_make_a_recording(segment, length):
    with TemporaryDirectory() as name:
        folder = Path(name)
        spool = filled(folder / "spool", 200)
        paths = spool.paths()
        hurt = paths[-1] if segment else paths[0]
        hurt.write_bytes(hurt.read_bytes()[:length])
        recording = gathered(folder, spool) if segment else None
        if recording is not None:
            sound = 180
            assert counts(recording)[:sound] == list(range(sound))
        elif length < len(opening(HEADER, [])):
            assert counts(gathered(folder, spool))[0] > 0
