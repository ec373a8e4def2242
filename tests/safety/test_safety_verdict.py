"""Is it safe? The pure judgement, case by case and over time; and what night it is."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.monitor.actor import with_ages_for
from pyros.actors.monitor.nights import NightRow, phase_at, step_due, tonight
from pyros.actors.monitor.safety import FROZEN_S, Memory, Seen, at_start, judge, reset_is_due
from pyros.clock import WallClock
from pyros.config import Safety
from pyros.messages.devices import PlcState, WeatherState
from pyros.messages.night import NightEnded, NightStarted, SafetyVerdict
from pyros.messages.store import Change, Insert
from pyros.sky.night import night_of
from pyros.sky.site import Site

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
SAFETY = Safety()
PLC = {"link": "up", "dome": "closed", "rain": False, "local_key": False, "emergency_stop": False, "mains": True,
       "ups_percent": 100.0, "latched": []}  # fmt: skip
AIR = {"station": "mast", "rain": False, "wind_m_s": 3.0, "gust_m_s": 5.0, "humidity_percent": 40.0,
       "temperature_c": 8.0, "dew_point_c": -4.0, "pressure_hpa": 720.0, "sky_minus_ambient_c": -25.0}  # fmt: skip
PAST = Memory(bad_until_s=0.0)
NEVER = ()


def seen(plc=None, air=None, at_s=0.0, age_s=1.0, plc_age_s=0.0, stations=None):
    """What is known `at_s` seconds after the beginning; `age_s` is the age of the weather."""
    now = NOW + timedelta(seconds=at_s)
    one = WeatherState(**AIR | (air or {}), sampled_at=now - timedelta(seconds=age_s))
    return Seen(
        plc=None if plc == NEVER else PlcState(**PLC | (plc or {})),
        plc_age_s=plc_age_s, stations=[one] if stations is None else stations, now=now, at_s=at_s,
    )  # fmt: skip


def verdict_on(what, memory=PAST, safety=SAFETY):
    return judge(safety, what, memory, 3.0)[0]


CASES = [
    ("SAFE", "", seen()),
    ("WARN", "no heartbeat yet", seen({"latched": ["boot"]})),
    ("UNSAFE", "the PLC does not answer", seen(NEVER)),
    ("UNSAFE", "the PLC does not answer", seen({"link": "down"})),
    ("UNSAFE", "last word is 4 s old", seen(plc_age_s=4.0)),
    ("UNSAFE", "rain", seen({"rain": True})),
    ("UNSAFE", "rain contact is unknown", seen({"rain": None})),
    ("UNSAFE", "emergency stop", seen({"emergency_stop": True})),
    ("UNSAFE", "emergency stop", seen({"emergency_stop": None})),
    ("UNSAFE", "local key", seen({"local_key": True})),
    ("UNSAFE", "no mains", seen({"mains": False})),
    ("UNSAFE", "no mains", seen({"mains": None})),
    ("UNSAFE", "UPS at 49 % (limit 50)", seen({"ups_percent": 49.0})),
    ("UNSAFE", "UPS's charge is unknown", seen({"ups_percent": None})),
    ("UNSAFE", "contradict each other", seen({"dome": "unknown"})),
    ("UNSAFE", "PLC latched: deadman", seen({"latched": ["deadman"]})),
    ("UNSAFE", "PLC latched: unknown", seen({"latched": ["unknown"]})),
    ("UNSAFE", "no weather station has fresh values", seen(stations=[])),
    ("UNSAFE", "no weather station has fresh values", seen(age_s=31.0)),
    ("UNSAFE", "no weather station has fresh values", seen(age_s=-31.0)),
    ("UNSAFE", "wind 15.1 m/s (limit 15)", seen(air={"wind_m_s": 15.1})),
    ("WARN", "wind 12.5 m/s (warning at 12)", seen(air={"wind_m_s": 12.5})),
    ("UNSAFE", "gust 20.5 m/s", seen(air={"gust_m_s": 20.5})),
    ("WARN", "gust 17.0 m/s", seen(air={"gust_m_s": 17.0})),
    ("UNSAFE", "humidity 91.0 %", seen(air={"humidity_percent": 91.0})),
    ("WARN", "humidity 86.0 %", seen(air={"humidity_percent": 86.0})),
    ("UNSAFE", "wind is unknown", seen(air={"wind_m_s": None})),
    ("UNSAFE", "humidity is unknown", seen(air={"humidity_percent": float("nan")})),
    ("UNSAFE", "dew point 1.5 °C below", seen(air={"temperature_c": 2.0, "dew_point_c": 0.5})),
    ("UNSAFE", "dew point -1.0 °C below", seen(air={"temperature_c": 2.0, "dew_point_c": 3.0})),
    ("UNSAFE", "temperature or dew point is unknown", seen(air={"dew_point_c": None})),
    ("UNSAFE", "temperature -21.0 °C", seen(air={"temperature_c": -21.0, "dew_point_c": -30.0})),
    ("UNSAFE", "mast: rain", seen(air={"rain": True})),
    ("UNSAFE", "mast: rain is unknown", seen(air={"rain": None})),
]


@pytest.mark.parametrize(("level", "reason", "what"), CASES)
def test_the_verdict_on_what_is_seen(level, reason, what):
    """MO-T16: several sources combined, missing is unsafe."""
    verdict = verdict_on(what)
    assert verdict.level == level
    assert reason in ", ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("causes", "what"),
    [
        ([], seen()),
        (["boot"], seen({"latched": ["boot"]})),
        (["fault"], seen(NEVER)),
        (["rain"], seen({"rain": True}, {"rain": True})),
        (["people"], seen({"local_key": True, "emergency_stop": True})),
        (["power"], seen({"mains": False})),
        (["fault"], seen({"dome": "unknown"})),
        (["latch"], seen({"latched": ["deadman"]})),
        (["stale"], seen(age_s=31.0)),
        (["wind", "humidity"], seen(air={"wind_m_s": 15.1, "gust_m_s": 25.0, "humidity_percent": 91.0})),
        (["dew_point"], seen(air={"temperature_c": 2.0, "dew_point_c": 0.5})),
        (["cold"], seen(air={"temperature_c": -21.0, "dew_point_c": -30.0})),
        (["people", "wind"], seen({"local_key": True}, {"wind_m_s": 15.1})),
    ],
)
def test_every_reason_has_a_cause_for_programs_each_kind_once(causes, what):
    assert verdict_on(what).causes == causes


def test_a_hold_off_says_what_it_follows_from():
    _, memory = judge(SAFETY, seen({"rain": True}), PAST, 3.0)
    _, memory = judge(SAFETY, seen(air={"wind_m_s": 15.1}, at_s=10.0), memory, 3.0)
    verdict, memory = judge(SAFETY, seen(at_s=20.0), memory, 3.0)
    assert verdict.causes == ["hold_off", "rain", "wind"]
    assert len(verdict.reasons) == 1
    again = at_start(SAFETY, 21.0, verdict, 1.0)
    assert judge(SAFETY, seen(at_s=21.0), again, 3.0)[0].causes == ["hold_off", "rain", "wind"]
    assert verdict_on(seen(), at_start(SAFETY, 0.0, None, 0.0)).causes == ["hold_off", "start"]


def test_the_worst_of_two_stations_counts_and_one_that_is_stale_counts_not_at_all():
    calm, stormy = seen().stations[0], seen(air={"station": "roof", "wind_m_s": 18.0}).stations[0]
    assert verdict_on(seen(stations=[calm, stormy])).level == "UNSAFE"
    silent = WeatherState(**AIR | {"station": "roof", "wind_m_s": 18.0}, sampled_at=NOW - timedelta(minutes=5))
    assert verdict_on(seen(stations=[calm, silent])).level == "SAFE"


def test_the_start_is_unsafe_and_stays_so_for_the_whole_hold_off():
    memory = at_start(SAFETY, 0.0, None, 0.0)
    for at_s, level in ((0.0, "UNSAFE"), (599.0, "UNSAFE"), (600.0, "SAFE")):
        verdict, memory = judge(SAFETY, seen(at_s=at_s), memory, 3.0)
        assert verdict.level == level
    assert verdict.reopen_after is None


def test_a_restarted_monitor_goes_on_with_the_hold_off_but_trusts_no_old_verdict():
    safe = SafetyVerdict(level="SAFE", reasons=[], at=NOW)
    held = SafetyVerdict(level="UNSAFE", reasons=["hold-off"], at=NOW, reopen_after=NOW + timedelta(seconds=100))
    rain = SafetyVerdict(level="UNSAFE", reasons=["rain"], at=NOW)
    levels = [judge(SAFETY, seen(at_s=1.0), at_start(SAFETY, 1.0, last, 1.0), 3.0)[0] for last in (safe, held, rain)]
    assert [verdict.level for verdict in levels] == ["SAFE", "UNSAFE", "UNSAFE"]
    assert levels[1].reopen_after == NOW + timedelta(seconds=100)
    assert levels[2].reopen_after == NOW + timedelta(seconds=1 + SAFETY.rain_hold_off_s), "whatever the old rain was"
    assert verdict_on(seen({"rain": True}), at_start(SAFETY, 1.0, safe, 1.0)).level == "UNSAFE"
    assert verdict_on(seen(at_s=60.0), at_start(SAFETY, 60.0, safe, 60.0)).level == "UNSAFE", "too old to be of use"


def test_wind_that_has_closed_the_dome_must_fall_below_the_clear_value_and_stay_there():
    safety, memory, levels = Safety(hold_off_s=60.0), PAST, []
    for at_s, wind_m_s in (
        (0, 14.0),
        (1, 15.5),
        (2, 14.0),
        (62, 12.5),
        (63, 11.5),
        (100, 11.0),
        (121, 11.0),
        (123, 11.0),
    ):
        verdict, memory = judge(safety, seen(air={"wind_m_s": wind_m_s}, at_s=float(at_s)), memory, 3.0)
        levels.append(verdict.level)
    assert levels == ["WARN", "UNSAFE", "UNSAFE", "UNSAFE", "UNSAFE", "UNSAFE", "UNSAFE", "SAFE"]


def test_an_anemometer_that_fails_in_a_storm_does_not_end_the_storm():
    memory = judge(SAFETY, seen(air={"wind_m_s": 16.0}), PAST, 3.0)[1]
    memory = judge(SAFETY, seen(air={"wind_m_s": None}, at_s=1.0), memory, 3.0)[1]
    verdict, _ = judge(SAFETY, seen(air={"wind_m_s": 14.0}, at_s=2.0), memory, 3.0)
    assert "wind 14.0 m/s (limit 12)" in verdict.reasons


def test_a_station_whose_every_value_stands_still_is_not_believed():
    memory = PAST
    for at_s in range(0, int(FROZEN_S) + 60, 30):
        verdict, memory = judge(SAFETY, seen(at_s=float(at_s)), memory, 3.0)
        assert (verdict.level == "SAFE") == (at_s < FROZEN_S - 1)
    assert verdict.reasons == ["no weather station has fresh values"]


def test_on_a_faster_clock_ages_are_at_least_five_real_seconds_and_hold_offs_stay_as_they_are():
    fast = with_ages_for(SAFETY, WallClock(60.0, NOW))
    assert (fast.stale_s, fast.verdict_max_age_s, fast.hold_off_s) == (300.0, 300.0, 600.0)
    assert verdict_on(seen(age_s=200.0), safety=fast).level == "SAFE"
    assert with_ages_for(SAFETY, WallClock()) == SAFETY


def test_rain_holds_off_for_longer_than_anything_else():
    for what, wait_s in ((seen({"rain": True}), 900), (seen(air={"rain": True}), 900), (seen({"mains": False}), 600)):
        memory = judge(SAFETY, what, PAST, 3.0)[1]
        assert judge(SAFETY, seen(at_s=wait_s - 1.0), memory, 3.0)[0].level == "UNSAFE"
        later = seen(at_s=float(wait_s), air={"wind_m_s": 4.0})
        assert judge(SAFETY, later, memory, 3.0)[0].level == "SAFE"


def test_a_latch_is_unsafe_until_it_is_reset_and_then_has_no_hold_off_of_its_own():
    memory = judge(SAFETY, seen({"latched": ["deadman"]}), PAST, 3.0)[1]
    assert judge(SAFETY, seen(at_s=1.0), memory, 3.0)[0].level == "SAFE"


def test_the_deadman_s_latch_is_reset_by_rule_only_after_sustained_good_data_and_only_if_configured():
    latched, safety = {"latched": ["deadman"]}, Safety(deadman_reset=300.0)
    memory = judge(safety, seen(latched), PAST, 3.0)[1]
    for at_s, due in ((299.0, False), (300.0, True)):
        now = seen(latched, at_s=at_s)
        assert reset_is_due(safety, now, judge(safety, now, memory, 3.0)[1]) is due
    late = seen(latched, at_s=400.0)
    assert not reset_is_due(Safety(), late, judge(Safety(), late, memory, 3.0)[1]), "by default it is the operator's"
    more = seen({"latched": ["deadman", "motion_fault"]}, at_s=400.0)
    assert not reset_is_due(safety, more, judge(safety, more, memory, 3.0)[1])
    interrupted = judge(safety, seen(latched | {"mains": False}, at_s=200.0), memory, 3.0)[1]
    assert not reset_is_due(safety, late, judge(safety, late, interrupted, 3.0)[1])


weather = st.fixed_dictionaries(
    {
        "wind_m_s": st.one_of(st.none(), st.floats(0, 60)),
        "gust_m_s": st.one_of(st.none(), st.floats(0, 60)),
        "humidity_percent": st.one_of(st.none(), st.floats(0, 100)),
        "rain": st.sampled_from([True, False, None]),
    }
)


@given(st.lists(st.tuples(st.floats(0.1, 120), weather), max_size=12))
def test_it_is_never_safe_within_the_hold_off_after_anything_bad(steps):
    memory, at_s, last_bad_s = at_start(SAFETY, 0.0, None, 0.0), 0.0, 0.0
    for step_s, air in steps:
        at_s += step_s
        bad = judge(SAFETY, seen(air=air), PAST, 3.0)[0].level == "UNSAFE"
        last_bad_s = at_s if bad else last_bad_s
        verdict, memory = judge(SAFETY, seen(air=air, at_s=at_s), memory, 3.0)
        assert verdict.level == "UNSAFE" or at_s - last_bad_s >= SAFETY.hold_off_s


# -- nights ----------------------------------------------------------------------------------------------------------

SPM = Site("San Pedro Mártir", -115.4637, 31.0442, 2830.0)
POLE = Site("Amundsen-Scott", 0.0, -89.99, 2835.0)
TROMSO = Site("Tromsø", 18.96, 69.65, 10.0)
NIGHT = night_of(SPM, date(2026, 11, 22))


def test_a_plain_night_goes_through_its_phases_in_order():
    hours = [NIGHT.noon_before + timedelta(minutes=10 * k) for k in range(144)]
    phases = list(dict.fromkeys(phase_at(NIGHT, when) for when in hours))
    assert phases == ["day", "evening twilight", "night", "morning twilight"]
    assert phase_at(NIGHT, NIGHT.noon_after) == "day"


@pytest.mark.parametrize(
    ("site", "on", "phase", "opens"),
    [
        (POLE, date(2026, 12, 21), "day", False),
        (POLE, date(2026, 6, 21), "night", True),
        (TROMSO, date(2026, 6, 21), "day", False),
        (TROMSO, date(2026, 12, 21), "night", True),
    ],
)
def test_sites_without_a_night_never_open_and_sites_without_a_day_may_from_noon_on(site, on, phase, opens):
    """MO-T6: the no-night case."""
    night, opening = tonight(site, on, -12.0, -4.0)
    assert phase_at(night, night.noon_before + timedelta(hours=12)) == phase
    assert (opening is not None) is opens
    if site is POLE and opens:
        assert opening == night.noon_before


def test_polar_twilight_without_a_sunset_is_twilight_not_day():
    night, _ = tonight(TROMSO, date(2026, 12, 21), -12.0, -4.0)
    assert night.sunset is None
    assert phase_at(night, night.begins - timedelta(minutes=5)) == "evening twilight"
    assert phase_at(night, night.ends + timedelta(minutes=5)) == "morning twilight"


def test_the_store_is_told_once_that_a_night_begins_and_once_that_it_ends():
    """MO-P5: also after a restart in the middle, or one that missed the end."""
    middle, after = NIGHT.begins + timedelta(hours=3), NIGHT.ends + timedelta(minutes=1)
    assert step_due([], NIGHT, NIGHT.begins - timedelta(seconds=1)) is None
    begun = step_due([], NIGHT, middle)
    assert isinstance(begun.event, NightStarted)
    assert isinstance(begun.write, Insert)
    row = replace(begun.row, id=7)
    assert step_due([row], NIGHT, middle) is None
    ended = step_due([row], NIGHT, after)
    assert ended.event == NightEnded(night="2026-11-22")
    assert ended.write == Change(table="night", key=7, values={"status": "ENDED"}, expect={"status": "BEGUN"})
    assert step_due([ended.row], NIGHT, after) is None
    assert step_due([ended.row], NIGHT, middle) is None, "a clock that was set back begins no night twice"


def test_a_night_whose_end_was_missed_is_ended_before_the_next_one_begins():
    tomorrow = night_of(SPM, date(2026, 11, 23))
    old = NightRow(7, "2026-11-22", NIGHT.ends, "BEGUN")
    first = step_due([old], tomorrow, tomorrow.begins + timedelta(minutes=1))
    assert first.event == NightEnded(night="2026-11-22")
    assert step_due([first.row], tomorrow, tomorrow.begins + timedelta(minutes=1)).event.night == "2026-11-23"


def test_a_night_that_was_announced_as_coming_begins_by_a_change_of_its_row():
    coming = NightRow(3, "2026-11-22", NIGHT.ends, "COMING")
    step = step_due([coming], NIGHT, NIGHT.begins)
    assert (step.write.key, step.write.expect) == (3, {"status": "COMING"})
