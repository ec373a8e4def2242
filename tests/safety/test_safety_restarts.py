"""What outlives a restart, and what happens while an actor is dead; the beginnings and ends of nights."""

from datetime import timedelta

import pytest
from scene import ALL, DARK, LOCK, NIGHT, OTHER_TARGET, SITE, TARGET, Scene, ends, exposing, modes, safe_at_the_end

from pyros.messages.base import Done, Refused
from pyros.messages.devices import (
    CloseDome,
    DomeMoved,
    Park,
    PlcState,
    ShutterOpened,
)
from pyros.messages.night import (
    MajordomeState,
    ModeChanged,
    MonitorState,
    NightEnded,
    NightStarted,
    Pause,
    Release,
    StartObserving,
    StopObserving,
)
from pyros.messages.store import GetRows
from pyros.messages.system import Shutdown
from pyros.sky.site import Site
from pyros.store.database import open_reader
from pyros.store.history import rows

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


def test_who_lifts_a_lockdown_is_said(scene):
    scene.ask("majordome", LOCK)
    scene.ask("majordome", Release(operator="adam"))
    assert "released by adam" in [one.cause for one in scene.events(ModeChanged)]


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


@pytest.mark.parametrize(
    "actor", ["archivist", "plc", "weather:mast", "telescope", "monitor", "majordome", "scheduler"]
)
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
    assert len(scene.sent(CloseDome)) == 1
    assert modes(scene).count("closing") == 1


def test_the_monitor_judges_without_a_store(tmp_path):
    with Scene(tmp_path, ("plc", "weather:mast", "monitor")) as scene:
        scene.beats_for(20.0)
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
