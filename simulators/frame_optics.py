"""Where stars fall on the detector and how they look there. Pure numpy.

Orientation: north up, east left, no rotation. In `image[y, x]` y grows with declination and x falls with right
ascension, and the pointing falls on the pixel coordinate ((N - 1) / 2, (N - 1) / 2), pixel centres being whole numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.float32]

POINTING_ERROR_ARCSEC = 5.0
MIN_FWHM_PX = 2.0
MOFFAT_ALPHA_PER_FWHM = 0.5 / math.sqrt(2.0 ** (1.0 / 3.0) - 1.0)
STAMP_RADII = (3.0, 5.0, 8.0, 14.0, 24.0)
"""Half-widths of star stamps in Moffat alphas; the wings outside hold 1 % of the light at 3 and 0.0003 % at 24."""
HALO_OVER_NOISE = 0.02


class Plate(NamedTuple):
    """A square detector on the sky: pixels along a side and the size of one in arcsec."""

    pixels: int
    arcsec_per_px: float


def pointing_error_arcsec(seed: int, ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return what the mount's pointing model leaves, (east, north), at most 5 arcsec in all.

    Smooth over the sky, so that it is constant while the mount tracks a place and other after a slew; the same for
    every camera on the mount.
    """
    phase = np.random.default_rng([seed, 0x706F696E74]).uniform(0.0, 2.0 * math.pi, 4)
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    size = POINTING_ERROR_ARCSEC / math.sqrt(2.0)
    east = size * math.sin(23 * ra + phase[0]) * math.cos(17 * dec + phase[1])
    north = size * math.sin(19 * ra + phase[2]) * math.cos(29 * dec + phase[3])
    return east, north


def offset(ra_deg: float, dec_deg: float, east_arcsec: float, north_arcsec: float) -> tuple[float, float]:
    """Return the place that lies a few arcsec away (a small-angle formula, kept off the very poles)."""
    cos_dec = max(math.cos(math.radians(dec_deg)), 1e-4)
    dec = min(90.0, max(-90.0, dec_deg + north_arcsec / 3600.0))
    return (ra_deg + east_arcsec / 3600.0 / cos_dec) % 360.0, dec


def pixel_positions(ra_deg: Array, dec_deg: Array, centre: tuple[float, float], plate: Plate) -> tuple[Array, Array]:
    """Return pixel coordinates (x, y) of places no farther than 80 degrees from the centre.

    Gnomonic projection: Calabretta and Greisen (2002, A&A 395, 1077), section 5.1.3.
    """
    ra, dec = np.radians(ra_deg) - math.radians(centre[0]), np.radians(dec_deg)
    sin0, cos0 = math.sin(math.radians(centre[1])), math.cos(math.radians(centre[1]))
    toward = sin0 * np.sin(dec) + cos0 * np.cos(dec) * np.cos(ra)
    xi = np.cos(dec) * np.sin(ra) / toward
    eta = (cos0 * np.sin(dec) - sin0 * np.cos(dec) * np.cos(ra)) / toward
    px_per_rad = 3600.0 * 180.0 / math.pi / plate.arcsec_per_px
    middle = (plate.pixels - 1) / 2.0
    return middle - xi * px_per_rad, middle + eta * px_per_rad


def fwhm_px(seeing_arcsec: float, plate: Plate) -> float:
    """Return the full width at half maximum on the detector; optics and pixel never let it below 2 pixels."""
    return max(MIN_FWHM_PX, seeing_arcsec / plate.arcsec_per_px)


def draw_stars(pixels: int, x: Array, y: Array, electrons: Array, *, fwhm: float, noise_e: float) -> Image:
    """Return an image (pixels, pixels) of point sources with a Moffat profile of exponent 3.

    Pixel centres sample the profile: at FWHM >= 2 pixels the flux then depends on the sub-pixel phase by less than
    2e-4. A stamp ends where the profile has sunk below a fiftieth of the noise.

    Parameters
    ----------
    x, y, electrons : ndarray, shape (n,)
        Pixel coordinates and total light of each source.
    fwhm, noise_e : float
        Full width at half maximum in pixels; noise of an empty pixel in electrons.
    """
    alpha = fwhm * MOFFAT_ALPHA_PER_FWHM
    halves = [math.ceil(radius * alpha) for radius in STAMP_RADII]
    pad = 2 * halves[-1] + 1  # a star may stand half a stamp outside
    canvas = np.zeros((pixels + 2 * pad, pixels + 2 * pad), np.float32)
    peaks = 2.0 / (math.pi * alpha * alpha) * electrons
    radii = (np.maximum(peaks, 1e-9) / (HALO_OVER_NOISE * noise_e)) ** (1.0 / 6.0)
    sizes = np.minimum(np.searchsorted(STAMP_RADII, radii), len(halves) - 1)
    for size, half in enumerate(halves):
        near = (np.abs(x - pixels / 2) < pixels / 2 + half) & (np.abs(y - pixels / 2) < pixels / 2 + half)
        chosen = near & (sizes == size) & (electrons > 0.0)
        if chosen.any():
            _add_stamps(canvas, x[chosen] + pad, y[chosen] + pad, peaks[chosen], alpha=alpha, half=half)
    return canvas[pad : pad + pixels, pad : pad + pixels]


def _add_stamps(canvas: Image, x: Array, y: Array, peaks: Array, *, alpha: float, half: int) -> None:
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    steps = np.arange(-half, half + 1)
    across = (((column - x)[:, None] + steps) / alpha).astype(np.float32) ** 2
    along = (((row - y)[:, None] + steps) / alpha).astype(np.float32) ** 2 + np.float32(1.0)
    profile = along[:, :, None] + across[:, None, :]
    stamps = peaks.astype(np.float32)[:, None, None] / (profile * profile * profile)
    width = 2 * half + 1
    corners = zip((row - half).tolist(), (column - half).tolist(), strict=True)
    for stamp, (top, left) in zip(stamps, corners, strict=True):
        canvas[top : top + width, left : left + width] += stamp
