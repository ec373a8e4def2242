"""A clock that several processes share: each anchors itself at the same real instant."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from pyros.cli.run import clock_of
from pyros.clock import WallClock
from pyros.config import parse

START = datetime(2026, 11, 22, 3, tzinfo=UTC)
DEVICES = {"telescope": {"url": "lx200+tcp://127.0.0.1:9"}, "plc": {"url": "modbus://127.0.0.1:9"}}
OTHER = """
import sys
from datetime import datetime
from pyros.clock import WallClock
start, since = (datetime.fromisoformat(text) for text in sys.argv[1:])
print(WallClock(10.0, start, since).now().isoformat())
"""


def settings(**simulation):
    return parse({"mode": "simulation", "devices": DEVICES, "simulation": simulation}, "test")


def test_two_processes_that_start_at_different_times_show_the_same_time():
    since = datetime.now(UTC) - timedelta(seconds=100)
    clock = WallClock(10.0, START, since)
    before = clock.now()
    told = subprocess.run(
        [sys.executable, "-c", OTHER, START.isoformat(), since.isoformat()], capture_output=True, text=True, check=True
    )
    assert before <= datetime.fromisoformat(told.stdout.strip()) <= clock.now()
    assert before >= START + timedelta(seconds=1000)


def test_the_clock_of_a_simulation_shows_start_at_since_and_runs_at_its_speed():
    clock = clock_of(settings(speed=5.0, start=START, since=datetime.now(UTC) - timedelta(hours=1)))
    assert clock.speed == 5.0
    assert timedelta(0) <= clock.now() - START - timedelta(hours=5) < timedelta(minutes=5)


def test_without_a_simulation_the_clock_is_the_machines():
    assert abs(clock_of(settings()).now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_step_of_the_machines_time_moves_no_anchored_clock(monkeypatch):
    clock = WallClock(1.0, START, datetime.now(UTC))
    before = clock.now()
    monkeypatch.setattr("pyros.clock.time.time_ns", lambda: 0)
    assert timedelta(0) <= clock.now() - before < timedelta(minutes=1)


def test_an_instant_without_what_the_clock_shows_then_is_refused():
    with pytest.raises(ValueError, match="without a start"):
        WallClock(1.0, None, START)
