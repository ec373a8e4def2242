"""Profile, plate and magnitudes against truth."""

import numpy as np
import pytest
from analyzer_frames import EXPOSURE_S, header_of
from analyzer_sky import GAIN, READ_NOISE, ZERO_MAG_E_S, Camera, Sky
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.analyzer.astrometry import AstrometryError, Plate, plate_of, solve_plate
from pyros.actors.analyzer.calibration import MasterPixels, calibrate
from pyros.actors.analyzer.catalogue import Stars
from pyros.actors.analyzer.frame import estimate_wcs, write_frame
from pyros.actors.analyzer.measurement import measure
from pyros.actors.analyzer.psf import Psf, fit_sources, stamps

BIAS = MasterPixels(bias=np.full((512, 512), 900, np.float32))


def perfect(camera):
    camera.flat, camera.dark, camera.bias = np.ones_like(camera.flat), np.zeros_like(camera.dark), 900.0
    return camera


def measured_frame(tmp_path, camera, sky):
    light = camera.light(sky, (sky.ra, sky.dec), EXPOSURE_S)
    image = calibrate(camera.read_out(light, EXPOSURE_S, seed=2), header_of(), BIAS)
    wcs = estimate_wcs(sky.ra, sky.dec + 0.8 / 60, image.pixels.shape, camera.scale)
    return measure("f", image, header_of(wcs=wcs), sky.write_catalogue(tmp_path / "c.csv"), 150.0)


