"""`pyros demo` before the curtain: what it refuses in one line, and where it places the night."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from cli_stage import observatory
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.cli import pyros
from pyros.cli.alert_send import send
from pyros.cli.demo_stage import action, demo_sections, evening
from pyros.cli.simulation.daemon import simulated_settings
from pyros.sky.night import sun_altitude_deg
from simulators.scenario import Scenario

URLS = {"telescope": "lx200+tcp://h:1", "plc": "modbus://h", "vtp": "vtp://h:1"}


def refused(*arguments) -> str:
    result = CliRunner().invoke(pyros, ["demo", *arguments])
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in refused("--port", str(port))


def test_a_scenario_with_a_fault_is_named_with_its_line(tmp_path):
    file = tmp_path / "rain.toml"
    file.write_text('[[event]]\nat = "+00:10:00"\nkind = "wether"\n')
    line = refused("--port", "0", "--scenario", str(file))
    assert "wether" in line
    assert "line 3: " in line


def test_what_cannot_be_played_is_said_before_anything_starts():
    with pytest.raises(ValueError, match="cannot be played"):
        action({"kind": "environment", "disk_full": True})
    with pytest.raises(ValueError, match="unknown"):
        action({"kind": "operator", "command": "dance"})


@settings(max_examples=20, deadline=None)
@given(st.floats(1, 60), st.integers(0, 5))
def test_nobody_waits_long_for_the_burst_at_any_speed(speed, seed):
    night = evening(speed, seed, None)
    assert -12.0 < sun_altitude_deg(night.site, night.start) < -9.5
    first = min(event.at(night.begins) for event in night.scenario.events if event.kind == "grb")
    assert (first - night.begins).total_seconds() >= 59
    assert (first - night.start).total_seconds() / speed < 200


@given(st.floats(1, 60))
def test_the_settings_of_a_demo_are_valid_and_its_safety_times_are_five_real_seconds_where_the_plc_allows(speed):
    sections = demo_sections(speed, 0, Path("/tmp/g"))
    safety = simulated_settings(URLS, {}, Path("/tmp/s"), **sections).safety
    assert safety.hold_off_s / speed == pytest.approx(5.0)
    assert safety.stale_s / speed >= 4.99
    assert safety.deadman_s >= 30


def test_a_scenario_has_the_last_word_on_the_settings():
    scenario = Scenario.parse("[override.safety]\nhold_off_s = 7.0\n")
    sections = demo_sections(60, 0, Path("/tmp/g"))
    made = simulated_settings(URLS, scenario.overrides, Path("/tmp/s"), **sections)
    assert made.safety.hold_off_s == 7.0
    assert made.safety.stale_s == 300.0


NOTICE = b"""<?xml version="1.0"?><voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" version="2.0"
 role="test" ivorn="ivo://org.example/stream#1"><Who/></voe:VOEvent>"""


def sent(tmp_path, *arguments, content=NOTICE):
    file = tmp_path / "notice.xml"
    file.write_bytes(content)
    return CliRunner().invoke(send, [str(file), *arguments])


def test_a_notice_goes_to_every_subscriber_and_its_author_gets_the_ack(tmp_path):
    with observatory() as stage, socket.create_connection(stage.broker.channel.split(":"), timeout=3) as subscriber:
        heard = []
        reader = threading.Thread(target=lambda: heard.append(subscriber.recv(4096)))
        reader.start()
        result = sent(tmp_path, "--to", stage.urls["vtp"])
        reader.join(3)
        assert result.exit_code == 0, result.output
        assert heard[0][4:] == NOTICE
        assert stage.broker.subscribers() == 1  # an author is no subscriber


def test_a_notice_that_nobody_hears_is_refused_by_the_broker(tmp_path):
    with observatory() as stage:
        result = sent(tmp_path, "--to", stage.urls["vtp"])
    assert result.exit_code == 1
    assert "no subscriber is connected" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "content", "word"),
    [
        (("--to", "vtp://127.0.0.1:9"), NOTICE, "does not take it"),
        ((), NOTICE, "no demo runs at"),
        (("--now", "--to", "vtp://127.0.0.1:9"), NOTICE, "no usable ISOTime"),
        ((), b"<!DOCTYPE x><x/>", "DOCTYPE"),
        ((), b"", "empty"),
    ],
)
def test_a_notice_that_cannot_be_sent_is_one_line(tmp_path, monkeypatch, arguments, content, word):
    monkeypatch.setenv("PYROS_GATEWAY", str(tmp_path / "gateway"))
    result = sent(tmp_path, *arguments, content=content)
    assert result.exit_code == 1
    assert word in result.stderr
    assert len(result.stderr.splitlines()) == 1
