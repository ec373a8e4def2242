"""The world as a whole: weather, the observer's rules, the assembled observatory, devices alone on the wall clock."""

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import VirtualClock
from simulators.faults import KINDS, Faults
from simulators.mount import SimulatedMount
from simulators.observatory import Observatory
from simulators.observer import Observer
from simulators.physics_weather import RANGES, dew_point_c
from simulators.plc import SimulatedPlc
from simulators.world import World

NIGHT = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


# -- weather ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.floats(0, 86400))
def test_the_weather_is_smooth_in_range_and_the_same_for_the_same_seed(seed, seconds):
    world, again = (World(VirtualClock(NIGHT), seed=seed) for _ in range(2))
    at_s = world.unix_s() + seconds
    now, later = world.weather(at_s), world.weather(at_s + 1.0)
    assert now == again.weather(at_s)
    for name, (low, high) in RANGES.items():
        assert low <= now[name] <= high
        assert abs(now[name] - later[name]) <= 0.05
    assert now["dew_point_c"] <= now["temperature_c"] + 1e-9


def test_weather_set_by_hand_holds_from_then_on_and_not_before():
    clock = VirtualClock(NIGHT)
    world = World(clock)
    before = world.weather(world.unix_s())["wind_m_s"]
    clock.run(NIGHT + timedelta(minutes=10))
    world.set_weather(wind_m_s=25.0, cloud_percent=100.0)
    assert world.weather(world.unix_s() - 600)["wind_m_s"] == before
    assert world.weather(world.unix_s() + 600)["gust_m_s"] > 25.0
    assert world.weather(world.unix_s())["sky_minus_ambient_c"] == pytest.approx(-3.0)
    assert world.transparency(clock.now()) == pytest.approx(0.05)


def test_weather_out_of_range_changes_nothing_at_all():
    world = World(VirtualClock(NIGHT))
    with pytest.raises(ValueError, match="humidity_percent is 120; it must be between 0 and 100"):
        world.set_weather(wind_m_s=9.0, humidity_percent=120)
    assert world.weather(world.unix_s())["wind_m_s"] != 9.0


def test_the_dew_point_is_that_of_the_psychrometric_tables():
    assert dew_point_c(20.0, 50.0) == pytest.approx(9.26, abs=0.02)
    assert dew_point_c(7.0, 100.0) == pytest.approx(7.0)


def test_faults_end_by_themselves_and_unknown_ones_are_refused():
    clock = VirtualClock(NIGHT)
    faults = Faults(clock, 1)
    told = []
    faults.listen("telescope", lambda: told.append(faults.active("telescope")))
    faults.start("telescope", "mute", 10)
    faults.start("power", "mute", 5)
    assert faults.active("camera:vis") == "mute"
    clock.run(NIGHT + timedelta(seconds=11))
    assert faults.active("telescope") is None
    assert told == ["mute", "mute", "mute", None]
    with pytest.raises(ValueError, match="use one of mute"):
        faults.start("telescope", "tired")
    assert len(KINDS) == 8


# -- the observer ----------------------------------------------------------------------------------------------------


class Watched:
    def __init__(self, start=NIGHT):
        self.clock = VirtualClock(start)
        self.world = World(self.clock, seed=3)
        self.mount, self.plc = SimulatedMount(self.world), SimulatedPlc(self.world)
        self.observer = Observer(self.world, self.mount, self.plc)
        self.observer.start()
        self.beats = 0

    def ahead(self, seconds):
        for _ in range(0, int(seconds), 10):
            self.beats += 1
            self.plc.write_holding(0, [self.beats])
            self.clock.run(self.clock.now() + timedelta(seconds=10))

    def open(self):
        self.ahead(10)
        self.plc.pulse(0)
        self.ahead(70)

    def expose(self, seconds, kind="light"):
        start = self.clock.now()
        self.ahead(seconds)
        self.world.on_exposure("camera:vis", start, self.clock.now(), kind)

    def rules(self):
        return [violation.rule for violation in self.observer.violations]


