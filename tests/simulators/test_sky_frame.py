"""Frames of the simulated sky: places, light, noise and what calibration must remove."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from simulators.frame import Exposure, FrameRenderer
from simulators.frame_detector import DARK_E_S, READ_NOISE_E, Window
from simulators.frame_optics import Plate, draw_stars, fwhm_px, pointing_error_arcsec
from simulators.frame_scene import PlainWorld, electrons_per_s, mean_electrons_per_s, sample
from simulators.sky import SyntheticSky

T = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
RA, DEC, N = 120.5, 22.1, 256
EMPTY = SyntheticSky(1, stars_per_deg2=1.0)
FIELD = SyntheticSky(1)
DARK_SKY = sample(PlainWorld(RA, DEC), T)


@dataclass
class Afterglow:
    ra_deg: float
    dec_deg: float
    t0: datetime
    mag_at_60s: float
    alpha: float = 1.1

    def magnitude(self, t):
        age = (t - self.t0).total_seconds()
        return None if age <= 0 else self.mag_at_60s + 2.5 * self.alpha * math.log10(age / 60.0)


def eye(sky=EMPTY, seed=1, name="vis", pixels=N):
    return FrameRenderer(name, seed=seed, sky=sky, pixels=pixels)


def exposure(number=1, duration_s=30.0, samples=(DARK_SKY,), pixels=N, **rest):
    return Exposure(
        number=number,
        start=T,
        duration_s=duration_s,
        window=Window(0, 0, pixels, pixels),
        samples=tuple(samples),
        **rest,
    )


def electrons(camera, frame, taken):
    """Calibrate with the truth: electrons above bias, dark and sky."""
    raw = (frame.astype(float) - camera.detector.bias_columns_adu) * taken.electrons_per_adu
    light = (raw - camera.detector.dark_e_s * taken.duration_s) / camera.detector.flat
    return light - np.median(light)


def centroid(image, near, half=8):
    x0, y0 = round(near[0]), round(near[1])
    cut = np.clip(image[y0 - half : y0 + half + 1, x0 - half : x0 + half + 1], 0.0, None)
    yy, xx = np.mgrid[y0 - half : y0 + half + 1, x0 - half : x0 + half + 1]
    return (cut * xx).sum() / cut.sum(), (cut * yy).sum() / cut.sum()


def test_north_is_up_and_east_is_left_as_astropy_projects_it():
    camera = eye()
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = camera.centre(DARK_SKY)
    wcs.wcs.crpix = [(N + 1) / 2] * 2
    wcs.wcs.cd = np.diag([-1.0, 1.0]) * camera.plate.arcsec_per_px / 3600.0
    for d_ra, d_dec in ((0.1, 0.0), (0.0, 0.1), (-0.08, -0.12)):
        star = Afterglow(RA + d_ra, DEC + d_dec, T - timedelta(hours=1), 6.0)
        taken = exposure()
        light = electrons(camera, camera.render(taken, [star]), taken)
        expected = wcs.wcs_world2pix([[star.ra_deg, star.dec_deg]], 0)[0]
        assert centroid(light, expected) == pytest.approx(tuple(expected), abs=0.15)
    east = wcs.wcs_world2pix([[RA + 0.1, DEC]], 0)[0]
    north = wcs.wcs_world2pix([[RA, DEC + 0.1]], 0)[0]
    assert east[0] < N / 2 - 20
    assert north[1] > N / 2 + 20


@pytest.mark.parametrize(("age_s", "mag"), [(20.0, 13.0), (300.0, 11.0)])
def test_an_afterglow_gives_the_integral_of_its_power_law(age_s, mag):
    burst = Afterglow(RA, DEC, T - timedelta(seconds=age_s), mag)
    camera, taken = eye(), exposure()
    light = electrons(camera, camera.render(taken, [burst]), taken)
    a = 1.0 - burst.alpha
    seconds = 60.0**burst.alpha * ((age_s + 30.0) ** a - age_s**a) / a
    truth = 10 ** (0.4 * (22.0277 - mag)) * seconds
    box = slice(N // 2 - 9, N // 2 + 9)
    noise = math.sqrt(truth + 18 * 18 * (30.0 * DARK_SKY.sky_e_s_arcsec2 * camera.plate.arcsec_per_px**2 + 64.0))
    assert noise < 0.02 * truth
    assert light[box, box].sum() == pytest.approx(truth, abs=3 * noise)


def test_a_burst_gives_no_light_before_it_happens():
    late = Afterglow(RA, DEC, T + timedelta(seconds=31), 8.0)
    camera = eye()
    assert (camera.render(exposure(), [late]) == camera.render(exposure())).all()
    begun = Afterglow(RA, DEC, T + timedelta(seconds=15), 8.0)
    assert mean_electrons_per_s(begun, T, 30.0) > mean_electrons_per_s(late, T, 30.0) == 0.0


def test_magnitude_19_3_is_five_sigma_in_thirty_seconds_at_the_full_scale():
    plate = Plate(2048, 26.0 * 60.0 / 2048)
    profile = draw_stars(
        64, np.array([31.3]), np.array([31.8]), np.array([1.0]), fwhm=fwhm_px(2.05, plate), noise_e=1e-9
    )
    pixels_used = 1.0 / float((profile.astype(float) ** 2).sum())
    signal = electrons_per_s(19.3) * 30.0
    background = (DARK_SKY.sky_e_s_arcsec2 * plate.arcsec_per_px**2 + DARK_E_S) * 30.0 + READ_NOISE_E**2
    assert signal / math.sqrt(signal + pixels_used * background) == pytest.approx(5.0, abs=0.15)


def test_the_same_seed_gives_the_same_frame_whatever_was_rendered_before():
    first = eye(FIELD).render(exposure(5))
    busy = eye(FIELD)
    busy.render(exposure(1))
    assert (busy.render(exposure(5)) == first).all()
    assert (busy.render(exposure(6)) != first).mean() > 0.5
    assert (eye(FIELD, seed=2).render(exposure(5)) != first).mean() > 0.5
    assert (eye(FIELD, name="nir").render(exposure(5)) != first).mean() > 0.5


def test_a_closed_dome_shows_a_dark_frame_and_a_lamp_a_flat_one():
    class Closed(PlainWorld):
        def dome_open_fraction(self, t):
            return 0.0

    shut = sample(Closed(RA, DEC), T)
    camera = eye(FIELD)
    assert (camera.render(exposure(samples=(shut,))) == camera.render(exposure(samples=()))).all()
    lit = camera.render(exposure(samples=(shut,), duration_s=8.0, lamp=True)).astype(float) - 1000.0
    assert np.median(lit) == pytest.approx(3000.0 * 8.0 / 1.5, rel=0.01)
    residual = lit / camera.detector.flat / np.median(lit)
    assert np.std(residual) < 0.01 < np.std(lit) / np.median(lit)


def test_bias_and_dark_have_the_noise_and_the_warmth_of_the_chip():
    """AN-P1: what the masters must find."""
    camera = eye(pixels=512)
    bias = camera.render(exposure(duration_s=0.0, samples=(), readout_s=0.0, pixels=512)).astype(float)
    assert np.median(bias) == pytest.approx(1000.0, abs=1.0)
    assert np.std(bias - camera.detector.bias_columns_adu) == pytest.approx(READ_NOISE_E / 1.5, rel=0.02)
    assert np.std(bias.mean(axis=0)) > 2.0  # the column pattern
    dark = {
        c: camera.render(exposure(duration_s=600.0, samples=(), ccd_temperature_c=c, pixels=512)).astype(float)
        for c in (-20.0, -14.0)
    }
    assert np.median(dark[-20.0] - bias) == pytest.approx(600 * DARK_E_S / 1.5, rel=0.1)
    assert np.median(dark[-14.0] - bias) == pytest.approx(2 * 600 * DARK_E_S / 1.5, rel=0.1)
    assert 20 < (dark[-20.0] > 2500.0).sum() < 2000  # hot pixels and cosmic rays


def test_too_much_light_saturates_at_65535():
    frame = eye().render(exposure(), [Afterglow(RA, DEC, T - timedelta(seconds=60), 5.0)])
    assert frame.dtype == np.uint16
    assert frame.max() == 65535


def test_stars_trail_when_the_mount_moves_and_keep_their_light():
    camera, star = eye(), Afterglow(RA, DEC, T - timedelta(hours=1), 8.0)
    moved = [replace(DARK_SKY, dec_deg=DEC + 0.03 * (k - 2)) for k in range(5)]
    still, trail = (
        electrons(camera, camera.render(taken, [star]), taken)
        for taken in (exposure(samples=[DARK_SKY] * 5), exposure(samples=moved))
    )
    assert trail.max() < 0.35 * still.max()
    column = slice(N // 2 - 12, N // 2 + 12)
    assert trail[N // 2 - 60 : N // 2 + 60, column].sum() == pytest.approx(still[70:190, column].sum(), rel=0.05)


def test_a_mount_that_slews_across_the_sky_draws_no_star_where_there_is_none():
    away = replace(DARK_SKY, ra_deg=RA + 170.0, dec_deg=-60.0)
    burst = Afterglow(RA, DEC, T - timedelta(hours=1), 8.0)
    frame = eye().render(exposure(samples=[DARK_SKY, away]), [burst])
    assert frame.shape == (N, N)


def test_a_binned_window_is_the_sum_of_its_pixels():
    camera, star = eye(), Afterglow(RA, DEC, T - timedelta(hours=1), 8.0)
    binned = camera.render(replace(exposure(), window=Window(32, 40, 64, 48, 2, 2)), [star]).astype(float)
    assert binned.shape == (48, 64)
    full = camera.render(exposure(), [star]).astype(float)[80:176, 64:192] - 1000.0
    assert (binned - 1000.0).sum() == pytest.approx(full.sum(), rel=0.01)


def test_every_tile_that_can_show_is_named_once():
    tiles = eye(FIELD).tiles(exposure(samples=[DARK_SKY, replace(DARK_SKY, ra_deg=RA + 1.0)]))
    assert len(set(tiles)) == len(tiles) >= 2


@given(st.integers(0, 2**31), st.floats(0.0, 360.0), st.floats(-90.0, 90.0))
def test_the_pointing_error_stays_within_five_arcseconds(seed, ra, dec):
    assert math.hypot(*pointing_error_arcsec(seed, ra, dec)) <= 5.0 + 1e-9
    assert pointing_error_arcsec(seed, ra, dec) == pytest.approx(pointing_error_arcsec(seed, ra + 360.0, dec), abs=1e-6)


@pytest.mark.parametrize(("pixels", "field"), [(32, 26.0), (8192, 26.0), (512, 0.0), (512, math.nan)])
def test_a_camera_out_of_range_is_refused(pixels, field):
    with pytest.raises(ValueError, match=r"vis .* must be"):
        FrameRenderer("vis", seed=1, sky=EMPTY, pixels=pixels, field_arcmin=field)
