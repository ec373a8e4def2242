"""A roll-off roof: it moves only over a parked telescope, whoever closes it and whatever fails."""

import pytest
from scene import ALL, Scene, exposing, safe_at_the_end, slew

from pyros.actors.devices.dome import tube_parked
from pyros.actors.make_safe import Closing, due, make_safe
from pyros.hardware import urls
from pyros.hardware.register_map import RegisterMap, load_register_map
from pyros.messages.base import Refused
from pyros.messages.devices import CloseDome, DomeCannotClose, OpenDome, Park
from pyros.messages.system import Shutdown
from simulators.physics_dome import Latch

ROOF = {"kind": "roll_off"}
CHAIN = ("archivist", "plc", "weather:mast", "monitor", "majordome", "telescope.brake", "telescope")
RULE = "roof over an unparked tube"


@pytest.fixture
def scene(tmp_path):
    """A roll-off observatory that exposes, so that the tube stands under the open roof."""
    with Scene(tmp_path, dome=ROOF) as scene:
        scene.open_up()
        exposing(scene)
        yield scene


@pytest.fixture
def no_switch(monkeypatch):
    """A PLC without a park switch: the mount's own word has to do."""
    text = load_register_map.__globals__["resources"].files("pyros.hardware").joinpath("maps/pyros.toml").read_text()
    bare = RegisterMap("no switch", text.replace(', "park_switch"', "").replace("0x1000", ""))
    decode = bare.decode
    monkeypatch.setattr(bare, "decode", lambda words: decode([words[0], words[1] & 0xFFF, *words[2:]]))
    monkeypatch.setattr(urls, "load_register_map", lambda path=None: bare)


def without_interlock(folder):
    """A PLC that would drive the roof into the tube, if it were told to or left to its dead-man."""
    scene = Scene(folder, dome=ROOF)
    scene.plc.needs_park = False
    return scene


def roof_rule_broken(scene):
    return [one for one in scene.observatory.observer.violations if one.rule == RULE]


def roof_has_moved(scene):
    return scene.fraction < 1.0


def closes_in(scene, outcome, **rules):
    how = Closing.of(scene.environment.settings)
    scene.thread(lambda: outcome.append(make_safe(how, scene.clock, "test", **rules)))


# -- closing in time -------------------------------------------------------------------------------------------------


def test_rain_while_tracking_parks_the_telescope_and_then_closes_the_roof(scene):
    """MJ-P3, for a roof that would touch the tube."""
    scene.world.set_weather(rain=True)
    scene.until(lambda: bool(scene.sent(Park)), 15.0)
    assert not roof_has_moved(scene)
    scene.until(lambda: scene.closing, 60.0)
    assert scene.parked
    safe_at_the_end(scene)


def test_wind_while_tracking_is_closed_by_the_plc_actor_once_the_tube_is_parked(scene):
    scene.world.set_weather(wind_m_s=18.0)
    scene.until(lambda: scene.dome.desired == "closed", 20.0)
    scene.until(lambda: scene.parked, 60.0)
    assert not roof_has_moved(scene)
    assert scene.until(lambda: scene.closing, 10.0) <= 2.0
    assert scene.events(DomeCannotClose) == []
    safe_at_the_end(scene)


def test_without_a_park_switch_the_mount_s_word_counts_and_only_what_it_says_after_the_order(tmp_path, no_switch):
    with without_interlock(tmp_path) as scene:
        scene.open_up()
        assert scene.dome.park_switch is None
        exposing(scene)
        scene.world.set_weather(wind_m_s=18.0)
        scene.until(lambda: scene.closing, 90.0)
        assert scene.parked
        safe_at_the_end(scene)


def test_an_open_roof_over_a_tube_that_never_left_its_park_position_closes_within_seconds(tmp_path, no_switch):
    with without_interlock(tmp_path) as scene:
        scene.open_up()
        scene.run(29.0)  # the mount's last word is as old as it gets
        scene.tell("plc", CloseDome(cause="test"))
        assert scene.until(lambda: scene.closing, 20.0) <= 3.0


