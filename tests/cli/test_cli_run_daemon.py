"""`pyros run` and `pyros close-dome`, as a person starts them, on simulated devices and the wall clock."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from cli_stage import SILENT, alive, children_of, end, observatory, pyros, wait_for, write_config
from click.testing import CliRunner

from pyros.cli import pyros as command
from pyros.cli.last_good import last_good
from pyros.client import Client
from pyros.messages.base import GetState
from pyros.messages.system import SupervisorState


@pytest.fixture
def stage():
    with observatory() as stage:
        yield stage


def ask(folder, actor):
    client = Client(str(folder / "gateway"))
    try:
        return client.ask(actor, GetState())
    finally:
        client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
def test_the_daemon_starts_with_a_dead_telescope_refuses_a_second_one_and_ends_in_order(tmp_path, stage):
    """MO-T7."""
    config, state = write_config(tmp_path, stage, telescope=SILENT), tmp_path / "state"
    with pyros("run", "--config", config, "--state", state, folder=tmp_path) as (daemon, words):
        wait_for(lambda: "the page is at http://" in words.read_text(), why=words.read_text)
        tree = ask(state, "supervisor")
        assert isinstance(tree, SupervisorState)
        assert {child.status for child in tree.children} == {"up"}
        assert tree.children[-1].actor == "web"
        wait_for(lambda: "telescope: does not answer" in words.read_text(), why=words.read_text)
        second = subprocess.run(
            [sys.executable, "-m", "pyros", "run", "--config", config, "--state", state],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert f"pid {daemon.pid}" in second.stderr
        children = children_of(daemon.pid)
        assert len(children) == 2  # the page, and one process for images
        assert end(daemon) == 0, words.read_text()
    assert not [pid for pid in children if alive(pid)]
    assert last_good(state).plc_url == stage.urls["plc"]
    assert "Traceback" not in words.read_text()


def test_a_page_that_dies_is_started_again_and_harms_nobody(tmp_path, stage):
    """WK-3."""
    config, state = write_config(tmp_path, stage), tmp_path / "state"
    with pyros("run", "--config", config, "--state", state, folder=tmp_path) as (daemon, words):
        wait_for(lambda: "the page is at" in words.read_text(), why=words.read_text)
        page = subprocess.run(
            ["pgrep", "-P", str(daemon.pid), "-f", "pyros.web"], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(page[0]), signal.SIGKILL)
        wait_for(lambda: words.read_text().count("the page is at") == 2, why=words.read_text)
        assert all(child.restarts == 0 for child in ask(state, "supervisor").children)
        assert end(daemon, signal.SIGINT) == 0, words.read_text()


def test_a_broken_configuration_starts_nothing_and_names_every_fault(tmp_path):
    config = tmp_path / "observatory.toml"
    config.write_text('mode = "x"\nseed = "y"\n')
    result = CliRunner().invoke(command, ["run", "--config", str(config), "--state", str(tmp_path / "state")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 3
    assert not (tmp_path / "state").exists()


def test_the_simulators_write_a_configuration_that_checks_as_good(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        first = min(max(free.getsockname()[1], 1024), 65_000)
    config = tmp_path / "observatory.toml"
    with pyros("simulators", "--config", config, "--first-port", first + 1, folder=tmp_path) as (process, words):
        wait_for(lambda: "in another terminal" in words.read_text(), why=words.read_text)
        config.write_text(config.read_text() + "[web]\nport = 0\n")
        result = CliRunner().invoke(command, ["check", "--config", str(config), "--state", str(tmp_path / "state")])
        assert result.exit_code == 0, result.output
        assert end(process) == 0
