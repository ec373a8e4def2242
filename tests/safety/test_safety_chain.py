"""The whole chain: sensor, PLC, verdict, majordome, heartbeat; what it does when something goes wrong or dies."""

from datetime import timedelta

import pytest
from scene import ALL, DARK, NIGHT, OTHER_TARGET, SITE, TARGET, Scene

from pyros.messages.base import Done, Refused
from pyros.messages.devices import Brake, CameraState, CloseDome, DomeMoved, OpenDome, Park, PlcState, Slew
from pyros.messages.night import (
    Abort,
    Execute,
    Lockdown,
    MajordomeState,
    MakeSchedule,
    ModeChanged,
    MonitorState,
    NightEnded,
    NightStarted,
    Pause,
    Pointed,
    Release,
    Resume,
    SequenceEnded,
    SequenceStarted,
    StartObserving,
    StopObserving,
)
from pyros.messages.store import GetRows
from pyros.messages.devices import ShutterOpened
from pyros.messages.system import Shutdown
from pyros.sky.site import Site
from pyros.store.database import open_reader
from pyros.store.history import rows

LOCK = Lockdown(operator="eve", reason="lightning")


@pytest.fixture
def scene(tmp_path):
    """An observatory that observes, an hour into the night."""
    with Scene(tmp_path) as scene:
        scene.open_up()
        yield scene


def exposing(scene, **rules):
    """Let an alert's sequence expose; return its id."""
    sequence_id = scene.alert(exposure_s=rules.pop("exposure_s", 300.0), **rules)
    scene.until(lambda: any(one.sequence_id == sequence_id for one in scene.events(ShutterOpened)), 120.0)
    return sequence_id


def ends(scene):
    return [(one.sequence_id, one.outcome) for one in scene.events(SequenceEnded)]


def modes(scene):
    return [one.after for one in scene.events(ModeChanged)]


def safe_at_the_end(scene, within_s=200.0):
    scene.until(lambda: scene.mode in {"closed", "paused", "stopped"}, within_s)
    assert scene.fraction == 0.0
    assert scene.parked
    assert scene.observatory.observer.violations == []


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
        ("rain is unknown", lambda scene: scene.world.faults.start("weather:mast", "mute")),
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
        exposing(scene)
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
    from pyros.actors.devices import guard

    monkeypatch.setattr(guard, "refuse_open", lambda *_: "a test refuses")
    with Scene(tmp_path) as scene:
        scene.run(100.0)
        times = [at for at, _, _ in scene.sent(OpenDome)]
        assert 2 <= len(times) <= 4
        assert all(b - a >= 30.0 for a, b in zip(times, times[1:], strict=False))
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
    assert [row["status"] for row in rows(reader, GetRows(table="plan", ascending=True)).rows] == ["WAITING", "EXECUTED"]
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
    with Scene(tmp_path) as scene:
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


def test_a_planning_that_fails_is_asked_again(scene):
    scene.crash("scheduler")
    sequence_id, _ = scene.sequence(exposure_s=5.0)
    scene.silence("scheduler")
    scene.until(lambda: len(scene.sent(MakeSchedule)) == 0 and scene.mode == "observing", 5.0)
    scene.run(700.0)
    assert scene.mode == "observing"
    alert = scene.alert(OTHER_TARGET, exposure_s=5.0)
    scene.until(lambda: (alert, "EXECUTED") in ends(scene), 120.0)
    assert sequence_id not in [one for one, _ in ends(scene)]


def test_the_first_planning_is_the_only_first_one_also_over_a_restart(scene):
    """MJ-T5: later schedulings carry first_schedule=False; MJ-T9."""
    scene.run(5.0)
    scene.crash("majordome")
    scene.run(30.0)
    assert [one.first_schedule for _, _, one in scene.sent(MakeSchedule)] == [True, False]


# -- restarts --------------------------------------------------------------------------------------------------------


def test_a_sequence_goes_on_over_a_restart_of_majordome(scene):
    sequence_id = exposing(scene, exposure_s=60.0, count=2)
    scene.crash("majordome")
    scene.run(5.0)
    state = scene.last(MajordomeState)
    assert (state.mode, state.sequence_id, state.sequence) == ("observing", sequence_id, "somewhere")
    scene.until(lambda: ends(scene) == [(sequence_id, "EXECUTED")], 200.0)
    assert len(scene.events(ShutterOpened)) == 2
    assert scene.fraction == 1.0


