"""The camera in time, its faults, and the camera started alone."""

import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pyros.clock import VirtualClock, WallClock
from simulators.alpaca_server_http import AlpacaError
from simulators.camera import CameraServer, main
from simulators.faults import Faults
from simulators.frame_camera import EXPOSING, IDLE, READING
from simulators.frame_scene import PlainWorld

START = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


@dataclass
class Watched(PlainWorld):
    """A plain world that writes down what it is told and where it was asked to point."""

    seen: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    sun: float = -40.0

    def on_exposure(self, camera, start, end, kind):
        self.seen.append((camera, (end - start).total_seconds(), kind))

    def pointing(self, t):
        self.asked.append((t - START).total_seconds())
        return super().pointing(t)

    def sun_altitude_deg(self, t):
        return self.sun


@dataclass
class Bench:
    clock: VirtualClock
    world: Watched
    server: CameraServer
    address: str

    @property
    def camera(self):
        return self.server.model

    def after(self, seconds):
        self.clock.run(self.clock.now() + timedelta(seconds=seconds))
        return self.camera

    def request(self, method="GET", path="camerastate", body=None):
        connection = http.client.HTTPConnection(self.address, timeout=3)
        try:
            connection.request(method, f"/api/v1/camera/0/{path}", body)
            return connection.getresponse().read()
        finally:
            connection.close()


@pytest.fixture
def bench(tmp_path):
    clock = VirtualClock(START)
    world = Watched(120.5, 22.1, faults=Faults(clock, 1))
    server = CameraServer(world, "vis", clock=clock, seed=3, pixels=128, catalogue_dir=tmp_path)
    server.model.connected = True
    yield Bench(clock, world, server, server.start())
    server.stop()


def test_an_exposure_takes_its_time_then_three_seconds_to_read_out(bench):
    bench.camera.start_exposure(10.0, light=True)
    assert bench.camera.state() == EXPOSING
    with pytest.raises(AlpacaError, match="abort it first"):
        bench.camera.start_exposure(1.0, light=True)
    assert bench.after(9.999).state() == EXPOSING
    assert bench.after(0.001).state() == READING
    assert not bench.after(2.999).image_ready()
    assert bench.after(0.001).image_ready()
    assert bench.camera.state() == IDLE
    assert bench.world.asked == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert bench.world.seen == [("camera:vis", 10.0, "light")]
    assert bench.camera.percent_completed() == 100


def test_an_abort_frees_the_camera_at_once_and_leaves_no_image(bench):
    bench.camera.start_exposure(60.0, light=True)
    bench.after(4.0).abort_exposure()
    assert bench.camera.state() == IDLE
    assert not bench.after(100.0).image_ready()
    assert bench.world.seen == [("camera:vis", 4.0, "light")]
    assert bench.world.asked == []
    bench.camera.start_exposure(0.0, light=False)
    assert bench.after(3.0).image_ready()


def test_a_stopped_exposure_is_read_out_and_as_long_as_it_was(bench):
    bench.camera.start_exposure(60.0, light=True)
    bench.after(5.0).stop_exposure()
    assert bench.camera.state() == READING
    assert bench.after(3.0).image_ready()
    assert bench.camera.last_exposure() == (START, 5.0)
    assert np.median(bench.camera.image()) > 1500


@pytest.mark.parametrize(
    ("duration_s", "light", "night", "kind"),
    [
        (0.0, False, (-40.0, False), "bias"),
        (5.0, False, (-40.0, True), "dark"),
        (5.0, True, (-40.0, False), "light"),
        (5.0, True, (-6.0, False), "flat"),
        (5.0, True, (-40.0, True), "flat"),
    ],
)
def test_the_observer_hears_which_kind_of_frame_was_taken(bench, duration_s, light, night, kind):
    bench.world.sun, bench.camera.lamp_on = night
    bench.camera.start_exposure(duration_s, light=light)
    bench.after(duration_s)
    assert bench.world.seen == [("camera:vis", duration_s, kind)]


def test_the_catalogue_holds_the_field_before_the_frame_is_handed_out(bench, tmp_path):
    bench.camera.start_exposure(1.0, light=True)
    bench.after(4.0)
    assert list(tmp_path.iterdir()) == []
    bench.camera.image()
    assert "tile_112_111.csv" in [each.name for each in tmp_path.iterdir()]
    assert {each.suffix for each in tmp_path.iterdir()} == {".csv"}


def test_the_frame_shows_where_the_mount_pointed_and_not_where_it_went_during_readout(bench):
    frames = []
    for goes_away in (False, True):
        bench.world.ra_deg = 120.5
        model = CameraServer(bench.world, "vis", clock=bench.clock, seed=3, pixels=128).model
        model.start_exposure(2.0, light=True)
        bench.after(2.0)
        bench.world.ra_deg = 200.0 if goes_away else 120.5
        bench.after(3.0)
        frames.append(model.image())
    assert (frames[0] == frames[1]).all()


