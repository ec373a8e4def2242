"""Our drivers on the wall clock: over serial lines, at a deaf wheel, and against the alpaca-simulators package."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hardware_peers import Revocable

from pyros.clock import WallClock
from pyros.hardware.errors import LinkTimeout, RefusedByDevice
from pyros.hardware.interfaces import CameraState
from pyros.hardware.urls import open_device
from simulators.lx200_server import Lx200Session
from simulators.mount import SimulatedMount
from simulators.serve import PtyServer, TcpServer
from simulators.wheel import IfwSession, SimulatedWheel
from simulators.world import World


def same(ra_deg, dec_deg, _when):
    return ra_deg, dec_deg


@pytest.mark.parametrize("device", ["mount", "wheel"])
def test_simulators_behind_a_serial_line_are_driven_alike(tmp_path, device):
    clock = WallClock()
    world = World(clock)
    path = tmp_path / "line"
    if device == "mount":
        mount = SimulatedMount(world)
        line = PtyServer(clock, world.faults, mount.name, lambda link: Lx200Session(mount, link))
        scheme = "lx200+serial"
    else:
        wheel = SimulatedWheel(world)
        line = PtyServer(clock, world.faults, wheel.name, lambda link: IfwSession(wheel, link))
        scheme = "ifw+serial"
    line.start(str(path))
    try:
        driver = open_device(f"{scheme}://{path}", clock, Revocable(), device=device, to_apparent=same, to_icrs=same)
        driver.connect()
        assert driver.state() is not None
        world.faults.start("telescope" if device == "mount" else "filter_wheel:vis", "mute")
        with pytest.raises(LinkTimeout):
            driver.state()
        world.faults.end("telescope" if device == "mount" else "filter_wheel:vis")
        assert driver.state() is not None
        driver.disconnect()
    finally:
        line.stop()


def test_on_the_wall_clock_the_simulated_wheel_is_deaf_until_it_has_arrived():
    clock = WallClock(speed=60)
    world = World(clock)
    wheel = SimulatedWheel(world)
    server = TcpServer(clock, world.faults, wheel.name, lambda link: IfwSession(wheel, link))
    driver = open_device(f"ifw+tcp://{server.start()}", clock, Revocable(), device="filter_wheel:vis")
    try:
        driver.connect()
        driver.set_position(2)
        polls = 0
        while driver.moving:
            clock.sleep(0.2)
            polls += 1
        assert polls > 2
        assert driver.position == 2
    finally:
        server.stop()


@pytest.fixture
def alpaca_simulators(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "alpaca-simulators"), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    try:
        clock = WallClock()
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            clock.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()  # it would wait for its own exposures to end
        server.wait(10)


def test_a_strangers_alpaca_camera_takes_a_dark_and_aborts(alpaca_simulators):
    clock = WallClock()
    camera = open_device(f"alpaca://{alpaca_simulators}/camera/0", clock, Revocable(), device="camera:vis")
    camera.connect()
    camera.start_exposure(0.5, light=False)
    for _ in range(100):
        if camera.image_ready:
            break
        clock.sleep(0.1)
    frame = camera.download()
    assert frame.shape == camera.shape
    assert frame.dtype == np.uint16
    camera.start_exposure(30, light=False)
    camera.brake()
    for _ in range(50):
        if camera.camera_state is CameraState.IDLE:
            break
        clock.sleep(0.1)
    assert camera.camera_state is CameraState.IDLE
    assert camera.state().state is CameraState.IDLE
    with pytest.raises(RefusedByDevice):
        open_device(f"alpaca://{alpaca_simulators}/camera/99", clock, Revocable(), device="camera:nir").connect()
    camera.disconnect()