def test_what_the_mount_said_before_the_order_does_not_count(tmp_path, no_switch):
    with without_interlock(tmp_path) as scene:
        scene.open_up()
        assert scene.telescope.parked
        scene.mount.unpark()
        scene.fault("telescope", "mute", 30.0)
        scene.tell("plc", CloseDome(cause="test"))
        scene.run(20.0)
        assert not roof_has_moved(scene)
        scene.until(lambda: scene.fraction == 0.0, 200.0)
        assert roof_rule_broken(scene) == []


def test_an_order_that_only_the_plc_actor_got_is_taken_up_by_majordome_which_parks(scene):
    """As its reflexes do: the plc actor cannot park."""
    scene.tell("plc", CloseDome(cause="test"))
    scene.until(lambda: scene.mode == "closing", 5.0)
    assert isinstance(scene.ask("telescope", slew()), Refused)
    scene.until(lambda: scene.fraction == 0.0, 100.0)
    assert scene.parked
    assert scene.observatory.observer.violations == []


def test_an_ordered_shutdown_parks_closes_and_ends_well(scene):
    scene.tell("supervisor", Shutdown(cause="SIGTERM"))
    scene.until(scene.supervisor.finished.is_set, 300.0)
    assert scene.supervisor.exit_status == 0
    assert (scene.fraction, scene.parked) == (0.0, True)
    assert scene.observatory.observer.violations == []


# -- when the tube does not park -------------------------------------------------------------------------------------


def test_over_a_mute_mount_the_roof_stays_where_it_is_somebody_is_called_and_it_closes_when_the_mount_is_back(scene):
    scene.fault("telescope", "mute", 200.0)
    scene.world.set_weather(rain=True)
    scene.until(lambda: bool(scene.events(DomeCannotClose)), 110.0)
    assert "not seen parked" in scene.events(DomeCannotClose)[0].cause
    assert "not seen parked" in scene.dome.problem
    scene.run(80.0)
    assert not roof_has_moved(scene)
    assert not scene.plc.logic.deadman_expired, "the loop decides still, and will close as soon as the switch makes"
    scene.until(lambda: scene.fraction == 0.0, 200.0)
    assert scene.parked
    assert len(scene.events(DomeCannotClose)) == 1
    assert roof_rule_broken(scene) == []


def test_over_a_mute_mount_a_plc_that_has_no_switch_is_not_left_to_a_dead_man_that_would_not_wait(tmp_path, no_switch):
    with without_interlock(tmp_path) as scene:
        scene.open_up()
        exposing(scene)
        scene.fault("telescope", "mute", 200.0)
        scene.world.set_weather(wind_m_s=18.0)
        scene.until(lambda: bool(scene.events(DomeCannotClose)), 150.0)
        scene.run(45.0)
        assert not scene.plc.logic.deadman_expired
        assert not roof_has_moved(scene)
        scene.until(lambda: scene.fraction == 0.0, 200.0)
        assert roof_rule_broken(scene) == []


def test_a_mount_that_says_yes_and_does_not_park_keeps_the_roof_open_too(scene):
    scene.fault("telescope", "lie")
    scene.world.set_weather(wind_m_s=18.0)
    scene.until(lambda: bool(scene.events(DomeCannotClose)), 150.0)
    scene.run(60.0)
    assert not roof_has_moved(scene)


# -- without the daemon ----------------------------------------------------------------------------------------------


def test_the_dead_man_waits_for_the_park_switch_and_make_safe_parks(scene):
    for actor in ("majordome", "observation_manager"):
        scene.silence(actor)
    scene.until(lambda: bool(scene.plc.logic.latch & Latch.DEADMAN), 60.0)
    scene.run(60.0)
    assert not roof_has_moved(scene)
    outcome = []
    closes_in(scene, outcome, closed_within_s=100.0)
    scene.until(lambda: bool(outcome), 150.0)
    assert outcome == [""]
    assert (scene.fraction, scene.parked) == (0.0, True)
    assert roof_rule_broken(scene) == []


