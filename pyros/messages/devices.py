"""Messages of the device actors: telescope, cameras, filter wheels, PLC and weather stations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from pyros.messages.base import (
    Command,
    Count,
    Declination,
    Event,
    Name,
    Part,
    Percent,
    Reply,
    RightAscension,
    State,
    Text,
)

FrameKind = Literal["light", "dark", "bias", "flat"]
Link = Literal["up", "down"]


class Brake(Command):
    """Stop the device at once, on its own path; sent to `<device>.brake`. Answered once it is on the wire."""

    makes_safer = True
    budget_s = 2.0
    cause: Text


class BrakeState(State):
    """How often a brake was pulled."""

    pulled: Count


# -- telescope -------------------------------------------------------------------------------------------------------


class Slew(Command):
    """Point at an ICRS position and track it. Answered with `Slewed` when settled, or `Refused` with a reason."""

    ra_deg: RightAscension
    dec_deg: Declination
    sequence_id: int


class Slewed(Reply):
    """The telescope tracks the position; where it really is."""

    ra_deg: RightAscension
    dec_deg: Declination
    commanded_at: datetime
    settled_at: datetime


class Park(Command):
    """Go to the park position and stop there. Answered with `Done` when the mount says that it is parked."""

    makes_safer = True
    cause: Text


class Halt(Command):
    """Give up the procedure that is running in a device actor (a slew, an exposure, a filter change)."""

    makes_safer = True
    cause: Text


class TelescopeState(State):
    """What the mount said last. `read_at` is when it said so."""

    link: Link
    ra_deg: float | None = None
    dec_deg: float | None = None
    altitude_deg: float | None = None
    azimuth_deg: float | None = None
    slewing: bool | None = None
    tracking: bool | None = None
    parked: bool | None = None
    doing: Text = ""
    problem: Text = ""
    read_at: datetime | None = None


# -- camera ----------------------------------------------------------------------------------------------------------


class Target(Part):
    """What a frame is of, for its header. Part of `Expose`."""

    name: Name
    ra_deg: RightAscension
    dec_deg: Declination
    trigger: Text = ""


class Expose(Command):
    """Take one frame and write it to disk. Answered with `Exposed` when the file is safe."""

    exposure_s: Annotated[float, Meta(ge=0, le=3600)]
    frame: FrameKind
    filter: Text
    sequence_id: int
    plan_id: int
    number: Count
    target: Target | None = None


class Exposed(Reply):
    """A frame on disk: its file relative to the image folder, and what it holds."""

    file: Text
    datasum: Text
    camera: Name
    filter: Text
    frame: FrameKind
    start: datetime
    end: datetime
    exposure_s: float


class ShutterOpened(Event):
    """An exposure has begun."""

    camera: Name
    sequence_id: int
    plan_id: int
    start: datetime
    exposure_s: float


class CameraState(State):
    """What the camera said last."""

    link: Link
    doing: Literal["idle", "exposing", "reading", "error", "unknown"] = "unknown"
    until: datetime | None = None
    ccd_temperature_c: float | None = None
    cooler_on: bool | None = None
    last_file: Text = ""
    problem: Text = ""
    read_at: datetime | None = None


# -- filter wheel ----------------------------------------------------------------------------------------------------


class SetFilter(Command):
    """Turn a filter into the beam. Answered with `FilterSet` when it is there."""

    filter: Name


class FilterSet(Reply):
    """The filter that the wheel says is in the beam."""

    filter: Name


class FilterWheelState(State):
    """What the wheel said last."""

    link: Link
    filter: Text = ""
    filters: list[str] = []
    moving: bool = False
    problem: Text = ""
    read_at: datetime | None = None


# -- PLC, dome and weather -------------------------------------------------------------------------------------------

DomePosition = Literal["open", "closed", "opening", "closing", "between", "unknown"]


class OpenDome(Command):
    """Open once. Refused unless everything that the last guard checks holds; never repeated by itself."""

    cause: Text


class CloseDome(Command):
    """Close, and keep asking until the closed switch makes. Never refused."""

    makes_safer = True
    cause: Text


class ResetLatch(Command):
    """Clear the PLC's latch, by a named operator or by the rule of `[safety] deadman_reset`."""

    operator: Name


class Beat(Command):
    """The decision loop has decided: a fresh verdict went through majordome. Feeds the PLC's dead-man."""

    verdict_at: datetime
    count: Count


class Poll(Command):
    """A device actor's own timer: ask the device how it is."""

    budget_s = 5.0
    """A connection and two replies that do not come take so long."""


class PlcState(State):
    """What the PLC said last. None where the reading was missing, invalid or contradictory."""

    link: Link
    dome: DomePosition = "unknown"
    dome_open_fraction: float | None = None
    rain: bool | None = None
    wind_m_s: float | None = None
    gust_m_s: float | None = None
    humidity_percent: float | None = None
    temperature_c: float | None = None
    dew_point_c: float | None = None
    pressure_hpa: float | None = None
    sky_minus_ambient_c: float | None = None
    sensor_age_s: float | None = None
    life: int | None = None
    mains: bool | None = None
    ups_percent: Percent | None = None
    local_key: bool | None = None
    emergency_stop: bool | None = None
    park_switch: bool | None = None
    """Where a roof waits for a parked telescope and its PLC has the switch for it."""
    latched: list[str] = []
    desired: Literal["closed", "open", "as is"] = "as is"
    problem: Text = ""
    read_at: datetime | None = None


class DomeMoved(Event):
    """The dome's limit switches changed."""

    before: DomePosition
    after: DomePosition
    cause: Text


class DomeCannotClose(Event):
    """The dome shall be closed, is not, and this daemon cannot help it: somebody has to come. Once per occurrence."""

    cause: Text


class WeatherState(State):
    """One station's last sample, with the sensor's own time."""

    station: Name
    rain: bool | None
    wind_m_s: float | None
    gust_m_s: float | None
    humidity_percent: float | None
    temperature_c: float | None
    dew_point_c: float | None
    pressure_hpa: float | None
    sky_minus_ambient_c: float | None
    sampled_at: datetime