def test_a_night_as_it_should_be_has_no_violation():
    watched = Watched()
    watched.open()
    watched.mount.unpark()
    watched.ahead(10)
    watched.expose(30)
    watched.expose(30, "dark")
    assert watched.rules() == []
    assert [len(part) for part in watched.observer.occupancy().values()] == [1, 0, 2, 1]
    assert [(move["from"], move["to"], move["cause"]) for move in watched.observer.dome_history()] == [
        ("closed", "opening", "command"),
        ("opening", "open", "command"),
    ]


def test_an_exposure_under_a_closed_dome_is_a_violation_but_a_dark_is_not():
    watched = Watched()
    watched.expose(30, "dark")
    assert watched.rules() == []
    watched.expose(30)
    assert watched.rules() == ["exposing under a dome that is not open"]


def test_an_exposure_during_which_the_dome_begins_to_close_is_a_violation():
    watched = Watched()
    watched.open()
    watched.clock.call_later(25, lambda: watched.plc.pulse(1))
    watched.expose(30)
    assert watched.rules() == ["exposing under a dome that is not open"]


def test_an_exposure_by_daylight_is_a_violation():
    watched = Watched(NOON)
    watched.open()
    watched.expose(30, "flat")
    assert watched.rules() == ["exposing by daylight"]


def test_opening_in_a_storm_is_one_violation():
    watched = Watched()
    watched.world.set_weather(wind_m_s=30.0)
    watched.open()
    assert watched.rules() == ["dome opening in bad weather"]


def test_pointing_below_the_horizon_limit_is_one_violation_however_long_it_lasts():
    watched = Watched()
    watched.mount.unpark()
    sidereal = watched.world.frames.sidereal_deg(watched.world.unix_s())
    watched.mount.target = ((sidereal - 82.0) % 360, 0.0)
    watched.mount.slew()
    watched.ahead(120)
    assert watched.rules() == ["pointing below the horizon limit"]
    assert len(watched.observer.slews()) == 1


def test_a_dome_that_cannot_close_in_rain_is_a_violation():
    watched = Watched()
    watched.open()
    watched.world.faults.start("plc", "stuck")
    watched.world.set_weather(rain=True)
    watched.ahead(200)
    assert watched.rules() == ["dome open in rain"]


def test_a_roof_over_an_unparked_tube_is_a_violation():
    watched = Watched()
    watched.observer.roof_needs_park = True
    watched.mount.unpark()
    watched.open()
    assert watched.rules() == ["roof over an unparked tube"]


# -- all together ----------------------------------------------------------------------------------------------------


def test_the_observatory_listens_on_the_loopback_for_everything_and_ends_all_its_threads():
    before = threading.active_count()
    with Observatory(VirtualClock(NIGHT), seed=2, image_px=64, cameras=("vis", "nir"), wheels=("vis",)) as observatory:
        assert sorted(observatory.urls) == ["camera:nir", "camera:vis", "filter_wheel:vis", "plc", "telescope", "vtp"]
        for url in observatory.urls.values():
            host, _, port = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition(":")
            assert host == "127.0.0.1"
            socket.create_connection((host, int(port)), timeout=1).close()
    assert threading.active_count() <= before + 1


def alone(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize("device", ["simulators.mount", "simulators.wheel", "simulators.plc"])
def test_a_device_alone_says_where_it_listens_and_ends_on_sigterm_and_a_second_one_is_refused(device):
    first = alone(device, "--tcp", "127.0.0.1:0")
    address = first.stdout.readline().strip()
    second = alone(device, "--tcp", address)
    _, complaint = second.communicate(timeout=20)
    assert (second.returncode, len(complaint.splitlines())) == (1, 1)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=20)
    assert (first.returncode, said) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulators.mount",),
        ("simulators.mount", "--tcp", "127.0.0.1:99999"),
        ("simulators.mount", "--tcp", "127.0.0.1:0", "--site", "1,2"),
        ("simulators.mount", "--tcp", "127.0.0.1:0", "--site", "1,99,3"),
        ("simulators.wheel", "--tcp", "127.0.0.1:0", "--filters", "a,b"),
        ("simulators.plc", "--pty", "link"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_two(arguments):
    process = alone(*arguments)
    _, complaint = process.communicate(timeout=20)
    assert (process.returncode, len(complaint.splitlines())) == (2, 1)
