"""The whole chain: sensor, PLC, verdict, majordome, heartbeat; what it does when something goes wrong or dies."""

from datetime import timedelta
from itertools import pairwise

import pytest
from scene import ALL, LOCK, NIGHT, OTHER_TARGET, TARGET, Scene, ends, exposing, modes, safe_at_the_end

from pyros.actors.devices import guard
from pyros.messages.base import Done
from pyros.messages.devices import (
    Brake,
    CameraState,
    OpenDome,
    ShutterOpened,
    Slew,
)
from pyros.messages.night import (
    Abort,
    Execute,
    MajordomeState,
    MakeSchedule,
    ModeChanged,
    MonitorState,
    Pause,
    Permit,
    Pointed,
    Release,
    Resume,
    SequenceStarted,
    StartObserving,
    StopObserving,
)
from pyros.messages.store import GetRows
from pyros.store.database import open_reader
from pyros.store.history import rows

# -- closing ---------------------------------------------------------------------------------------------------------


def test_rain_during_exposure_closes_the_dome_within_two_seconds(scene):
    """MJ-P3: rain at any phase leads to closing in less than 2 s."""
    sequence_id = exposing(scene)
    scene.world.set_weather(rain=True)
    assert scene.until(lambda: scene.closing, 10.0) <= 2.0
    scene.until(lambda: ends(scene) == [(sequence_id, "ABORTED")], 5.0)
    safe_at_the_end(scene)
    assert "rain" in scene.events(ModeChanged)[-2].cause


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("wind", lambda scene: scene.world.set_weather(wind_m_s=25.0)),
        ("humidity", lambda scene: scene.world.set_weather(humidity_percent=98.0)),
        ("dew point", lambda scene: scene.world.set_weather(humidity_percent=89.5, temperature_c=10.0)),
        ("no weather station has fresh values", lambda scene: scene.world.faults.start("weather:mast", "slow")),
        ("rain contact is unknown", lambda scene: scene.world.faults.start("weather:mast", "mute")),
        ("no mains", lambda scene: scene.world.set_switch("mains", False)),
        ("UPS at", lambda scene: scene.world.set_ups_percent(20.0)),
        ("PLC does not answer", lambda scene: scene.fault("plc", "mute", 20.0)),
    ],
)
def test_whatever_makes_the_night_unsafe_closes_the_dome_in_the_middle_of_an_exposure(scene, reason, spoil):
    """MO-T16: sensor loss leads to UNSAFE after its timeout."""
    exposing(scene)
    spoil(scene)
    scene.until(lambda: scene.mode == "closing", 60.0)
    assert reason in scene.last(MajordomeState).why
    scene.until(lambda: scene.closing, 25.0)
    scene.until(lambda: bool(ends(scene)), 60.0)
    safe_at_the_end(scene)


def test_a_frozen_station_closes_the_dome_after_a_quarter_of_an_hour(scene):
    scene.world.faults.start("weather:mast", "stuck")
    scene.run(880.0)
    assert scene.mode == "observing"
    scene.run(60.0)
    assert scene.mode in {"closing", "closed"}
    assert "fresh" in ", ".join(scene.verdict.reasons)


def test_a_warning_keeps_the_dome_open_but_begins_nothing_and_opens_nothing(scene):
    scene.world.set_weather(wind_m_s=13.0)
    scene.until(lambda: scene.verdict.level == "WARN", 30.0)
    scene.alert()
    scene.run(30.0)
    assert (scene.mode, scene.fraction, scene.events(SequenceStarted)) == ("observing", 1.0, [])
    assert "waiting: WARN" in scene.last(MajordomeState).why
    scene.good_weather()
    scene.until(lambda: bool(scene.events(SequenceStarted)), 30.0)
    scene.tell("majordome", Pause(cause="test"))
    safe_at_the_end(scene)
    scene.world.set_weather(wind_m_s=13.0)
    scene.run(30.0)
    scene.tell("majordome", Resume(cause="test"))
    scene.run(100.0)
    assert (scene.mode, scene.fraction) == ("closed", 0.0)


