"""How the Earth is turned at an instant: time scales, Earth rotation, and the equator of date.

Inside `pyros.sky` an instant is a two-part UTC Julian date, `day + fraction`, so that microseconds survive. Directions
are unit vectors in the celestial intermediate frame (CIRS: true equator of date, origin that does not rotate), in
which hour angle is Earth rotation angle + longitude - right ascension. Polar motion and diurnal aberration, 0.6
arcseconds together, are left out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import erfa
import numpy as np
from numpy.typing import NDArray

from pyros.sky import configure_iers
from pyros.sky.site import Site

Floats = NDArray[np.float64]

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNIX_EPOCH_JD = 2440587.5
DAY_S = 86400.0
ROTATION_RAD_S = 2 * np.pi * 1.00273781191135448 / DAY_S
"""Earth rotation angle per UT1 second (IAU 2000)."""


class Epoch(NamedTuple):
    """Instants as two-part Julian dates (days); the second part may be an array."""

    day: float
    fraction: Any

    def tt(self) -> tuple[float, Any]:
        """Terrestrial Time, for ephemerides, precession and nutation."""
        return self.day, self.fraction + (_leap_seconds(self.day) + 32.184) / DAY_S

    def rotation_rad(self) -> Any:
        """Earth rotation angle (IAU 2000), radians."""
        return erfa.era00(self.day, self.fraction + _ut1_minus_utc_s(self.day) / DAY_S)


def epoch(when: datetime, later_s: Any = 0.0) -> Epoch:
    """Two-part Julian date of an aware datetime, or of the instants `later_s` seconds after it.

    Raises
    ------
    ValueError
        If `when` has no time zone.
    """
    if when.tzinfo is None:
        raise ValueError(f"instant {when} has no time zone; instants are aware UTC datetimes")
    since = when - UNIX_EPOCH
    second_of_day = since.seconds + since.microseconds * 1e-6
    return Epoch(UNIX_EPOCH_JD + since.days, (second_of_day + later_s) / DAY_S)


def julian_date(when: datetime) -> float:
    """UTC Julian date as one number (good to 0.04 ms)."""
    return sum(epoch(when))


def instant(jd: float) -> datetime:
    """Aware UTC datetime of a UTC Julian date, to the microsecond; the inverse of `julian_date`."""
    return UNIX_EPOCH + timedelta(days=jd - UNIX_EPOCH_JD)


class Equator(NamedTuple):
    """ERFA's star-independent parameters of an instant, and the equation of the origins (radians)."""

    astrom: Any
    origins_rad: float


@lru_cache(maxsize=16)
def equator(day: float, fraction: float) -> Equator:
    """Precession, nutation (IAU 2006/2000A), and the Earth's place and velocity, for the geocentre."""
    astrom, origins = erfa.apci13(*Epoch(day, fraction).tt())
    return Equator(astrom, float(origins))


def zenith(site: Site, rotation_rad: Any) -> Floats:
    """Return unit vectors, shape (..., 3), of the astronomical zenith in the frame of date."""
    local = np.asarray(rotation_rad) + np.radians(site.longitude_deg)
    latitude = np.radians(site.latitude_deg)
    across = np.cos(latitude)
    return np.stack([across * np.cos(local), across * np.sin(local), np.full(local.shape, np.sin(latitude))], -1)


def observer_m(site: Site, rotation_rad: Any) -> Floats:
    """Geocentric places, shape (..., 3), metres, of the site in the frame of date."""
    x, y, z = erfa.gd2gc(1, np.radians(site.longitude_deg), np.radians(site.latitude_deg), site.height_m)
    turn = np.asarray(rotation_rad)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([x * cos - y * sin, x * sin + y * cos, np.full(turn.shape, z)], -1)


@lru_cache(maxsize=64)
def _leap_seconds(day: float) -> float:
    """TAI - UTC in seconds, from ERFA's own table (`erfa.dat` would warn about years to come)."""
    year, month, *_ = erfa.jd2cal(day, 0.5)
    table = erfa.leap_seconds.get()
    known = (table["year"] < year) | ((table["year"] == year) & (table["month"] <= month))
    return float(table["tai_utc"][known][-1]) if known.any() else 10.0


@lru_cache(maxsize=64)
def _ut1_minus_utc_s(day: float) -> float:
    """UT1 - UTC at the middle of a day; outside the packaged table its first or last value (right to a second)."""
    configure_iers()
    from astropy.utils import iers

    table = iers.earth_orientation_table.get()
    mjd = table["MJD"].value
    inside = min(max(day + 0.5 - 2400000.5, mjd[0]), mjd[-1])
    return float(table.ut1_utc(2400000.5, inside).to_value("s"))
