"""`pyros demo`, as a person starts it: a burst is observed within the first minute, and nothing is left behind."""

from __future__ import annotations

import re
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_stage import alive, children_of, end, pyros, wait_for
from click.testing import CliRunner

from pyros.cli.alert_send import send
from pyros.client import Client
from pyros.messages.alerts import AlertManagerState
from pyros.messages.base import GetState
from simulators.notices import render, trigger_id_for


def found_in(client):
    state = client.ask("alert_manager", GetState())
    assert isinstance(state, AlertManagerState)
    return [alert for alert in state.alerts if alert.candidates and "first_shutter" in alert.times]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
def test_a_demo_finds_its_afterglow_takes_a_notice_and_ends_without_a_trace(tmp_path):
    """The door of the demo: page, gateway, burst, candidate, one-time login, clean end."""
    with pyros("demo", "--speed", 60, "--port", 0, folder=tmp_path) as (demo, words):
        wait_for(lambda: "What lasts:" in words.read_text(), why=words.read_text)
        said = words.read_text()
        page = re.search(r"(http://\S+/)login\?token=(\S+)", said)
        with urllib.request.urlopen(page[1] + "healthz", timeout=5) as answer:
            assert b'"daemon":"up"' in answer.read()
        gateway = tmp_path / "home" / "pyros" / "gateway"
        assert f"The gateway:    {gateway}" in said
        client = Client(str(gateway))
        (alert,) = wait_for(lambda: found_in(client), within_s=50, why=words.read_text)
        assert alert.times["first_shutter"] > alert.times["received"]
        client.close()
        children, folder = children_of(demo.pid), re.search(r"What lasts:\s+(\S+)", said)[1]
        send_a_notice(tmp_path, gateway)
        assert end(demo, within_s=10) == 0, words.read_text()
    assert len(children) == 2
    assert not [pid for pid in children if alive(pid)]
    assert "CANDIDATE at RA" in words.read_text()
    assert "Traceback" not in words.read_text()
    assert not re.search(r"broke on", words.read_text())
    assert not Path(folder).exists()


def send_a_notice(tmp_path, gateway):
    t0 = datetime(2026, 11, 20, 4, tzinfo=UTC)
    xml = render("swift_bat", t0, t0 + timedelta(seconds=30), 20.0, 40.0, 0.05, trigger_id_for("swift_bat", t0, 7))
    file = tmp_path / "notice.xml"
    file.write_bytes(xml)
    result = CliRunner().invoke(send, [str(file), "--now", "--connect", str(gateway)])
    assert result.exit_code == 0, result.output
    assert "taken by the broker" in result.output