def test_closing_while_a_slew_runs_stops_it_and_then_parks(scene):
    scene.alert(OTHER_TARGET)
    scene.until(lambda: scene.slewing, 20.0)
    scene.run(1.0)
    scene.tell("majordome", Pause(cause="test"))
    scene.run(1.0)
    assert len(scene.sent(Brake)) >= 1
    safe_at_the_end(scene)
    assert not any("parked in time" in one.cause for one in scene.events(ModeChanged))


def test_a_mount_that_is_mute_while_the_dome_closes_is_parked_when_it_is_back(scene):
    exposing(scene)
    scene.fault("telescope", "mute", 150.0)
    scene.tell("majordome", Pause(cause="test"))
    scene.until(lambda: scene.mode == "paused", 250.0)
    assert scene.fraction == 0.0
    scene.until(lambda: scene.parked, 150.0)


def test_pause_aborts_the_instruments_and_leaves_nothing_running_within_ten_seconds(scene):
    """MJ-T7, MJ-T8: exposure and motion aborted, no execution left."""
    sequence_id = exposing(scene)
    scene.tell("majordome", Pause(cause="visitors"))
    scene.run(2.0)
    said = [message for _, _, message in scene.heard]
    after = said[said.index(scene.events(ModeChanged)[-1]) :]
    assert {one.sequence_id for one in after if isinstance(one, Permit)} == {None}, "nothing more may begin"
    assert ends(scene) == [(sequence_id, "ABORTED")]
    assert scene.closing
    assert scene.observatory.observer.exposures[0].end - scene.events(ShutterOpened)[0].start < timedelta(seconds=10)
    scene.run(8.0)
    assert scene.last(CameraState).doing == "idle"
    safe_at_the_end(scene)
    assert scene.mode == "paused"
    scene.run(60.0)
    assert scene.fraction == 0.0
    scene.tell("majordome", Resume(cause="gone"))
    scene.open_up()


@pytest.mark.parametrize("when", ["closed", "opening", "observing", "closing", "paused"])
@pytest.mark.parametrize("order", [StopObserving(cause="test"), LOCK], ids=["stop", "lockdown"])
def test_stop_and_lockdown_from_every_mode_end_closed_and_parked(tmp_path, when, order):
    """MJ-P2: stop from every state ends safe."""
    with Scene(tmp_path) as scene:
        if when != "closed":
            scene.until(lambda: scene.mode == "opening", 60.0)
            scene.run(20.0)
        if when in {"observing", "closing", "paused"}:
            scene.open_up()
        if when in {"closing", "paused"}:
            scene.tell("majordome", Pause(cause="before"))
            scene.run(10.0 if when == "closing" else 120.0)
        assert scene.mode == when
        assert scene.ask("majordome", order) == Done()
        scene.until(lambda: scene.mode == "stopped", 200.0)
        safe_at_the_end(scene)
        scene.run(60.0)
        assert scene.fraction == 0.0
        scene.ask("majordome", Release(operator="eve"))
        scene.ask("majordome", StartObserving(cause="again"))
        scene.open_up()


def test_the_dome_does_not_open_before_its_hour_and_is_closed_and_parked_after_the_night(tmp_path):
    opens = NIGHT.begins - timedelta(minutes=45)
    with Scene(tmp_path, at=opens) as scene:
        opens = scene.last(MonitorState).opens
        scene.run((opens - scene.clock.now()).total_seconds() - 5.0)
        assert (scene.mode, scene.fraction) == ("closed", 0.0)
        scene.until(lambda: scene.mode == "opening", 20.0)
    with Scene(tmp_path, at=NIGHT.ends - timedelta(minutes=5)) as scene:
        scene.open_up()
        exposing(scene, target=scene.high_target)
        scene.until(lambda: scene.mode == "closing", 300.0)
        assert scene.clock.now() - NIGHT.ends < timedelta(seconds=2)
        safe_at_the_end(scene)


def test_a_dome_that_does_not_open_is_closed_again_and_tried_again_later(tmp_path):
    with Scene(tmp_path) as scene:
        scene.fault("plc", "lie")
        scene.until(lambda: "not opened" in scene.last(MajordomeState).why, 300.0)
        scene.world.faults.end("plc")
        scene.until(lambda: scene.mode == "observing", 300.0)


