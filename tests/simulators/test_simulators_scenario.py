"""Scenario files: every fault of a file is named with its line, and what is right is played at its instant."""

import random
from datetime import UTC, datetime, timedelta

import pytest
import voeventparse
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import VirtualClock
from simulators.notices import render
from simulators.physics_frames import separation_deg
from simulators.scenario import Scenario, ScenarioError, scattered
from simulators.world import World

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
GOOD = """
name = "rain during an alert"
seed = 7
[override.site]
height_m = 2830
[[event]]
at = "+00:10:00"
kind = "weather"
rain = true
wind_m_s = 22.5
[[event]]
at = "2026-11-23T02:20:00Z"
kind = "sensor"
station = "mast"
fault = "stale"
for_s = 600
[[event]]
at = "+00:30:00"
kind = "grb"
ra_deg = 120.5
dec_deg = 22.1
mag_at_60s = 15.5
alpha = 1.1
notices = [
  {form = "fermi_gbm_flt", delay_s = 25, error_deg = 6.0},
  {form = "swift_bat", delay_s = 40, error_deg = 0.05, via = "vtp"},
]
[[event]]
at = "+00:40:00"
kind = "device"
device = "camera:vis"
fault = "mute"
for_s = 120
[[event]]
at = "+00:50:00"
kind = "environment"
mains = false
disk_full = true
for_s = 900
[[event]]
at = "+00:55:00"
kind = "operator"
command = "pause"
[[event]]
at = "+00:05:00"
kind = "actor"
actor = "scheduler"
fault = "raise"
[[event]]
at = "+00:56:00"
kind = "environment"
centre = "IC"
up = false
"""


def night():
    clock = VirtualClock(EVENING)
    return clock, World(clock, seed=7, night_start=EVENING)


def faults_of(text):
    with pytest.raises(ScenarioError) as caught:
        Scenario.parse(text)
    return str(caught.value).splitlines()


def test_a_scenario_is_played_at_its_instants_and_the_rest_is_handed_back_in_order():
    """AL-E7: the alert simulator replays events at given times."""
    clock, world = night()
    sent = []
    scenario = Scenario.parse(GOOD)
    assert (scenario.name, scenario.seed, scenario.overrides) == (
        "rain during an alert",
        7,
        {"site": {"height_m": 2830}},
    )
    left = scenario.play(world, {"vtp": lambda xml: sent.append((clock.now() - EVENING, xml))})
    assert [(at - EVENING, event["kind"]) for at, event in left] == [
        (timedelta(minutes=5), "actor"),
        (timedelta(minutes=50), "environment"),
        (timedelta(minutes=55), "operator"),
        (timedelta(minutes=56), "environment"),
    ]
    assert left[1][1] == {"kind": "environment", "disk_full": True, "for_s": 900}
    clock.run(EVENING + timedelta(minutes=9))
    assert not world.rain.at(world.unix_s())
    clock.run(EVENING + timedelta(minutes=21))
    assert world.rain.at(world.unix_s())
    assert world.weather(world.unix_s())["wind_m_s"] == 22.5
    assert world.station("mast").reading(world.unix_s()).age_s > 59
    clock.run(EVENING + timedelta(minutes=41))
    assert [at.total_seconds() for at, _ in sent] == [1825.0, 1840.0]
    assert world.faults.active("camera:vis") == "mute"
    clock.run(EVENING + timedelta(minutes=51))
    assert world.faults.active("camera:vis") is None
    assert world.ups_percent(world.unix_s()) == pytest.approx(98.0)
    clock.run(EVENING + timedelta(minutes=70))
    assert world.mains.at(world.unix_s())


def test_the_notices_of_a_burst_point_near_the_transient_that_the_camera_will_see():
    clock, world = night()
    sent = []
    Scenario.parse(GOOD).play(world, {"vtp": sent.append})
    clock.run(EVENING + timedelta(hours=1))
    (burst,) = world.transients
    assert burst.magnitude(EVENING + timedelta(minutes=31)) == pytest.approx(15.5)
    assert burst.magnitude(EVENING + timedelta(minutes=40)) == pytest.approx(18.25)
    assert burst.magnitude(EVENING) is None
    for xml, error_deg in zip(sent, (6.0, 0.05), strict=True):
        position = voeventparse.get_event_position(voeventparse.loads(xml))
        assert separation_deg(position.ra, position.dec, burst.ra_deg, burst.dec_deg) <= 2 * error_deg + 1e-3


