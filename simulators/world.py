"""The simulated world: site, sky, weather, power, transients, and what stands in it.

Devices register here (`world.mount`, `world.dome`), so that a camera can ask where the tube points, whether the dome
is open and how the seeing is, at any instant up to now.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pyros.clock import Clock
from simulators.faults import Faults
from simulators.physics_frames import Frames, Site
from simulators.physics_sensors import Station
from simulators.physics_timeline import Timeline, to_unix_s
from simulators.physics_weather import (
    QUANTITIES,
    RANGES,
    climate,
    dew_point_c,
    sky_minus_ambient_c,
    value_at,
    within_range,
)

__all__ = ["Dome", "Mount", "Site", "Transient", "World"]

DEFAULT_STATION = "mast"


class Mount(Protocol):
    """What the world asks of the mount that stands in it."""

    def axes(self, unix_s: float) -> tuple[float, float]:
        """Hour angle and declination of date, degrees."""
        ...

    def slewing(self, unix_s: float) -> bool:
        """Whether it moves or settles."""
        ...

    def parked(self, unix_s: float) -> bool:
        """Whether it stands in its park position: its park switch is made."""
        ...

    def parks_at_s(self, unix_s: float) -> float:
        """When the park switch will make by the motion under way; infinity if it does not."""
        ...


class Dome(Protocol):
    """What the world asks of the dome that stands over it."""

    def open_fraction(self, unix_s: float) -> float:
        """0 closed to 1 open."""
        ...

    def status_word(self) -> int:
        """Return the PLC's status bits as of now."""
        ...


@dataclass(frozen=True)
class Transient:
    """An afterglow that fades as a power law of the time since `t0`: F ~ (t - t0)^-alpha; degrees ICRS."""

    ra_deg: float
    dec_deg: float
    mag_at_60s: float
    alpha: float
    t0: datetime
    name: str = ""
    host_mag: float = 99.0

    def magnitude(self, t: datetime, /) -> float | None:
        """Magnitude at an instant (no brighter than one second after T0); None before the burst."""
        age_s = (t - self.t0).total_seconds()
        if age_s <= 0.0:
            return None
        return self.mag_at_60s + 2.5 * self.alpha * math.log10(max(age_s, 1.0) / 60.0)


def _as_seen(fault: str | None) -> str | None:
    """Return how a fault of a station's own electronics shows in its values."""
    return None if fault is None else {"stuck": "frozen", "lie": "frozen", "slow": "stale"}.get(fault, "nan")


ExposureListener = Callable[[str, datetime, datetime, str], None]