def test_an_opening_that_is_refused_is_not_asked_again_for_half_a_minute(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "refuse_open", lambda *_: "a test refuses")
    with Scene(tmp_path) as scene:
        scene.run(100.0)
        times = [at for at, _, _ in scene.sent(OpenDome)]
        assert 2 <= len(times) <= 4
        assert all(b - a >= 30.0 for a, b in pairwise(times))
        assert modes(scene)[:3] == ["opening", "closing", "closed"]


# -- alerts ----------------------------------------------------------------------------------------------------------


def test_an_alert_aborts_a_routine_exposure_by_the_instruments_own_abort_and_slews_within_a_second(scene):
    """MJ-T2: abort sent to camera and telescope, the plan's row closed; MJ-E2: an alert may interrupt routine."""
    routine, _ = scene.sequence(TARGET, exposure_s=300.0)
    scene.until(lambda: bool(scene.events(ShutterOpened)), 700.0)
    told = scene.clock.now()
    alert = scene.alert(OTHER_TARGET, exposure_s=10.0)
    scene.until(lambda: scene.slewing, 5.0)
    assert scene.clock.now() - told <= timedelta(seconds=1)
    assert sorted(to for _, to, _ in scene.sent(Brake)) == ["camera:vis.brake", "telescope.brake"]
    scene.until(lambda: (alert, "EXECUTED") in ends(scene), 120.0)
    assert ends(scene)[0] == (routine, "ABORTED")
    reader = open_reader(scene.folder)
    plans = [row["status"] for row in rows(reader, GetRows(table="plan", ascending=True)).rows]
    assert plans in (["ABORTED", "EXECUTED"], ["WAITING", "EXECUTED"])
    scene.until(lambda: (routine, "EXECUTED") in ends(scene), 900.0)


def test_an_alert_waits_for_the_alert_that_runs_and_then_the_youngest_goes_first(scene):
    """MJ-E2."""
    first = exposing(scene, exposure_s=60.0)
    second, third = scene.alert(OTHER_TARGET, exposure_s=5.0), scene.alert(exposure_s=5.0)
    assert scene.sent(Abort) == []
    scene.until(lambda: len(ends(scene)) == 3, 300.0)
    assert ends(scene) == [(first, "EXECUTED"), (third, "EXECUTED"), (second, "EXECUTED")]


def test_an_alert_that_may_not_interrupt_waits_for_the_routine_sequence(scene):
    routine, _ = scene.sequence(exposure_s=60.0)
    scene.until(lambda: bool(scene.events(ShutterOpened)), 700.0)
    alert = scene.alert(OTHER_TARGET, may_interrupt=False, exposure_s=5.0)
    scene.until(lambda: len(ends(scene)) == 2, 300.0)
    assert ends(scene) == [(routine, "EXECUTED"), (alert, "EXECUTED")]


@pytest.mark.parametrize("when", ["closed", "opening", "closing", "paused"])
def test_an_alert_that_comes_while_the_dome_is_not_open_is_observed_when_it_is(tmp_path, when):
    with Scene(tmp_path) as scene:
        if when == "opening":
            scene.until(lambda: scene.mode == "opening", 60.0)
        if when in {"closing", "paused"}:
            scene.open_up()
            scene.tell("majordome", Pause(cause="test"))
            scene.run(10.0 if when == "closing" else 100.0)
        assert scene.mode == when
        alert = scene.alert(exposure_s=5.0)
        scene.run(5.0)
        assert scene.events(SequenceStarted) == []
        scene.tell("majordome", Resume(cause="test"))
        scene.until(lambda: ends(scene) == [(alert, "EXECUTED")], 400.0)
        assert scene.observatory.observer.violations == []


def test_an_alert_whose_time_is_over_before_the_dome_is_open_is_not_observed(tmp_path):
    with Scene(tmp_path, tuple(name for name in ALL if name != "scheduler")) as scene:
        scene.alert(for_s=30.0)
        scene.open_up()
        scene.run(60.0)
        assert scene.events(SequenceStarted) == []


