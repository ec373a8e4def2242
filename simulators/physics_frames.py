"""Where the sky stands over a site: places of date, hour angles, altitudes, Sun and Moon.

Everything is computed by ERFA (the IAU's SOFA routines, which astropy wraps): apparent places after IAU 2006/2000A
with annual aberration and light deflection, no refraction. Angles are degrees, times seconds of UTC since 1970.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import erfa

UNIX_EPOCH_JD = 2440587.5
SIDEREAL_DEG_PER_S = 360.98564736629 / 86400.0
"""Rate of the Earth's rotation angle against the mean equinox (IAU 2000), degrees per second of UT1."""
_ASTROMETRY_STEP_S = 30.0
"""How long one set of star-independent parameters serves: the place of date moves by less than 0.001 arcsec in it."""


@dataclass(frozen=True)
class Site:
    """A place on Earth: degrees (longitude east positive), metres. The default is San Pedro Mártir."""

    longitude_deg: float = -115.4637
    latitude_deg: float = 31.0442
    height_m: float = 2830.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("longitude_deg", self.longitude_deg, -180.0, 360.0),
            ("latitude_deg", self.latitude_deg, -90.0, 90.0),
            ("height_m", self.height_m, -500.0, 9000.0),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it must be between {low:g} and {high:g}")


def wrap_180(angle_deg: float) -> float:
    """Bring an angle into [-180, 180)."""
    return (angle_deg + 180.0) % 360.0 - 180.0


