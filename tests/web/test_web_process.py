"""The web app as its own process: it starts without a daemon, says so, and stops when told or when its parent dies."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from pyros.orphans import PARENT
from pyros.web.serving import main, read_secret

ORPHANING_PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
print(child.pid, child.stdout.readline(), flush=True)
sys.stdin.read()
"""


def command(tmp_path):
    arguments = ["--connect", "/nowhere/pyros", "--port", "0", "--secret-file", str(tmp_path / "secret")]
    return [sys.executable, "-m", "pyros.web", *arguments]


def address_in(line):
    return re.search(r"http://\S+", line).group()


@contextlib.contextmanager
def web(tmp_path):
    with subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process, address_in(process.stdout.readline())
        finally:
            process.kill()


def test_without_a_daemon_the_web_app_runs_and_ends_cleanly_on_sigterm(tmp_path):
    with web(tmp_path) as (process, address):
        with urllib.request.urlopen(address + "healthz", timeout=5) as answer:
            assert b'"daemon":"away"' in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_the_web_app_dies_with_its_parent(tmp_path):
    arguments = [sys.executable, "-c", ORPHANING_PARENT, *command(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline().split()[0])
        parent.kill()
    for _ in range(100):
        if not is_running(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the web app has outlived its parent by ten seconds")


def is_running(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        return status.rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_web_app_whose_parent_has_died_before_its_first_moment_ends_at_once(tmp_path):
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    order = [sys.executable, "-m", "pyros.web", "--connect", str(tmp_path), "--secret-file", str(tmp_path / "secret")]
    ended = subprocess.run(
        order, env={**os.environ, PARENT: str(dead.pid)}, capture_output=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_a_missing_secret_is_made_for_this_user_alone_and_kept(tmp_path):
    file = tmp_path / "secret"
    made = read_secret(file)
    assert len(made) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_secret(file) == made


def test_a_weak_or_open_secret_is_refused_in_one_line(tmp_path, capsys):
    file = tmp_path / "secret"
    file.write_text("short")
    file.chmod(0o600)
    assert main(["--connect", "/nowhere/pyros", "--secret-file", str(file), "--port", "0"]) == 1
    assert "needs 32" in capsys.readouterr().err
    file.write_text("s" * 64)
    file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_secret(file)


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_wrong_usage(port, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--connect", "/nowhere/pyros", "--secret-file", "x", "--port", port])
    assert end.value.code == 2
    assert "65535" in capsys.readouterr().err
