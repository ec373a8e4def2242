"""The unit at work: a real `pyros run` on simulated devices, under a miniature of systemd that obeys our unit."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from pathlib import Path

import pytest
import service_sandbox
from click.testing import CliRunner
from service_manager import ServiceManager

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_stage import alive, observatory, wait_for, write_config

from pyros.cli import pyros as command
from pyros.client import Client
from pyros.messages.base import GetState

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd, abstract sockets and /proc are Linux's")

IMPATIENT = """[Service]
WatchdogSec=11
RestartSec=0.2
TimeoutAbortSec=5
"""


@pytest.fixture
def stage():
    with observatory() as stage:
        yield stage


@pytest.fixture
def service(tmp_path, stage):
    """Install the service as an operator would, with a drop-in that makes it impatient, and start it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "units" / "pyros.service.d").mkdir(parents=True)
    (tmp_path / "units" / "pyros.service.d" / "impatient.conf").write_text(IMPATIENT)
    config = write_config(tmp_path, stage)
    options = {"--config": config, "--state": tmp_path / "state", "--prefix": tmp_path / "units"}
    options["--user"] = pwd.getpwuid(os.getuid()).pw_name
    words = [str(word) for option in options.items() for word in option]
    installed = CliRunner().invoke(command, ["install-service", *words])
    assert installed.exit_code == 0, installed.output
    unit = tmp_path / "units" / "pyros.service"
    sandbox = () if service_sandbox.MISSING else (sys.executable, service_sandbox.__file__, str(unit))
    with ServiceManager(unit, tmp_path, sandbox) as manager:
        yield manager


def tree(state_folder):
    client = Client(str(state_folder / "gateway"))
    try:
        return client.ask("supervisor", GetState())
    finally:
        client.close()


def open_a_little(stage):
    """Open the dome behind everybody's back, as a person at its panel would."""
    clock, before = stage.world.clock, stage.plc.holding_registers()[0]
    wait_for(lambda: stage.world.dome_open_fraction(clock.now()) == 0.0)
    assert stage.plc.write_holding(0, [(before + 1) % 65536])
    stage.plc.pulse(0)
    wait_for(lambda: stage.world.dome_open_fraction(clock.now()) > 0.02)


def is_closed(stage):
    return stage.world.dome_open_fraction(stage.world.clock.now()) == 0.0


def test_the_service_is_ready_when_every_actor_was_started_is_watched_and_stops_with_a_closed_dome(
    tmp_path, stage, service
):
    """MO-E1: READY is sent after the start's actions; the watchdog is fed; a clean stop stays clean."""
    ready = service.wait_for("READY")
    children = tree(tmp_path / "state").children
    assert {child.status for child in children} == {"up"}, children
    assert len(children) > 15
    status = service.seen("STATUS", ready.at_s)[0].detail
    assert f"{len(children)} of {len(children)} actors up" in status
    assert "dome closed" in status or "PLC" in status
    beat = service.wait_for("WATCHDOG", len(service.seen("WATCHDOG")) + 1)
    assert 0 < beat.at_s - ready.at_s < 11
    assert not [entry for entry in service.journal if entry.what.startswith("not from main")]
    assert service.stop() == "success", service.story()
    assert len(service.seen("STOPPING")) == 1
    assert [entry.detail for entry in service.seen("ended")] == ["exited 0"]
    assert [entry.detail for entry in service.seen("stop-post")] == ["0"]
    assert [entry.detail for entry in service.seen("signal")] == ["SIGTERM"]
    assert not service.seen("left over")
    assert is_closed(stage)


def test_a_daemon_that_stands_still_is_killed_and_the_dome_closed_for_it_even_if_its_configuration_is_broken(
    tmp_path, stage, service
):
    """The watchdog starves, the PLC is told by the last good address, and told again after each start that fails."""
    config, first = tmp_path / "observatory.toml", service.wait_for("READY")
    good = config.read_text()
    wait_for((tmp_path / "state" / "last_good.json").exists)
    wait_for(lambda: stage.plc.holding_registers()[0] > 0)
    os.kill(first.pid, signal.SIGSTOP)
    config.write_text("mode = 3\n")
    open_a_little(stage)
    assert service.wait_for("ended").detail == "killed ABRT", service.story()
    assert "Fatal Python error: Aborted" in service.words.read_text()
    assert service.seen("stop-post begins")[0].detail == "watchdog"
    assert service.wait_for("stop-post").detail == "0", service.story()
    assert stage.plc.last_cause() == "command", stage.plc.moves()
    assert not stage.plc.latch_word()
    wait_for(lambda: is_closed(stage), why=service.story)
    assert service.wait_for("ended", 2).detail == "exited 1"
    assert "mode is 3" in service.words.read_text()
    assert service.wait_for("stop-post", 2).detail == "0"
    config.write_text(good)
    assert service.wait_for("READY", 2).pid != first.pid
    assert service.stop() == "success", service.story()


def test_a_daemon_that_is_killed_leaves_nobody_behind_and_another_closes_the_dome_and_goes_on(stage, service):
    first = service.wait_for("READY")
    wait_for(lambda: stage.plc.holding_registers()[0] > 0)
    os.kill(first.pid, signal.SIGKILL)
    assert service.wait_for("ended").detail == "killed KILL"
    assert service.seen("stop-post begins")[0].detail == "signal"
    assert service.wait_for("stop-post").detail == "0", service.story()
    second = service.wait_for("READY", 2)
    assert second.pid != first.pid
    assert not [entry for entry in service.seen("left over") if alive(int(entry.detail))]
    assert not stage.plc.latch_word()
    assert service.stop() == "success", service.story()
