"""The PLC's actor against the simulated PLC: reflexes, desired state, heartbeat, dead-man, latch, lost link."""

import pytest
from scene import DARK, LOOP, NIGHT, Scene, of_switches

from pyros.actors.devices.plc import PlcActor
from pyros.actors.make_safe import Closing, make_safe
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import Beat, CloseDome, DomeMoved, OpenDome, ResetLatch
from pyros.messages.night import SafetyVerdict
from simulators.physics_dome import DomeLogic

ALONE = ("plc", "weather:mast", "monitor")
CLOSE = CloseDome(cause="test")


@pytest.fixture
def deaf_hardware(monkeypatch):
    """A PLC without reflexes of its own: whatever closes the dome is then ours."""
    monkeypatch.setattr(DomeLogic, "_reflexes", lambda self: None)


# -- reflexes --------------------------------------------------------------------------------------------------------


def test_rain_during_open_dome_closes_it_within_two_seconds(tmp_path, deaf_hardware):
    """MJ-P3: rain at any phase leads to the order to close in less than 2 s; here by the PLC actor alone."""
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.silence("monitor")
        scene.world.set_weather(rain=True)
        assert scene.until(lambda: scene.closing, 10.0) <= 2.0
        assert scene.dome.desired == "closed"
        scene.until(lambda: scene.fraction == 0.0, 70.0)
        moves = [(move.after, move.cause) for move in scene.events(DomeMoved)]
        scene.run(1.0)
        assert scene.events(DomeMoved)[-1].cause == "rain contact"
        assert ("closing", "rain contact") in moves


def test_rain_while_the_dome_opens_turns_it_around(tmp_path, deaf_hardware):
    with Scene(tmp_path, ALONE).open_dome(20.0) as scene:
        assert 0 < scene.fraction < 1
        scene.world.set_weather(rain=True)
        assert scene.until(lambda: scene.closing, 10.0) <= 2.0


