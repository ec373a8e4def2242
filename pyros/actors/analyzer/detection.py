"""Finds the stars of a calibrated image: background, matched filter, deblending, then a fit of the measured profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import sep
from msgspec import Struct
from numpy.typing import NDArray

from pyros.actors.analyzer.calibration import Calibrated, Image, Mask
from pyros.actors.analyzer.psf import Fits, Psf, fit_sources, measure_psf

THRESHOLD_SIGMA = 4.0
MAX_SOURCES = 3000
MAX_PSF_STARS = 40


class DetectionError(Exception):
    """The image has no usable stars; the text is one line for a person."""


class Sources(Struct, frozen=True):
    """An image without its background, its noise, its profile, and its sources from bright to faint."""

    pixels: Image
    """Background-subtracted ADU (rows, columns)."""
    sky_variance: Image
    """Measured variance of the background, ADU^2; infinite where a pixel is bad or saturated."""
    sky_level_adu: float
    sky_sigma_adu: float
    saturated: Mask
    psf: Psf
    fits: Fits
    usable: Mask
    """(n,): sources that are neither saturated nor cut nor badly fitted."""


def find_sources(image: Calibrated, gain_e_adu: float) -> Sources:
    """Detect and fit every source above `THRESHOLD_SIGMA` (AN-P2).

    The noise goes to sep as an array: with a number, its matched filter does not work in units of sigma.

    Raises
    ------
    DetectionError
        If fewer than three sources stand out, or so many that the frame must be overexposed.
    """
    mesh = 64 if min(image.pixels.shape) >= 1024 else 32
    unusable = image.bad | image.saturated
    background: Any = sep.Background(image.pixels, mask=unusable, bw=mesh, bh=mesh, fw=3, fh=3)
    pixels: Image = image.pixels - background.back(dtype=np.float32)
    pixels[image.bad] = 0
    sigma: Image = np.maximum(background.rms(dtype=np.float32), np.float32(1e-3))
    x, y, peak, flags = _extract(pixels, sigma, image.bad)
    variance = np.where(unusable, np.float32(np.inf), sigma**2)
    bright_pixels = _touches(image.saturated, x, y)
    lonely = ~bright_pixels & (flags == 0)
    psf_stars = np.nonzero(lonely & (peak > 15))[0][:MAX_PSF_STARS]
    if len(psf_stars) < 3:
        psf_stars = np.nonzero(lonely)[0][:MAX_PSF_STARS]
    if len(psf_stars) < 3:
        raise DetectionError(f"{len(psf_stars)} unsaturated stars stand out; 3 at least are needed")
    psf = measure_psf(pixels, variance, x[psf_stars], y[psf_stars], gain_e_adu=gain_e_adu)
    fits = fit_sources(pixels, variance, psf, x, y, gain_e_adu=gain_e_adu)
    usable = ~bright_pixels & (fits.flux > 0) & (fits.shift_px < 2) & (fits.chi2 < 20)
    level, spread = float(background.globalback), float(np.median(sigma[::7, ::7]))
    return Sources(pixels, variance, level, spread, image.saturated, psf, fits, usable)


def _extract(pixels: Image, sigma: Image, bad: Mask) -> tuple[NDArray[np.float64], ...]:
    """Return x, y, peak in sigma and sep's flags of the sources, from bright to faint."""
    sep.set_extract_pixstack(max(100_000, pixels.size // 4))  # it is cleared at each call, so not larger than needed
    sep.set_sub_object_limit(4096)
    grid = np.arange(-2, 3)
    kernel = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / 0.9**2)
    try:
        found: Any = sep.extract(
            pixels,
            THRESHOLD_SIGMA,
            err=sigma,
            mask=bad,
            minarea=2,
            filter_kernel=kernel,
            deblend_cont=0.003,
            clean=False,  # cleaning takes lonely stars of ten sigma away, 20 pixels from the next one
        )
    except Exception as error:  # sep raises plain Exception when its buffers overflow
        raise DetectionError(f"sources cannot be told apart: {error}") from error
    order = np.argsort(-found["flux"], kind="stable")[:MAX_SOURCES]
    found = found[order]
    at = np.rint(found["y"]).astype(int), np.rint(found["x"]).astype(int)
    return found["x"], found["y"], found["peak"] / sigma[at], found["flag"]


def _touches(saturated: Mask, x: NDArray[np.float64], y: NDArray[np.float64]) -> Mask:
    """Return which positions have a saturated pixel in their 5 × 5 neighbourhood."""
    offsets = np.arange(-2, 3)
    rows = (np.rint(y).astype(int)[:, None] + offsets).clip(0, saturated.shape[0] - 1)
    columns = (np.rint(x).astype(int)[:, None] + offsets).clip(0, saturated.shape[1] - 1)
    return np.any(saturated[rows[:, :, None], columns[:, None, :]], axis=(1, 2))