def separation_deg(lon1_deg: float, lat1_deg: float, lon2_deg: float, lat2_deg: float) -> float:
    """Angle on the sphere between two directions (haversine formula)."""
    lat1, lat2 = math.radians(lat1_deg), math.radians(lat2_deg)
    half = math.sin((lat2 - lat1) / 2) ** 2
    half += math.cos(lat1) * math.cos(lat2) * math.sin(math.radians(lon2_deg - lon1_deg) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def displaced(ra_deg: float, dec_deg: float, towards_deg: float, by_deg: float) -> tuple[float, float]:
    """Return the direction `by_deg` away along the great circle that starts at a position angle (north over east)."""
    dec, towards, by = math.radians(dec_deg), math.radians(towards_deg), math.radians(by_deg)
    sine = math.sin(dec) * math.cos(by) + math.cos(dec) * math.sin(by) * math.cos(towards)
    sine = max(-1.0, min(1.0, sine))
    east = math.atan2(math.sin(towards) * math.sin(by) * math.cos(dec), math.cos(by) - math.sin(dec) * sine)
    return (ra_deg + math.degrees(east)) % 360.0, math.degrees(math.asin(sine))


def altaz_of(ha_deg: float, dec_deg: float, latitude_deg: float) -> tuple[float, float]:
    """Altitude and azimuth (north over east) of an hour angle and declination."""
    azimuth, altitude = erfa.hd2ae(math.radians(ha_deg), math.radians(dec_deg), math.radians(latitude_deg))
    return math.degrees(altitude), math.degrees(azimuth) % 360.0


def hadec_of(alt_deg: float, az_deg: float, latitude_deg: float) -> tuple[float, float]:
    """Hour angle in [-180, 180) and declination of an altitude and azimuth (north over east)."""
    ha, dec = erfa.ae2hd(math.radians(az_deg), math.radians(alt_deg), math.radians(latitude_deg))
    return wrap_180(math.degrees(ha)), math.degrees(dec)


@lru_cache(maxsize=64)
def _ut1_minus_utc_s(day: int) -> float:
    """UT1 - UTC of a day since 1970 from the tables that come with astropy; its nearest value beyond their end."""
    from astropy.time import Time
    from astropy.utils import iers

    iers.conf.auto_download = False
    iers.conf.auto_max_age = None
    table: Any = iers.earth_orientation_table.get()
    when = Time(day * 86400.0, format="unix")
    value = table.ut1_utc(when, return_status=True)
    return float(value[0].to_value("s"))


def _julian(unix_s: float) -> tuple[float, float]:
    whole, rest = divmod(unix_s, 86400.0)
    return UNIX_EPOCH_JD + whole, rest / 86400.0


class Frames:
    """Transformations over one site. Safe to share between threads."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._astrometry: OrderedDict[int, tuple[Any, float]] = OrderedDict()

    def _parameters(self, unix_s: float) -> tuple[Any, float]:
        """Star-independent astrometry parameters and equation of the origins (radians)."""
        step = round(unix_s / _ASTROMETRY_STEP_S)
        known = self._astrometry.get(step)
        if known is None:
            at_s = step * _ASTROMETRY_STEP_S
            site = self.site
            dut1 = _ut1_minus_utc_s(int(at_s // 86400))
            place = (math.radians(site.longitude_deg), math.radians(site.latitude_deg), site.height_m)
            astrom, origins = erfa.apco13(*_julian(at_s), dut1, *place, 0, 0, 0, 0, 0, 0)
            known = (astrom, float(origins))
            self._astrometry[step] = known
            if len(self._astrometry) > 64:
                self._astrometry.popitem(last=False)
        return known

    def sidereal_deg(self, unix_s: float) -> float:
        """Local apparent sidereal time, degrees in [0, 360)."""
        origins = self._parameters(unix_s)[1]
        dut1 = _ut1_minus_utc_s(int(unix_s // 86400))
        utc1, utc2 = _julian(unix_s)
        era = erfa.era00(utc1, utc2 + dut1 / 86400.0)
        return (math.degrees(era - origins) + self.site.longitude_deg) % 360.0

    def of_date(self, ra_deg: float, dec_deg: float, unix_s: float) -> tuple[float, float]:
        """Return the apparent place, true equator and equinox of date, of an ICRS direction."""
        astrom, origins = self._parameters(unix_s)
        ra, dec = erfa.atciqz(math.radians(ra_deg), math.radians(dec_deg), astrom)
        return math.degrees(ra - origins) % 360.0, math.degrees(dec)

    def icrs(self, ra_deg: float, dec_deg: float, unix_s: float) -> tuple[float, float]:
        """Return the ICRS direction of an apparent place of date."""
        astrom, origins = self._parameters(unix_s)
        ra, dec = erfa.aticq(math.radians(ra_deg) + origins, math.radians(dec_deg), astrom)
        return math.degrees(ra) % 360.0, math.degrees(dec)

    def altaz(self, ra_deg: float, dec_deg: float, unix_s: float) -> tuple[float, float]:
        """Altitude and azimuth of an ICRS direction, without refraction."""
        ra_date, dec_date = self.of_date(ra_deg, dec_deg, unix_s)
        return altaz_of(wrap_180(self.sidereal_deg(unix_s) - ra_date), dec_date, self.site.latitude_deg)

    def altaz_of_axes(self, ha_deg: float, dec_deg: float) -> tuple[float, float]:
        """Altitude and azimuth of an hour angle and declination of date at this site."""
        return altaz_of(ha_deg, dec_deg, self.site.latitude_deg)

    def sun_altitude_deg(self, unix_s: float) -> float:
        """Altitude of the Sun's centre, airless, to about 0.01 degrees."""
        return self.altaz(*_sun_icrs(unix_s), unix_s)[0]

    def moon(self, unix_s: float) -> tuple[float, float]:
        """ICRS direction of the Moon from the Earth's centre (Meeus, ELP2000-82), to about 0.01 degrees."""
        xyz = erfa.moon98(*_julian(unix_s + 69.2))["p"]
        ra, dec = erfa.c2s(xyz)
        return math.degrees(ra) % 360.0, math.degrees(dec)

    def moon_illuminated(self, unix_s: float) -> float:
        """Illuminated part of the Moon's disc, 0 to 1, the Sun taken as infinitely far away."""
        elongation = separation_deg(*self.moon(unix_s), *_sun_icrs(unix_s))
        return (1.0 - math.cos(math.radians(elongation))) / 2.0


def _sun_icrs(unix_s: float) -> tuple[float, float]:
    """Geometric direction of the Sun from the Earth's centre; `Frames.of_date` adds the aberration."""
    heliocentric, _ = erfa.epv00(*_julian(unix_s + 69.2))
    ra, dec = erfa.c2s([-component for component in heliocentric["p"]])
    return math.degrees(ra) % 360.0, math.degrees(dec)
