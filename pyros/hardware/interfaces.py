"""What PyROS asks of a device, whatever its maker: ASCOM's names and meanings, in degrees, seconds and UTC.

A start method (slew, expose, move) returns at once; its end is found by polling. A driver belongs to one actor's
thread. Three things another thread may call: `brake()`, `disconnect()` (it wakes a stuck read) and `Camera.download()`.
Nothing is sent before `connect()`. After a failure the driver heals its link by itself at the next command.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray


class Lease(Protocol):
    """The right to write to a device. Held by one incarnation of an actor, revoked when that is replaced."""

    def check(self) -> None:
        """Raise `LeaseRevoked` if the holder has been replaced."""
        ...


class StandingLease:
    """A lease nobody revokes: for commands that make safer, tools and tests, which no supervisor replaces."""

    def check(self) -> None:
        """Return: it is always held."""


class CameraState(IntEnum):
    """ASCOM CameraStates."""

    IDLE = 0
    WAITING = 1
    EXPOSING = 2
    READING = 3
    DOWNLOAD = 4
    ERROR = 5


class MountReading(msgspec.Struct, frozen=True, kw_only=True):
    """Where a mount points and what it does. `None` is "the mount does not say"."""

    read_at: datetime
    ra_deg: float
    """ICRS."""
    dec_deg: float
    """ICRS."""
    altitude_deg: float | None
    azimuth_deg: float | None
    """From north through east."""
    pier_side: str | None
    """``"east"`` or ``"west"``."""
    slewing: bool
    tracking: bool | None
    at_park: bool | None
    problem: str | None
    """What the mount reports as wrong with itself."""


class CameraReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera does and how cold it is. `None` is "the camera cannot say"."""

    read_at: datetime
    state: CameraState
    image_ready: bool
    ccd_temperature_c: float | None
    cooler_on: bool | None
    cooler_power_percent: float | None


class FilterWheelReading(msgspec.Struct, frozen=True, kw_only=True):
    """Where a filter wheel stands."""

    read_at: datetime
    position: int | None
    """Counted from 1; `None` while it moves."""
    moving: bool


class PlcReading(msgspec.Struct, frozen=True, kw_only=True):
    """One poll of the dome controller. `None` is unknown, and unknown is unsafe; `problems` says why, one line each."""

    read_at: datetime
    life_counter: int | None
    life_age_s: float
    """For how long the life counter has not changed, as seen by this driver."""
    closed_switch: bool | None
    open_switch: bool | None
    opening: bool | None
    closing: bool | None
    latch_set: bool | None
    latch_reasons: tuple[str, ...] | None
    local_key: bool | None
    emergency_stop: bool | None
    mains_ok: bool | None
    rain_contact: bool | None
    deadman_expired: bool | None
    motion_fault: bool | None
    remote_enabled: bool | None
    park_switch: bool | None = None
    """Whether the mount stands in its park position; `None` also where the register map has no such switch."""
    rain: bool | None
    wind_ms: float | None
    gust_ms: float | None
    humidity_percent: float | None
    temperature_c: float | None
    pressure_hpa: float | None
    sky_minus_ambient_c: float | None
    dew_point_c: float | None
    sensor_age_s: float | None
    ups_percent: float | None
    dome_position: float | None
    """0 closed, 1 open."""
    problems: tuple[str, ...]


class Device(Protocol):
    """What all devices have."""

    @property
    def connected(self) -> bool:
        """Whether `connect()` succeeded and neither side has hung up since."""
        ...

    def connect(self) -> None:
        """Open the link and find out what is at its other end. Safe to repeat."""
        ...

    def disconnect(self) -> None:
        """Close the link. From any thread; a read in progress fails at once."""
        ...


class Mount(Device, Protocol):
    """ITelescope, as far as it is needed."""

    @property
    def slewing(self) -> bool:
        """Whether it moves to a target, to its park position or from it."""
        ...

    @property
    def tracking(self) -> bool | None:
        """Whether it follows the sky."""
        ...

    @property
    def at_park(self) -> bool | None:
        """Whether it stands parked."""
        ...

    def slew_to_coordinates_async(self, ra_deg: float, dec_deg: float) -> None:
        """Start to slew to ICRS coordinates; raises `RefusedByDevice` with the mount's own words."""
        ...

    def set_tracking(self, on: bool) -> None:
        """Follow the sky, or stand."""
        ...

    def park(self) -> None:
        """Start to move to the park position. Makes safer: needs no lease."""
        ...

    def unpark(self) -> None:
        """Leave the park position."""
        ...

    def state(self) -> MountReading:
        """Read everything at once."""
        ...

    def brake(self) -> None:
        """Stop all motion. From any thread; never waits for a reply. Makes safer: needs no lease."""
        ...


class Camera(Device, Protocol):
    """ICamera, as far as it is needed."""

    shape: tuple[int, int]
    """``(height, width)`` of the sensor in pixels; (0, 0) before the first `connect()`."""
    exposure_range_s: tuple[float, float]
    """Shortest and longest exposure; (0, 0) before the first `connect()`."""

    @property
    def camera_state(self) -> CameraState:
        """What the camera does."""
        ...

    @property
    def image_ready(self) -> bool:
        """Whether there is a frame to download."""
        ...

    def start_exposure(self, duration_s: float, light: bool) -> None:
        """Start an exposure of `duration_s`, shutter open if `light`."""
        ...

    def download(self) -> NDArray[np.uint16]:
        """Fetch the frame as ``[y][x]``. Takes up to 30 s: call it in a transfer thread."""
        ...

    def set_cooler(self, on: bool, setpoint_c: float | None = None) -> None:
        """Switch the cooler, and set the temperature it shall hold."""
        ...

    def state(self) -> CameraReading:
        """Read everything at once."""
        ...

    def brake(self) -> None:
        """Abort the exposure, drop the frame. From any thread, over its own connection. Needs no lease."""
        ...


class FilterWheel(Device, Protocol):
    """IFilterWheel."""

    @property
    def names(self) -> tuple[str, ...]:
        """The filters, position 1 first."""
        ...

    @property
    def moving(self) -> bool:
        """Whether it is on its way."""
        ...

    @property
    def position(self) -> int | None:
        """Counted from 1; `None` while it moves."""
        ...

    def set_position(self, position: int) -> None:
        """Start to turn to a position, counted from 1."""
        ...

    def home(self) -> None:
        """Start to look for position 1, as a wheel that lost its power needs."""
        ...

    def state(self) -> FilterWheelReading:
        """Read everything at once."""
        ...


class Plc(Device, Protocol):
    """The dome's controller: limit switches, interlocks, weather sensors."""

    def poll(self) -> PlcReading:
        """Read everything in one transaction."""
        ...

    def heartbeat(self, value: int) -> None:
        """Write a number; the PLC counts only a changed one as life."""
        ...

    def open_dome(self) -> None:
        """Pulse "open"."""
        ...

    def close_dome(self) -> None:
        """Pulse "close". Makes safer: needs no lease."""
        ...

    def stop(self) -> None:
        """Pulse "stop" for the dome's motors. Stops a closing dome as well, so it needs the lease."""
        ...

    def reset_latch(self) -> None:
        """Pulse "reset" for the safety latch."""
        ...

    def set_deadman(self, seconds: int) -> None:
        """Set after how long without a changed heartbeat the PLC closes by itself."""
        ...
