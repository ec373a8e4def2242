"""Hand-made nights of two hours: whose is each dark second?"""

from datetime import datetime, timedelta

import pytest
from report_stage import BEGINS, Stage

from pyros.cli.night.conditions import blame
from pyros.cli.night.report import build_report
from pyros.messages.night import DeviceHealth, MajordomeState, MonitorState
from pyros.messages.system import ActorFailed, ActorRestarted

FIELD = ("NGC 891", 35.64, 42.35)
NEVER_UP = ("Acrux", 186.65, -63.1)


def s(seconds: float) -> datetime:
    return BEGINS + timedelta(seconds=seconds)


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path, BEGINS, BEGINS + timedelta(hours=2))
    stage.safety(s(-900), "SAFE")
    return stage


def opened(stage, before_s=120):
    stage.open_dome(s(-before_s))
    return stage


def lost(stage):
    report = build_report(stage.done())
    assert report["exposing_s"] + sum(report["lost_s"].values()) == pytest.approx(report["dark_s"], abs=1e-6)
    return {name: seconds for name, seconds in report["lost_s"].items() if seconds > 0} | {
        "exposing": report["exposing_s"]
    }


def test_a_night_without_requests_has_no_target(stage):
    opened(stage).planning(s(0), "first of the night", [])
    assert lost(stage) == {"no_target": 7200.0, "exposing": 0.0}


def test_a_sequence_is_slewing_then_exposing_and_readout(stage):
    sequence = stage.request(*FIELD, count=10)
    opened(stage).planning(s(0), "first", [(sequence, FIELD[0], s(0), s(700), 0.0)])
    stage.observe(s(0), sequence, *FIELD, count=10)
    assert lost(stage) == {"exposing": 600.0, "slewing": 14.0, "readout": 44.0, "no_target": 6542.0}


def test_exposing_counts_even_when_the_actors_say_that_they_are_closed(stage):
    stage.record.exposures.append((s(100), s(200)))
    assert lost(stage)["exposing"] == 100.0


def test_rain_costs_weather_from_the_verdict_until_the_next_planning(stage):
    opened(stage).planning(s(0), "first", [])
    stage.safety(s(1000), "UNSAFE", "rain")
    stage.close_dome(s(1001), "rain")
    stage.monitor(s(1500), "UNSAFE", "good again; hold-off until 02:00:00")
    stage.safety(s(2400), "SAFE")
    stage.open_dome(s(2402))
    stage.planning(s(2465), "the dome is open", [])
    assert lost(stage)["weather"] == 1465.0


def test_a_dome_that_stays_shut_long_after_the_rain_is_a_fault(stage):
    opened(stage).planning(s(0), "first", [])
    stage.safety(s(1000), "UNSAFE", "gust 21.0 m/s (limit 18)")
    stage.close_dome(s(1001), "gust 21.0 m/s (limit 18)")
    stage.safety(s(2000), "SAFE")
    shares = lost(stage)
    assert shares["weather"] == 1300.0
    assert shares["fault"] == 4900.0


def test_a_silent_plc_is_a_fault_and_no_weather(stage):
    opened(stage).planning(s(0), "first", [])
    stage.safety(s(1000), "UNSAFE", "the PLC does not answer")
    stage.close_dome(s(1001), "the PLC does not answer")
    stage.safety(s(1600), "SAFE")
    stage.open_dome(s(1601))
    stage.planning(s(1662), "the dome is open", [])
    assert lost(stage) == {"fault": 662.0, "no_target": 6538.0, "exposing": 0.0}


def test_a_pause_lasts_until_observing_is_taken_up_again_even_in_rain(stage):
    opened(stage).planning(s(0), "first", [])
    stage.close_dome(s(1000), "pause: visitors")
    stage.mode(s(1061), "closed", "paused", "ordered: pause")
    stage.safety(s(1200), "UNSAFE", "rain")
    stage.safety(s(1300), "SAFE")
    stage.mode(s(2000), "paused", "opening", "night and weather allow")
    stage.mode(s(2060), "opening", "observing", "the dome is open")
    stage.dome(s(2060), "closed", "open", "open switch")
    stage.planning(s(2065), "the dome is open", [])
    assert lost(stage) == {"paused": 1065.0, "no_target": 6135.0, "exposing": 0.0}


def test_an_opening_into_the_night_is_startup_for_ten_minutes_then_a_fault(stage):
    assert lost(stage) == {"startup": 600.0, "fault": 6600.0, "exposing": 0.0}


def test_a_night_in_which_nobody_speaks_is_a_fault_after_startup(stage):
    stage.record.said.clear()
    assert lost(stage) == {"startup": 600.0, "fault": 6600.0, "exposing": 0.0}


