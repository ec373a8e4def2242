"""When it is night: from one local noon to the next, sunset, dark time, dawn.

A night is named by the local date at the noon before it. Local noon is mean solar noon of the site's longitude, which
needs no time zone. All altitudes are airless, of the Sun's centre; sunset and sunrise are at altitude 0 (an almanac's
sunset, upper limb and refraction included, is `crossing` at -0.833 degrees).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np

from pyros.sky.bodies import sun_direction
from pyros.sky.coordinates import moon, sun
from pyros.sky.earth import Floats, epoch, equator, zenith
from pyros.sky.site import Site

__all__ = ["Night", "crossing", "date_of", "moon", "night_between", "night_of", "sun_altitude_deg"]

SUNSET_ALTITUDE_DEG = 0.0
GRID_S = 600.0


class Night(NamedTuple):
    """One night. `begins` and `ends` bound the dark time and are None where the Sun does not go low enough."""

    date: date
    sun_altitude_max_deg: float
    noon_before: datetime
    noon_after: datetime
    sunset: datetime | None
    sunrise: datetime | None
    begins: datetime | None
    ends: datetime | None

    def may_point(self, when: datetime, margin_s: float = 120.0) -> bool:
        """Tell whether a slew may begin: in dark time, or less than `margin_s` before it."""
        if self.begins is None or self.ends is None:
            return False
        return self.begins - timedelta(seconds=margin_s) <= when < self.ends

    def may_expose(self, start: datetime, exposure_s: float) -> bool:
        """Tell whether an exposure lies in dark time from its first to its last second."""
        if self.begins is None or self.ends is None:
            return False
        return self.begins <= start and start + timedelta(seconds=exposure_s) <= self.ends


def night_of(site: Site, on: date, sun_altitude_max_deg: float = -12.0) -> Night:
    """Return the night that follows local noon of the date `on`."""
    noon = _noon(site, on)
    return night_between(site, noon, noon + timedelta(days=1), sun_altitude_max_deg)


def night_between(site: Site, start: datetime, end: datetime, sun_altitude_max_deg: float) -> Night:
    """Return the night between two given noons, for observatories that keep another noon than the Sun's.

    Raises
    ------
    ValueError
        If the noons are not in order or more than 25 hours apart, or the altitude is not within -90 to 90 degrees.
    """
    if not timedelta(0) < end - start <= timedelta(hours=25):
        raise ValueError(f"a night from {start} to {end} is not one night; its noons are at most 25 hours apart")
    if not -90 <= sun_altitude_max_deg <= 90:
        raise ValueError(f"sun_altitude_max_deg is {sun_altitude_max_deg}; it must be between -90 and 90")
    arc = _SunArc(site, start, end)
    sunset, sunrise = arc.crossing(SUNSET_ALTITUDE_DEG)
    begins, ends = arc.crossing(sun_altitude_max_deg)
    if arc.lowest_deg < sun_altitude_max_deg:
        begins, ends = begins or start, ends or end
    middle = start + (end - start) / 2
    return Night(date_of(site, middle), sun_altitude_max_deg, start, end, sunset, sunrise, begins, ends)


def crossing(site: Site, on: date, altitude_deg: float) -> tuple[datetime | None, datetime | None]:
    """Return when the Sun sinks through an altitude in the evening and rises through it in the morning (or None)."""
    noon = _noon(site, on)
    return _SunArc(site, noon, noon + timedelta(days=1)).crossing(altitude_deg)


def date_of(site: Site, when: datetime) -> date:
    """Return the date of the night that an instant belongs to: the local date at the last local noon."""
    return (when.astimezone(UTC) + _east(site) - timedelta(hours=12)).date()


def sun_altitude_deg(site: Site, when: datetime) -> float:
    """Airless altitude of the Sun's centre, degrees."""
    return sun(site, when).altitude_deg


def sun_altitudes_deg(site: Site, start: datetime, after_s: Floats) -> Floats:
    """Airless altitudes of the Sun's centre at seconds after `start` (within a day of it), same shape, degrees."""
    when = epoch(start, after_s)
    now = epoch(start)
    direction = sun_direction(site, when, equator(now.day, now.fraction + 0.5))
    return np.degrees(np.arcsin(np.sum(zenith(site, when.rotation_rad()) * direction, -1)))


class _SunArc:
    """The Sun's altitude from noon to noon: down to its lowest point and up again."""

    def __init__(self, site: Site, start: datetime, end: datetime) -> None:
        self._start = start
        self._altitude = lambda after_s: sun_altitudes_deg(site, start, np.asarray(after_s))
        span_s = (end - start).total_seconds()
        self._grid_s = np.linspace(0.0, span_s, max(2, int(span_s / GRID_S)) + 1)
        self._grid_deg = self._altitude(self._grid_s)
        self._find_lowest()

    def _find_lowest(self) -> None:
        """Refine the minimum by a parabola, lest a dark time shorter than the grid's step is missed."""
        k = int(self._grid_deg.argmin())
        self._lowest_s = float(self._grid_s[k])
        if 0 < k < len(self._grid_s) - 1:
            before, here, after = self._grid_deg[k - 1 : k + 2]
            step_s = self._grid_s[1] - self._grid_s[0]
            self._lowest_s += float(step_s * (before - after) / (before - 2 * here + after) / 2)
        self.lowest_deg = float(self._altitude(self._lowest_s))

    def crossing(self, altitude_deg: float) -> tuple[datetime | None, datetime | None]:
        """Evening and morning instants on either side of the lowest point; None where the Sun stays on one side."""
        if self.lowest_deg >= altitude_deg:
            return None, None
        above = self._grid_deg >= altitude_deg
        before = np.flatnonzero(above & (self._grid_s < self._lowest_s))
        after = np.flatnonzero(above & (self._grid_s > self._lowest_s))
        return (
            self._crossing(before[-1], altitude_deg) if len(before) else None,
            self._crossing(after[0], altitude_deg) if len(after) else None,
        )

    def _crossing(self, above: int, altitude_deg: float) -> datetime:
        """Between the grid point `above` the altitude and the one next to it, or the lowest point if that is nearer."""
        outer = float(self._grid_s[above])
        step_s = float(self._grid_s[1] - self._grid_s[0])
        toward = self._lowest_s - outer
        inner = outer + float(np.clip(toward, -step_s, step_s))
        after_s = _root(lambda s: float(self._altitude(s)) - altitude_deg, outer, inner)
        return self._start + timedelta(seconds=after_s)


def _root(function: Callable[[float], float], a: float, b: float) -> float:
    """Zero of a function between a and b, where its signs differ, to a millisecond (regula falsi, Illinois rule)."""
    at_a, at_b = function(a), function(b)
    x = b
    for _ in range(60):
        if at_a == at_b or abs(b - a) < 1e-3:
            break
        x = b - at_b * (b - a) / (at_b - at_a)
        at_x = function(x)
        if abs(at_x) < 1e-8:
            break
        if at_x * at_b < 0:
            a, at_a = b, at_b
        else:
            at_a /= 2
        b, at_b = x, at_x
    return x


def _noon(site: Site, on: date) -> datetime:
    """Local mean noon."""
    return datetime.combine(on, time(12), UTC) - _east(site)


def _east(site: Site) -> timedelta:
    """How far local mean time is ahead of UTC, to the second."""
    east_deg = (site.longitude_deg + 180.0) % 360.0 - 180.0
    return timedelta(seconds=round(east_deg * 240))
