"""The state directory: one daemon at a time, every start counted."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from pyros.cli.daemon_state import StateError, claimed, count_boot, default_state, holder
from pyros.client import default_endpoint

NOW = datetime(2026, 11, 22, tzinfo=UTC)
IMPORT = "import os, sys, time\nfrom pathlib import Path\nfrom pyros.cli.daemon_state import claimed\n"
TRY = IMPORT + "with claimed(Path(sys.argv[1])): pass"
FORK = (
    IMPORT
    + """
with claimed(Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(5)
    os._exit(0)
"""
)


def test_a_second_daemon_is_refused_with_the_first_ones_pid(tmp_path):
    with claimed(tmp_path):
        second = subprocess.run([sys.executable, "-c", TRY, tmp_path], capture_output=True, text=True, check=False)
        assert f"in use by the daemon with pid {os.getpid()}" in second.stderr
    assert subprocess.run([sys.executable, "-c", TRY, tmp_path], check=False).returncode == 0


def test_a_process_that_the_daemon_forked_does_not_hold_the_directory_after_it(tmp_path):
    subprocess.run([sys.executable, "-c", FORK, tmp_path], check=True)
    assert holder(tmp_path) is None


def test_every_start_is_counted_for_good(tmp_path):
    assert [count_boot(tmp_path, NOW) for _ in range(3)] == [1, 2, 3]


def test_clients_look_first_where_the_daemon_keeps_its_state(monkeypatch):
    monkeypatch.delenv("PYROS_GATEWAY", raising=False)
    assert default_endpoint() == str(default_state() / "gateway")


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be written"), claimed(tmp_path / "file" / "state"):
        pass
