"""Places of date, altitudes and sidereal time against astropy's own high-level frames."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.physics_frames import Frames, Site, altaz_of, displaced, hadec_of, separation_deg, wrap_180
from simulators.physics_timeline import Timeline, from_unix_s, to_unix_s

WHEN = datetime(2026, 11, 23, 5, 17, 31, tzinfo=UTC)
DIRECTIONS = [(120.5, 22.1), (0.01, -35.0), (359.9, 75.0), (266.4, -29.0), (83.8, -5.4)]


@pytest.fixture(scope="module")
def astropy_frame():
    from astropy import units
    from astropy.coordinates import AltAz, EarthLocation
    from astropy.time import Time
    from astropy.utils import iers

    iers.conf.auto_download, iers.conf.auto_max_age = False, None
    site = Site()
    place = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.height_m * units.m)
    when = Time(WHEN)
    return when, place, AltAz(obstime=when, location=place)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_place_of_date_is_astropys_true_equator_and_equinox(direction, astropy_frame):
    from astropy.coordinates import TETE, SkyCoord

    when, place, _ = astropy_frame
    apparent = SkyCoord(*direction, unit="deg").transform_to(TETE(obstime=when, location=place))
    ra_deg, dec_deg = Frames(Site()).of_date(*direction, to_unix_s(WHEN))
    assert separation_deg(ra_deg, dec_deg, apparent.ra.deg, apparent.dec.deg) * 3600 < 0.1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_altitude_and_azimuth_are_astropys_without_refraction(direction, astropy_frame):
    from astropy.coordinates import SkyCoord

    there = SkyCoord(*direction, unit="deg").transform_to(astropy_frame[2])
    altitude_deg, azimuth_deg = Frames(Site()).altaz(*direction, to_unix_s(WHEN))
    assert separation_deg(azimuth_deg, altitude_deg, there.az.deg, there.alt.deg) * 3600 < 1.0


def test_sun_and_moon_stand_where_astropy_puts_them(astropy_frame):
    from astropy.coordinates import get_body, get_sun

    when, _, frame = astropy_frame
    frames = Frames(Site())
    assert frames.sun_altitude_deg(to_unix_s(WHEN)) == pytest.approx(
        get_sun(when).transform_to(frame).alt.deg, abs=0.01
    )
    moon = get_body("moon", when)
    assert separation_deg(*frames.moon(to_unix_s(WHEN)), moon.ra.deg, moon.dec.deg) < 0.05


def test_sidereal_time_is_astropys_apparent_one(astropy_frame):
    when, place, _ = astropy_frame
    expected = when.sidereal_time("apparent", longitude=place.lon).deg
    assert abs(wrap_180(Frames(Site()).sidereal_deg(to_unix_s(WHEN)) - expected)) * 3600 < 0.1


@given(st.floats(0, 359.999), st.floats(-89, 89))
def test_going_to_the_place_of_date_and_back_is_nothing(ra_deg, dec_deg):
    frames, unix_s = Frames(Site()), to_unix_s(WHEN)
    back = frames.icrs(*frames.of_date(ra_deg, dec_deg, unix_s), unix_s)
    assert separation_deg(ra_deg, dec_deg, *back) * 3600 < 0.001


@given(st.floats(-179, 179), st.floats(-85, 85), st.floats(-85, 85))
def test_horizontal_and_equatorial_coordinates_of_the_axes_agree(ha_deg, dec_deg, latitude_deg):
    altitude_deg, azimuth_deg = altaz_of(ha_deg, dec_deg, latitude_deg)
    back = hadec_of(altitude_deg, azimuth_deg, latitude_deg)
    assert separation_deg(ha_deg, dec_deg, *back) < 1e-6


@given(st.floats(0, 359), st.floats(-88, 88), st.floats(0, 360), st.floats(0, 90))
def test_a_displaced_direction_is_as_far_away_as_asked(ra_deg, dec_deg, towards_deg, by_deg):
    assert separation_deg(ra_deg, dec_deg, *displaced(ra_deg, dec_deg, towards_deg, by_deg)) == pytest.approx(
        by_deg, abs=1e-5
    )


def test_a_site_outside_the_earth_is_refused_by_name():
    with pytest.raises(ValueError, match=r"latitude_deg is 95.0; it must be between -90 and 90"):
        Site(latitude_deg=95.0)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 3)), max_size=12), st.floats(0, 1e6))
def test_a_timeline_gives_the_last_value_set_up_to_an_instant(changes, asked):
    ordered = sorted(changes, key=lambda change: change[0])
    line = Timeline(0)
    for at_s, value in ordered:
        line.set(at_s, value)
    assert line.at(asked) == next((value for at_s, value in reversed(ordered) if at_s <= asked), 0)
    assert line.next_change(2e6) is None


def test_instants_without_a_time_zone_are_refused():
    with pytest.raises(ValueError, match="no time zone"):
        to_unix_s(datetime(2026, 11, 22))
    assert from_unix_s(to_unix_s(WHEN)) == WHEN
