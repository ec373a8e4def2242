"""The last guard: each reason for no, by changing one thing in a view in which everything is allowed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from scene import DARK, NIGHT, SITE, TARGET

from pyros.actors.devices import guard
from pyros.clock import VirtualClock, WallClock
from pyros.config import parse
from pyros.messages.devices import PlcState
from pyros.messages.night import MonitorState, Permit, SafetyVerdict
from pyros.sky import coordinates

SETTINGS = parse({"devices": {"telescope": {"url": "lx200+tcp://h:1"}, "plc": {"url": "modbus://h:1"}}}, "guards")
PLC = PlcState(link="up", dome="open", rain=False, local_key=False, emergency_stop=False, mains=True, ups_percent=100)
SAFE = SafetyVerdict(level="SAFE", reasons=[], at=DARK)
PERMIT = Permit(sequence_id=1, open_dome=True, at=DARK)
MONITOR = MonitorState(
    phase="night", night="2026-11-22", begins=NIGHT.begins, ends=NIGHT.ends, sunrise=NIGHT.sunrise,
    opens=NIGHT.begins - timedelta(minutes=40), level="SAFE", reasons=[], devices=[],
)  # fmt: skip
GOOD = guard.Seen(
    now=DARK, verdict=SAFE, verdict_age_s=0.5, permit=PERMIT, permit_age_s=0.5, plc=PLC, plc_age_s=0.5,
    monitor=MONITOR, verdict_max_age_s=3.0,
)  # fmt: skip


def of(message, **changes):
    return type(message)(**{name: getattr(message, name) for name in message.__struct_fields__} | changes)


def monitor(**changes):
    return {"monitor": of(MONITOR, **changes)}


def plc(**changes):
    return {"plc": of(PLC, **changes)}


VERDICT = {
    "no safety verdict yet": {"verdict": None},
    "verdict is 3.1 s old": {"verdict_age_s": 3.1},
    "it is UNSAFE: rain": {"verdict": of(SAFE, level="UNSAFE", reasons=["rain"])},
    "it is WARN: wind": {"verdict": of(SAFE, level="WARN", reasons=["wind"])},
}
LIGHT = VERDICT | {
    "no permit for sequence 1": {"permit": of(PERMIT, sequence_id=2)},
    "no permit for sequence 1 ": {"permit": of(PERMIT, sequence_id=None)},
    "no permit for sequence 1  ": {"permit": None},
    "permit is 10.1 s old": {"permit_age_s": 10.1},
    "the dome is closing": plc(dome="closing"),
    "the dome is to be closed": plc(desired="closed"),
    "the dome is unknown": plc(dome="unknown"),
    "PLC does not answer, so the dome is unknown": plc(link="down"),
    "PLC does not answer, so the dome is unknown ": {"plc": None},
    "PLC's last word is 9.0 s old": {"plc_age_s": 9.0},
    "night's times are unknown": {"monitor": None},
    "night's times are unknown ": monitor(begins=None),
    "the night ended": {"now": NIGHT.ends},
}
OPEN = VERDICT | {
    "no permit to open": {"permit": of(PERMIT, open_dome=False)},
    "no permit to open ": {"permit": None},
    "permit is 10.1 s old": {"permit_age_s": 10.1},
    "PLC does not answer": plc(link="down"),
    "latched: deadman": plc(latched=["deadman"]),
    "latched: unknown": plc(latched=["unknown"]),
    "local key": plc(local_key=True),
    "local key ": plc(local_key=None),
    "emergency stop": plc(emergency_stop=True),
    "it rains": plc(rain=True),
    "rain contact is unknown": plc(rain=None),
    "limit switches make no sense": plc(dome="unknown"),
    "the dome is closing": plc(dome="closing"),
    "the Sun is above -4°": {"now": NIGHT.begins - timedelta(hours=1)},
    "night's times are unknown": monitor(opens=None),
    "the night is over": {"now": NIGHT.ends},
}


def refusals_of(guards, seen):
    return {
        "slew": guards.refuse_slew(seen, SETTINGS, SITE, 1, *TARGET),
        "expose": guards.refuse_exposure(seen, 1),
        "open": guards.refuse_open(of_dome(seen), SETTINGS),
    }


def of_dome(seen):
    """For opening the dome is closed before."""
    shut = seen.plc is not None and seen.plc.dome == "open"
    return replace(seen, plc=of(seen.plc, dome="closed")) if shut else seen


def test_everything_is_allowed_in_the_good_view_that_the_other_tests_spoil():
    assert refusals_of(guard, GOOD) == {"slew": None, "expose": None, "open": None}


@pytest.mark.parametrize("reason", LIGHT)
def test_no_slew_and_no_shutter_when_one_thing_is_wrong(reason):
    """MJ-T3: stale or unsafe: no slew command is given."""
    refused = refusals_of(guard, replace(GOOD, **LIGHT[reason]))
    assert reason.strip() in refused["slew"]
    assert reason.strip() in refused["expose"]


@pytest.mark.parametrize("reason", OPEN)
def test_the_dome_does_not_open_when_one_thing_is_wrong(reason):
    assert reason.strip() in guard.refuse_open(of_dome(replace(GOOD, **OPEN[reason])), SETTINGS)


def test_pointing_begins_two_minutes_before_the_night_and_no_shutter_opens_before_it():
    """SC-T8: at -121 s no slew, at -119 s a slew, the first shutter at the night's start."""
    early, soon = (replace(GOOD, now=NIGHT.begins - timedelta(seconds=s)) for s in (121, 119))
    assert "the night begins at" in refusals_of(guard, early)["slew"]
    assert refusals_of(guard, soon)["slew"] is None
    assert "the night begins at" in refusals_of(guard, soon)["expose"]
    assert guard.refuse_exposure(soon, 1, 120.0) is None, "the camera may take the command and wait"
    assert refusals_of(guard, replace(GOOD, now=NIGHT.begins))["expose"] is None


