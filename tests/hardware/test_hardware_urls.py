import pickle

import pytest

from pyros.clock import WallClock
from pyros.hardware.alpaca import AlpacaCamera
from pyros.hardware.errors import LinkTimeout
from pyros.hardware.ifw import IfwWheel
from pyros.hardware.interfaces import StandingLease
from pyros.hardware.lx200 import Lx200Mount
from pyros.hardware.modbus import ModbusPlc
from pyros.hardware.urls import (
    ALLOWED,
    DeviceUrl,
    open_camera,
    open_device,
    open_filter_wheel,
    open_mount,
    open_plc,
    parse_device_url,
)

CLOCK = WallClock()


def same(ra_deg, dec_deg, _when):
    return ra_deg, dec_deg


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("lx200+tcp://mount.local:4030", DeviceUrl("lx200+tcp", "mount.local", 4030, "", 1)),
        ("lx200+serial:///dev/ttyUSB0", DeviceUrl("lx200+serial", "", 0, "/dev/ttyUSB0", 9600)),
        ("lx200+serial:///dev/ttyUSB0?baud=19200", DeviceUrl("lx200+serial", "", 0, "/dev/ttyUSB0", 19200)),
        ("ifw+serial:///dev/ttyUSB1", DeviceUrl("ifw+serial", "", 0, "/dev/ttyUSB1", 19200)),
        ("modbus://10.0.0.5?unit=3", DeviceUrl("modbus", "10.0.0.5", 502, "", 3)),
        ("modbus://[::1]:1502", DeviceUrl("modbus", "::1", 1502, "", 1)),
        ("alpaca://127.0.0.1:11111/camera/2", DeviceUrl("alpaca", "127.0.0.1", 11111, "camera", 2)),
    ],
)
def test_a_device_is_named_by_one_url(url, parts):
    assert parse_device_url(url) == parts


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "unknown protocol ''"),
        ("lx200://host:4030", "unknown protocol 'lx200'"),
        ("lx200+tcp://host", "host and port"),
        ("lx200+tcp://:4030", "host and port"),
        ("lx200+tcp://host:0", "host and port"),
        ("lx200+tcp://host:70000", "Port out of range"),
        ("lx200+tcp://host:x", "Port could not be cast"),
        ("lx200+tcp://host:4030/path", "path '/path'"),
        ("lx200+tcp://me@host:4030", "user names"),
        ("lx200+tcp://host:4030?baud=9600", "unknown option 'baud'"),
        ("lx200+serial://dev/ttyUSB0", "three slashes"),
        ("lx200+serial:///dev/ttyUSB0?baud=fast", "baud is 'fast', must be one of"),
        ("ifw+serial:///dev/ttyUSB0?baud=12", "baud is '12', must be one of"),
        ("modbus://host:502?unit=0", "unit is '0', must be 1 to 247"),
        ("modbus://host:502?unit=²", "unit is '²'"),
        ("modbus://host:502?unit", "bad query"),
        ("alpaca://host:11111/dome/0", "device kind 'dome' is not camera"),
        ("alpaca://host:11111/camera/x", "device number is 'x'"),
        ("alpaca://host/camera/0", "host and port"),
    ],
)
def test_a_wrong_url_is_one_clear_line_that_says_what_is_allowed(url, why):
    with pytest.raises(ValueError, match=r"^device URL ") as raised:
        open_device(url, CLOCK, StandingLease(), device="thing")
    assert why in str(raised.value)
    assert all(allowed in str(raised.value) for allowed in ALLOWED)
    assert "\n" not in str(raised.value)


def test_each_url_gets_its_driver_and_nothing_is_sent_yet():
    urls = [url.replace("host:port", "host:4030") for url in ALLOWED]
    drivers = [open_device(url, CLOCK, StandingLease(), device="thing", to_apparent=same, to_icrs=same) for url in urls]
    assert [type(driver) for driver in drivers] == [Lx200Mount, Lx200Mount, IfwWheel, IfwWheel, ModbusPlc, AlpacaCamera]
    assert not any(driver.connected for driver in drivers)


def test_a_mount_without_its_conversions_is_refused_before_it_can_point_elsewhere():
    with pytest.raises(ValueError, match="needs to_apparent and to_icrs"):
        open_device("lx200+tcp://host:4030", CLOCK, StandingLease(), device="telescope")


@pytest.mark.parametrize("opener", [open_camera, open_filter_wheel, open_plc])
def test_the_url_of_another_kind_of_device_is_refused(opener):
    with pytest.raises(ValueError, match=r"is no URL of a .*; the protocol must be"):
        opener("lx200+tcp://host:4030", CLOCK, StandingLease(), device="thing")
    with pytest.raises(ValueError, match=r"is no URL of a mount"):
        open_mount("modbus://host", CLOCK, StandingLease(), device="telescope", to_apparent=same, to_icrs=same)


def test_errors_survive_a_process_boundary():
    error = pickle.loads(pickle.dumps(LinkTimeout("mount", ":GR#", "no reply")))
    assert (type(error), str(error)) == (LinkTimeout, "mount: :GR#: no reply")