def test_the_chip_cools_to_its_set_point_and_warms_again(bench):
    cooler = bench.camera.cooler
    assert cooler.temperature_c() == 10.0
    cooler.switch(True)
    assert -20.0 < bench.after(30.0).cooler.temperature_c() < 0.0
    assert bench.after(600.0).cooler.temperature_c() == pytest.approx(-20.0, abs=0.01)
    assert cooler.power_percent() == pytest.approx(60.0, abs=0.1)
    cooler.switch(False)
    assert bench.after(600.0).cooler.temperature_c() == pytest.approx(10.0, abs=0.01)


def test_a_mute_camera_charges_its_silence_to_the_virtual_clock(bench):
    bench.world.faults.start("camera:vis", "mute", 20.0)
    with pytest.raises(http.client.RemoteDisconnected):
        bench.request("PUT", "startexposure", "Duration=5&Light=True")
    assert bench.camera.state() == IDLE
    assert bench.clock._hushed[bench.address] == 1
    bench.after(20.0)
    assert json.loads(bench.request())["Value"] == IDLE


def test_a_hanging_camera_does_what_it_is_told_and_never_says_so(bench):
    bench.world.faults.start("camera:vis", "hang")
    with pytest.raises(http.client.RemoteDisconnected):
        bench.request("PUT", "startexposure", "Duration=5&Light=True")
    assert bench.camera.state() == EXPOSING


def test_a_mute_camera_on_the_wall_clock_accepts_and_never_answers():
    clock = WallClock(20.0, START)
    world = Watched(1.0, 2.0, faults=Faults(clock, 1))
    server = CameraServer(world, "vis", clock=clock, pixels=64)
    host, port = server.start().split(":")
    world.faults.start("camera:vis", "mute")
    connection = http.client.HTTPConnection(host, int(port), timeout=0.3)
    connection.request("GET", "/api/v1/camera/0/connected")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(host, int(port), timeout=1).connect()


def test_stopping_the_server_hangs_up_on_its_clients(bench):
    before = set(threading.enumerate())
    connection = http.client.HTTPConnection(bench.address, timeout=3)
    connection.request("GET", "/api/v1/camera/0/connected")
    connection.getresponse().read()
    bench.server.stop()
    with pytest.raises(ConnectionError):
        connection.request("GET", "/api/v1/camera/0/connected")
        connection.getresponse()
    deadline = time.monotonic() + 5
    while any("process_request_thread" in each.name for each in set(threading.enumerate()) - before):
        assert time.monotonic() < deadline


def test_a_refusing_camera_answers_with_a_driver_error_and_does_nothing(bench):
    bench.world.faults.start("camera:vis", "refuse")
    answer = json.loads(bench.request("PUT", "startexposure", "Duration=5&Light=True&ClientTransactionID=2"))
    assert (answer["ErrorNumber"], answer["ClientTransactionID"]) == (0x500, 2)
    assert bench.camera.state() == IDLE


def test_a_disconnected_camera_hangs_up_and_garbage_is_no_json(bench):
    bench.world.faults.start("camera:vis", "disconnect")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        bench.request()
    bench.world.faults.start("camera:vis", "garbage")
    with pytest.raises(ValueError):
        json.loads(bench.request())


def test_a_slow_camera_takes_four_times_as_long_to_read_out(bench):
    bench.world.faults.start("camera:vis", "slow")
    bench.camera.start_exposure(1.0, light=True)
    assert bench.after(12.9).state() == READING
    assert bench.after(0.1).image_ready()


def test_a_lying_camera_is_ready_at_once_with_an_empty_bias(bench):
    bench.world.faults.start("camera:vis", "lie")
    bench.camera.start_exposure(30.0, light=True)
    assert bench.camera.image_ready()
    assert np.std(bench.camera.image()) < 10
    bench.camera.cooler.switch(True)
    assert bench.after(600.0).cooler.temperature_c() == 10.0


def test_a_stuck_camera_is_never_ready_until_it_comes_loose(bench):
    bench.world.faults.start("camera:vis", "stuck", 100.0)
    bench.camera.start_exposure(1.0, light=True)
    assert bench.after(99.0).state() == EXPOSING
    assert not bench.camera.image_ready()
    assert bench.after(1.0).image_ready()


def test_a_camera_started_alone_says_where_it_listens_and_answers():
    with subprocess.Popen(
        [sys.executable, "-m", "simulators.camera", "--tcp", "127.0.0.1:0", "--pixels", "64"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            address = process.stdout.readline().split()[-1]
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/api/v1/camera/0/name")
            assert "vis" in json.loads(connection.getresponse().read())["Value"]
            connection.close()
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--tcp", "nowhere"], "--tcp"),
        (["--tcp", "127.0.0.1:99999"], "--tcp"),
        (["--tcp", "127.0.0.1:0", "--pixels", "7"], "pixels"),
        (["--tcp", "127.0.0.1:0", "--seed", "-1"], "seed"),
        (["--tcp", "127.0.0.1:0", "--pointing", "400,0"], "--pointing"),
        (["--tcp", "127.0.0.1:0", "--pointing", "here"], "--pointing"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(capsys, arguments, named):
    assert main(arguments) == 1
    complaint = capsys.readouterr().err
    assert named in complaint
    assert complaint.count("\n") == 1
