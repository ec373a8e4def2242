"""Takes the known stars out of a cut-out of an image, so that what is new shows, also in a star's glow.

Each catalogue star is the measured profile times a flux. The fluxes are fitted together, held near what the catalogue
and the zero point say: a new source beside a star must not be swallowed by it. What the profile cannot say stays as
extra variance, so that the remains of a bright star never look significant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import spsolve

from pyros.actors.analyzer.measurement import Measured
from pyros.actors.analyzer.psf import cut_out, stamps

Array = NDArray[np.float64]

PRIOR_SHARE = 0.15
"""How much a star's flux may differ from the catalogue's before the fit has to be convinced."""
MODEL_ERROR = 0.04
"""Share of a star's light that the profile and its position may misplace."""
MIN_SNR = 0.3
"""Fainter stars are not worth taking out."""
HALO_SNR = 300.0
"""Above this the profile's far wings matter: they are masked out to where they drown in the noise."""
_FLUX_PRIOR_FLOOR_SNR = 1.0


class Box(NamedTuple):
    """A cut-out: its first row and column and its shape."""

    y0: int
    x0: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the cut-out in the image."""
        return slice(self.y0, self.y0 + self.rows), slice(self.x0, self.x0 + self.columns)


class Residual(NamedTuple):
    """What is left of a cut-out: ADU and its variance (infinite where nothing can be said), and the stars' places."""

    pixels: Array
    variance: Array
    star_x: Array
    star_y: Array
    star_flux: Array
    """Zero-based pixels in the whole image, ADU."""


def subtract_stars(image: Measured, box: Box) -> Residual:
    """Return the cut-out without the catalogue's stars."""
    psf, gain = image.sources.psf, image.gain_e_adu
    half = psf.half_width_px
    pixels = image.sources.pixels[box.slices].astype(np.float64)
    variance = image.sources.sky_variance[box.slices].astype(np.float64)
    x, y, expected, noise = _stars_in(image, box, half)
    if not len(x):
        return Residual(pixels, variance, x, y, expected)
    x, y = _sharpen(image, x, y, expected / noise)
    matrix = _design(image, box, x, y, half)
    flux = _fit_fluxes(matrix, pixels, variance + matrix.T.dot(expected).reshape(pixels.shape) / gain, expected, noise)
    model = matrix.T.dot(flux).reshape(pixels.shape)
    squares = matrix.multiply(matrix).T.dot((MODEL_ERROR * flux) ** 2).reshape(pixels.shape)
    variance += np.maximum(model, 0) / gain + squares + (0.5 * MODEL_ERROR * model) ** 2
    halo = _halo_mask(image, box, x, y, _halo_radius_px(image, np.maximum(flux, expected), noise))
    saturated = image.sources.saturated[box.slices]
    variance[halo | saturated] = np.inf
    return Residual(pixels - model, variance, x, y, flux)


def _stars_in(image: Measured, box: Box, half: int) -> tuple[Array, Array, Array, float]:
    x, y = image.plate.to_pixel(image.stars.ra_deg, image.stars.dec_deg)
    flux = image.zero_point.fluxes(image.stars.mag, x, y, image.exposure_s)
    noise = float(np.sqrt(image.sources.psf.effective_pixels)) * image.sources.sky_sigma_adu
    reach = half + 2 + _halo_radius_px(image, flux, noise)
    near = (x > box.x0 - reach) & (x < box.x0 + box.columns + reach)
    near &= (y > box.y0 - reach) & (y < box.y0 + box.rows + reach) & (flux > MIN_SNR * noise)
    return x[near], y[near], flux[near], noise


def _sharpen(image: Measured, x: Array, y: Array, snr: Array) -> tuple[Array, Array]:
    """Take a bright star's own fitted place where it agrees with the plate's: it is the better one."""
    fits, usable = image.sources.fits, image.sources.usable
    if not usable.any():
        return x, y
    distance = np.hypot(x[:, None] - fits.x[usable], y[:, None] - fits.y[usable])
    nearest = distance.argmin(axis=1)
    take = (distance[np.arange(len(x)), nearest] < 0.3) & (snr > 30)
    return np.where(take, fits.x[usable][nearest], x), np.where(take, fits.y[usable][nearest], y)


def _design(image: Measured, box: Box, x: Array, y: Array, half: int) -> csr_matrix:
    """Unit-flux profiles, one star a row, one pixel of the cut-out a column."""
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    value, _, _ = stamps(image.sources.psf, x - column, y - row, half)
    steps = np.arange(-half, half + 1)
    rows = np.broadcast_to((row - box.y0)[:, None, None] + steps[:, None], value.shape)
    columns = np.broadcast_to((column - box.x0)[:, None, None] + steps, value.shape)
    star = np.broadcast_to(np.arange(len(x))[:, None, None], value.shape)
    inside = (rows >= 0) & (rows < box.rows) & (columns >= 0) & (columns < box.columns)
    flat = (rows * box.columns + columns)[inside]
    return csr_matrix((value[inside], (star[inside], flat)), shape=(len(x), box.rows * box.columns))


def _fit_fluxes(matrix: csr_matrix, pixels: Array, variance: Array, expected: Array, noise: float) -> Array:
    """Solve the normal equations of the weighted fit with a normal prior on each flux."""
    weight = np.where(np.isfinite(variance), 1 / variance, 0).ravel()
    prior = 1 / np.hypot(PRIOR_SHARE * expected, _FLUX_PRIOR_FLOOR_SNR * noise * 0.3) ** 2
    weighted = matrix.multiply(weight).tocsr()
    normal = (weighted @ matrix.T + diags(prior)).tocsc()
    solution: Any = spsolve(normal, weighted @ pixels.ravel() + prior * expected)
    return np.maximum(solution, 0)


def _halo_radius_px(image: Measured, flux: Array, noise: float) -> Array:
    """Return to where a Moffat profile of exponent 3 stands above a third of a pixel's noise; 0 for most stars."""
    alpha = image.sources.psf.fwhm_px / 2 / np.sqrt(2 ** (1 / 3) - 1)
    peak = 2 * flux / (np.pi * alpha**2)
    radius = alpha * np.sqrt(np.maximum((peak / (0.3 * image.sources.sky_sigma_adu)) ** (1 / 3) - 1, 0))
    return np.where(flux > HALO_SNR * noise, np.minimum(radius, 60), 0)


def _halo_mask(image: Measured, box: Box, x: Array, y: Array, radius_px: Array) -> NDArray[np.bool_]:
    """Mask saturated stars out to the end of their halo; of other bright stars the ring beyond the profile's stamp."""
    mask = np.zeros((box.rows, box.columns), bool)
    saturated, _ = cut_out(image.sources.saturated, x, y, 2)
    for k in np.nonzero(radius_px > 0)[0]:
        radius, inner = float(radius_px[k]), 0.8 * image.sources.psf.half_width_px
        rows = np.arange(max(box.y0, int(y[k] - radius)), min(box.y0 + box.rows, int(y[k] + radius) + 2))
        columns = np.arange(max(box.x0, int(x[k] - radius)), min(box.x0 + box.columns, int(x[k] + radius) + 2))
        distance2 = (rows[:, None] - y[k]) ** 2 + (columns - x[k]) ** 2
        ring = (distance2 < radius**2) & (saturated[k].any() | (distance2 > inner**2))
        mask[np.ix_(rows - box.y0, columns - box.x0)] |= ring
    return mask
