"""Places on the sky at an instant, one at a time, fast enough for an actor's handler (a tenth of a millisecond).

Catalogue places are ICRS degrees. *Apparent* places are referred to the true equator and equinox of date, which is
what an LX200 mount means by right ascension and declination. Altitudes are airless; see `refraction_deg`.
"""

from __future__ import annotations

from datetime import datetime
from math import atan2, cos, degrees, hypot, inf, radians, remainder, sin, tan
from typing import NamedTuple

import erfa
import numpy as np

from pyros.sky.bodies import moon_direction, sun_direction
from pyros.sky.earth import Equator, epoch, equator
from pyros.sky.site import Site


class AltAz(NamedTuple):
    """Degrees; azimuth from north through east."""

    altitude_deg: float
    azimuth_deg: float


class Moon(NamedTuple):
    """The Moon seen from the site: ICRS-aligned direction and airless place in degrees, lit part of the disc 0 to 1."""

    ra_deg: float
    dec_deg: float
    altitude_deg: float
    azimuth_deg: float
    illuminated_fraction: float


def to_apparent(ra_deg: float, dec_deg: float, when: datetime) -> tuple[float, float]:
    """ICRS place to the geocentric apparent place, true equator and equinox of date (ERFA `atciqz`), degrees."""
    date = _equator(when)
    ra, dec = erfa.atciqz(radians(ra_deg), radians(dec_deg), date.astrom)
    return degrees(ra - date.origins_rad) % 360.0, degrees(dec)


def to_icrs(ra_deg: float, dec_deg: float, when: datetime) -> tuple[float, float]:
    """Apparent place of date to ICRS, degrees; the inverse of `to_apparent`."""
    date = _equator(when)
    ra, dec = erfa.aticq(radians(ra_deg) + date.origins_rad, radians(dec_deg), date.astrom)
    return degrees(ra) % 360.0, degrees(dec)


def altaz(site: Site, ra_deg: float, dec_deg: float, when: datetime) -> AltAz:
    """Airless altitude and azimuth of an ICRS place, degrees, right to 1 arcsecond."""
    hour_angle, dec = _hour_angle_rad(site, ra_deg, dec_deg, when)
    azimuth, altitude = erfa.hd2ae(hour_angle, dec, radians(site.latitude_deg))
    return AltAz(degrees(altitude), degrees(azimuth))


def hour_angle_deg(site: Site, ra_deg: float, dec_deg: float, when: datetime) -> float:
    """Hour angle of an ICRS place, -180 to 180 degrees, negative in the east."""
    return degrees(remainder(_hour_angle_rad(site, ra_deg, dec_deg, when)[0], 2 * np.pi))


def sidereal_time_deg(site: Site, when: datetime) -> float:
    """Local apparent sidereal time, 0 to 360 degrees."""
    origins = _equator(when).origins_rad
    return degrees(epoch(when).rotation_rad() - origins + radians(site.longitude_deg)) % 360.0


def airmass(altitude_deg: float) -> float:
    """Airmass at an airless altitude; infinite at and below the horizon.

    Young (1994, Appl. Opt. 33, 1108), which is given for true, that is airless, zenith distances.
    """
    if altitude_deg <= 0:
        return inf
    z = sin(radians(altitude_deg))
    return (1.002432 * z**2 + 0.148386 * z + 0.0096467) / (z**3 + 0.149864 * z**2 + 0.0102963 * z + 0.000303978)


def refraction_deg(altitude_deg: float, pressure_hpa: float = 1010.0, temperature_c: float = 10.0) -> float:
    """How much the air lifts a star of airless altitude above -1 degree (Saemundsson 1986), degrees."""
    altitude = max(altitude_deg, -1.0)
    lift_arcmin = 1.02 / tan(radians(altitude + 10.3 / (altitude + 5.11)))
    return lift_arcmin / 60 * pressure_hpa / 1010.0 * 283.0 / (273.0 + temperature_c)


def separation_deg(ra_deg: float, dec_deg: float, other_ra_deg: float, other_dec_deg: float) -> float:
    """Angle between two places of one frame, degrees (Vincenty's formula: exact at 0 and 180 too)."""
    d, dec, other = radians(other_ra_deg - ra_deg), radians(dec_deg), radians(other_dec_deg)
    across = cos(other) * sin(d)
    up = cos(dec) * sin(other) - sin(dec) * cos(other) * cos(d)
    return degrees(atan2(hypot(across, up), sin(dec) * sin(other) + cos(dec) * cos(other) * cos(d)))


def moon(site: Site, when: datetime) -> Moon:
    """Where the Moon is seen from the site, and how much of it is lit."""
    date, now = _equator(when), epoch(when)
    direction = moon_direction(site, now, date)
    fixed = np.asarray(date.astrom["bpn"]).T @ direction
    ra, dec = erfa.c2s(fixed)
    sun = sun_direction(site, now, date)
    return Moon(degrees(ra) % 360.0, degrees(dec), *_altaz(site, when, direction), (1 - float(direction @ sun)) / 2)


def sun(site: Site, when: datetime) -> AltAz:
    """Airless altitude and azimuth of the Sun's centre, degrees."""
    return AltAz(*_altaz(site, when, sun_direction(site, epoch(when), _equator(when))))


def moon_separation_deg(site: Site, ra_deg: float, dec_deg: float, when: datetime) -> float:
    """Angle between an ICRS place and the Moon's centre as seen from the site, degrees."""
    date = _equator(when)
    return _angle_deg(moon_direction(site, epoch(when), date), ra_deg, dec_deg, date)


def sun_separation_deg(site: Site, ra_deg: float, dec_deg: float, when: datetime) -> float:
    """Angle between an ICRS place and the Sun's centre as seen from the site, degrees."""
    date = _equator(when)
    return _angle_deg(sun_direction(site, epoch(when), date), ra_deg, dec_deg, date)


def _equator(when: datetime) -> Equator:
    now = epoch(when)
    return equator(now.day, now.fraction)


def _hour_angle_rad(site: Site, ra_deg: float, dec_deg: float, when: datetime) -> tuple[float, float]:
    ra, dec = erfa.atciqz(radians(ra_deg), radians(dec_deg), _equator(when).astrom)
    return float(epoch(when).rotation_rad() + radians(site.longitude_deg) - ra), float(dec)


def _altaz(site: Site, when: datetime, direction: np.ndarray) -> tuple[float, float]:
    rotation = float(epoch(when).rotation_rad())
    ra, dec = erfa.c2s(direction)
    azimuth, altitude = erfa.hd2ae(rotation + radians(site.longitude_deg) - ra, dec, radians(site.latitude_deg))
    return degrees(altitude), degrees(azimuth)


def _angle_deg(direction: np.ndarray, ra_deg: float, dec_deg: float, date: Equator) -> float:
    star = erfa.s2c(*erfa.atciqz(radians(ra_deg), radians(dec_deg), date.astrom))
    return degrees(erfa.sepp(direction, star))
