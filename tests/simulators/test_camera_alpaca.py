"""The camera on the wire: ASCOM's own client, raw HTTP, and what a request must not be."""

import http.client
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import numpy as np
import pytest
from alpaca import exceptions
from alpaca.camera import Camera, CameraStates, SensorType
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyros.clock import VirtualClock, WallClock
from simulators.camera import CameraServer
from simulators.frame_optics import offset, pointing_error_arcsec
from simulators.frame_scene import PlainWorld
from simulators.sky import SyntheticSky

RA, DEC, N, SEED = 120.5, 22.1, 128, 9
START = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


class SteadyStar:
    ra_deg, dec_deg = RA + 0.09, DEC + 0.05

    def magnitude(self, t):
        return 4.0


@pytest.fixture
def address():
    world = PlainWorld(RA, DEC, transients=[SteadyStar()])
    server = CameraServer(world, "vis", clock=WallClock(20.0, START), seed=SEED, sky=SyntheticSky(SEED, 1.0), pixels=N)
    yield server.start()
    server.stop()


@pytest.fixture
def frozen():
    """A connected camera whose clock stands still, as (clock, connection)."""
    clock = VirtualClock(START)
    server = CameraServer(PlainWorld(RA, DEC), "vis", clock=clock, seed=SEED, pixels=N)
    connection = http.client.HTTPConnection(server.start(), timeout=5)
    put(connection, "connected", Connected="True")
    yield clock, connection
    connection.close()
    server.stop()


def wait_ready(camera):
    deadline = time.monotonic() + 10
    while not camera.ImageReady:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(connection, method, path, body=None, headers=None):
    full = path if path.startswith("/") else f"/api/v1/camera/0/{path}"
    connection.request(method, full, body, headers or {})
    reply = connection.getresponse()
    return reply.status, reply.read()


def get(connection, path):
    status, body = ask(connection, "GET", path)
    assert status == 200, body
    return json.loads(body)


