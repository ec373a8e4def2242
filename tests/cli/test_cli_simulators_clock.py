"""`pyros simulators` writes the clock that it shares with the daemon; the pool's processes go with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from cli_stage import alive, end, pyros, wait_for
from click.testing import CliRunner

from pyros.cli import pyros as command
from pyros.config import load

POOL = """
import multiprocessing, time
from pyros.cli.simulation.daemon import start_pool
pool = start_pool(2)
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
time.sleep(60)
"""


def ports(count_from=20_000):
    return count_from + os.getpid() % 20_000


def test_the_simulators_write_a_clock_that_runs_at_the_wanted_speed_from_the_wanted_instant(tmp_path):
    config = tmp_path / "observatory.toml"
    arguments = ["simulators", "--config", config, "--first-port", ports(), "--speed", 5]
    with pyros(*arguments, "--start", "2026-11-23T02:00:00+01:00", folder=tmp_path) as (process, words):
        wait_for(lambda: "in another terminal" in words.read_text(), why=words.read_text)
        assert end(process) == 0
    clock = load(config).simulation
    assert (clock.speed, clock.start) == (5.0, datetime(2026, 11, 23, 1, tzinfo=UTC))
    assert timedelta(0) < datetime.now(UTC) - clock.since < timedelta(minutes=2)
    with pyros(*arguments, folder=tmp_path) as (process, words):
        wait_for(lambda: "in another terminal" in words.read_text(), why=words.read_text)
        assert "--speed and --start are not used" in words.read_text()
        assert end(process, signal.SIGINT) == 0
    assert load(config).simulation == clock


def test_without_these_options_the_file_has_no_clock_of_its_own(tmp_path):
    config = tmp_path / "observatory.toml"
    with pyros("simulators", "--config", config, "--first-port", ports(41_000), folder=tmp_path) as (process, words):
        wait_for(config.exists, why=words.read_text)
        end(process)
    assert "simulation" not in tomllib.loads(config.read_text())


@pytest.mark.parametrize("text", ["2026-11-23T02:00:00", "tonight"])
def test_an_instant_without_its_time_zone_is_refused_with_the_way_to_write_it(tmp_path, text):
    result = CliRunner().invoke(command, ["simulators", "--config", str(tmp_path / "x.toml"), "--start", text])
    assert result.exit_code == 2
    assert "write it as 2026-11-22T01:30:00Z" in result.output


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' signal at the parent's death")
def test_the_processes_that_analyse_images_do_not_outlive_their_daemon():
    with subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(alive(pid) for pid in workers)
        parent.kill()
    wait_for(lambda: not any(alive(pid) for pid in workers), within_s=5.0)
