"""Places on the sky, against astropy."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from math import isinf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.sky import configure_iers
from pyros.sky import coordinates as co
from pyros.sky.site import Site

ARCSEC = 1 / 3600
INSTANTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 8, 1)).map(lambda t: t.replace(tzinfo=UTC))
RA = st.floats(0, 359.999)
DEC = st.floats(-89, 89)
SITES = st.sampled_from([Site(), Site("Calern", 6.923, 43.7522, 1270), Site("La Silla", -70.7326, -29.2594, 2400)])


def oracle(site, when):
    configure_iers()
    import astropy.units as u
    from astropy.coordinates import EarthLocation
    from astropy.time import Time

    return Time(when), EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.height_m * u.m)


@settings(max_examples=25, deadline=None)
@given(RA, DEC, INSTANTS)
def test_apparent_places_agree_with_astropy_within_an_arcsecond_and_come_back(ra, dec, when):
    time, _ = oracle(Site(), when)
    from astropy.coordinates import TETE, SkyCoord

    true = SkyCoord(ra, dec, unit="deg").transform_to(TETE(obstime=time))
    there = co.to_apparent(ra, dec, when)
    assert co.separation_deg(*there, true.ra.deg, true.dec.deg) < ARCSEC
    assert co.separation_deg(*co.to_icrs(*there, when), ra, dec) < 0.001 * ARCSEC


def test_precession_since_2000_is_not_forgotten():
    when = datetime(2026, 11, 22, tzinfo=UTC)
    assert co.separation_deg(*co.to_apparent(0.0, 0.0, when), 0.0, 0.0) == pytest.approx(26.9 * 50.3 / 3600, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(SITES, RA, DEC, INSTANTS)
def test_altitudes_and_the_moon_agree_with_astropy_within_five_arcseconds(site, ra, dec, when):
    time, place = oracle(site, when)
    from astropy.coordinates import AltAz, SkyCoord, get_body

    frame = AltAz(obstime=time, location=place)
    star = SkyCoord(ra, dec, unit="deg").transform_to(frame)
    ours = co.altaz(site, ra, dec, when)
    assert co.separation_deg(ours.azimuth_deg, ours.altitude_deg, star.az.deg, star.alt.deg) < 5 * ARCSEC
    moon = get_body("moon", time, place).transform_to(frame)
    seen = co.moon(site, when)
    assert seen.altitude_deg == pytest.approx(moon.alt.deg, abs=5 * ARCSEC)
    assert co.moon_separation_deg(site, ra, dec, when) == pytest.approx(star.separation(moon).deg, abs=5 * ARCSEC)
    assert co.sun(site, when).altitude_deg == pytest.approx(
        get_body("sun", time, place).transform_to(frame).alt.deg, abs=5 * ARCSEC
    )
    # the Moon's own catalogue place leads back to it, but for 20 arcseconds of aberration
    assert co.moon_separation_deg(site, seen.ra_deg, seen.dec_deg, when) < 30 * ARCSEC


@settings(max_examples=20, deadline=None)
@given(SITES, RA, DEC, INSTANTS)
def test_hour_angle_is_sidereal_time_less_right_ascension_of_date(site, ra, dec, when):
    angle = co.hour_angle_deg(site, ra, dec, when)
    apparent = co.to_apparent(ra, dec, when)[0]
    assert -180 <= angle <= 180
    assert abs((co.sidereal_time_deg(site, when) - apparent - angle + 180) % 360 - 180) < 1e-9
    time, place = oracle(site, when)
    sidereal = time.sidereal_time("apparent", longitude=place.lon).deg
    assert abs((co.sidereal_time_deg(site, when) - sidereal + 180) % 360 - 180) < ARCSEC


def test_the_full_moon_of_november_2026_is_lit_and_the_new_moon_is_not():
    assert co.moon(Site(), datetime(2026, 11, 24, 14, 53, tzinfo=UTC)).illuminated_fraction > 0.99
    assert co.moon(Site(), datetime(2026, 11, 9, 7, 2, tzinfo=UTC)).illuminated_fraction < 0.01


@pytest.mark.parametrize("altitude", [90, 60, 30, 20, 10, 5])
def test_airmass_agrees_with_kasten_and_young_at_the_altitude_that_the_air_shows(altitude):
    seen = altitude + co.refraction_deg(altitude)
    mass = 1 / (np.sin(np.radians(seen)) + 0.50572 * (seen + 6.07995) ** -1.6364)
    assert co.airmass(altitude) == pytest.approx(mass, rel=0.003)


def test_airmass_below_the_horizon_is_infinite():
    assert isinf(co.airmass(0.0))
    assert isinf(co.airmass(-5.0))


def test_refraction_lifts_the_setting_sun_by_half_a_degree_and_the_zenith_by_nothing():
    assert co.refraction_deg(0.0) == pytest.approx(29 / 60, abs=1 / 60)
    assert co.refraction_deg(20.0) == pytest.approx(2.7 / 60, abs=0.1 / 60)
    assert abs(co.refraction_deg(90.0)) < 0.001


def test_separations_are_exact_at_nothing_and_at_the_antipode():
    assert co.separation_deg(10, 20, 10, 20) == 0
    assert co.separation_deg(10, 20, 190, -20) == pytest.approx(180)
    assert co.separation_deg(0, 0, 1e-7, 0) == pytest.approx(1e-7)


def test_beyond_the_tables_of_earth_orientation_places_are_still_given():
    later = datetime(2040, 1, 1, tzinfo=UTC)
    for when in (later, datetime(1980, 1, 1, tzinfo=UTC)):
        assert -90 <= co.altaz(Site(), 10, 20, when).altitude_deg <= 90
    ahead = co.hour_angle_deg(Site(), 10, 20, later + timedelta(hours=1)) - co.hour_angle_deg(Site(), 10, 20, later)
    assert ahead % 360 == pytest.approx(15.041, abs=0.001)


def test_the_sky_knows_neither_actors_nor_pykka_and_starts_without_astropy():
    code = (
        "import sys, pyros.sky.visibility, pyros.sky.coordinates\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('pykka', 'astropy') or m.startswith('pyros.actors')]\n"
        "sys.exit(' '.join(bad) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