def test_without_a_verdict_the_dome_closes_and_the_cause_says_so(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.silence("monitor")
        took_s = scene.until(lambda: scene.closing, 20.0)
        assert took_s <= scene.environment.settings.safety.verdict_max_age_s + 2.0
        scene.run(2.0)
        assert "no safety verdict" in scene.events(DomeMoved)[-1].cause


def test_a_dome_found_open_by_an_actor_that_never_heard_a_verdict_is_closed(tmp_path):
    with Scene(tmp_path, ("plc",)) as scene:
        scene.force_open()
        assert scene.until(lambda: scene.closing, 20.0) <= 5.0


# -- opening ---------------------------------------------------------------------------------------------------------


def test_opening_is_asked_once_and_never_repeated(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        assert scene.fraction == 1.0
        scene.observatory.plc.pulse(1)
        scene.until(lambda: scene.fraction == 0.0, 70.0)
        scene.run(60.0)
        assert scene.fraction == 0.0
        assert scene.dome.desired == "closed", "a dome that others closed is not wanted open any more"


def test_opening_looks_at_the_hardware_once_more_and_not_at_the_last_poll(tmp_path):
    with Scene(tmp_path, ALONE).open_dome(0.0) as scene:
        scene.tell("plc", CLOSE)
        scene.run(3.2)
        assert scene.dome.local_key is False
        scene.switch("local_key", True)
        scene.permit(open_dome=True)
        reply = scene.ask("plc", OpenDome(cause="test"))
        assert isinstance(reply, Refused)
        assert "local key" in reply.reason


def test_opening_without_majordome_s_permit_is_refused_whoever_asks(tmp_path):
    with Scene(tmp_path, ALONE) as scene:
        scene.beats_for(60.0)
        scene.until(lambda: scene.verdict.level == "SAFE", 60.0)
        reply = scene.ask("plc", OpenDome(cause="somebody"))
        assert isinstance(reply, Refused)
        assert "permit" in reply.reason
        scene.permit(open_dome=True)
        scene.run(11.0)
        assert "old" in scene.ask("plc", OpenDome(cause="too late")).reason
        assert scene.fraction == 0.0


def test_an_opening_that_fails_on_the_link_is_followed_by_closing(tmp_path):
    with Scene(tmp_path, ALONE) as scene:
        scene.beats_for(60.0)
        scene.until(lambda: scene.verdict.level == "SAFE", 60.0)
        scene.run(7.0)
        scene.permit(open_dome=True)
        scene.fault("plc", "refuse", 3.0)
        assert isinstance(scene.ask("plc", OpenDome(cause="test")), Failed)
        scene.run(2.0)
        assert scene.dome.desired == "closed"


# -- closing ---------------------------------------------------------------------------------------------------------


def test_closing_is_asked_again_at_each_poll_until_the_closed_switch_makes(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.fault("plc", "mute", 5.0)
        scene.run(1.5)
        scene.tell("plc", CLOSE)
        scene.run(2.0)
        assert not scene.closing
        assert scene.until(lambda: scene.closing, 10.0) <= 5.0
        scene.run(20.0)
        scene.observatory.plc.pulse(2)
        assert not scene.closing
        assert scene.until(lambda: scene.closing, 5.0) <= 2.0, "a stop by somebody else does not end the closing"


def test_a_dome_that_opens_by_itself_after_closing_is_closed_again(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.tell("plc", CLOSE)
        scene.until(lambda: scene.dome.dome == "closed", 70.0)
        scene.force_open()
        assert scene.until(lambda: scene.closing, 5.0) <= 2.0


def test_a_second_order_to_close_does_not_rewrite_the_first_one_s_cause(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.tell("plc", CloseDome(cause="first"))
        scene.run(5.0)
        scene.tell("plc", CloseDome(cause="second"))
        scene.until(lambda: scene.dome.dome == "closed", 70.0)
        assert [m.cause for m in scene.events(DomeMoved)[-2:]] == ["first", "first"]


def test_with_the_local_key_set_nothing_is_sent_and_the_state_says_that_it_cannot_be_closed(tmp_path, monkeypatch):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        sent = []
        monkeypatch.setattr(scene.plc, "pulse", sent.append)
        scene.switch("local_key", True)
        scene.run(2.0)
        scene.tell("plc", CLOSE)
        scene.run(10.0)
        assert sent == []
        assert "cannot be closed from here: local key" in scene.dome.problem
        monkeypatch.undo()
        scene.switch("local_key", False)
        assert scene.until(lambda: scene.closing, 5.0) <= 2.0


def test_a_dome_that_does_not_obey_gets_no_heartbeat_so_that_the_dead_man_closes_it(tmp_path):
    with Scene(tmp_path, ALONE, safety={"deadman_s": 10}).open_dome() as scene:
        scene.fault("plc", "lie")
        scene.tell("plc", CLOSE)
        scene.run(9.0)
        assert not scene.closing, "the PLC took the command and did nothing"
        assert scene.until(lambda: scene.closing, 40.0) <= 25.0
        assert scene.plc.last_cause() == "dead-man"


# -- heartbeat and dead-man ------------------------------------------------------------------------------------------


def test_the_heartbeat_advances_only_after_a_fresh_beat_so_that_a_hung_loop_cannot_feed_it(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.run(10.0)
        before = scene.plc.logic.heartbeat
        scene.run(10.0)
        assert scene.plc.logic.heartbeat > before
        scene.stop_beats()
        scene.run(2.0)
        before = scene.plc.logic.heartbeat
        stale = Beat(verdict_at=scene.verdict.at, count=999)
        scene.run(6.0)
        scene.tell("plc", stale, sender="majordome")
        scene.run(6.0)
        assert scene.plc.logic.heartbeat == before, "a beat about an old verdict is no beat"
        assert scene.until(lambda: scene.closing, 40.0) <= 31.0
        assert scene.plc.last_cause() == "dead-man"


def test_the_same_beat_twice_counts_once(tmp_path):
    with Scene(tmp_path, ALONE) as scene:
        scene.run(5.0)
        for _ in range(20):
            scene.tell("plc", Beat(verdict_at=scene.verdict.at, count=1), sender="majordome")
            scene.run(1.0)
        assert scene.plc.logic.heartbeat == 1


def test_after_a_dead_man_closure_only_the_operator_resets_the_latch(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.stop_beats()
        scene.until(lambda: scene.dome.dome == "closed", 120.0)
        assert scene.dome.latched == ["deadman"]
        assert "deadman" in scene.events(DomeMoved)[-1].cause
        scene.run(300.0)
        assert scene.verdict.level == "UNSAFE"
        assert scene.ask("plc", ResetLatch(operator="eve")) == Done()
        scene.run(3.0)
        assert (scene.dome.latched, scene.verdict.level) == ([], "SAFE")


def test_with_deadman_reset_in_seconds_the_latch_is_reset_twice_a_night_and_no_more(tmp_path):
    actors = ("archivist", *ALONE)
    with Scene(tmp_path, actors, safety={"deadman_reset": 120.0}) as scene:
        for number in (1, 2, 3):
            if number == 3:
                scene.crash("monitor")  # the store counts, not the monitor
                scene.run(30.0)
            scene.open_dome()
            scene.stop_beats()
            scene.until(lambda: scene.dome.dome == "closed", 120.0)
            scene.run(30.0)
            assert scene.verdict.level == "UNSAFE", "not before 120 good seconds with the latch"
            scene.run(45.0)
            assert scene.verdict.level == ("SAFE" if number < 3 else "UNSAFE")
        scene.run(200.0)
        assert [m.operator for _, _, m in scene.sent(ResetLatch)] == [
            f"deadman_reset ({number} of 2 tonight)" for number in (1, 2)
        ]


# -- the link --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mute", "hang", "disconnect", "garbage"])
def test_a_lost_link_is_unsafe_and_honest_about_its_age_and_closing_is_asked_when_it_is_back(tmp_path, kind):
    with Scene(tmp_path, LOOP[:4]).open_dome() as scene:
        scene.run(5.0)
        before = scene.clock.now()
        scene.fault("plc", kind, 20.0)
        scene.run(10.0)
        assert scene.verdict.level == "UNSAFE"
        if kind != "garbage":
            assert (scene.dome.link, scene.dome.dome, scene.dome.rain) == ("down", "unknown", None)
            assert scene.dome.problem
            assert scene.dome.read_at <= before
            assert scene.verdict.reasons == ["the PLC does not answer"]
        scene.tell("plc", CLOSE)
        scene.run(9.0)
        assert scene.until(lambda: scene.closing, 10.0) <= 4.0
        scene.until(lambda: scene.dome.link == "up" and scene.dome.dome == "closed", 80.0)
        assert not scene.restarts, "a dead PLC hangs nobody"


def test_a_plc_whose_life_counter_stands_still_counts_as_dead(tmp_path, monkeypatch):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        real = scene.plc.input_registers
        monkeypatch.setattr(scene.plc, "input_registers", lambda: [77, *real()[1:]])
        scene.run(6.0)
        assert scene.dome.link == "down"
        assert "life counter has stood at 77" in scene.dome.problem
        assert scene.verdict.level == "UNSAFE"


def test_a_plc_that_refuses_to_close_is_named_while_its_link_stays_up(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.fault("plc", "refuse", 10.0)
        scene.tell("plc", CLOSE)
        scene.run(3.0)
        assert scene.dome.link == "up"
        assert "busy" in scene.dome.problem
        assert scene.until(lambda: scene.closing, 20.0) <= 9.0


def test_limit_switches_that_contradict_each_other_are_unknown_and_unsafe(tmp_path, monkeypatch):
    with Scene(tmp_path, ALONE) as scene:
        of_switches(scene, monkeypatch, closed=True, open_=True)
        scene.run(2.0)
        assert scene.dome.dome == "unknown"
        assert "contradict" in ", ".join(scene.verdict.reasons)


def test_a_restarted_plc_actor_takes_the_dome_as_it_is_and_goes_on(tmp_path):
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.crash("plc")
        scene.run(5.0)
        assert (scene.dome.dome, scene.dome.desired) == ("open", "as is")
        assert scene.fraction == 1.0, "a restart of moments closes nothing"
        scene.tell("plc", CLOSE)
        assert scene.until(lambda: scene.closing, 5.0) <= 1.0


# -- make safe -------------------------------------------------------------------------------------------------------


def test_make_safe_closes_first_and_then_brakes_and_parks_the_telescope(tmp_path):
    with Scene(tmp_path, (), start=False) as scene:
        scene.force_open()
        scene.mount.unpark()
        outcome = []
        urls = scene.observatory.urls
        scene.thread(lambda: outcome.append(make_safe(Closing(urls["plc"], urls["telescope"]), scene.clock, "x")))
        scene.run(30.0)
        assert outcome == [""]
        assert scene.closing
        assert scene.parked


def test_make_safe_tries_again_while_the_plc_is_mute_and_says_what_it_failed_on(tmp_path):
    with Scene(tmp_path, (), start=False) as scene:
        scene.force_open()
        scene.fault("plc", "mute", 5.0)
        outcome = []
        how = Closing(scene.observatory.urls["plc"])
        scene.thread(lambda: outcome.append(make_safe(how, scene.clock, "x")))
        scene.run(20.0)
        assert (outcome, scene.closing) == ([""], True)
        scene.fault("plc", "mute")
        scene.thread(lambda: outcome.append(make_safe(how, scene.clock, "x")))
        scene.run(30.0)
        assert "no reply" in outcome[1]


def test_make_safe_can_wait_for_the_closed_switch(tmp_path):
    with Scene(tmp_path, (), start=False) as scene:
        scene.force_open()
        scene.run(25.0)
        outcome = []
        how = Closing(scene.observatory.urls["plc"])
        scene.thread(lambda: outcome.append(make_safe(how, scene.clock, "x", closed_within_s=150.0)))
        scene.run(20.0)
        assert (outcome, scene.closing) == ([], True)
        scene.run(10.0)
        assert (outcome, scene.fraction) == ([""], 0.0)
        scene.force_open()
        scene.run(5.0)
        scene.fault("plc", "lie")
        scene.thread(lambda: outcome.append(make_safe(how, scene.clock, "x", closed_within_s=10.0)))
        scene.run(15.0)
        assert "has not made in 10 s" in outcome[1]


def test_the_reflex_is_ours_and_tested_as_such(tmp_path, deaf_hardware, monkeypatch):
    """Without it the tests above would fail: nothing else in that scene closes."""
    monkeypatch.setattr(PlcActor, "_reflex", lambda self: None)
    with Scene(tmp_path, ALONE).open_dome() as scene:
        scene.silence("monitor")
        scene.world.set_weather(rain=True)
        scene.run(20.0)
        assert not scene.closing


def test_verdicts_come_with_every_reading(tmp_path):
    """MO-T12: no gap between readings of more than two periods."""
    with Scene(tmp_path, ALONE, at=max(DARK, NIGHT.begins)) as scene:
        scene.run(60.0)
        assert scene.longest_gap_s(SafetyVerdict) <= 2.0
