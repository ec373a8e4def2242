"""A short night of kills: a real daemon on a simulated observatory, `kill -9`, SIGTERM, SIGSTOP."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kill_people import RESET_COIL
from kill_rounds import Rounds
from kill_rules import Record, breaches, left_executing
from kill_stage import Stage, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
SPEED = 10.0


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """One observatory and one night for all tests, in their order."""
    with Stage(tmp_path_factory.mktemp("k"), seed=7, speed=SPEED) as stage:
        yield Rounds(stage, seed=7, say=print)


@pytest.fixture
def daemon(rounds):
    """A daemon that is up and exposes."""
    start = rounds.stage.start()
    assert rounds.bring_up(start) == []
    yield start
    start.process.kill()
    start.process.wait()


@pytest.mark.parametrize(("aim", "seen"), [("shutter", "shutter open"), ("notice", ""), ("readout", ""), ("boot", "")])
def test_a_daemon_killed_at_any_moment_leaves_nothing_lost_repeated_or_running(rounds, aim, seen):
    """OM-E2."""
    assert rounds.kill_at(aim) == []
    assert rounds.totals.missed == 0
    assert not seen or rounds.totals.under_way[seen]


def test_sigterm_in_mid_exposure_closes_the_dome_and_ends_with_status_0(rounds, daemon):
    stage = rounds.stage
    assert rounds.seen(stage.is_exposing)
    assert stage.end(daemon) == 0, stage.last_words()
    assert stage.dome() == "closed"
    assert stage.survivors() == []
    assert left_executing(stage, stage.clock.now()) == []
    assert breaches(stage, rounds.people, rounds.record) == []


def test_a_second_daemon_on_the_same_state_directory_is_refused_with_one_line(rounds, daemon):
    stage = rounds.stage
    second = subprocess.run(stage.command, capture_output=True, text=True, check=False, cwd=stage.folder)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"{stage.state} is in use by the daemon with pid {daemon.process.pid}; stop that one first" in second.stderr


def test_a_second_sigterm_makes_safe_and_ends_with_status_1(rounds, daemon):
    stage = rounds.stage
    assert rounds.seen(lambda: stage.dome() == "open")
    daemon.process.send_signal(signal.SIGTERM)
    assert wait_for(lambda: stage.dome() == "closing", 10.0)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(timeout=15.0) == 1, stage.last_words()
    assert wait_for(lambda: stage.dome() == "closed", 10.0)
    assert stage.survivors() == []


def test_a_daemon_stopped_for_a_minute_finds_the_dome_closed_and_does_not_reopen_it_by_itself(rounds, daemon):
    stage = rounds.stage
    assert rounds.seen(lambda: stage.dome() == "open")
    os.kill(daemon.process.pid, signal.SIGSTOP)
    assert wait_for(lambda: stage.dome() == "closed", 60.0 / SPEED + 4.0), "the dead-man has not closed it"
    assert stage.latched()
    os.kill(daemon.process.pid, signal.SIGCONT)
    moves = len(stage.plc.moves())
    time.sleep(5.0)
    assert (stage.dome(), len(stage.plc.moves())) == ("closed", moves)
    assert daemon.process.poll() is None, stage.last_words()
    stage.plc.pulse(RESET_COIL)
    assert rounds.seen(lambda: stage.dome() == "opening"), stage.last_words()
    assert breaches(stage, rounds.people, rounds.record) == []


@pytest.mark.parametrize(("number", "begun"), [(signal.SIGTERM, "pyros.db"), (signal.SIGINT, "daemon.lock")])
def test_a_signal_in_the_midst_of_the_boot_ends_it_in_order(rounds, number, begun):
    """The lock is taken before the slow imports, the tables are made before the first actor."""
    stage = rounds.stage
    was = stage.state, stage.words, stage.command
    stage.state, stage.words = stage.folder / f"boot-{begun}", stage.folder / f"words-{begun}"
    stage.command = [*stage.command[:-1], str(stage.state)]
    try:
        start = stage.start()
        assert wait_for((stage.state / begun).exists, 10.0, 0.002)
        start.process.send_signal(number)
        assert start.process.wait(timeout=30.0) == 0, stage.last_words()
        assert "Traceback" not in stage.last_words(5)
    finally:
        stage.state, stage.words, stage.command = was
    assert stage.survivors() == []


@pytest.mark.parametrize("after_s", [0.02, 0.2])
def test_a_signal_before_the_boot_has_begun_leaves_nothing(rounds, after_s):
    stage = rounds.stage
    start = stage.start()
    time.sleep(after_s)
    start.process.send_signal(signal.SIGTERM)
    assert start.process.wait(timeout=30.0) in {0, -signal.SIGTERM}
    assert stage.survivors() == []
    assert stage.dome() == "closed"


# -- the rules themselves --------------------------------------------------------------------------------------------

DAMAGES = {
    "is stored 0 times": "DELETE FROM notice",
    "was accepted and is lost": "UPDATE request SET name = 'another'",
    "was recorded and has gone": "DELETE FROM image WHERE id = (SELECT MIN(id) FROM image)",
    "has changed": "UPDATE image SET number = number + 100 WHERE id = (SELECT MIN(id) FROM image)",
    "was never exposed": "UPDATE image SET start = '2026-11-23T00:00:00.000000Z' WHERE id = 1",
    "frames and has 0": "UPDATE plan SET done_count = 0 WHERE id = (SELECT MIN(plan_id) FROM image)",
    "is EXECUTING, its sequence": "UPDATE plan SET status = 'EXECUTING' WHERE id = 1",
    "is settled with": "UPDATE quota_entry SET seconds = seconds + 1 WHERE kind = 'refund'",
    "is debited": "UPDATE image SET exposure_s = exposure_s - 1",
    "is there 2 times": "INSERT INTO outbox (destination, subject, dedup_key, payload, status, attempts, created_at, "
    "last_error) SELECT destination, subject, 'another', payload, 'PENDING', 0, created_at, '' FROM outbox LIMIT 1",
    "is SENT and has not come": "UPDATE outbox SET status = 'SENT', sent_at = created_at, "
    "payload = json_set(payload, '$.id', 'x')",
}


@pytest.fixture(scope="module")
def remains(rounds, tmp_path_factory):
    """What the night left, of which each test damages a copy."""
    folder = tmp_path_factory.mktemp("remains")
    shutil.copytree(rounds.stage.state, folder / "state", ignore=shutil.ignore_patterns("requests", "events"))
    return folder


def judged(rounds, state: Path) -> str:
    stage, was = rounds.stage, rounds.stage.state
    record = Record(dict(rounds.record.images), set(rounds.record.checked), dict(rounds.record.done))
    stage.state = state
    try:
        return "\n".join(breaches(stage, rounds.people, record))
    finally:
        stage.state = was


@pytest.mark.parametrize("complaint", DAMAGES)
def test_every_rule_of_the_harness_sees_the_damage_that_it_is_there_for(rounds, remains, tmp_path, complaint):
    state = tmp_path / "state"
    shutil.copytree(remains / "state", state)
    assert judged(rounds, state) == ""
    database = sqlite3.connect(state / "pyros.db")
    database.execute("PRAGMA ignore_check_constraints = 1")
    assert database.execute(DAMAGES[complaint]).rowcount
    database.commit()
    database.close()
    assert complaint in judged(rounds, state)


def test_a_damaged_frame_and_a_repeated_one_are_seen(rounds, remains, tmp_path):
    state = tmp_path / "state"
    shutil.copytree(remains / "state", state)
    file = state / "images" / min(key[0] for key in rounds.record.images.values())
    shutil.copy(file, file.with_name(file.name.replace(file.name.split("_")[3], "235959")))
    with file.open("r+b") as frame:
        frame.seek(2880 * 3)
        frame.write(b"\xff\x00\xff\x00")
    rounds.record.checked.clear()
    assert "its checksum does not hold" in judged(rounds, state)
