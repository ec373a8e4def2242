"""When targets can be observed in a night: altitude limit, distance from the Moon, and dark time, in closed form.

A target is above its limit for `H = arccos((sin a - sin φ sin δ) / (cos φ cos δ))` on either side of its transit, so
each window costs one arccos once the apparent places of the night are known. The Moon moves slowly: its separation is
taken on a grid of ten minutes and its crossings are interpolated. Times are seconds after the night's first noon.
Against astropy: 1 arcsecond in altitude, 2 in the Moon's separation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyros.sky.bodies import moon_direction
from pyros.sky.earth import ROTATION_RAD_S, Floats, epoch, equator
from pyros.sky.night import Night
from pyros.sky.site import Site

SIDEREAL_DAY_S = 2 * np.pi / ROTATION_RAD_S
MOON_GRID_S = 600.0
Interval = tuple[float, float]


class Places(NamedTuple):
    """Apparent places of date (CIRS, radians) of n targets, taken in the middle of the night."""

    ra_rad: Floats
    dec_rad: Floats


class Windows(NamedTuple):
    """Flat table of windows, ordered by target and start: the index of the target, and seconds after noon."""

    target: NDArray[np.intp]
    start_s: Floats
    end_s: Floats

    def take(self, keep: NDArray[np.bool_]) -> Windows:
        """Return the windows chosen by a boolean array."""
        return Windows(self.target[keep], self.start_s[keep], self.end_s[keep])


class NightSky:
    """What all targets of a night share: the equator of date, the Earth's rotation, the Moon's path, dark time."""

    def __init__(self, site: Site, night: Night) -> None:
        self.site, self.night = site, night
        self.origin = night.noon_before
        self.middle_s = (night.noon_after - night.noon_before).total_seconds() / 2
        self.latitude_rad = np.radians(site.latitude_deg)
        middle = epoch(night.noon_before, self.middle_s)
        self._equator = equator(middle.day, float(middle.fraction))
        self._sidereal_rad = float(middle.rotation_rad()) + np.radians(site.longitude_deg)
        self.dark_s = self._dark_s()
        self.moon_grid_s, self.moon_path = self._follow_moon()

    def seconds(self, when: datetime) -> float:
        """Seconds after the night's first noon."""
        return (when - self.origin).total_seconds()

    def instant(self, after_s: float) -> datetime:
        """Aware UTC datetime of seconds after the night's first noon, to the microsecond."""
        return self.origin + timedelta(seconds=float(after_s))

    def places(self, ra_deg: ArrayLike, dec_deg: ArrayLike) -> Places:
        """Apparent places of ICRS targets, good to 0.3 arcseconds all night."""
        ra, dec = np.radians(np.asarray(ra_deg, float)), np.radians(np.asarray(dec_deg, float))
        return Places(*erfa.atciqz(ra, dec, self._equator.astrom))

    def transits_s(self, places: Places) -> Floats:
        """Return the transit of each target that is nearest to the middle of the night."""
        return self.middle_s + _wrap(places.ra_rad - self._sidereal_rad) / ROTATION_RAD_S

    def altitudes_deg(self, places: Places, at_s: ArrayLike) -> Floats:
        """Airless altitudes of the targets, each at its own instant (or broadcast)."""
        turned = (np.asarray(at_s, float) - self.middle_s) * ROTATION_RAD_S
        hour_angle = self._sidereal_rad + turned - places.ra_rad
        across = np.cos(self.latitude_rad) * np.cos(places.dec_rad) * np.cos(hour_angle)
        return np.degrees(np.arcsin(np.clip(np.sin(self.latitude_rad) * np.sin(places.dec_rad) + across, -1, 1)))

    def highest(self, places: Places, start_s: float, end_s: float) -> tuple[Floats, Floats]:
        """Return the highest altitude of each target between two instants, degrees, and when it is reached."""
        transit = self.transits_s(places)
        ends = np.stack([np.full(transit.shape, start_s), np.full(transit.shape, end_s)])
        passes = transit + SIDEREAL_DAY_S * np.array([-1, 0, 1])[:, None]
        at_s: Floats = np.concatenate([ends, np.minimum(np.maximum(passes, start_s), end_s)])
        altitudes = self.altitudes_deg(places, at_s)
        best, target = altitudes.argmax(0), np.arange(len(transit))
        return altitudes[best, target], at_s[best, target]

    def moon_separations_deg(self, places: Places) -> Floats:
        """Separations from the Moon on the grid `moon_grid_s`, shape (grid, targets)."""
        stars = np.stack([
            np.cos(places.dec_rad) * np.cos(places.ra_rad),
            np.cos(places.dec_rad) * np.sin(places.ra_rad),
            np.sin(places.dec_rad),
        ])  # fmt: skip
        return np.degrees(np.arccos(np.clip(self.moon_path @ stars, -1, 1)))

    def _dark_s(self) -> Interval | None:
        if self.night.begins is None or self.night.ends is None:
            return None
        return self.seconds(self.night.begins), self.seconds(self.night.ends)

    def _follow_moon(self) -> tuple[Floats, Floats]:
        """Return the grid over dark time, one step wider on both sides, and the Moon's directions on it."""
        start_s, end_s = self.dark_s or (self.middle_s, self.middle_s)
        steps = int((end_s - start_s) / MOON_GRID_S) + 4
        grid_s: Floats = start_s + MOON_GRID_S * np.arange(-1, steps - 1, dtype=np.float64)
        return grid_s, moon_direction(self.site, epoch(self.origin, grid_s), self._equator)


