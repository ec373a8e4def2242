"""The listener on the virtual clock, against the simulated broker over a real socket."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta

import pytest
from observing_scene import (
    Scene,
    SlowArchivist,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
    start_of_scene,
)

from pyros.actors.alert_manager.listener import name_of
from pyros.cli.daemon_log import EventLog
from pyros.clock import VirtualClock
from pyros.messages.alerts import AlertOpened, ListenerState
from simulators.vtp_broker import VtpBroker
from simulators.world import World


@pytest.fixture
def stage(tmp_path):
    """A broker, and a scene that listens to it."""
    clock = VirtualClock(start_of_scene(), stall_s=20.0)
    world = World(clock)
    broker = VtpBroker(world)
    url = f"vtp://{broker.start()}"
    with contextlib.closing(Stopping(broker)):
        scene = Scene(tmp_path, clock=clock, vtp=url, archivist=SlowArchivist)
        yield world, broker, scene
        scene.close()


class Stopping:
    def __init__(self, broker):
        self.close = broker.stop


def listener(scene):
    return scene.events(ListenerState)[-1]


def ivorn(raw):
    return name_of(raw)


def test_a_notice_is_acknowledged_after_it_is_stored_and_not_before(stage):
    _, broker, scene = stage
    scene.run(5.0)
    raw = scene.burst("swift_bat")
    assert broker.send(raw) == 1
    scene.run(0.1)
    assert not scene.rows("notice")
    assert broker.answered(ivorn(raw), real_s=0.05) is None
    scene.run(1.0)
    assert scene.rows("notice")
    assert broker.answered(ivorn(raw)) == "ack"
    assert scene.events(AlertOpened)


def test_what_cannot_be_read_as_a_notice_is_acknowledged_by_its_name_and_quarantined(stage):
    _, broker, scene = stage
    scene.run(5.0)
    old = b'<?xml version="1.0"?><voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v1.1" ivorn="ivo://a/b#1"/>'
    broker.send(old)
    broker.send(b"this is no XML")
    scene.run(2.0)
    assert broker.answered("ivo://a/b#1") == "ack"
    assert [row["verdict"] for row in scene.rows("notice")] == ["QUARANTINED", "QUARANTINED"]
    assert listener(scene).connected


def test_iamalives_are_answered_so_that_the_broker_keeps_us_for_hours(stage):
    _, broker, scene = stage
    scene.run(3 * 3600.0)
    assert (broker.subscribers(), broker.dropped) == (1, 0)
    assert listener(scene).frames >= 179


def test_a_network_that_is_away_for_a_while_is_called_again_and_notices_come_in_after_it(stage):
    world, broker, scene = stage
    scene.run(5.0)
    world.set_switch("network", False)
    scene.run(600.0)
    assert not listener(scene).connected
    assert "cannot be reached" in listener(scene).problem
    attempts = sum(isinstance(message, ListenerState) for at, message in scene.log)
    world.set_switch("network", True)
    scene.run(73.0)
    assert listener(scene).connected
    assert attempts < 30
    broker.send(scene.burst("swift_bat"))
    scene.run(2.0)
    assert scene.events(AlertOpened)


def test_a_hundred_notices_are_all_stored_and_acknowledged_though_the_link_is_cut_in_between(stage):
    """AL-P1."""
    world, broker, scene = stage
    scene.run(5.0)
    sent = [scene.burst("svom_grm", trigger_id=f"sb261123{number:02d}") for number in range(100)]
    for number, raw in enumerate(sent):
        if number == 50:
            scene.run(2.0)
            assert all(broker.answered(ivorn(raw)) for raw in sent[:50])  # else the cut could swallow some answers
            world.set_switch("network", False)
            scene.run(30.0)
            world.set_switch("network", True)
            scene.run(73.0)
        assert broker.send(raw) == 1
    scene.run(60.0)
    assert len(scene.rows("notice")) == 100
    assert [broker.answered(ivorn(raw)) for raw in sent] == ["ack"] * 100


def test_a_frame_that_is_too_long_ends_the_connection_and_not_the_listener(stage):
    _, broker, scene = stage
    scene.run(5.0)
    broker.send(b"x" * ((1 << 20) + 1))
    scene.run(10.0)
    assert "bytes announced" in " ".join(state.problem for state in scene.events(ListenerState))
    assert listener(scene).connected
    broker.send(scene.burst("swift_bat"))
    scene.run(2.0)
    assert scene.events(AlertOpened)


def test_a_broker_that_falls_silent_is_left_and_called_again(stage):
    _, broker, scene = stage
    scene.run(5.0)
    broker._timer.cancel()
    scene.run(200.0)
    assert any("no word from the broker" in state.problem for state in scene.events(ListenerState))
    assert listener(scene).connected


def test_a_notice_whose_storing_a_crash_interrupted_is_offered_again_and_decided_once(stage):
    _, broker, scene = stage
    scene.run(5.0)
    raw = scene.burst("swift_bat")
    broker.send(raw)
    scene.run(0.05)
    scene.crash("alert_manager")
    scene.run(60.0)
    assert len(scene.rows("notice")) == 1
    assert broker.answered(ivorn(raw)) == "ack"
    assert len(scene.events(AlertOpened)) == len(scene.rows("alert")) == 1


def test_a_restarted_listener_connects_again_and_hears_all(stage):
    _, broker, scene = stage
    scene.run(5.0)
    scene.crash("listener:vtp")
    scene.run(5.0)
    assert broker.subscribers() == 1
    t0 = scene.clock.now() - timedelta(seconds=30)
    broker.send(scene.burst("swift_bat", t0=t0))
    broker.send(scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301", error_deg=0.1))
    scene.run(3.0)
    assert len(scene.rows("notice")) == 2
    assert len(scene.rows("alert")) == 1


def test_a_listener_that_is_killed_again_and_again_comes_back_within_the_backoff_with_a_line_each_and_an_alarm(
    stage, caplog
):
    """AL-E2."""
    _, broker, scene = stage
    scene.system.events.tap(EventLog(scene.clock))
    scene.run(5.0)
    with caplog.at_level(logging.INFO, "pyros"):
        for number, backoff_s in enumerate([0.0, 1.2, 2.4], 1):
            scene.crash("listener:vtp")
            scene.run(backoff_s + 0.5)
            assert scene.row_of("listener:vtp").restarts == number
            assert listener(scene).connected
    deaths = [line for line in caplog.messages if "listener:vtp broke on Crash" in line]
    alarms = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(deaths) == 3
    assert len(alarms) == 1
    assert "listener:vtp: ALARM: 3 failures within 10 min" in alarms[0]
    assert broker.subscribers() == 1
    broker.send(scene.burst("swift_bat"))
    scene.run(2.0)
    assert scene.events(AlertOpened)