def test_make_safe_does_not_drive_the_roof_into_the_tube_and_says_so(tmp_path):
    with Scene(tmp_path, (), start=False, dome=ROOF | {"park_within_s": 20.0}) as scene:
        scene.stand_open()
        scene.fault("telescope", "mute")
        outcome = []
        closes_in(scene, outcome, closed_within_s=100.0)
        scene.until(lambda: bool(outcome), 40.0)
        assert "not seen parked in 20 s" in outcome[0]
        assert "no reply" in outcome[0]
        scene.run(30.0)
        assert scene.fraction == 1.0


def test_make_safe_moves_nothing_while_somebody_has_the_local_key(tmp_path):
    with Scene(tmp_path, (), start=False) as scene:
        scene.stand_open()
        scene.switch("local_key", True)
        slews, outcome = len(scene.mount.slews), []
        closes_in(scene, outcome, closed_within_s=100.0)
        scene.until(lambda: bool(outcome), 40.0)
        assert "local key" in outcome[0]
        assert len(scene.mount.slews) == slews


def test_make_safe_moves_nothing_under_a_closed_roof(tmp_path):
    with Scene(tmp_path, (), start=False, dome=ROOF) as scene:
        scene.mount.unpark()
        outcome = []
        closes_in(scene, outcome, closed_within_s=100.0)
        scene.run(5.0)
        assert outcome == [""]
        assert scene.mount.slews == []


# -- opening ---------------------------------------------------------------------------------------------------------


def test_the_roof_does_not_open_over_an_unparked_tube_nor_is_that_moved_under_it(tmp_path):
    with Scene(tmp_path, CHAIN, dome=ROOF) as scene:
        scene.mount.unpark()
        scene.run(60.0)
        assert (scene.mode, scene.fraction) == ("closed", 0.0)
        assert scene.mount.slews == []
        scene.permit(open_dome=True)
        assert "not seen parked" in scene.ask("plc", OpenDome(cause="test")).reason
        scene.mount.park()
        scene.open_up()


# -- the first seconds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clamshell", "roll_off"])
def test_a_daemon_that_finds_its_dome_open_decides_within_ten_seconds(tmp_path, kind):
    """A restart within the dead-man's time: no verdict yet, so it closes; a roof after parking."""
    with Scene(tmp_path, ALL, start=False, dome={"kind": kind}) as scene:
        scene.stand_open()
        scene.boot()
        scene.until(lambda: scene.dome is not None and scene.dome.desired == "closed", 8.0)
        scene.until(lambda: scene.closing, 5.0 if kind == "clamshell" else 60.0)
        scene.until(lambda: scene.fraction == 0.0 and scene.parked, 100.0)
        assert roof_rule_broken(scene) == []


@pytest.mark.parametrize("weather", [{"rain": True}, {"wind_m_s": 18.0}])
@pytest.mark.parametrize("actor", ["plc", "majordome", "telescope", "monitor"])
def test_an_actor_that_is_restarted_while_the_roof_waits_changes_nothing(scene, actor, weather):
    scene.world.set_weather(**weather)
    scene.until(lambda: scene.mode == "closing", 20.0)
    scene.run(4.0)
    assert not roof_has_moved(scene)
    scene.crash(actor)
    safe_at_the_end(scene)


# -- what is due: pure -----------------------------------------------------------------------------------------------


def test_what_make_safe_does_next(reading):
    parked, out = reading(park_switch=True), reading(park_switch=False)
    silent, garbled = None, reading(local_key=None, park_switch=None)
    for first in (True, False):
        assert due(reading(closed_switch=True, open_switch=False), None, parks_first=first) == "nothing"
        assert due(reading(local_key=True), True, parks_first=first) == "hands off"
        assert due(reading(emergency_stop=True), True, parks_first=first) == "hands off"
        assert due(parked, False, parks_first=first) == "close"
    for seen in (out, silent, garbled):
        assert due(seen, True, parks_first=True) == "park", "the switch decides; what cannot be read is no yes"
        assert due(seen, False, parks_first=False) == "close"
    bare = reading(park_switch=None)
    assert [tube_parked(bare, says) for says in (True, False, None)] == [True, False, False]
