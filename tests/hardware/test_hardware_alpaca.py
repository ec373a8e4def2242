import json
import re
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hardware_peers import Revocable
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyros.clock import WallClock
from pyros.hardware.errors import (
    Braked,
    DeviceFault,
    GarbledReply,
    LeaseRevoked,
    LinkClosed,
    LinkTimeout,
    NotConnected,
    RefusedByDevice,
)
from pyros.hardware.imagebytes import HEADER, parse_header, read_pixels
from pyros.hardware.interfaces import CameraState
from pyros.hardware.urls import open_device

CLOCK = WallClock()
WIRE_TYPES = {"<i2": 1, "<i4": 2, "<u8": 5, "u1": 6, "<i7": 7, "<u2": 8, "<u4": 9}


def image_bytes(frame, dtype="<u2", version=1, rank=2, error=0):
    """A frame [y][x] as Alpaca sends it: [x][y]."""
    height, width = frame.shape
    header = HEADER.pack(version, error, 1, 1, 44, 2, WIRE_TYPES[dtype], rank, width, height, 0)
    return header + frame.T.astype(dtype).tobytes()


class FakeCamera(ThreadingHTTPServer):
    """An Alpaca camera of 3 x 2 pixels; `quirks` maps a request to a function that answers it instead."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.values = {
            "cameraxsize": 3, "cameraysize": 2, "exposuremin": 0.0, "exposuremax": 3600.0, "camerastate": 0,
            "imageready": True, "cansetccdtemperature": True, "cangetcoolerpower": True, "ccdtemperature": -59.5,
            "cooleron": True, "coolerpower": 41.0,
        }  # fmt: skip
        self.frame = np.arange(6, dtype=np.uint16).reshape(2, 3)
        self.quirks = {}
        self.requests = []
        self.released = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.shutdown()
        self.server_close()

    def done(self):
        return [name for method, name, _ in self.requests if method == "PUT"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def reply(self, body, kind="application/json", status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def value(self, value=None, number=0, message="", transaction=None):
        known = {"Value": value, "ErrorNumber": number, "ErrorMessage": message}
        self.reply(json.dumps(known | {"ClientTransactionID": transaction or self.transaction}).encode())

    def serve(self, form):
        form = {name: text[0] for name, text in parse_qs(form).items()}
        name = urlsplit(self.path).path.rsplit("/", 1)[1]
        self.transaction = int(form["ClientTransactionID"])
        self.server.requests.append((self.command, name, form))
        if name in self.server.quirks:
            self.server.quirks[name](self)
        elif name == "imagearray":
            self.reply(image_bytes(self.server.frame), "application/imagebytes")
        else:
            self.value(self.server.values.get(name))

    def do_GET(self):
        self.serve(urlsplit(self.path).query)

    def do_PUT(self):
        self.serve(self.rfile.read(int(self.headers["Content-Length"])).decode())


def camera_at(server, lease=None, **more):
    url = f"alpaca://127.0.0.1:{server.server_address[1]}/camera/0"
    camera = open_device(url, CLOCK, lease or Revocable(), device="camera:vis", **more)
    camera.connect()
    return camera


def test_an_exposure_starts_at_once_and_its_frame_comes_as_rows_of_y():
    with FakeCamera() as server:
        camera = camera_at(server)
        assert camera.shape == (2, 3)
        camera.start_exposure(30, light=True)
        method, name, form = server.requests[-1]
        assert (method, name, form["Duration"], form["Light"]) == ("PUT", "startexposure", "30.0", "true")
        frame = camera.download()
        assert frame.dtype == np.uint16
        assert frame.flags.c_contiguous
        assert frame.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_state_of_a_cooled_camera_is_read_with_its_units():
    with FakeCamera() as server:
        camera = camera_at(server)
        camera.set_cooler(True, -60)
        reading = camera.state()
    assert (reading.state, reading.image_ready, reading.cooler_on) == (CameraState.IDLE, True, True)
    assert (reading.ccd_temperature_c, reading.cooler_power_percent) == (-59.5, 41.0)
    assert server.done()[-2:] == ["setccdtemperature", "cooleron"]


def test_a_window_that_another_client_left_is_undone():
    with FakeCamera() as server:
        camera_at(server)
    written = {name: form for method, name, form in server.requests if method == "PUT"}
    assert (written["numx"]["NumX"], written["numy"]["NumY"], written["binx"]["BinX"]) == ("3", "2", "1")


@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.sampled_from(["<u2", "<i4", "<u4", "<u8"]),
)
def test_every_frame_survives_the_wire_whatever_type_it_travels_as(frame, dtype):
    body = image_bytes(frame, dtype)
    header = parse_header(body[:44])
    rest = [body[44 + at : 47 + at] for at in range(0, len(body) - 44, 3)]

    def read_into(memory):
        piece = rest.pop(0) if rest else b""
        memory[: len(piece)] = piece
        return len(piece)

    assert np.array_equal(read_pixels(header, read_into), frame)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "0 bytes instead of an ImageBytes header"),
        (b"x" * 20, "20 bytes instead"),
        (image_bytes(np.zeros((2, 3)))[:-1], "announced"),
        (image_bytes(np.zeros((2, 3))) + b"x", "announced"),
        (image_bytes(np.zeros((3, 2))), "a frame of 2 x 3 from a sensor of"),
        (image_bytes(np.zeros((2, 3)), version=2), "version 2"),
        (image_bytes(np.zeros((2, 3)), rank=3), "rank 3"),
        (image_bytes(np.full((2, 3), -1), "<i4"), "must fit into 0 to 65535"),
        (image_bytes(np.full((2, 3), 65536), "<i4"), "must fit into 0 to 65535"),
        (HEADER.pack(1, 0, 1, 1, 44, 2, 3, 2, 3, 2, 0), "element type 3"),
        (HEADER.pack(1, 0, 1, 1, 44, 2, 8, 2, 2**30, 2**30, 0), "sides are from 1 to 20000"),
        (HEADER.pack(1, 0, 1, 1, -5, 2, 8, 2, 3, 2, 0), "pixels from byte -5"),
    ],
)
def test_a_damaged_frame_is_never_taken_for_an_image(body, why):
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["imagearray"] = lambda handler: handler.reply(body, "application/imagebytes")
        with pytest.raises(GarbledReply, match=rf"imagearray: .*{why}"):
            camera.download()
        del server.quirks["imagearray"]
        assert camera.download().shape == (2, 3)


def test_a_frame_that_is_not_there_is_refused_with_the_cameras_words():
    message = b"no exposure yet"
    body = HEADER.pack(1, 0x40B, 1, 1, 44, 0, 0, 0, 0, 0, 0) + message
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["imagearray"] = lambda handler: handler.reply(body, "application/imagebytes")
        with pytest.raises(RefusedByDevice, match=r"invalid operation \(0x40b\): no exposure yet"):
            camera.download()


def test_a_json_image_is_refused_rather_than_read_for_minutes():
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["imagearray"] = lambda handler: handler.value([[1]])
        with pytest.raises(GarbledReply, match="instead of application/imagebytes"):
            camera.download()


@pytest.mark.parametrize(
    ("quirk", "error", "why"),
    [
        (lambda handler: handler.value(None, 0x40B, "busy"), RefusedByDevice, r"invalid operation \(0x40b\): busy"),
        (lambda handler: handler.value(None, 0x500, "shutter"), DeviceFault, r"driver error \(0x500\): shutter"),
        (lambda handler: handler.value(None, 0x407), RefusedByDevice, "not connected"),
        (lambda handler: handler.reply(b"no such device", status=400), RefusedByDevice, "HTTP 400 .*no such device"),
        (lambda handler: handler.reply(b"oops", status=500), DeviceFault, "HTTP 500"),
        (lambda handler: handler.reply(b"{"), GarbledReply, "expected an Alpaca reply"),
        (lambda handler: handler.reply(b"[1]"), GarbledReply, "instead of a JSON object"),
        (lambda handler: handler.reply(b"{}"), GarbledReply, "expected an ErrorNumber"),
        (lambda handler: handler.reply(b"[" * 100_000), GarbledReply, "expected an Alpaca reply"),
        (lambda handler: handler.value(0, transaction=999_999), GarbledReply, "got another's"),
        (lambda handler: handler.value("idle"), GarbledReply, "expected a number"),
        (lambda handler: handler.value(17), GarbledReply, "expected 0 to 5, got 17"),
        (lambda handler: handler.connection.shutdown(2), LinkClosed, "the link is closed"),
        (lambda handler: handler.server.released.wait(3), LinkTimeout, "no reply within 1 s"),
    ],
)
def test_after_any_failure_the_next_request_is_right(quirk, error, why):
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["camerastate"] = quirk
        with pytest.raises(error, match=rf"camera:vis 127.0.0.1:\d+/camera/0: camerastate: .*{why}"):
            _ = camera.camera_state
        server.quirks.clear()
        assert camera.camera_state is CameraState.IDLE


def test_an_idle_connection_that_the_server_closed_is_opened_again_unnoticed():
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["imageready"] = lambda handler: (handler.value(True), handler.connection.shutdown(2))
        assert camera.image_ready
        assert camera.image_ready


def test_an_exposure_is_never_started_twice_by_a_second_try():
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["startexposure"] = lambda handler: handler.connection.shutdown(2)
        with pytest.raises(LinkClosed):
            camera.start_exposure(1, light=False)
        assert server.done().count("startexposure") == 1


@pytest.mark.parametrize("state", [1, 2, 3, 4, 5])
def test_a_camera_that_is_not_idle_is_not_asked_to_expose(state):
    with FakeCamera() as server:
        camera = camera_at(server)
        server.values["camerastate"] = state
        with pytest.raises((RefusedByDevice, DeviceFault), match="expected an idle camera"):
            camera.start_exposure(1, light=True)
        assert "startexposure" not in server.done()


@pytest.mark.parametrize("duration_s", [-1, 3601, float("nan")])
def test_an_exposure_outside_the_cameras_limits_never_reaches_it(duration_s):
    with FakeCamera() as server:
        camera = camera_at(server)
        with pytest.raises(ValueError, match=r"this camera takes 0 to 3600 s"):
            camera.start_exposure(duration_s, light=True)
        with pytest.raises(ValueError, match="from -150 to 50"):
            camera.set_cooler(True, -300)


def test_the_brake_has_its_own_connection_and_does_not_wait_for_a_stuck_read():
    with FakeCamera() as server:
        camera = camera_at(server)
        entered = threading.Event()

        def stick(handler):
            entered.set()
            server.released.wait(10)
            handler.value(0)

        server.quirks["imageready"] = stick
        raised = []

        def read():
            with pytest.raises(LinkTimeout) as caught:
                _ = camera.image_ready
            raised.append(caught.value)

        stuck = threading.Thread(target=read, daemon=True)
        stuck.start()
        assert entered.wait(5)
        camera.brake()
        assert server.done()[-1] == "abortexposure"
        assert stuck.is_alive()
        stuck.join(5)
        assert raised


def test_closing_the_link_of_a_replaced_actor_wakes_its_stuck_transfer():
    with FakeCamera() as server:
        camera = camera_at(server)
        entered, raised = threading.Event(), []

        def stick(handler):
            handler.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/imagebytes\r\nContent-Length: 56\r\n\r\n"
            )
            handler.wfile.flush()
            entered.set()
            server.released.wait(20)

        def download():
            try:
                camera.download()
            except (LinkClosed, GarbledReply) as error:
                raised.append(error)

        server.quirks["imagearray"] = stick
        transfer = threading.Thread(target=download, daemon=True)
        transfer.start()
        assert entered.wait(5)
        camera.disconnect()
        transfer.join(5)
        assert raised
        with pytest.raises(NotConnected):
            camera.download()


def test_a_brake_while_the_exposure_was_being_prepared_keeps_it_from_starting():
    with FakeCamera() as server:
        camera = camera_at(server)
        server.quirks["camerastate"] = lambda handler: (camera.brake(), handler.value(0))
        with pytest.raises(Braked):
            camera.start_exposure(1, light=True)
        assert "startexposure" not in server.done()


def test_a_replaced_actor_cannot_expose_but_can_abort():
    lease = Revocable()
    with FakeCamera() as server:
        camera = camera_at(server, lease)
        lease.revoked = True
        before = len(server.requests)
        for write in (lambda: camera.start_exposure(1, light=True), camera.download, lambda: camera.set_cooler(False)):
            with pytest.raises(LeaseRevoked):
                write()
        assert len(server.requests) == before
        camera.brake()
        assert server.done()[-1] == "abortexposure"


def test_the_journal_holds_requests_without_what_changes_from_run_to_run():
    seen = []
    with FakeCamera() as server:
        camera = camera_at(server, journal=lambda *entry: seen.append(entry))
        camera.start_exposure(2, light=False)
    assert seen[-1][:2] == ("camera:vis", b"PUT startexposure Duration=2.0&Light=false")
    assert not re.search(rb"127\.0\.0\.1", b"".join(request + reply for _, request, reply in seen))


def test_the_header_is_forty_four_bytes_of_little_endian_integers():
    assert (HEADER.size, HEADER.format) == (44, "<11i")
    assert struct.unpack_from("<i", image_bytes(np.zeros((2, 3))), 32) == (3,)