def test_no_planning_under_an_open_dome_is_a_fault_after_startup(stage):
    opened(stage)
    assert lost(stage) == {"startup": 600.0, "fault": 6600.0, "exposing": 0.0}


def test_a_planned_sequence_that_is_never_begun_is_a_fault_for_its_place(stage):
    sequence = stage.request(*NEVER_UP)
    opened(stage).planning(s(0), "first", [(sequence, NEVER_UP[0], s(1000), s(1300), 200.0)])
    assert lost(stage)["fault"] == 300.0


def test_waiting_for_a_planned_start_is_no_target(stage):
    sequence = stage.request(*FIELD)
    opened(stage).planning(s(0), "first", [(sequence, FIELD[0], s(1000), s(1340), 200.0)])
    stage.observe(s(1000), sequence, *FIELD)
    assert lost(stage) == {"exposing": 300.0, "slewing": 14.0, "readout": 24.0, "no_target": 6862.0}


def test_idling_while_a_request_that_was_rejected_could_be_observed_is_a_fault(stage):
    sequence = stage.request(*FIELD)  # 340 s long, above 25 degrees all the time
    opened(stage).planning(s(0), "first", [], [(sequence, "NO_ROOM", "no room")])
    assert lost(stage) == {"fault": 7200.0 - 340.0, "no_target": 340.0, "exposing": 0.0}


@pytest.mark.parametrize("status", ["CANCELLED", "UNPLANNABLE"])
def test_a_request_that_is_off_the_list_makes_no_fault(stage, status):
    from pyros.messages.store import Change

    sequence = stage.request(*FIELD)
    stage.write(Change(table="sequence", key=sequence, values={"status": status}))
    opened(stage).planning(s(0), "first", [])
    assert "fault" not in lost(stage)


def test_a_request_below_its_altitude_limit_makes_no_fault(stage):
    sequence = stage.request(*NEVER_UP)
    opened(stage).planning(s(0), "first", [], [(sequence, "ALTITUDE", "never up")])
    assert lost(stage) == {"no_target": 7200.0, "exposing": 0.0}


def test_a_request_without_quota_makes_no_fault(stage):
    sequence = stage.request(*FIELD)
    opened(stage).planning(s(0), "first", [], [(sequence, "QUOTA", "quota used up")])
    assert lost(stage) == {"no_target": 7200.0, "exposing": 0.0}


def test_the_gap_between_an_alert_and_its_sequence_is_alert_wait(stage):
    opened(stage).planning(s(0), "first", [])
    alert = stage.alert(s(1000), "GRB", "1", 35.0, 42.0, 0.1, t0=s(980), times={})
    sequence = stage.request("GRB", 35.0, 42.0, count=2, alert_id=alert)
    stage.opened(s(1000), alert, "GRB", s(980), 35.0, 42.0, 0.1, sequence)
    stage.observe(s(1005), sequence, "GRB", 35.0, 42.0, count=2, alert_id=alert)
    shares = lost(stage)
    assert shares["alert_wait"] == 5.0
    assert shares["exposing"] == 120.0


def test_an_interrupted_sequence_is_a_fault_since_its_last_sign_of_life(stage):
    sequence = stage.request(*FIELD, count=2)
    opened(stage).planning(s(0), "first", [(sequence, FIELD[0], s(0), s(140), 0.0)])
    end = stage.observe(s(0), sequence, *FIELD, count=2, outcome="INTERRUPTED", cause="the camera hangs")
    late = stage.record.said[-1]
    stage.record.said[-1] = type(late)(end + timedelta(seconds=200), late.actor, late.message)
    assert lost(stage)["fault"] == pytest.approx(200.0, abs=1.0)


def test_a_long_silence_within_a_sequence_is_a_fault(stage):
    sequence = stage.request(*FIELD, count=2)
    opened(stage).planning(s(0), "first", [(sequence, FIELD[0], s(0), s(140), 0.0)])
    end = stage.observe(s(0), sequence, *FIELD, count=2)
    late = stage.record.said[-1]
    stage.record.said[-1] = type(late)(end + timedelta(seconds=300), late.actor, late.message)
    assert lost(stage)["fault"] == 301.0


def test_the_absence_of_an_actor_that_observing_needs_is_a_fault(stage):
    opened(stage).planning(s(0), "first", [])
    for actor, when in (("scheduler", 1000), ("librarian", 3000)):
        stage.say(s(when), "supervisor", ActorFailed(actor=actor, epoch=1, cause="x", message="y"))
        stage.say(s(when + 8), "supervisor", ActorRestarted(actor=actor, epoch=2, cause="x", away_s=8.0))
    assert lost(stage) == {"fault": 8.0, "no_target": 7192.0, "exposing": 0.0}


