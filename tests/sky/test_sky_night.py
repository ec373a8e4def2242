"""When it is night, against astroplan and at the poles."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from pyros.sky import configure_iers
from pyros.sky.night import crossing, date_of, night_between, night_of, sun_altitude_deg
from pyros.sky.site import Site

SITES = (
    Site(),
    Site("Calern", 6.9230, 43.7522, 1270.0),
    Site("La Silla", -70.7326, -29.2594, 2400.0),
    Site("Siding Spring", 149.0672, -31.2734, 1165.0),
    Site("Maunakea", -155.4681, 19.8283, 4205.0),
)
DATES = (date(2026, 3, 20), date(2026, 6, 21), date(2026, 11, 22), date(2027, 2, 1))
TROMSO = Site("Tromsø", 18.9553, 69.6492, 10.0)


@pytest.mark.parametrize("site", SITES, ids=lambda s: s.name)
@pytest.mark.parametrize("on", DATES, ids=str)
def test_twilights_agree_with_astroplan_within_a_minute(site, on):
    """MO-T6."""
    configure_iers()
    import astropy.units as u
    from astroplan import Observer
    from astropy.time import Time

    observer = Observer(longitude=site.longitude_deg * u.deg, latitude=site.latitude_deg * u.deg,
                        elevation=site.height_m * u.m, pressure=0 * u.hPa)  # fmt: skip
    night = night_of(site, on)
    noon = Time(night.noon_before)
    evening = observer.twilight_evening_nautical(noon, which="next").to_datetime(UTC)
    morning = observer.twilight_morning_nautical(noon, which="next").to_datetime(UTC)
    sunset = observer.sun_set_time(noon, which="next").to_datetime(UTC)
    for ours, theirs in ((night.begins, evening), (night.ends, morning), (night.sunset, sunset)):
        assert abs(ours - theirs) < timedelta(minutes=1)


def test_the_sun_is_at_the_limit_when_dark_time_begins_by_astropy():
    configure_iers()
    import astropy.units as u
    from astropy.coordinates import AltAz, EarthLocation, get_body
    from astropy.time import Time

    for site in SITES:
        night = night_of(site, DATES[2], -18)
        place = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.height_m * u.m)
        times = Time([night.begins, night.ends])
        altitude = get_body("sun", times, place).transform_to(AltAz(obstime=times, location=place)).alt.deg
        assert altitude == pytest.approx([-18, -18], abs=15 / 3600)  # one second of the Sun's way


def test_without_darkness_the_summer_night_of_the_north_has_no_beginning_and_no_end():
    """MO-T6."""
    night = night_of(TROMSO, date(2026, 6, 21))
    assert (night.sunset, night.begins, night.ends) == (None, None, None)
    assert not night.may_point(night.noon_before + timedelta(hours=12))
    assert not night.may_expose(night.noon_before + timedelta(hours=12), 1)


def test_the_polar_night_is_dark_from_noon_to_noon():
    """MO-T6."""
    pole = Site("South Pole", 0.0, -90.0, 2835.0)
    night = night_of(pole, date(2026, 6, 21))
    assert (night.begins, night.ends) == (night.noon_before, night.noon_after)
    assert night.sunset is None
    assert crossing(pole, date(2026, 6, 21), -18) == (None, None)


def test_a_dark_time_of_few_minutes_is_not_missed():
    """The Sun's lowest point lies between two points of the grid."""
    on, site = date(2026, 6, 21), Site("Lund", 13.19, 55.7, 50.0)
    midnight = night_of(site, on, -5)
    lowest = sun_altitude_deg(site, midnight.begins + (midnight.ends - midnight.begins) / 2)
    night = night_of(site, on, lowest + 0.001)
    assert timedelta(0) < night.ends - night.begins < timedelta(minutes=10)


def test_pointing_may_begin_two_minutes_before_the_night_but_no_exposure():
    """SC-T8."""
    night = night_of(Site(), date(2026, 11, 22))
    assert not night.may_point(night.begins - timedelta(seconds=121))
    assert night.may_point(night.begins - timedelta(seconds=119))
    assert not night.may_point(night.ends)
    assert not night.may_expose(night.begins - timedelta(seconds=1), 10)
    assert night.may_expose(night.begins, 10)
    assert not night.may_expose(night.ends - timedelta(seconds=9), 10)


@pytest.mark.parametrize("site", SITES, ids=lambda s: s.name)
def test_every_instant_from_noon_to_noon_belongs_to_the_night_of_that_date(site):
    for on in DATES:
        night = night_of(site, on)
        assert date_of(site, night.noon_before) == on
        assert date_of(site, night.noon_after - timedelta(microseconds=1)) == on
        assert date_of(site, night.noon_after) == on + timedelta(days=1)
        assert night.noon_before < night.sunset < night.begins < night.ends < night.sunrise < night.noon_after


@pytest.mark.parametrize("longitude", [-180.0, 179.999, 180.0, 244.5363])
def test_longitudes_may_be_counted_to_360(longitude):
    same = Site("x", longitude, 31.0, 0.0)
    wrapped = Site("x", (longitude + 180) % 360 - 180, 31.0, 0.0)
    assert night_of(same, DATES[0]) == night_of(wrapped, DATES[0])


def test_nonsense_is_refused_by_name():
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match=r"latitude_deg is 91; it must be between -90 and 90"):
        Site("x", 0, 91, 0)
    with pytest.raises(ValueError, match=r"height_m is nan"):
        Site("x", 0, 0, float("nan"))
    with pytest.raises(ValueError, match=r"not one night"):
        night_between(Site(), noon, noon + timedelta(days=2), -12)
    with pytest.raises(ValueError, match=r"sun_altitude_max_deg is -99"):
        night_of(Site(), DATES[0], -99)
    with pytest.raises(ValueError, match=r"no time zone"):
        sun_altitude_deg(Site(), datetime(2026, 11, 22))