@pytest.mark.parametrize("when", ["closed", "opening", "closing", "paused", "stopped"])
def test_majordome_restarted_in_any_mode_goes_on_from_what_it_sees(tmp_path, when):
    with Scene(tmp_path) as scene:
        if when == "opening":
            scene.until(lambda: scene.mode == "opening", 60.0)
            scene.run(20.0)
        if when in {"closing", "paused", "stopped"}:
            scene.open_up()
            scene.tell("majordome", StopObserving(cause="x") if when == "stopped" else Pause(cause="x"))
            scene.run(10.0 if when == "closing" else 100.0)
        assert scene.mode == when
        scene.crash("majordome")
        if when in {"closed", "opening"}:
            scene.open_up()
            assert scene.fraction == 1.0
        else:
            safe_at_the_end(scene)
            scene.run(60.0)
            assert scene.mode == ("stopped" if when == "stopped" else "paused"), "people's orders are in the store"
            assert scene.fraction == 0.0


def test_a_lockdown_outlives_majordome_and_the_daemon_and_only_a_named_operator_lifts_it(tmp_path):
    with Scene(tmp_path) as scene:
        scene.open_up()
        assert scene.ask("majordome", LOCK) == Done()
        scene.crash("majordome")
        scene.run(100.0)
        assert (scene.mode, scene.last(MajordomeState).locked_by) == ("stopped", "eve")
    with Scene(tmp_path) as scene:
        scene.run(100.0)
        assert (scene.mode, scene.fraction) == ("stopped", 0.0)
        assert "locked down by eve" in scene.ask("majordome", StartObserving(cause="impatience")).reason
        assert scene.ask("majordome", Release(operator="eve")) == Done()
        scene.open_up()
        assert isinstance(scene.ask("majordome", Release(operator="eve")), Refused)


def test_a_lockdown_is_acknowledged_only_when_the_store_has_it_and_holds_before(scene):
    scene.silence("archivist")
    answers = scene.begin("majordome", LOCK)
    scene.run(5.0)
    assert answers == []
    assert scene.closing
    assert scene.last(MajordomeState).locked_by == "eve"


def test_a_shutdown_stops_tonight_but_the_next_start_observes_again(tmp_path):
    with Scene(tmp_path) as scene:
        scene.open_up()
        scene.tell("supervisor", Shutdown(cause="update"))
        scene.until(scene.supervisor.finished.is_set, 300.0)
        assert scene.supervisor.exit_status == 0
        assert scene.fraction == 0.0
    with Scene(tmp_path) as scene:
        scene.open_up()


def test_while_majordome_is_dead_the_permits_age_and_the_dead_man_closes(scene):
    exposing(scene, exposure_s=30.0, count=20)
    scene.silence("majordome")
    assert 20.0 <= scene.until(lambda: scene.closing, 60.0) <= 37.0
    assert scene.plc.last_cause() == "dead-man"
    late = scene.clock.now() - timedelta(seconds=15)
    assert not [one for one in scene.events(ShutterOpened) if one.start > late], "no shutter opens on an old permit"


def test_while_the_monitor_is_dead_the_plc_closes_in_seconds_and_majordome_aborts_and_parks(scene):
    sequence_id = exposing(scene)
    scene.silence("monitor")
    assert scene.until(lambda: scene.closing, 60.0) <= 5.0
    scene.until(lambda: (sequence_id, "ABORTED") in ends(scene), 5.0)
    scene.until(lambda: scene.parked and scene.fraction == 0.0, 120.0)


def test_while_the_plc_actor_is_dead_the_dead_man_closes_and_the_instruments_stop(scene):
    sequence_id = exposing(scene)
    scene.silence("plc")
    assert scene.until(lambda: scene.closing, 60.0) <= 37.0
    assert scene.plc.last_cause() == "dead-man"
    assert (sequence_id, "ABORTED") in ends(scene)


@pytest.mark.parametrize("actor", ["archivist", "plc", "weather:mast", "telescope", "monitor", "majordome", "scheduler"])
def test_one_crash_of_an_actor_costs_seconds_and_closes_nothing(scene, actor):
    sequence_id = exposing(scene, exposure_s=30.0)
    scene.crash(actor)
    scene.until(lambda: bool(ends(scene)), 60.0)
    assert ends(scene) == [(sequence_id, "EXECUTED")]
    scene.run(40.0)
    assert (scene.mode, scene.fraction) == ("observing", 1.0)
    assert scene.events(DomeMoved)[-1].after == "open"


# -- nights ----------------------------------------------------------------------------------------------------------

FEW = ("archivist", "plc", "weather:mast", "monitor")