def test_a_dead_telescope_is_a_fault_while_the_majordome_waits(stage):
    opened(stage).planning(s(0), "first", [])
    for when, link in ((1000, "down"), (1500, "up")):
        health = DeviceHealth(device="telescope", link=link, blocking=True, problem="")
        state = MonitorState(
            phase="night", night="2026-11-22", begins=None, ends=None, opens=None, sunrise=None, level="SAFE",
            reasons=[], devices=[health],
        )  # fmt: skip
        stage.say(s(when), "monitor", state)
    assert lost(stage) == {"fault": 500.0, "no_target": 6700.0, "exposing": 0.0}


def test_a_dome_that_only_claims_to_be_open_is_a_fault(stage):
    opened(stage).planning(s(0), "first", [])
    stage.dome(s(2000), "open", "closing", "stuck relay")
    stage.dome(s(2600), "closing", "open", "freed")
    assert lost(stage)["fault"] == 600.0


def test_a_warning_costs_weather_only_while_nothing_runs(stage):
    sequence = stage.request(*FIELD, count=10)
    opened(stage).planning(s(0), "first", [(sequence, FIELD[0], s(0), s(700), 0.0)])
    end = stage.observe(s(0), sequence, *FIELD, count=10)
    stage.safety(s(300), "WARN", "wind 11.0 m/s (warning at 10)")
    stage.safety(s(1000), "SAFE")
    assert lost(stage)["weather"] == pytest.approx((s(1000) - end).total_seconds())


def test_darks_under_a_closed_dome_are_calibration(stage):
    from pyros.messages.store import Insert

    for number in range(3):
        row = {
            "file": f"dark{number}.fits", "camera": "vis", "kind": "dark", "start": s(700 + 100 * number),
            "exposure_s": 90.0, "datasum": "1",
        }  # fmt: skip
        stage.write(Insert(table="image", values=row))
    assert lost(stage)["calibration"] == 270.0


def test_the_time_without_a_daemon_and_its_hold_off_are_a_fault(stage):
    opened(stage).planning(s(0), "first", [])
    stage.say(s(2000), "daemon", ActorFailed(actor="daemon", epoch=1, cause="killed", message="process"))
    stage.dome(s(2000), "open", "closing", "command")
    stage.say(s(2005), "daemon", ActorRestarted(actor="daemon", epoch=2, cause="killed", away_s=5.0))
    stage.monitor(s(2005), "UNSAFE", "no verdict yet")
    stage.say(s(2005), "majordome", MajordomeState(mode="closed", why="start", since=s(2005)))
    stage.safety(s(2006), "UNSAFE", "good again; hold-off until 02:13:00")
    stage.safety(s(2605), "SAFE")
    stage.mode(s(2605), "closed", "opening", "night and weather allow")
    stage.mode(s(2665), "opening", "observing", "the dome is open")
    stage.dome(s(2665), "opening", "open", "command")
    stage.planning(s(2665), "the dome is open", [])
    assert lost(stage) == {"fault": 665.0, "no_target": 6535.0, "exposing": 0.0}


def test_a_lockdown_is_a_pause(stage):
    opened(stage).planning(s(0), "first", [])
    state = MajordomeState(mode="stopped", why="lockdown by eve: storm", since=s(3600), locked_by="eve")
    stage.say(s(3600), "majordome", state)
    assert lost(stage) == {"paused": 3600.0, "no_target": 3600.0, "exposing": 0.0}


@pytest.mark.parametrize(
    ("reasons", "whose"),
    [
        (["rain"], "weather"),
        (["mast: rain"], "weather"),
        (["PLC latched: rain"], "weather"),
        (["humidity 91.0 % (limit 85)", "the PLC does not answer"], "weather"),
        (["dew point 1.2 °C below the temperature (limit 3)"], "weather"),
        (["temperature -12.0 °C (limit -10)"], "weather"),
        (["the rain contact is unknown"], "fault"),
        (["mast: rain is unknown"], "fault"),
        (["wind is unknown"], "fault"),
        (["no weather station has fresh values"], "fault"),
        (["no mains"], "fault"),
        (["local key"], "paused"),
        (["good again; hold-off until 02:00:00"], None),
        ([], None),
    ],
)
def test_an_unsafe_verdict_is_the_doing_of_weather_people_or_a_fault(reasons, whose):
    assert blame(reasons) == whose
