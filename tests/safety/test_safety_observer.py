"""The observer of the simulated world: each rule fires, once, when the guard that keeps it is taken away."""

from datetime import timedelta

import pytest
from scene import ALL, NIGHT, SITE, TARGET, Scene, expose, slew

from pyros.actors.devices import guard
from pyros.actors.devices.plc import PlcActor
from pyros.messages.base import Done
from pyros.messages.devices import Brake, CloseDome, Exposed, OpenDome, Slewed
from pyros.sky import coordinates
from simulators.physics_dome import DomeLogic

ACTORS = tuple(name for name in ALL if name not in {"majordome", "scheduler", "observation_manager"})


@pytest.fixture
def without(monkeypatch):
    """Take guards away by their names."""

    def take(*names):
        for name in names:
            monkeypatch.setattr(guard, name, lambda *_: None)

    return take


def rules(scene):
    return [one.rule for one in scene.observatory.observer.violations]


def test_with_every_guard_in_place_no_rule_is_broken(tmp_path):
    with Scene(tmp_path, ACTORS).open_dome() as scene:
        scene.permit_for(120.0)
        scene.run(0.5)
        assert isinstance(scene.ask("telescope", slew()), Slewed)
        assert isinstance(scene.ask("camera:vis", expose()), Exposed)
        scene.world.set_weather(rain=True)
        scene.run(100.0)
        assert rules(scene) == []


def test_exposing_under_a_closed_dome_is_seen(tmp_path, without):
    without("refuse_exposure")
    with Scene(tmp_path, ACTORS) as scene:
        scene.run(20.0)
        assert isinstance(scene.ask("camera:vis", expose()), Exposed)
        assert rules(scene) == ["exposing under a dome that is not open"]


def test_exposing_by_daylight_is_seen(tmp_path, without):
    without("refuse_exposure", "refuse_open")
    with Scene(tmp_path, ACTORS, at=NIGHT.begins - timedelta(hours=2)).open_dome() as scene:
        assert isinstance(scene.ask("camera:vis", expose(1.0, frame="flat")), Exposed)
        assert rules(scene) == ["exposing by daylight"]


def test_pointing_below_the_horizon_limit_is_seen(tmp_path, without):
    without("refuse_slew")
    with Scene(tmp_path, ACTORS).open_dome() as scene:
        low = low_target(scene)
        assert isinstance(scene.ask("telescope", slew(target=low)), Slewed)
        scene.run(60.0)
        assert rules(scene) == ["pointing below the horizon limit"]


def low_target(scene):
    """A place at an altitude of 7 to 9 degrees that is rising: the mount's own limit lets it pass."""
    places = [(ra, dec) for ra in range(0, 360, 5) for dec in range(-30, 61, 5)]
    for ra, dec in places:
        if 7.0 < coordinates.altaz(SITE, ra, dec, scene.clock.now()).altitude_deg < 9.0:
            return ra, dec
    raise AssertionError("no such place")


def test_opening_in_bad_weather_is_seen(tmp_path, without):
    without("refuse_open")
    with Scene(tmp_path, ACTORS) as scene:
        scene.beats_for(60.0)
        scene.run(8.0)
        scene.world.set_weather(wind_m_s=24.0, gust_m_s=29.0)
        scene.run(20.0)
        assert scene.ask("plc", OpenDome(cause="test")) == Done()
        scene.run(10.0)
        assert rules(scene) == ["dome opening in bad weather"]


def test_a_dome_left_open_in_rain_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(DomeLogic, "_reflexes", lambda self: None)
    monkeypatch.setattr(PlcActor, "_reflex", lambda self: None)
    with Scene(tmp_path, ACTORS).open_dome() as scene:
        scene.world.set_weather(rain=True)
        scene.run(200.0)
        assert rules(scene) == ["dome open in rain"]


def test_a_roof_that_moves_over_an_unparked_tube_is_seen_where_the_roof_needs_the_tube_parked(tmp_path):
    with Scene(tmp_path, ACTORS).open_dome() as scene:
        scene.observatory.observer.roof_needs_park = True
        scene.permit()
        assert isinstance(scene.ask("telescope", slew(target=TARGET)), Slewed)
        scene.tell("plc", CloseDome(cause="test"))
        scene.run(80.0)
        assert rules(scene) == ["roof over an unparked tube"]


def test_an_exposure_cut_short_by_the_dome_s_own_reflex_is_no_violation_but_one_that_goes_on_is(tmp_path, without):
    without("refuse_exposure")
    with Scene(tmp_path, ACTORS).open_dome() as scene:
        scene.begin("camera:vis", expose(60.0))
        scene.run(10.0)
        scene.tell("plc", CloseDome(cause="test"))
        scene.run(3.0)
        scene.begin("camera:vis.brake", Brake(cause="test"))
        scene.run(1.0)
        assert rules(scene) == []
    with Scene(tmp_path / "again", ACTORS).open_dome() as scene:
        scene.begin("camera:vis", expose(60.0))
        scene.run(10.0)
        scene.tell("plc", CloseDome(cause="test"))
        scene.run(60.0)
        assert rules(scene) == ["exposing under a dome that is not open"]