def test_an_alert_before_the_night_points_just_before_it_and_exposes_when_it_begins(tmp_path):
    """SC-T8: nothing points before the margin, no shutter opens before the night."""
    with Scene(tmp_path, at=NIGHT.begins - timedelta(seconds=400)) as scene:
        scene.open_up()
        alert = scene.alert(exposure_s=10.0, for_s=3600.0)
        scene.until(lambda: bool(scene.sent(Slew)), 500.0)
        early_s = (NIGHT.begins - scene.clock.now()).total_seconds()
        assert 0 < early_s <= 120.0
        scene.until(lambda: ends(scene) == [(alert, "EXECUTED")], 200.0)
        assert timedelta(0) <= scene.events(ShutterOpened)[0].start - NIGHT.begins < timedelta(seconds=1)
        assert scene.observatory.observer.violations == []


# -- what runs -------------------------------------------------------------------------------------------------------


def test_a_sequence_that_is_refused_costs_a_planning_and_an_alert_is_offered_again(scene):
    done = exposing(scene, exposure_s=5.0)
    scene.until(lambda: ends(scene) == [(done, "EXECUTED")], 60.0)
    scene.system.tell("majordome", scene.sent_alert(done))
    scene.run(20.0)
    assert len([one for _, _, one in scene.sent(Execute) if one.sequence_id == done]) == 6
    assert scene.last(MajordomeState).sequence_id is None
    alert = scene.alert(exposure_s=5.0)
    scene.until(lambda: (alert, "EXECUTED") in ends(scene), 120.0)


def test_a_sequence_that_died_with_the_observation_manager_does_not_hold_up_the_night(scene):
    sequence_id = scene.alert(exposure_s=200.0)
    scene.until(lambda: bool(scene.events(Pointed)), 60.0)
    scene.crash("observation_manager")
    scene.until(lambda: ends(scene) == [(sequence_id, "INTERRUPTED")], 60.0)
    alert = scene.alert(OTHER_TARGET, exposure_s=5.0)
    scene.until(lambda: (alert, "EXECUTED") in ends(scene), 400.0)


def test_a_sequence_that_nobody_knows_of_is_given_up_after_a_while(scene):
    scene.silence("observation_manager")
    sequence_id = scene.alert()
    scene.run(10.0)
    assert scene.last(MajordomeState).sequence_id == sequence_id
    scene.run(30.0)
    assert scene.last(MajordomeState).sequence_id is None


def test_a_mute_telescope_does_not_use_up_the_night_s_sequences(scene):
    scene.fault("telescope", "mute", 900.0)
    scene.run(40.0)
    ids = [scene.sequence(exposure_s=5.0)[0] for _ in range(6)]
    scene.run(600.0)
    assert scene.events(SequenceStarted) == []
    assert "waiting: the telescope does not answer" in scene.last(MajordomeState).why
    scene.run(300.0)
    scene.until(lambda: {one for one, outcome in ends(scene) if outcome == "EXECUTED"} == set(ids), 2000.0)


def test_a_lying_telescope_costs_few_sequences_because_interruptions_are_waited_out(scene):
    ids = [scene.sequence(exposure_s=5.0)[0] for _ in range(8)]
    scene.fault("telescope", "lie", 300.0)
    scene.run(900.0)
    scene.until(lambda: len(ends(scene)) >= len(ids), 1500.0)
    assert sum(outcome == "EXECUTED" for _, outcome in ends(scene)) >= 3


def test_a_planning_that_fails_is_asked_again_and_holds_up_no_alert(tmp_path):
    with Scene(tmp_path, tuple(name for name in ALL if name != "scheduler")) as scene:
        scene.open_up()
        scene.run(200.0)
        asked = [one for one in scene.system.dead_letters if one.message == "MakeSchedule"]
        assert 3 <= len(asked) <= 5
        alert = scene.alert(exposure_s=5.0)
        scene.until(lambda: (alert, "EXECUTED") in ends(scene), 120.0)


def test_the_first_planning_is_the_only_first_one_also_over_a_restart(scene):
    """MJ-T5: later schedulings carry first_schedule=False; MJ-T9."""
    scene.run(5.0)
    scene.crash("majordome")
    scene.run(30.0)
    assert [one.first_schedule for _, _, one in scene.sent(MakeSchedule)] == [True, False]
