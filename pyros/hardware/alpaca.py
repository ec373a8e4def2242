"""A camera over ASCOM Alpaca.

Three connections, for three threads: control (the actor's), the brake's own, which never waits behind the others, and
the transfer's, over which a frame comes as ImageBytes. The last is not dated or charged by the clock: its caller models
how long a transfer takes.
"""

from __future__ import annotations

import http.client
import json
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pyros.clock import Clock
from pyros.hardware.alpaca_http import AlpacaConnection
from pyros.hardware.errors import Braked, DeviceFault, GarbledReply, LinkTimeout, NotConnected, RefusedByDevice
from pyros.hardware.imagebytes import HEADER, ImageHeader, parse_header, read_pixels
from pyros.hardware.interfaces import CameraReading, CameraState, Lease
from pyros.hardware.link import Journal

TRANSFER_TIMEOUT_S = 30.0
_CHUNK = 1 << 20
_LONGEST_ERROR = 4096


class AlpacaCamera:
    """A camera; see `pyros.hardware.interfaces.Camera`.

    Parameters
    ----------
    host, port, number
        The Alpaca server, and which of its cameras.
    clock : Clock
        Dates readings and bounds transfers.
    lease : Lease
        Checked before every request, except `brake`.
    device : str
        Its name in errors and in the journal.
    journal : Journal, optional
        Called after every control request, not for frames.
    """

    def __init__(
        self,
        host: str,
        port: int,
        number: int,
        clock: Clock,
        lease: Lease,
        *,
        device: str = "camera",
        journal: Journal | None = None,
    ) -> None:
        path = f"camera/{number}"
        self._clock = clock
        self._lease = lease
        self._control = AlpacaConnection(host, port, path, clock, device=device, journal=journal)
        self._brake = AlpacaConnection(host, port, path, clock, device=device, journal=journal)
        self._transfer = AlpacaConnection(host, port, path, clock, device=device, timeout_s=TRANSFER_TIMEOUT_S)
        self._brakes = 0
        self._wanted = False
        self._can: dict[str, bool] = {}
        self.shape = (0, 0)
        """The sensor's ``(height, width)`` in pixels, known once connected."""
        self.exposure_range_s = (0.0, 0.0)
        """The shortest and the longest exposure, known once connected."""

    # -- the link ----------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """See `Device.connected`."""
        return self._wanted and self._control.connected

    def connect(self) -> None:
        """See `Device.connect`: reads the sensor's size and limits, and undoes a window that someone left."""
        self._wanted = True
        self._put("connected", again=True, Connected="true")
        self.shape = (self._whole("cameraysize"), self._whole("cameraxsize"))
        self.exposure_range_s = (self._number("exposuremin"), self._number("exposuremax"))
        self._can = {
            "cool": bool(self._get("cansetccdtemperature")),
            "power": bool(self._get("cangetcoolerpower")),
        }
        height, width = self.shape
        window = {"BinX": 1, "BinY": 1, "StartX": 0, "StartY": 0, "NumX": width, "NumY": height}
        for name, value in window.items():
            self._put(name.lower(), again=True, **{name: str(value)})

    def disconnect(self) -> None:
        """See `Device.disconnect`. The server goes on; only our connections are closed."""
        self._wanted = False
        for connection in (self._control, self._brake, self._transfer):
            connection.close()

    def _require(self, name: str) -> None:
        if not self._wanted:
            raise NotConnected(self._control.device, name, "not connected; call connect() first")
        self._lease.check()

    def _get(self, name: str) -> Any:
        self._require(name)
        return self._control.get(name)

    def _put(self, name: str, *, again: bool = False, **form: str) -> None:
        self._require(name)
        self._control.put(name, again=again, **form)

    def _number(self, name: str) -> float:
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
            raise GarbledReply(self._control.device, name, f"expected a number, got {value!r}"[:200])
        return float(value)

    def _whole(self, name: str) -> int:
        value = self._number(name)
        if value != int(value):
            raise GarbledReply(self._control.device, name, f"expected a whole number, got {value!r}")
        return int(value)

    # -- exposures ---------------------------------------------------------------------------------------------------

    @property
    def camera_state(self) -> CameraState:
        """See `Camera.camera_state`."""
        number = self._whole("camerastate")
        if number not in list(CameraState):
            raise GarbledReply(self._control.device, "camerastate", f"expected 0 to 5, got {number}")
        return CameraState(number)

    @property
    def image_ready(self) -> bool:
        """See `Camera.image_ready`."""
        return self._get("imageready") is True

    def start_exposure(self, duration_s: float, light: bool) -> None:
        """See `Camera.start_exposure`. Asks for the state first, which also finds a lost connection out."""
        shortest_s, longest_s = self.exposure_range_s
        if not shortest_s <= duration_s <= longest_s:
            raise ValueError(f"exposure_s is {duration_s}; this camera takes {shortest_s:g} to {longest_s:g} s")
        brakes = self._brakes
        state = self.camera_state
        if state is CameraState.ERROR:
            raise DeviceFault(self._control.device, "startexposure", "expected an idle camera; it is in ERROR")
        if state is not CameraState.IDLE:
            raise RefusedByDevice(self._control.device, "startexposure", f"expected an idle camera; it is {state.name}")
        if brakes != self._brakes:
            raise Braked(self._control.device, "startexposure", "not sent, for the brake was pulled meanwhile")
        self._put("startexposure", Duration=repr(float(duration_s)), Light=str(light).lower())

    def brake(self) -> None:
        """See `Camera.brake`: AbortExposure."""
        self._brakes += 1
        self._brake.put("abortexposure", again=True)

    def download(self) -> NDArray[np.uint16]:
        """See `Camera.download`. Length, element type and size are checked against header and sensor."""
        self._require("imagearray")
        return self._transfer.fetch("imagearray", "application/imagebytes", self._read_frame)

    def _read_frame(self, response: http.client.HTTPResponse) -> NDArray[np.uint16]:
        content_type = response.headers.get("Content-Type", "")
        if "imagebytes" not in content_type:
            self._judge_error(response)
            raise ValueError(f"content type {content_type!r} instead of application/imagebytes")
        header = parse_header(response.read(HEADER.size))
        if header.error_number:
            message = response.read(1000)[header.data_start - HEADER.size :].decode("utf-8", "replace")
            self._transfer.judge("imagearray", header.error_number, message)
        self._check_size(header, response.headers.get("Content-Length"))
        response.read(header.data_start - HEADER.size)
        deadline_s = self._clock.monotonic_s() + TRANSFER_TIMEOUT_S * (1 if self._clock.virtual else self._clock.speed)

        def read_into(memory: memoryview) -> int:
            if self._clock.monotonic_s() > deadline_s:
                raise LinkTimeout(self._transfer.device, "imagearray", f"no whole frame in {TRANSFER_TIMEOUT_S:g} s")
            return response.readinto(memory[:_CHUNK])

        return read_pixels(header, read_into)

    def _judge_error(self, response: http.client.HTTPResponse) -> None:
        """Raise the camera's own error, which servers may also send as JSON."""
        body = json.loads(response.read(_LONGEST_ERROR))
        if isinstance(body, dict):
            error = cast("dict[str, Any]", body)
            self._transfer.judge("imagearray", error.get("ErrorNumber"), str(error.get("ErrorMessage", "")))

    def _check_size(self, header: ImageHeader, content_length: str | None) -> None:
        if (header.height, header.width) != self.shape:
            raise ValueError(f"a frame of {header.width} x {header.height} from a sensor of {self.shape[::-1]} pixels")
        expected = header.data_start + header.pixel_bytes
        if content_length is not None and content_length != str(expected):
            raise ValueError(f"{content_length} bytes announced, {expected} needed for the frame")

    # -- temperature and state ---------------------------------------------------------------------------------------

    def set_cooler(self, on: bool, setpoint_c: float | None = None) -> None:
        """See `Camera.set_cooler`."""
        if setpoint_c is not None:
            if not -150 <= setpoint_c <= 50:
                raise ValueError(f"setpoint_c is {setpoint_c}; it must be from -150 to 50")
            self._put("setccdtemperature", again=True, SetCCDTemperature=repr(float(setpoint_c)))
        self._put("cooleron", again=True, CoolerOn=str(on).lower())

    def state(self) -> CameraReading:
        """See `Camera.state`."""
        state, ready = self.camera_state, self.image_ready
        cooled = self._can.get("cool", False)
        temperature_c = self._number("ccdtemperature") if cooled else None
        cooler_on = self._get("cooleron") is True if cooled else None
        power = self._number("coolerpower") if self._can.get("power") else None
        return CameraReading(
            read_at=self._clock.now(),
            state=state,
            image_ready=ready,
            ccd_temperature_c=temperature_c,
            cooler_on=cooler_on,
            cooler_power_percent=power,
        )
