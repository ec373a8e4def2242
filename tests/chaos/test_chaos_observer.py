"""The observer of the world: each rule about a dome left open fires, once, when the guard that keeps it is gone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hill import Hill

from simulators.physics_dome import DomeLogic

MORNING = datetime(2026, 11, 23, 13, 55, tzinfo=UTC)


@pytest.mark.parametrize("bad", [{"wind_m_s": 24.0}, {"gust_m_s": 30.0}, {"humidity_percent": 99.0}])
def test_a_dome_left_open_in_bad_weather_is_seen_once(bad):
    hill = Hill()
    hill.world.set_weather(**bad)
    hill.run(200)
    assert hill.rules() == []
    hill.run(400)
    assert hill.rules() == ["dome open in bad weather"]


def test_a_dome_that_closes_in_time_is_no_violation():
    hill = Hill()
    hill.world.set_weather(wind_m_s=24.0)
    hill.run(60)
    hill.plc.pulse(1)
    hill.run(600)
    assert hill.rules() == []


def test_a_dome_left_open_by_daylight_is_seen_once():
    hill = Hill(MORNING)
    hill.run(3600)
    assert hill.rules() == ["dome open by daylight"]


def test_a_dome_left_open_without_a_heartbeat_is_seen_once(monkeypatch):
    monkeypatch.setattr(DomeLogic, "_deadman_due_s", lambda self: float("inf"))
    hill = Hill()
    hill.run(300)
    hill.beats = False
    hill.run(110)
    assert hill.rules() == []
    hill.run(400)
    assert hill.rules() == ["dome open without a heartbeat"]


def test_the_dead_man_s_closure_is_no_violation():
    hill = Hill()
    hill.beats = False
    hill.run(600)
    assert hill.rules() == []
    assert hill.plc.open_fraction(hill.world.unix_s()) == 0.0
    assert [round((one.end - one.start).total_seconds(), -1) > 400 for one in hill.observer.latched] == [True]


def test_a_dome_that_is_stuck_is_judged_again_when_it_has_been_free_for_the_time_of_closing():
    hill = Hill()
    hill.world.faults.start("plc", "stuck", 900.0)
    hill.world.set_weather(wind_m_s=24.0)
    hill.run(1100)
    assert hill.rules() == []
    assert hill.observer.hindered(hill.world.unix_s() - 600, hill.world.unix_s())
    hill.run(300)
    assert hill.rules() == ["dome open in bad weather"]


def test_a_station_that_stands_still_is_believed_for_a_quarter_of_an_hour():
    hill = Hill()
    hill.plc.station.set_fault(hill.world.unix_s(), "frozen")
    hill.world.set_weather(wind_m_s=24.0)
    hill.run(1100)
    assert hill.rules() == []
    hill.run(300)
    assert hill.rules() == ["dome open in bad weather"]


def test_an_exposure_that_outlives_its_process_is_for_the_next_one_to_end():
    hill = Hill()
    begun = hill.clock.now()
    hill.run(10)
    hill.observer.process_died()
    hill.plc.pulse(1)
    hill.run(15)
    hill.observer.process_started()
    hill.run(5)
    hill.world.on_exposure("camera:vis", begun, hill.clock.now(), "light")
    assert hill.rules() == []
    hill.run(60)
    hill.world.on_exposure("camera:vis", begun, hill.clock.now(), "light")
    assert hill.rules() == ["exposing under a dome that is not open"]