def put(connection, path, **form):
    status, body = ask(connection, "PUT", path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200, body
    return json.loads(body)


def test_ascoms_own_client_cools_exposes_and_reads_the_sky_the_right_way_up(address):
    camera = Camera(address, 0)
    with pytest.raises(exceptions.NotConnectedException):
        _ = camera.CCDTemperature
    camera.Connected = True
    camera.SetCCDTemperature = -20.0
    camera.CoolerOn = True
    assert camera.CameraState == CameraStates.cameraIdle
    camera.StartExposure(1.0, True)
    assert camera.CameraState in {CameraStates.cameraExposing, CameraStates.cameraReading}
    wait_ready(camera)
    image = np.array(camera.ImageArray).T
    assert image.shape == (N, N)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = offset(RA, DEC, *pointing_error_arcsec(SEED, RA, DEC))
    wcs.wcs.crpix = [(N + 1) / 2] * 2
    wcs.wcs.cd = np.diag([-1.0, 1.0]) * 26.0 / 60.0 / N
    x, y = wcs.wcs_world2pix([[SteadyStar.ra_deg, SteadyStar.dec_deg]], 0)[0]
    brightest = np.argwhere(image > 60000).mean(axis=0)
    assert brightest == pytest.approx((y, x), abs=0.6)  # numpy's [y][x]
    assert camera.LastExposureDuration == 1.0
    assert camera.LastExposureStartTime.startswith("2026-11-22T04:")
    camera.StartExposure(1.0, False)
    wait_ready(camera)
    assert np.median(np.array(camera.ImageArray)) < 1030
    assert camera.CCDTemperature < 10.0


def test_every_property_of_a_camera_answers_or_says_that_it_is_not_there(address):
    camera = Camera(address, 0)
    camera.Connected = True
    absent, values = [], {}
    named = [each for each in dir(Camera) if isinstance(getattr(Camera, each), property)]
    for name in [each for each in named if not each.startswith("ImageArray")]:
        try:
            values[name] = getattr(camera, name)
        except exceptions.NotImplementedException:
            absent.append(name)
        except exceptions.InvalidOperationException:
            assert name.startswith("LastExposure")  # nothing was exposed yet
    assert set(absent) == {
        "BayerOffsetX", "BayerOffsetY", "DeviceState", "FastReadout",
        "GainMax", "GainMin", "HeatSinkTemperature", "IsPulseGuiding",
        "Offset", "OffsetMax", "OffsetMin", "Offsets", "SubExposureDuration",
    }  # fmt: skip
    assert values["SensorType"] == SensorType.Monochrome
    assert values["MaxADU"] == 65535
    assert values["InterfaceVersion"] == 3
    assert values["PixelSizeX"] * N == pytest.approx(27648.0)


def test_image_bytes_and_json_carry_the_same_pixels_in_x_y_order(frozen):
    clock, connection = frozen
    for name, value in (("startx", 10), ("numx", 40), ("numy", 20)):
        put(connection, name, **{{"startx": "StartX", "numx": "NumX", "numy": "NumY"}[name]: value})
    put(connection, "startexposure", Duration="1.0", Light="True")
    clock.run(START + timedelta(seconds=4))
    listed = get(connection, "imagearray?ClientTransactionID=7")
    assert (listed["Type"], listed["Rank"], listed["ClientTransactionID"]) == (2, 2, 7)
    status, raw = ask(connection, "GET", "imagearray?clienttransactionid=8", None, {"Accept": "application/imagebytes"})
    header = np.frombuffer(raw[:44], "<i4")
    assert status == 200
    assert header[[0, 1, 2, 4, 5, 6, 7, 8, 9, 10]].tolist() == [1, 0, 8, 44, 2, 8, 2, 40, 20, 0]
    assert np.frombuffer(raw[44:], "<u2").reshape(40, 20).tolist() == listed["Value"]


def test_an_image_that_is_not_there_is_an_ascom_error_in_both_forms(frozen):
    _, connection = frozen
    for accept in ("application/json", "application/imagebytes"):
        status, body = ask(connection, "GET", "imagearray", None, {"Accept": accept})
        assert (status, json.loads(body)["ErrorNumber"]) == (200, 0x40B)


@pytest.mark.parametrize(
    ("method", "form", "error"),
    [
        ("startexposure", {"Duration": "-1", "Light": "True"}, 0x401),
        ("startexposure", {"Duration": "nan", "Light": "True"}, 0x401),
        ("startexposure", {"Duration": "1e9", "Light": "True"}, 0x401),
        ("setccdtemperature", {"SetCCDTemperature": "-300"}, 0x401),
        ("gain", {"Gain": "9"}, 0x401),
        ("binx", {"BinX": "0"}, 0x401),
        ("readoutmode", {"ReadoutMode": "1"}, 0x401),
        ("pulseguide", {"Direction": "0", "Duration": "10"}, 0x400),
        ("action", {"Action": "dance", "Parameters": ""}, 0x40C),
        ("action", {"Action": "lamp", "Parameters": "maybe"}, 0x401),
    ],
)
def test_a_wrong_value_is_answered_by_its_ascom_number_and_a_reason(frozen, method, form, error):
    answer = put(frozen[1], method, ClientTransactionID=3, **form)
    assert (answer["ErrorNumber"], answer["ClientTransactionID"]) == (error, 3)
    assert answer["ErrorMessage"]


def test_a_window_off_the_chip_is_refused_when_the_exposure_starts(frozen):
    _, connection = frozen
    put(connection, "startx", StartX=100)
    assert put(connection, "startexposure", Duration="1", Light="True")["ErrorNumber"] == 0x401
    assert get(connection, "camerastate")["Value"] == 0


def test_the_lamp_lights_a_flat_with_either_spelling_of_its_parameter(frozen):
    clock, connection = frozen
    for wish in ("on", '["on"]'):
        assert put(connection, "action", Action="lamp", Parameters=wish)["Value"] == "on"
    put(connection, "startexposure", Duration="4", Light="True")
    clock.run(START + timedelta(seconds=7))
    assert np.median(get(connection, "imagearray")["Value"]) > 8000


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/camera/0/colour", None),
        ("GET", "/api/v1/camera/1/gain", None),
        ("GET", "/api/v1/Camera/0/gain", None),
        ("GET", "/api/v2/camera/0/gain", None),
        ("GET", "/api/v1/camera/0/gain?ClientTransactionID=-1", None),
        ("GET", "/api/v1/camera/0/gain?ClientID=" + "9" * 5000, None),
        ("GET", "/management/v2/description", None),
        ("POST", "/api/v1/camera/0/gain", None),
        ("PUT", "/api/v1/camera/0/startexposure", "Duration=1"),
        ("PUT", "/api/v1/camera/0/startexposure", "Duration=long&Light=True"),
        ("PUT", "/api/v1/camera/0/cooleron", "cooleron=True"),
    ],
)
def test_a_request_that_makes_no_sense_is_http_400(frozen, method, path, body):
    status, text = ask(frozen[1], method, path, body)
    assert status == 400
    assert text


def test_queries_ignore_case_and_transactions_are_echoed_and_counted(frozen):
    _, connection = frozen
    first, second = (
        get(connection, f"gain?{name}=4294967295") for name in ("CLIENTTRANSACTIONID", "clienttransactionId")
    )
    assert first["ClientTransactionID"] == second["ClientTransactionID"] == 4294967295
    assert second["ServerTransactionID"] == first["ServerTransactionID"] + 1


def test_the_management_api_lists_the_camera(frozen):
    _, connection = frozen
    assert get(connection, "/management/apiversions")["Value"] == [1]
    assert get(connection, "/management/v1/description")["Value"]["ServerName"]
    (device,) = get(connection, "/management/v1/configureddevices")["Value"]
    assert (device["DeviceType"], device["DeviceNumber"]) == ("Camera", 0)
    assert len(device["UniqueID"]) == 36


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_from_a_stranger_stop_the_server(frozen, noise):
    _, connection = frozen
    with socket.create_connection((connection.host, connection.port), timeout=3) as stranger:
        stranger.sendall(noise + b"\r\n\r\n")
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(4096):
            pass
    assert get(connection, "connected")["Value"] is True


def test_a_header_or_body_too_long_is_refused(frozen):
    _, connection = frozen
    for flood in (b"GET /" + b"a" * 70000, b"PUT /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"):
        with socket.create_connection((connection.host, connection.port), timeout=3) as stranger:
            stranger.sendall(flood)
            assert stranger.recv(200).startswith(b"HTTP/1.1 400")
