"""Device cards and the weather table: a pure function of the board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pyros.messages.devices import CameraState, FilterWheelState, PlcState, TelescopeState, WeatherState
from pyros.messages.night import DeviceHealth, MonitorState
from pyros.web.board import Board, Sighting
from pyros.web.wording import declination, number, right_ascension, yes_no

STALE_S: dict[type, float] = {
    PlcState: 10.0,
    WeatherState: 60.0,
    TelescopeState: 60.0,
    CameraState: 120.0,
    FilterWheelState: 600.0,
}
"""Age in clock seconds from which a device's values are stale: a few times its longest pause between readings."""
REAL_FLOOR_S = 5.0
"""On a fast clock a value is never called stale before so many real seconds."""


@dataclass(frozen=True)
class Value:
    """One line of a card."""

    label: str
    text: str
    abnormal: bool = False


@dataclass(frozen=True)
class Card:
    """One device: what it does, what it said and when. `at` is None when it has never said anything."""

    name: str
    doing: str
    values: tuple[Value, ...]
    problem: str
    at: datetime | None
    stale_s: float
    until: datetime | None = None

    @property
    def abnormal(self) -> bool:
        """Whether somebody should look at it."""
        return bool(self.problem) or any(value.abnormal for value in self.values)


@dataclass(frozen=True)
class Station:
    """One weather station's column."""

    name: str
    at: datetime | None
    stale_s: float
    values: tuple[Value, ...]


def stale_after_s(kind: type, speed: float) -> float:
    """Return the age, in clock seconds, from which a state of this kind is stale at this clock speed."""
    return max(STALE_S.get(kind, 60.0), REAL_FLOOR_S * speed)


def device_cards(board: Board) -> list[Card]:
    """Return a card for every device that has a state, or that the monitor misses."""
    seen: list[Sighting[Any]] = [sighting for kind in _READERS for sighting in board.every(kind)]
    monitor = board.one(MonitorState)
    health = {device.device: device for device in monitor.state.devices} if monitor else {}
    cards = [_card(sighting, health.get(sighting.actor), board.speed) for sighting in seen]
    known = {sighting.actor for sighting in seen} | {sighting.actor for sighting in board.every(WeatherState)}
    return cards + [_missing(device) for name, device in health.items() if name not in known]


def weather_stations(board: Board) -> list[Station]:
    """Return a column for each station; the PLC's own readings where no station publishes."""
    stations = [
        Station(s.state.station, s.state.sampled_at, stale_after_s(WeatherState, board.speed), _weather(s.state))
        for s in board.every(WeatherState)
    ]
    return stations or [
        Station(s.actor, _sampled_at(s.state), stale_after_s(PlcState, board.speed), _weather(s.state))
        for s in board.every(PlcState)
    ]


def _card(sighting: Sighting[Any], health: DeviceHealth | None, speed: float) -> Card:
    state = sighting.state
    doing, values = _READERS[type(state)](state)
    link_down = state.link == "down"
    problem = state.problem or (health.problem if health else "") or ("the link is down" if link_down else "")
    return Card(
        name=sighting.actor,
        doing="no link" if link_down else doing,
        values=tuple(values),
        problem=problem,
        at=state.read_at or sighting.at,
        stale_s=stale_after_s(type(state), speed),
        until=state.until if isinstance(state, CameraState) and state.doing == "exposing" else None,
    )


def _missing(device: DeviceHealth) -> Card:
    problem = device.problem or ("the link is down" if device.link == "down" else "has not said anything yet")
    return Card(device.device, "no word" if device.link == "up" else "no link", (), problem, None, 0.0)


def _telescope(state: TelescopeState) -> tuple[str, list[Value]]:
    resting = "parked" if state.parked else "tracking" if state.tracking else "standing"
    unknown = state.parked is None and state.tracking is None
    doing = state.doing or ("slewing" if state.slewing else "unknown" if unknown else resting)
    return doing, [
        Value("Right ascension", right_ascension(state.ra_deg)),
        Value("Declination", declination(state.dec_deg)),
        Value("Altitude", number(state.altitude_deg, 1, "°").replace(" °", "°")),
        Value("Azimuth", number(state.azimuth_deg, 1, "°").replace(" °", "°")),
    ]


def _camera(state: CameraState) -> tuple[str, list[Value]]:
    return state.doing, [
        Value("Sensor", number(state.ccd_temperature_c, 1, "°C")),
        Value("Cooler", yes_no(state.cooler_on, "on", "off")),
        Value("Last file", state.last_file.rsplit("/", 1)[-1] or "none yet"),
    ]


def _wheel(state: FilterWheelState) -> tuple[str, list[Value]]:
    return ("turning" if state.moving else "in place"), [
        Value("Filter", state.filter or "unknown"),
        Value("Filters", " ".join(state.filters) or "unknown"),
    ]


def _plc(state: PlcState) -> tuple[str, list[Value]]:
    fraction = "" if state.dome_open_fraction is None else f" ({state.dome_open_fraction * 100:.0f} % open)"
    moving = state.dome in {"opening", "closing", "between"}
    values = [
        Value("Wanted", state.desired),
        Value("Rain contact", yes_no(state.rain, "WET", "dry"), state.rain is not False),
        Value("Mains", yes_no(state.mains, "on", "OFF"), state.mains is False),
        Value("UPS", number(state.ups_percent, 0, "%"), state.ups_percent is not None and state.ups_percent < 50),
    ]
    exceptions = [
        Value("Emergency stop", "PRESSED", abnormal=True) if state.emergency_stop else None,
        Value("Local key", "SET: no remote motion", abnormal=True) if state.local_key else None,
        Value("Latched", ", ".join(state.latched), abnormal=True) if state.latched else None,
    ]
    return f"dome {state.dome}{fraction if moving else ''}", values + [value for value in exceptions if value]


_READERS: dict[type, Callable[[Any], tuple[str, list[Value]]]] = {
    PlcState: _plc,
    TelescopeState: _telescope,
    CameraState: _camera,
    FilterWheelState: _wheel,
}


def _weather(state: WeatherState | PlcState) -> tuple[Value, ...]:
    return (
        Value("Rain", yes_no(state.rain, "RAIN", "dry"), state.rain is not False),
        Value("Wind", number(state.wind_m_s, 1, "m/s")),
        Value("Gust", number(state.gust_m_s, 1, "m/s")),
        Value("Humidity", number(state.humidity_percent, 0, "%")),
        Value("Temperature", number(state.temperature_c, 1, "°C")),
        Value("Dew point", number(state.dew_point_c, 1, "°C")),
        Value("Pressure", number(state.pressure_hpa, 0, "hPa")),
        Value("Sky − ambient", number(state.sky_minus_ambient_c, 1, "°C")),
    )


def _sampled_at(state: PlcState) -> datetime | None:
    if state.read_at is None:
        return None
    return state.read_at - timedelta(seconds=min(max(state.sensor_age_s or 0.0, 0.0), 1e9))