class World:
    """Everything outside PyROS, as a function of the clock.

    Parameters
    ----------
    clock : Clock
    site : Site
    seed : int
        Chooses the weather and all noise.
    night_start : datetime, optional
        When the evening ends, from which scenarios count; now, if not given.
    horizon_limit_deg : float
        Altitude below which nothing may point.
    """

    def __init__(
        self,
        clock: Clock,
        site: Site | None = None,
        seed: int = 1,
        night_start: datetime | None = None,
        horizon_limit_deg: float = 10.0,
    ) -> None:
        self.clock = clock
        self.site = site or Site()
        self.seed = seed
        self.night_start = night_start or clock.now()
        self.horizon_limit_deg = horizon_limit_deg
        self.frames = Frames(self.site)
        self.faults = Faults(clock, seed)
        self.transients: list[Transient] = []
        self.mount: Mount | None = None
        self.dome: Dome | None = None
        self._climate = climate(seed, self.site.height_m)
        self._overrides: dict[str, Timeline[float | None]] = {name: Timeline(None) for name in QUANTITIES}
        self.rain: Timeline[bool] = Timeline(False)
        self.mains: Timeline[bool] = Timeline(True)
        self.network: Timeline[bool] = Timeline(True)
        self.emergency_stop: Timeline[bool] = Timeline(False)
        self.local_key: Timeline[bool] = Timeline(False)
        self._ups: Timeline[float | None] = Timeline(None)
        self._stations: dict[str, Station] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._exposure_listeners: list[ExposureListener] = []

    def unix_s(self) -> float:
        """Seconds since 1970 (UTC), now."""
        return self.clock.micros() / 1e6

    # -- weather -----------------------------------------------------------------------------------------------------

    def set_weather(self, *, rain: bool | None = None, **values: float) -> None:
        """Set quantities from now on: rain, or any of `QUANTITIES` in the units of their names.

        Raises
        ------
        ValueError
            If a quantity is unknown or its value is out of range; nothing is changed then.
        """
        for name, value in values.items():
            if name not in RANGES:
                raise ValueError(f"weather quantity {name!r} is unknown; use rain, {', '.join(QUANTITIES)}")
            low, high = RANGES[name]
            if not low <= value <= high:
                raise ValueError(f"weather {name} is {value}; it must be between {low:g} and {high:g}")
        now_s = self.unix_s()
        for name, value in values.items():
            self._overrides[name].set(now_s, value)
        if rain is not None:
            self.rain.set(now_s, rain)
        self._tell("weather")

    def weather(self, unix_s: float) -> dict[str, float]:
        """Return every quantity at a time, the derived dew point and sky temperature included."""
        values: dict[str, float] = {}
        for name, quantity in self._climate.items():
            forced = self._overrides[name].at(unix_s)
            natural = value_at(quantity, unix_s, self.site.longitude_deg)
            values[name] = within_range(name, natural if forced is None else forced)
        if self._overrides["gust_m_s"].at(unix_s) is None:  # what the climate gives is the gusts' excess over the wind
            values["gust_m_s"] = within_range("gust_m_s", values["wind_m_s"] * 1.15 + values["gust_m_s"])
        values["dew_point_c"] = dew_point_c(values["temperature_c"], values["humidity_percent"])
        values["sky_minus_ambient_c"] = sky_minus_ambient_c(values["cloud_percent"])
        return values

    def station(self, name: str = DEFAULT_STATION) -> Station:
        """Return the weather station of a name; it is put up when first asked for."""
        if name not in self._stations:
            station = Station(name, self.seed, lambda at_s: (self.weather(at_s), self.rain.at(at_s)))
            self._stations[name] = station
            device = f"weather:{name}"
            self.faults.listen(device, lambda: station.set_fault(self.unix_s(), _as_seen(self.faults.active(device))))
        return self._stations[name]

    # -- power, network, people --------------------------------------------------------------------------------------

    def set_switch(self, name: str, on: bool) -> None:
        """Set `mains`, `network`, `emergency_stop` or `local_key` from now on and tell those who depend on it."""
        switches = {
            "mains": self.mains,
            "network": self.network,
            "emergency_stop": self.emergency_stop,
            "local_key": self.local_key,
        }
        if name not in switches:
            raise ValueError(f"switch {name!r} is unknown; use one of {', '.join(switches)}")
        switches[name].set(self.unix_s(), on)
        self._tell(name)

    def set_ups_percent(self, percent: float | None) -> None:
        """Hold the battery at a charge, or (None) let it run by itself again."""
        if percent is not None and not 0.0 <= percent <= 100.0:
            raise ValueError(f"ups_percent is {percent}; it must be between 0 and 100")
        self._ups.set(self.unix_s(), percent)

    def ups_percent(self, unix_s: float) -> float:
        """Charge of the battery: full on mains, losing two percent a minute since they failed."""
        forced = self._ups.at(unix_s)
        if forced is not None:
            return forced
        lost_s = self.mains.last_change(unix_s)
        if self.mains.at(unix_s) or lost_s is None:
            return 100.0
        return max(0.0, 100.0 - (unix_s - lost_s) / 30.0)

    def listen(self, what: str, callback: Callable[[], None]) -> None:
        """Call `callback()` at once when `what` ("weather", "mount", or a switch) has changed."""
        self._listeners.setdefault(what, []).append(callback)

    def mount_changed(self) -> None:
        """Tell those who depend on it that the mount has begun, or ended, a motion."""
        self._tell("mount")

    def _tell(self, what: str) -> None:
        for callback in self._listeners.get(what, []):
            callback()

    # -- what a camera asks ------------------------------------------------------------------------------------------

    def pointing(self, t: datetime, /) -> tuple[float, float, float, float]:
        """Right ascension and declination (ICRS), altitude and azimuth of the tube, degrees, without refraction.

        Raises
        ------
        LookupError
            If no mount stands in this world.
        """
        if self.mount is None:
            raise LookupError("no mount stands in this world; register one as world.mount")
        unix_s = to_unix_s(t)
        ha_deg, dec_deg = self.mount.axes(unix_s)
        ra_date = (self.frames.sidereal_deg(unix_s) - ha_deg) % 360.0
        return *self.frames.icrs(ra_date, dec_deg, unix_s), *self.frames.altaz_of_axes(ha_deg, dec_deg)

    def dome_open_fraction(self, t: datetime, /) -> float:
        """0 closed to 1 open; a world without a dome lies open."""
        return 1.0 if self.dome is None else self.dome.open_fraction(to_unix_s(t))

    def seeing(self, t: datetime, /) -> float:
        """Full width at half maximum in arcseconds at the pointing's airmass (airmass to the power 0.6)."""
        zenith = self.weather(to_unix_s(t))["seeing_arcsec"]
        if self.mount is None:
            return zenith
        altitude_deg = self.frames.altaz_of_axes(*self.mount.axes(to_unix_s(t)))[0]
        return zenith * max(math.sin(math.radians(altitude_deg)), 0.1) ** -0.6

    def transparency(self, t: datetime, /) -> float:
        """Part of the light that clouds let through, 0 to 1: untouched up to 10 % cover, 5 % left under overcast."""
        cloud = self.weather(to_unix_s(t))["cloud_percent"]
        return 1.0 if cloud <= 10.0 else 1.0 - 0.95 * (cloud - 10.0) / 90.0

    def sun_altitude_deg(self, t: datetime, /) -> float:
        """Altitude of the Sun's centre, airless."""
        return self.frames.sun_altitude_deg(to_unix_s(t))

    def moon(self, t: datetime, /) -> tuple[float, float]:
        """Altitude of the Moon in degrees and its illuminated part, 0 to 1."""
        unix_s = to_unix_s(t)
        return self.frames.altaz(*self.frames.moon(unix_s), unix_s)[0], self.frames.moon_illuminated(unix_s)

    def on_exposure(self, camera: str, start: datetime, end: datetime, kind: str, /) -> None:
        """Take note of an exposure that is over; `kind` is the camera's word for it ("light", "dark" ...)."""
        for listener in self._exposure_listeners:
            listener(camera, start, end, kind)

    def listen_exposures(self, listener: ExposureListener) -> None:
        """Call `listener(camera, start, end, kind)` for each exposure."""
        self._exposure_listeners.append(listener)
