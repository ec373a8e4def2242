"""Links in a process with many open files, and none left open when a device is let go."""

import os
import resource
import threading

import pytest
from hardware_peers import MODBUS_FRAME, SILENCE, FakePlc, Revocable, TcpPeer

from pyros.clock import WallClock
from pyros.hardware.errors import LinkClosed, LinkTimeout
from pyros.hardware.link import Link
from pyros.hardware.ports import PortClosedError, TcpPort
from pyros.hardware.urls import open_camera, open_device
from simulators.camera import CameraServer
from simulators.world import World

CLOCK = WallClock()
SELECT_TAKES = 1024
"""Descriptors from here on are too large for select(2)."""


@pytest.fixture
def many_files():
    """Use up every descriptor that select could take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * SELECT_TAKES:
        pytest.skip(f"this machine allows only {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * SELECT_TAKES), hard))
    first = os.open(os.devnull, os.O_RDONLY)
    held = [first]
    while held[-1] < SELECT_TAKES:
        held.append(os.dup(first))
    yield
    for descriptor in held:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_plc_is_polled_and_closed_over_a_descriptor_that_select_cannot_take(many_files):
    fake = FakePlc()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = open_device(f"modbus://{peer.url}?unit=1", CLOCK, Revocable(), device="plc")
        plc.connect()
        assert plc.poll().closed_switch
        plc.close_dome()
        plc.disconnect()
    assert fake.written == [(5, 1, 0xFF00)]


def test_a_plc_that_is_silent_or_hangs_up_there_is_named_as_such(many_files):
    with TcpPeer(lambda _: SILENCE, MODBUS_FRAME) as peer:
        plc = open_device(f"modbus://{peer.url}?unit=1", CLOCK, Revocable(), device="plc")
        with pytest.raises(LinkTimeout, match="no reply within 1 s"):
            plc.connect()
        plc.disconnect()


def test_a_mount_answers_over_a_descriptor_that_select_cannot_take(many_files):
    with TcpPeer(lambda _: b"10micron GM1000#") as peer:
        link = Link(TcpPort("127.0.0.1", peer.port), CLOCK, "telescope")
        link.connect()
        assert link.transact(b":GVP#", reply=b"#") == b"10micron GM1000#"
        link.disconnect()


def test_a_read_there_ends_at_its_deadline_and_when_the_link_is_closed(many_files):
    with TcpPeer(lambda _: SILENCE) as peer:
        port = TcpPort("127.0.0.1", peer.port)
        port.open(1.0)
        assert port.read(10, 0.05) == b""
        threading.Timer(0.2, port.interrupt).start()
        with pytest.raises(PortClosedError, match="from this side"):
            port.read(10, 5.0)
        port.close()


def test_a_line_whose_far_end_is_gone_is_an_error_and_no_endless_wait():
    with TcpPeer(lambda _: SILENCE) as peer:
        link = Link(TcpPort("127.0.0.1", peer.port), CLOCK, "telescope")
        link.connect()
        threading.Timer(0.2, lambda: [line.shutdown(2) for line in peer.lines]).start()
        with pytest.raises(LinkClosed):
            link.transact(b":GR#", reply=b"#")
        link.disconnect()


def test_a_camera_that_is_let_go_leaves_no_connection_open_not_even_the_brake_s():
    world = World(CLOCK, seed=1)
    server = CameraServer(world, "vis", clock=CLOCK, seed=1, pixels=64)
    camera = open_camera(f"alpaca://{server.start()}/camera/0", CLOCK, Revocable(), device="camera:vis")
    try:
        camera.connect()
        camera.brake()
        camera.disconnect()
        lines = [connection._line() for connection in (camera._control, camera._brake, camera._transfer)]
        assert lines == [None, None, None]
        camera.brake()  # it makes safer, and opens its own connection again
        camera.disconnect()
    finally:
        server.stop()