def night_rows(scene):
    reader = open_reader(scene.folder)
    return [(row["date"], row["status"]) for row in rows(reader, GetRows(table="night", ascending=True)).rows]


def test_the_night_begins_once_and_ends_once_over_restarts_of_the_monitor(tmp_path):
    """MO-P5: a restart in mid-night gives no second start and the correct state."""
    with Scene(tmp_path, FEW, at=NIGHT.begins - timedelta(seconds=30)) as scene:
        scene.run(60.0)
        assert night_rows(scene) == [("2026-11-22", "BEGUN")]
        scene.crash("monitor")
        scene.run(60.0)
        assert scene.last(MonitorState).phase == "night"
        assert len(scene.events(NightStarted)) == 1
    with Scene(tmp_path, FEW, at=NIGHT.ends - timedelta(seconds=30)) as scene:
        scene.run(60.0)
        scene.crash("monitor")
        scene.run(60.0)
        assert scene.events(NightStarted) == []
        assert scene.events(NightEnded) == [NightEnded(night="2026-11-22")]
        assert night_rows(scene) == [("2026-11-22", "ENDED")]


def test_a_night_whose_end_was_slept_through_is_ended_at_the_next_start(tmp_path):
    with Scene(tmp_path, FEW, at=NIGHT.begins + timedelta(hours=1)) as scene:
        scene.run(10.0)
    with Scene(tmp_path, FEW, at=NIGHT.begins + timedelta(hours=25)) as scene:
        scene.run(20.0)
        assert [type(one).__name__ for one in (*scene.events(NightEnded), *scene.events(NightStarted))] == [
            "NightEnded", "NightStarted",
        ]  # fmt: skip
        assert night_rows(scene) == [("2026-11-22", "ENDED"), ("2026-11-23", "BEGUN")]


def test_after_noon_it_is_the_next_night(tmp_path):
    with Scene(tmp_path, FEW, at=NIGHT.noon_after - timedelta(seconds=20)) as scene:
        assert scene.last(MonitorState).night == "2026-11-22"
        scene.run(30.0)
        state = scene.last(MonitorState)
        assert (state.night, state.phase) == ("2026-11-23", "day")
        assert state.begins > NIGHT.ends


def test_a_site_without_a_night_stays_closed_and_says_why(tmp_path):
    """MO-T6: the no-night case."""
    pole = Site("pole", SITE.longitude_deg, -89.0, 2835.0)
    with Scene(tmp_path, ALL, at=DARK, site=pole) as scene:
        scene.run(120.0)
        state = scene.last(MonitorState)
        assert (state.phase, state.begins, scene.mode, scene.fraction) == ("day", None, "closed", 0.0)


def test_the_monitor_speaks_of_its_level_once_per_change_and_majordome_acts_once(scene):
    """MO-T17: edge-triggered, none when unchanged."""
    scene.run(60.0)
    before = len(scene.events(MonitorState))
    scene.run(120.0)
    assert len(scene.events(MonitorState)) - before <= 1
    scene.world.set_switch("mains", False)
    scene.run(100.0)
    assert [one.level for one in scene.events(MonitorState)[before:]].count("UNSAFE") >= 1
    assert len([one for one in scene.sent(CloseDome)]) == 1
    assert modes(scene).count("closing") == 1


def test_the_monitor_judges_without_a_store(tmp_path):
    with Scene(tmp_path, ("plc", "weather:mast", "monitor")) as scene:
        scene.run(20.0)
        assert scene.verdict.level == "SAFE"
        assert scene.restarts == {}


def test_the_page_sees_until_when_it_runs_and_what_is_next(scene):
    first, second = (scene.sequence(target, exposure_s=60.0)[0] for target in (TARGET, OTHER_TARGET))
    scene.until(lambda: bool(scene.events(ShutterOpened)), 800.0)
    state = scene.last(MajordomeState)
    assert {state.sequence_id, state.next_sequence_id} == {first, second}
    assert state.sequence == state.next_sequence == "somewhere"
    assert scene.clock.now() < state.until <= state.next_start + timedelta(seconds=60)


def test_a_mount_found_unparked_by_day_is_parked(tmp_path):
    with Scene(tmp_path, at=NIGHT.noon_before) as scene:
        scene.mount.unpark()
        scene.until(lambda: not scene.parked, 5.0)
        scene.until(lambda: scene.parked, 60.0)
        assert scene.mode == "closed"
        assert len(scene.sent(Park)) <= 2
        assert scene.longest_gap_s(PlcState) <= 2.0
