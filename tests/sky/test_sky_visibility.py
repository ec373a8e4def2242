"""Windows of visibility in closed form, against astropy asked minute by minute."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.sky import configure_iers
from pyros.sky.night import night_of
from pyros.sky.site import Site
from pyros.sky.visibility import NightSky, windows

NIGHTS = [
    (Site(), date(2026, 11, 22), -12),
    (Site("Calern", 6.923, 43.7522, 1270), date(2027, 3, 18), -18),
    (Site("La Silla", -70.7326, -29.2594, 2400), date(2026, 6, 21), -12),
    (Site("South Pole", 0.0, -90.0, 2835.0), date(2026, 6, 21), -18),
]
EDGE_DEG = 0.005


def by_astropy(sky, ra, dec, min_altitude, moon_separation):
    """Margins in degrees (altitude, Moon, Sun) at every minute from noon to noon, shape (targets, minutes)."""
    configure_iers()
    import astropy.units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
    from astropy.time import Time

    site = sky.site
    at_s = np.arange(0.0, 86400.0, 60.0)
    time = Time(sky.origin) + at_s * u.s
    place = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.height_m * u.m)
    frame = AltAz(obstime=time, location=place)
    stars = SkyCoord(ra[:, None], dec[:, None], unit="deg").transform_to(frame[None, :])
    moon = get_body("moon", time, place).transform_to(frame)
    from astropy.coordinates.angles import angular_separation

    moon_away = np.degrees(angular_separation(stars.az.rad, stars.alt.rad, moon.az.rad, moon.alt.rad))
    moon_margin = np.where(moon_separation[:, None] > 0, moon_away - moon_separation[:, None], 180.0)
    sun_margin = sky.night.sun_altitude_max_deg - get_body("sun", time, place).transform_to(frame).alt.deg
    margins = stars.alt.deg - min_altitude[:, None], moon_margin, np.broadcast_to(sun_margin, moon_margin.shape)
    return at_s, np.minimum.reduce(margins)


@pytest.mark.parametrize(("site", "on", "sun"), NIGHTS, ids=lambda x: getattr(x, "name", str(x)))
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_targets_are_in_a_window_exactly_when_astropy_finds_them_observable(site, on, sun, seed):
    rng = np.random.default_rng(seed)
    n = 12
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    altitude, separation = rng.uniform(0, 60, n), rng.choice([0.0, 20.0, 60.0, 120.0], n)
    sky = NightSky(site, night_of(site, on, sun))
    at_s, margin = by_astropy(sky, ra, dec, altitude, separation)
    for k, found in enumerate(windows(sky, ra, dec, altitude, separation)):
        inside = np.zeros(len(at_s), bool)
        for start, end in found:
            assert start < end
            inside |= (at_s >= start) & (at_s <= end)
        clear = np.abs(margin[k]) > EDGE_DEG
        assert (inside == (margin[k] > 0))[clear].all()
        assert all(a[1] <= b[0] for a, b in pairwise(found))


def test_no_dark_time_gives_no_windows():
    sky = NightSky(
        Site("Tromsø", 18.9553, 69.6492, 10.0), night_of(Site("T", 18.9553, 69.6492, 10.0), date(2026, 6, 21))
    )
    assert windows(sky, [10.0], [80.0], [20.0], [0.0]) == [[]]


def test_no_targets_give_no_lists():
    assert windows(NightSky(Site(), night_of(Site(), date(2026, 11, 22))), [], [], [], []) == []


def test_the_highest_altitude_of_a_target_is_at_its_transit_or_at_an_edge():
    sky = NightSky(Site(), night_of(Site(), date(2026, 11, 22)))
    places = sky.places(np.linspace(0, 350, 36), np.full(36, 20.0))
    start, end = sky.dark_s
    highest, at_s = sky.highest(places, start, end)
    grid = sky.altitudes_deg(places, np.linspace(start, end, 5000)[:, None])
    assert highest == pytest.approx(grid.max(0), abs=0.001)
    assert sky.altitudes_deg(places, at_s) == pytest.approx(highest)
