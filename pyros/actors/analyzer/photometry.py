"""Puts fluxes on the catalogue's magnitude scale: zero point, its change to the edge, limiting magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pyros.actors.analyzer.psf import Psf

Array = NDArray[np.float64]

MIN_STARS = 3
_RADIAL_FROM = 40
"""Stars from which the zero point's change with the radius is fitted too."""
POGSON = 2.5 / np.log(10)
"""Magnitudes per relative flux error."""


class PhotometryError(Exception):
    """No zero point can be had; the text is one line for a person."""


class ZeroPoint(Struct, frozen=True):
    """Magnitude of 1 ADU/s at the frame's centre and what is added at the half-diagonal's unit radius."""

    magnitude: float
    error: float
    scatter: float
    """Robust scatter of one star, magnitudes."""
    radial: float
    stars: int
    shape: tuple[int, int]

    def at(self, x: Any, y: Any) -> Array:
        """Return the zero point at pixels (n,)."""
        return self.magnitude + self.radial * _radius2(np.atleast_1d(x), np.atleast_1d(y), self.shape)

    def magnitudes(self, flux_adu: Any, x: Any, y: Any, exposure_s: float) -> Array:
        """Return magnitudes of fluxes (n,); NaN where the flux is not positive."""
        flux = np.atleast_1d(np.asarray(flux_adu, float))
        return self.at(x, y) - 2.5 * np.log10(np.where(flux > 0, flux, np.nan) / exposure_s)

    def fluxes(self, mag: Any, x: Any, y: Any, exposure_s: float) -> Array:
        """Return the ADU expected from stars of these magnitudes (n,)."""
        return exposure_s * 10 ** (0.4 * (self.at(x, y) - np.atleast_1d(mag)))


def measure_zero_point(
    flux_adu: Array,
    flux_error_adu: Array,
    mag: Array,
    *,
    x: Array,
    y: Array,
    exposure_s: float,
    shape: tuple[int, int],
) -> ZeroPoint:
    """Fit the zero point to matched, unsaturated stars (n,), clipping variables and blends.

    Raises
    ------
    PhotometryError
        If fewer than three stars are left.
    """
    snr = flux_adu / flux_error_adu
    good = snr > (20 if (snr > 20).sum() >= 10 else 5)
    if good.sum() < MIN_STARS or exposure_s <= 0:
        raise PhotometryError(f"{int(good.sum())} matched stars are bright enough; {MIN_STARS} are needed")
    flux, difference = flux_adu[good], mag[good] + 2.5 * np.log10(flux_adu[good] / exposure_s)
    radius2 = _radius2(x[good], y[good], shape)
    terms = np.stack([np.ones(len(flux)), radius2], 1)[:, : 2 if len(flux) >= _RADIAL_FROM else 1]
    sigma = np.hypot(POGSON / snr[good], 0.02)
    kept = np.abs(difference - np.median(difference)) < 1.0
    fit, residual = np.zeros(terms.shape[1]), difference
    for _ in range(8):
        if kept.sum() < MIN_STARS:
            raise PhotometryError(f"the magnitudes of {len(flux)} matched stars contradict each other")
        fit = np.linalg.lstsq(terms[kept] / sigma[kept, None], difference[kept] / sigma[kept], rcond=None)[0]
        residual = difference - terms @ fit
        spread = 1.4826 * float(np.median(np.abs(residual[kept])))
        kept = np.abs(residual) < 3 * np.maximum(spread, sigma)
    scatter = 1.4826 * float(np.median(np.abs(residual[kept])))
    error = max(scatter, float(np.median(sigma[kept]))) / np.sqrt(kept.sum())
    radial = float(fit[1]) if len(fit) > 1 else 0.0
    return ZeroPoint(float(fit[0]), float(error), scatter, radial, int(kept.sum()), shape)


def limiting_magnitude(
    zero_point: float, psf: Psf, *, sky_sigma_adu: float, gain_e_adu: float, exposure_s: float, sigmas: float = 5.0
) -> float:
    """Return the magnitude of a star measured at `sigmas`, its own photons' noise included.

    Solves F = n sqrt(F + Neff B) for the flux F in electrons, B being the background's variance in a pixel.
    """
    background_e2 = psf.effective_pixels * (sky_sigma_adu * gain_e_adu) ** 2
    electrons = (sigmas**2 + np.sqrt(sigmas**4 + 4 * sigmas**2 * background_e2)) / 2
    return float(zero_point - 2.5 * np.log10(electrons / gain_e_adu / exposure_s))


def magnitude_error(flux: float, flux_error: float, zero_point_error: float) -> float:
    """Return the error of a magnitude; a flux within its own error counts as that error."""
    return float(np.hypot(POGSON * flux_error / max(flux, flux_error), zero_point_error))


def _radius2(x: Array, y: Array, shape: tuple[int, int]) -> Array:
    half = max(shape) / 2
    return ((x - (shape[1] - 1) / 2) ** 2 + (y - (shape[0] - 1) / 2) ** 2) / half**2
