"""Real processes with a flight recorder: killed at any instant, crashed, ended in order."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from flight_stage import CLOSING, HEADER, OPEN, files_in

from pyros.actors.kernel import System
from pyros.clock import WallClock
from pyros.flight import flight_recorder, read_recording
from pyros.flight import recorder as recorder_module

VICTIM = Path(__file__).with_name("flight_victim.py")


@contextlib.contextmanager
def victim(folder, boot, *what):
    """A process of the small daemon; killed at the end, if it has not ended by then."""
    command = [sys.executable, str(VICTIM), str(folder), str(boot), *what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def wait_for(what, within_s=20.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s} s")


def counts(recording):
    return [row.body["queries"] for row in recording.records if row.tag == "LibrarianState" and row.kind == "published"]


def spooled(folder):
    """The counts that have reached the spool."""
    parts = sorted((folder / "spool").glob("*.part"))
    return [count for part in parts for count in counts(read_recording(part))] if parts else []


def test_after_kill_9_the_next_start_keeps_what_the_last_one_had_recorded(tmp_path):
    with victim(tmp_path, 1) as first:
        before = wait_for(lambda: (found := spooled(tmp_path)) and len(found) > 10 and found)
        first.kill()
        first.wait()
    with victim(tmp_path, 2) as second:
        assert "killed-start-1" in second.stdout.readline(), "it is announced"
        (file,) = files_in(tmp_path)
        recording = read_recording(file)
        assert recording.header.boot == 1
        assert recording.header.causes == ["killed: start 1 did not end in order"]
        found = counts(recording)
        assert found[: len(before)] == before
        assert found == list(range(found[0], found[0] + len(found))), "nothing in between is missing"
        assert recording.broken == ""
        wait_for(lambda: not list((tmp_path / "spool").glob("000001-*")))


def test_each_of_several_killed_starts_has_its_recording(tmp_path):
    for boot in (1, 2):
        with victim(tmp_path, boot) as process:
            wait_for(lambda boot=boot: list((tmp_path / "spool").glob(f"{boot:06d}-*")))
            process.kill()
            process.wait()
    with victim(tmp_path, 3, "end") as last:
        last.wait(20)
    assert sorted(read_recording(file).header.boot for file in files_in(tmp_path)) == [1, 2]


def test_an_ordered_end_leaves_nothing_to_be_found(tmp_path):
    with victim(tmp_path, 1, "end") as process:
        assert process.wait(20) == 0
    with victim(tmp_path, 2, "end") as process:
        assert process.wait(20) == 0
    assert files_in(tmp_path) == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_crash_of_an_actor_is_written_while_the_process_goes_on(tmp_path):
    with victim(tmp_path, 1, "crash") as process:
        assert "counter-failed-on-crash" in process.stdout.readline()
        (file,) = files_in(tmp_path)
        recording = read_recording(file)
        assert recording.header.causes[0].startswith("counter failed on Crash")
        crash = next(row.t_us for row in recording.records if row.tag == "Crash")
        assert [row for row in recording.records if row.t_us > crash + 1e6], "the aftermath is in it"
        assert process.poll() is None


# -- in this process -------------------------------------------------------------------------------------------------


def test_what_comes_in_the_last_moment_before_an_ordered_end_is_in_the_recording(tmp_path):
    clock = WallClock()
    system, recorder = System(clock), flight_recorder(clock, tmp_path, HEADER)
    system.events.tap(recorder.hear)
    recorder.attach(system)
    system.events.retain("plc", OPEN, 0.0)
    system.events.retain("plc", CLOSING, 1.0)
    recorder.close()
    (file,) = files_in(tmp_path)
    assert [row.tag for row in read_recording(file).records] == ["DomeMoved", "DomeMoved"]
    assert "flight recorder" not in [thread.name for thread in threading.enumerate()]


def test_while_the_disk_is_full_records_wait_and_then_nothing_is_missing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(recorder_module, "EVERY_S", 0.02)
    caplog.set_level("WARNING", "pyros")
    clock, real, full = WallClock(), os.write, threading.Event()
    full.set()

    def write(file, raw):
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, raw)

    monkeypatch.setattr("pyros.flight.spool.os.write", write)
    system, recorder = System(clock), flight_recorder(clock, tmp_path, HEADER)
    system.events.tap(recorder.hear)
    recorder.attach(system)
    for _ in range(5):
        system.events.retain("plc", OPEN, 0.0)
    wait_for(lambda: caplog.messages)
    full.clear()
    wait_for(lambda: sum(path.stat().st_size for path in tmp_path.rglob("*.part")))
    wait_for(lambda: len(read_recording(next(tmp_path.rglob("*.part"))).records) == 5)
    recorder.close()
    assert [message for message in caplog.messages if "No space" in message] == caplog.messages[:1]


def test_when_the_disk_takes_nothing_for_too_long_the_loss_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "MOST_WAITING", 10)
    clock = WallClock()
    system, recorder = System(clock), flight_recorder(clock, tmp_path, HEADER)
    for _ in range(25):
        recorder.hear("plc", OPEN)
    recorder.attach(system)
    recorder.note("looked at")
    recorder.close()
    (file,) = files_in(tmp_path)
    records = read_recording(file).records
    assert [row.kind for row in records] == ["lost", *["published"] * 10]
    assert records[0].body == {"count": 15}