@given(sigma=st.floats(0.3, 4), x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5), wing=st.floats(0, 0.4))
def test_all_light_of_a_star_is_in_its_stamp_wherever_it_falls_in_a_pixel(sigma, x, y, wing):
    psf = Psf(sigma, wing)
    value, _, _ = stamps(psf, np.array([x]), np.array([y]), psf.half_width_px + 4)
    assert float(value.sum()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("sigma", [0.45, 0.85, 1.4])
def test_errors_of_position_and_flux_are_what_they_claim(sigma):
    """Pull of one, also for stars narrower than a pixel."""
    rng = np.random.default_rng(4)
    psf, n, flux = Psf(sigma, 0.1), 400, 60.0 * 10
    image = rng.normal(0, 10, (n // 20 * 40, 800)).astype(np.float32)
    gx, gy = np.meshgrid(np.arange(20) * 40 + 20.0, np.arange(20) * 40 + 20.0)
    x, y = gx.ravel() + rng.uniform(-0.5, 0.5, n), gy.ravel() + rng.uniform(-0.5, 0.5, n)
    for stamp, cx, cy in zip(stamps(psf, x - gx.ravel(), y - gy.ravel(), 12)[0], gx.ravel(), gy.ravel(), strict=True):
        image[int(cy) - 12 : int(cy) + 13, int(cx) - 12 : int(cx) + 13] += flux * stamp
    found = fit_sources(image, np.full_like(image, 100), psf, gx.ravel(), gy.ravel(), gain_e_adu=1e6)
    inside = found.shift_px < 1.5
    assert inside.mean() > 0.97
    assert 0.85 < np.std(((found.x - x) / found.x_error)[inside]) < 1.2
    assert 0.9 < np.std(((found.flux - flux) / found.flux_error)[inside]) < 1.1
    assert abs(float(np.mean(found.flux[inside])) / flux - 1) < 0.02


@pytest.mark.parametrize(
    "camera", [Camera(), Camera(rotation_deg=180.4), Camera(mirrored=True), Camera(distortion=0.0)]
)
def test_a_frame_is_solved_an_arcminute_off_also_turned_or_mirrored(tmp_path, camera):
    """AN-P2: the plate is right to a tenth of a pixel wherever the camera sits on the mount."""
    sky = Sky()
    found = measured_frame(tmp_path, perfect(camera), sky)
    rng = np.random.default_rng(1)
    ra, dec = sky.ra + rng.uniform(-0.2, 0.2, 50), sky.dec + rng.uniform(-0.18, 0.18, 50)
    x, y = camera.pixel(ra, dec, (sky.ra, sky.dec))
    sx, sy = found.plate.to_pixel(ra, dec)
    assert float(np.hypot(sx - x, sy - y).max()) < 0.15


def test_a_full_frame_of_2048_pixels_is_solved_too(tmp_path):
    sky = Sky(per_deg2_at_20=2000.0)
    camera = Camera(pixels=1024, scale=1.2, fwhm_arcsec=3.0)
    light = camera.light(sky, (sky.ra, sky.dec), EXPOSURE_S)
    image = calibrate(camera.read_out(light, EXPOSURE_S, 3), header_of(), MasterPixels())
    wcs = estimate_wcs(sky.ra + 0.02, sky.dec, image.pixels.shape, camera.scale)
    found = measure("f", image, header_of(wcs=wcs), sky.write_catalogue(tmp_path / "c.csv"), 150.0)
    assert found.plate.rms_arcsec < 0.25
    assert found.fwhm_arcsec == pytest.approx(3.0, rel=0.1)


def test_zero_point_limit_and_seeing_are_those_of_the_sky(tmp_path):
    """AN-P2: the limit is within a tenth of a magnitude of what an ideal filter could reach."""
    camera, sky = perfect(Camera()), Sky()
    found = measured_frame(tmp_path, camera, sky)
    assert found.zero_point.magnitude == pytest.approx(2.5 * np.log10(ZERO_MAG_E_S / GAIN), abs=0.03)
    assert found.fwhm_arcsec == pytest.approx(camera.fwhm_arcsec, rel=0.1)
    alone = Sky(per_deg2_at_20=1e-9)
    star = camera.light(alone, (sky.ra, sky.dec), 1.0, [(sky.ra, sky.dec, 0.0)], sky_e_s_arcsec2=0) / ZERO_MAG_E_S
    background = 6.9 * camera.scale**2 * EXPOSURE_S + READ_NOISE**2 + GAIN**2 / 12
    electrons = (25 + np.sqrt(625 + 100 * background / (star**2).sum())) / 2
    ideal = 2.5 * np.log10(ZERO_MAG_E_S * EXPOSURE_S / electrons)
    assert found.limiting_mag == pytest.approx(ideal, abs=0.1)


def test_stars_above_the_limit_are_recovered(tmp_path):
    """AN-P2: 95 % of lonely stars half a magnitude above the limit and brighter are in the source list."""
    sky = Sky(per_deg2_at_20=1500.0)
    camera = perfect(Camera())
    found = measured_frame(tmp_path, camera, sky)
    x, y = camera.pixel(sky.star_ra, sky.star_dec, (sky.ra, sky.dec))
    inside = (x > 5) & (x < 506) & (y > 5) & (y < 506)
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 99 * np.eye(len(x))
    bright = inside & (sky.star_mag < found.limiting_mag - 0.5) & (sky.star_mag > 11)
    lonely = bright & ~((distance < 8) & (sky.star_mag < sky.star_mag[:, None] + 2)).any(1)
    nearest = np.hypot(x[lonely][:, None] - found.sources.fits.x, y[lonely][:, None] - found.sources.fits.y).min(1)
    assert lonely.sum() > 50
    assert (nearest < 1).mean() >= 0.95


def test_the_plate_in_the_header_is_the_plate_of_astropy(tmp_path):
    found = measured_frame(tmp_path, perfect(Camera()), Sky())
    assert found.plate.sip.any()
    write_frame(tmp_path / "f.fits", np.zeros((512, 512), np.float32), header_of(), found.cards())
    x, y = np.random.default_rng(0).uniform(0, 511, (2, 40))
    ra, dec = WCS(fits.getheader(tmp_path / "f.fits")).all_pix2world(x, y, 0)
    ours = found.plate.to_sky(x, y)
    assert np.abs(ours[0] - ra).max() * 3600 < 1e-4
    assert np.abs(ours[1] - dec).max() * 3600 < 1e-4
    back = found.plate.to_pixel(*ours)
    assert float(np.hypot(back[0] - x, back[1] - y).max()) < 1e-5


def test_noise_does_not_pass_for_a_sky():
    rng = np.random.default_rng(8)
    stars = Stars(rng.uniform(10, 10.5, 300), rng.uniform(5, 5.5, 300), rng.uniform(12, 18, 300))
    x, y = rng.uniform(0, 511, (2, 120))
    with pytest.raises(AstrometryError, match="do not match"):
        solve_plate(
            x,
            y,
            np.full(120, 20.0),
            stars=stars,
            estimate=estimate_wcs(10.25, 5.25, (512, 512), 3.05),
            shape=(512, 512),
            max_error_arcsec=150,
        )


@given(ra=st.floats(0, 359.99), dec=st.floats(-89, 89), angle=st.floats(0, 360), mirrored=st.booleans())
def test_pixels_go_to_the_sky_and_back(ra, dec, angle, mirrored):
    plate: Plate = plate_of(estimate_wcs(ra, dec, (512, 512), 3.05, position_angle_deg=angle, mirrored=mirrored))
    x, y = plate.to_pixel(*plate.to_sky(np.array([0.0, 400.0]), np.array([511.0, 30.0])))
    assert np.allclose([x, y], [[0, 400], [511, 30]], atol=1e-5)
