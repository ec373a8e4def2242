"""The processes that analyse images, killed in the middle of an analysis: a new set takes over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from pyros.actors.analyzer.analysis import AnalysisJob, analyse
from pyros.actors.workers import Workers, _new_pool

KILLED_DAEMON = """
import os, sys, time
from pyros.actors.workers import Workers, _new_pool
workers = Workers(_new_pool(2), 2)
started = [workers.submit(os.getpid) for _ in range(8)]
print(*sorted({future.result(60) for future in started}), flush=True)
time.sleep(600)
"""


@pytest.fixture
def workers():
    made = Workers(_new_pool(1), 1)
    yield made
    made.shutdown(cancel_futures=True)


def test_a_worker_killed_in_an_analysis_breaks_that_analysis_and_the_next_one_runs_in_a_new_process(workers, tmp_path):
    """The frame is a FIFO that nobody writes: the analysis stands in it for as long as we like."""
    frame = tmp_path / "frame.fits"
    os.mkfifo(frame)
    pid = workers.submit(os.getpid).result(60)
    under_way = workers.submit(analyse, AnalysisJob(frames=(str(frame),), output=str(tmp_path)))
    waiting = workers.submit(os.getpid)
    time.sleep(0.5)
    assert not under_way.done()
    os.kill(pid, signal.SIGKILL)
    for future in (under_way, waiting):
        with pytest.raises(BrokenExecutor):
            future.result(30)
    frame.unlink()
    frame.write_bytes(b"no FITS at all")
    again = workers.submit(analyse, AnalysisJob(frames=(str(frame),), output=str(tmp_path)))
    assert again.result(60).problems or again.result().images[0].problems
    assert workers.submit(os.getpid).result(30) != pid


def test_a_worker_that_never_comes_back_is_ended_by_its_own_alarm_clock():
    stuck = Workers(_new_pool(1), 1, limit_s=1)
    try:
        with pytest.raises(BrokenExecutor):
            stuck.submit(time.sleep, 600).result(60)
        assert stuck.submit(os.getpid).result(60) > 0
    finally:
        stuck.shutdown(cancel_futures=True)


def test_many_deaths_in_a_row_are_survived(workers):
    pids = set()
    for _ in range(4):
        pid = workers.submit(os.getpid).result(60)
        pids.add(pid)
        dying = workers.submit(time.sleep, 600)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenExecutor):
            dying.result(30)
    assert len(pids) == 4


def test_after_a_shutdown_work_is_refused(workers):
    workers.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        workers.submit(os.getpid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_workers_of_a_later_set_die_with_a_daemon_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED_DAEMON], stdout=subprocess.PIPE, text=True) as daemon:
        pids = [int(word) for word in daemon.stdout.readline().split()]
        daemon.kill()
    end_s = time.monotonic() + 10
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < end_s, f"of {pids} some have outlived the daemon"
        time.sleep(0.05)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