@given(st.integers(0, 1000), st.floats(0.001, 20))
def test_a_measured_position_is_never_further_off_than_twice_its_error(seed, error_deg):
    ra_deg, dec_deg = scattered(120.0, 40.0, error_deg, random.Random(seed))
    assert separation_deg(ra_deg, dec_deg, 120.0, 40.0) <= 2 * error_deg + 1e-6


def test_a_transport_that_is_not_there_is_an_error_before_anything_is_set():
    clock, world = night()
    text = GOOD.replace(
        '"swift_bat", delay_s = 40, error_deg = 0.05, via = "vtp"',
        '"swift_bat", delay_s = 40, error_deg = 0.05, via = "kafka"',
    )
    with pytest.raises(ScenarioError, match=r"line 17: grb wants the transport 'kafka'; there is vtp"):
        Scenario.parse(text).play(world, {"vtp": lambda _: None})
    clock.run(EVENING + timedelta(hours=1))
    assert not world.rain.at(world.unix_s())


def test_a_file_is_delivered_with_its_trigger_just_before_now(tmp_path):
    old = datetime(2025, 1, 1, tzinfo=UTC)
    (tmp_path / "old.xml").write_bytes(render("svom_eclairs", old, old, 10.0, 20.0, 0.1, "sb25010101"))
    (tmp_path / "night.toml").write_text('[[event]]\nat="+01:00:00"\nkind="notice"\nfile="old.xml"\ndelay_s=30\n')
    clock, world = night()
    sent = []
    Scenario.load(tmp_path / "night.toml").play(world, {"vtp": sent.append})
    clock.run(EVENING + timedelta(hours=2))
    time = voeventparse.get_event_time_as_utc(voeventparse.loads(sent[0]))
    assert time == EVENING + timedelta(hours=1, seconds=-30)


def test_every_fault_of_a_file_is_named_at_once_with_its_line():
    faults = faults_of("""
nmae = "x"
seed = -1
[override.sight]
height_m = 1
[[event]]
at = "+25:61:00"
kind = "weather"
rian = true
wind_m_s = 500
[[event]]
at = "+01:00:00"
kind = "earthquake"
[[event]]
at = "+01:00:00"
kind = "device"
device = "toaster"
fault = "melted"
""")
    assert [line.partition(": ")[0] for line in faults] == [
        f"scenario, line {number}" for number in (2, 3, 4, 7, 9, 10, 13, 17, 18)
    ]
    assert "unknown key 'rian' of a weather event; use rain, temperature_c" in faults[4]
    assert "wind_m_s is 500; it must be a number from 0 to 100" in faults[5]
    assert "kind is 'earthquake'; it must be one of weather, sensor" in faults[6]


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ('kind = "grb"\nra_deg = 360', "ra_deg is 360"),
        ('kind = "grb"\nra_deg = 1', "needs dec_deg"),
        (
            'kind = "grb"\nra_deg=1\ndec_deg=1\nmag_at_60s=1\nalpha=1\nnotices=[{form="x",delay_s=1,error_deg=1}]',
            "form is 'x'",
        ),
        ('kind = "notice"\nfile = "none.xml"\ndelay_s = 1', "does not exist"),
        ('kind = "environment"\ncentre = "IC"', "stand together"),
        ('kind = "environment"\nfor_s = 1', "changes nothing"),
        ('kind = "sensor"\nstation = "mast"\nfault = "offset"', "value stands with"),
        ('kind = "weather"\nrain = 1', "rain is 1; it must be true or false"),
        ('kind = "weather"\nwind_m_s = nan', "wind_m_s is nan"),
        ('kind = "actor"\nactor = "x"\nfault = "mute"', "one of raise, exit, hang, die_in_start"),
    ],
)
def test_each_rule_of_an_event_is_checked(event, fault):
    assert any(fault in line for line in faults_of(f'[[event]]\nat = "+01:00:00"\n{event}\n'))


def test_a_file_that_is_not_toml_or_not_there_is_one_clear_line(tmp_path):
    assert "not TOML" in faults_of("[[event")[0]
    with pytest.raises(ScenarioError, match="cannot be read"):
        Scenario.load(tmp_path / "none.toml")