def window_table(sky: NightSky, places: Places, min_altitude_deg: ArrayLike, moon_separation_deg: ArrayLike) -> Windows:
    """Return every window in which a target is dark, above its limit and far enough from the Moon.

    Parameters
    ----------
    sky : NightSky
    places : Places
        n targets, from `NightSky.places`.
    min_altitude_deg, moon_separation_deg : array_like, shape (n,)
        Airless altitude limits; least separations from the Moon, 0 for no limit. The Moon counts when it is down, too.
    """
    above = altitude_windows(sky, places, np.asarray(min_altitude_deg, float))
    return _away_from_moon(sky, places, np.asarray(moon_separation_deg, float), above)


def windows(
    night_sky: NightSky,
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    min_altitude_deg: ArrayLike,
    moon_separation_deg: ArrayLike,
) -> list[list[Interval]]:
    """Return `window_table` as one list of (start_s, end_s) per target; ICRS degrees, shape (n,) each."""
    places = night_sky.places(ra_deg, dec_deg)
    table = window_table(night_sky, places, min_altitude_deg, moon_separation_deg)
    lists: list[list[Interval]] = [[] for _ in range(len(places.ra_rad))]
    for target, start_s, end_s in zip(table.target.tolist(), table.start_s.tolist(), table.end_s.tolist(), strict=True):
        lists[target].append((start_s, end_s))
    return lists


def altitude_windows(sky: NightSky, places: Places, min_altitude_deg: Floats) -> Windows:
    """Return the windows of dark time in which each target is above its limit, whatever the Moon does."""
    if sky.dark_s is None:
        return Windows(np.zeros(0, np.intp), np.zeros(0), np.zeros(0))
    half_s = _half_arc_s(sky.latitude_rad, places.dec_rad, np.radians(min_altitude_deg))
    passes = sky.transits_s(places)[:, None] + SIDEREAL_DAY_S * np.array([-1, 0, 1])
    start_s = np.maximum(passes - half_s[:, None], sky.dark_s[0])
    end_s = np.minimum(passes + half_s[:, None], sky.dark_s[1])
    always = np.isinf(half_s)
    start_s[always, 1:], end_s[always, 1:] = np.nan, np.nan
    start_s[always, 0], end_s[always, 0] = sky.dark_s
    target, which = np.nonzero(end_s > start_s)
    return Windows(target, start_s[target, which], end_s[target, which])


def _half_arc_s(latitude_rad: float, dec_rad: Floats, altitude_rad: Floats) -> Floats:
    """Seconds from rising above an altitude to transit: infinite for always, NaN for never."""
    across = np.maximum(np.cos(latitude_rad) * np.cos(dec_rad), 1e-15)
    cosine = (np.sin(altitude_rad) - np.sin(latitude_rad) * np.sin(dec_rad)) / across
    half_s = np.arccos(np.clip(cosine, -1, 1)) / ROTATION_RAD_S
    half_s[cosine <= -1] = np.inf
    half_s[cosine > 1] = np.nan
    return half_s


def _away_from_moon(sky: NightSky, places: Places, limit_deg: Floats, above: Windows) -> Windows:
    """Cut from each window the time in which the Moon is too near."""
    limited = np.flatnonzero((limit_deg > 0) & (np.bincount(above.target, minlength=len(limit_deg)) > 0))
    if not len(limited):
        return above
    some = Places(places.ra_rad[limited], places.dec_rad[limited])
    spare = sky.moon_separations_deg(some) - limit_deg[limited]
    near = (spare < 0).any(0)
    whole = ~np.isin(above.target, limited[near])
    kept = [above.take(whole)]
    for column in np.flatnonzero(near):
        mine = above.take(above.target == limited[column])
        for start_s, end_s in _positive(sky.moon_grid_s, spare[:, column]):
            low, high = np.maximum(mine.start_s, start_s), np.minimum(mine.end_s, end_s)
            kept.append(Windows(mine.target, low, high).take(high > low))
    return _sorted(kept)


def _sorted(tables: list[Windows]) -> Windows:
    target = np.concatenate([t.target for t in tables])
    start_s, end_s = np.concatenate([t.start_s for t in tables]), np.concatenate([t.end_s for t in tables])
    order = np.lexsort((start_s, target))
    return Windows(target[order], start_s[order], end_s[order])


def _positive(grid_s: Floats, value: Floats) -> list[Interval]:
    """Where a function given on a grid is not negative, between linearly interpolated crossings."""
    up = value >= 0
    left = np.flatnonzero(up[:-1] != up[1:])
    share = value[left] / (value[left] - value[left + 1])
    edges = (grid_s[left] + share * (grid_s[left + 1] - grid_s[left])).tolist()
    if up[0]:
        edges.insert(0, -np.inf)
    if up[-1]:
        edges.append(np.inf)
    return list(zip(edges[::2], edges[1::2], strict=True))


def _wrap(angle_rad: Floats) -> Floats:
    return np.remainder(angle_rad + np.pi, 2 * np.pi) - np.pi
