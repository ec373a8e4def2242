"""Time that jumps: a process that stood still, a machine that slept, a UTC that was set."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import ALL, LOOP, Scene

from pyros.actors.monitor.jumps import STEP_S, Look, jump_between
from pyros.messages.base import Done
from pyros.messages.devices import OpenDome, ResetLatch
from pyros.messages.night import ClockJumped
from simulators.physics_dome import Latch

AT = datetime(2026, 11, 22, 5, tzinfo=UTC)
HOLD_OFF = {"hold_off_s": 120.0}


def look(utc_s, at_s):
    return Look(AT + timedelta(seconds=utc_s), at_s)


# -- pure ------------------------------------------------------------------------------------------------------------


def test_the_first_look_and_time_that_passes_as_it_should_are_no_jump():
    assert jump_between(None, look(0, 0), 12.0) is None
    assert jump_between(look(0, 0), look(11.0, 11.0), 12.0) is None
    assert jump_between(look(0, 0), look(0.0, 1.0), 12.0) is None, "a leap second"


@pytest.mark.parametrize(
    ("utc_s", "at_s", "words"),
    [
        (60, 60, "the daemon stood still for 60 s"),
        (7200, 1, "the machine's UTC was set by +7199 s"),
        (-7200, 1, "the machine's UTC was set by -7201 s"),
        (3600, 60, "the daemon stood still for 60 s and the machine's UTC was set by +3540 s"),
    ],
)
def test_a_jump_says_what_it_was(utc_s, at_s, words):
    assert str(jump_between(look(0, 0), look(utc_s, at_s), 12.0)) == words


@given(gap_s=st.floats(0.0, 1e5), step_s=st.floats(-1e5, 1e5))
def test_a_jump_is_seen_if_and_only_if_the_gap_is_long_or_the_clocks_disagree(gap_s, step_s):
    jump = jump_between(look(0, 0), look(gap_s + step_s, gap_s), 12.0)
    if abs(abs(step_s) - STEP_S) > 1e-3:
        assert (jump is not None) == (gap_s > 12.0 or abs(step_s) > STEP_S)


# -- the daemon stands still -----------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path):
    with Scene(tmp_path, LOOP, safety=HOLD_OFF) as scene:
        scene.until(lambda: scene.mode == "observing", 300.0)
        scene.run(20.0)
        yield scene


def test_a_daemon_that_stood_still_for_a_minute_finds_the_dome_closed_and_does_not_reopen_by_itself(scene):
    """SIGSTOP, and SIGCONT a minute later."""
    opened = len(scene.sent(OpenDome))
    scene.stand_still(60.0)
    scene.run(2.0)
    assert scene.plc.logic.latch & Latch.DEADMAN
    assert scene.closing
    assert [60.0 <= jump.gap_s < 62.0 for jump in scene.events(ClockJumped)] == [True]
    assert scene.verdict.level == "UNSAFE"
    scene.run(600.0)
    assert (scene.mode, scene.fraction, scene.verdict.causes) == ("closed", 0.0, ["latch"])
    assert len(scene.sent(OpenDome)) == opened
    assert scene.ask("plc", ResetLatch(operator="eve")) == Done()
    scene.until(lambda: scene.mode == "observing", 200.0)


def test_after_a_stand_still_that_the_dead_man_did_not_notice_a_whole_hold_off_passes(scene):
    scene.stand_still(20.0)
    scene.until(lambda: bool(scene.events(ClockJumped)), 2.0)
    assert scene.until(lambda: scene.closing, 5.0) <= 2.0
    scene.run(100.0)
    assert (scene.verdict.level, scene.verdict.causes) == ("UNSAFE", ["hold_off", "clock"])
    scene.run(40.0)
    assert scene.verdict.level == "SAFE"


def test_a_stand_still_voids_permits_and_verdicts_at_once(tmp_path):
    with Scene(tmp_path, ALL, safety=HOLD_OFF) as scene:
        scene.until(lambda: scene.mode == "observing", 300.0)
        sequence_id = scene.alert(exposure_s=5.0, count=30)
        scene.run(40.0)
        scene.stand_still(20.0)
        scene.run(60.0)
        assert scene.mode in {"closing", "closed"}
        scene.run(60.0)
        assert (scene.fraction, scene.parked) == (0.0, True)
        assert scene.observatory.observer.violations == []
        assert sequence_id


# -- UTC is set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [7200.0, 10.0, -1800.0])
def test_a_machine_whose_utc_is_set_closes_for_a_whole_hold_off_and_then_goes_on(tmp_path, step_s):
    with Scene(tmp_path, LOOP, steps=True, safety=HOLD_OFF) as scene:
        scene.until(lambda: scene.mode == "observing", 300.0)
        scene.run(20.0)
        scene.machine.step_utc(step_s)
        scene.until(lambda: bool(scene.events(ClockJumped)), 3.0)
        assert scene.events(ClockJumped)[0].step_s == pytest.approx(step_s, abs=0.1)
        assert scene.until(lambda: scene.closing, 5.0) <= 2.0
        scene.run(100.0)
        assert scene.verdict.causes[:2] == ["hold_off", "clock"]
        assert scene.fraction == 0.0
        scene.until(lambda: scene.mode == "observing", 200.0)
        assert len(scene.events(ClockJumped)) == 1
        assert not scene.plc.logic.deadman_expired


def test_a_hold_off_of_nothing_still_lasts_until_no_reading_from_before_the_step_is_fresh(tmp_path):
    with Scene(tmp_path, LOOP, steps=True, safety={"hold_off_s": 0.0}) as scene:
        scene.until(lambda: scene.mode == "observing", 300.0)
        scene.machine.step_utc(7200.0)
        scene.run(3.0)
        scene.until(lambda: scene.verdict.level == "SAFE", 100.0)
        (jumped_at,) = [at for at, _, one in scene.heard if isinstance(one, ClockJumped)]
        assert (scene.clock.now() - jumped_at).total_seconds() >= 29.0