def test_targets_low_or_near_the_sun_or_the_moon_are_refused():
    assert "altitude" in guard.refuse_slew(GOOD, SETTINGS, SITE, 1, 5.0, -60.0)
    by_day = SETTINGS.model_copy(update={"site": SETTINGS.site.model_copy(update={"horizon_deg": 0.0})})
    high_moon = replace(GOOD, now=moon_up())
    ra_deg, dec_deg = (getattr(coordinates.moon(SITE, high_moon.now), name) for name in ("ra_deg", "dec_deg"))
    assert "from the Moon" in guard.refuse_slew(high_moon, by_day, SITE, 1, ra_deg, dec_deg)
    noon = NIGHT.noon_before + timedelta(hours=1)
    daylight = replace(GOOD, now=noon, **monitor(begins=noon - timedelta(hours=1), ends=noon + timedelta(hours=1)))
    assert "from the Sun" in guard.refuse_slew(daylight, by_day, SITE, 1, *near_the_sun(noon))


def moon_up():
    """An instant of the night at which the Moon stands well above the horizon."""
    instants = (NIGHT.begins + timedelta(minutes=20 * k) for k in range(36))
    return next(t for t in instants if coordinates.moon(SITE, t).altitude_deg > 30)


def near_the_sun(when):
    """A place in the sky at most 30 degrees from the Sun and above the horizon, found by looking."""
    places = [(ra, dec) for ra in range(0, 360, 10) for dec in range(-40, 41, 10)]
    return min(places, key=lambda place: coordinates.sun_separation_deg(SITE, *place, when))


def test_darks_need_the_sequence_s_permit_or_the_one_for_calibration_whatever_the_weather():
    bad = replace(GOOD, verdict=of(SAFE, level="UNSAFE", reasons=["rain"]), **plc(dome="closed"))
    assert guard.refuse_calibration(bad, 1) is None
    assert "no permit for sequence 2" in guard.refuse_calibration(bad, 2)
    calibrating = of(PERMIT, sequence_id=None, calibration=True)
    assert guard.refuse_calibration(replace(bad, permit=calibrating), 2) is None
    assert guard.refuse_calibration(replace(bad, permit=calibrating, permit_age_s=11.0), 2) is not None


def test_the_mount_is_not_even_parked_while_somebody_has_the_local_key_or_the_emergency_stop():
    assert guard.refuse_park(GOOD) is None
    assert guard.refuse_park(replace(GOOD, plc=None)) is None, "an unknown key does not bar what makes safer"
    assert "local key" in guard.refuse_park(replace(GOOD, **plc(local_key=True)))
    assert "emergency stop" in guard.refuse_park(replace(GOOD, **plc(emergency_stop=True)))


def test_safety_times_hold_as_configured_and_are_never_below_five_real_seconds_on_a_faster_clock():
    assert guard.safety_s(VirtualClock(DARK), 3.0) == 3.0
    assert guard.safety_s(WallClock(), 3.0) == 3.0
    assert guard.safety_s(WallClock(60.0, DARK), 3.0) == 300.0
    assert guard.safety_s(WallClock(2.0, DARK), 30.0) == 30.0
