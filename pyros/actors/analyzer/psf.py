"""The point-spread function: a model integrated over pixels, and the fit of many stars with it at once.

Two concentric Gaussians (core and wing) integrated over each pixel follow a Moffat profile to about a percent, stay
right where a star is narrower than a pixel, and are separable, hence fast. The weighted fit reaches the Cramer-Rao
bound of position and flux (King 1983, PASP 95, 163).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import erf

Array = NDArray[np.float64]

WING_WIDTH = 2.1
"""Width of the wing's Gaussian in units of the core's."""
_POSITION_PRIOR_PX = 2.0
_MAX_STEP_PX = 0.4


class Psf(NamedTuple):
    """Width of the core (pixels) and the fraction of the flux in the wing."""

    sigma_px: float
    wing: float

    @property
    def components(self) -> tuple[tuple[float, float], ...]:
        """Weight and width (pixels) of each Gaussian."""
        return (1 - self.wing, self.sigma_px), (self.wing, WING_WIDTH * self.sigma_px)

    @property
    def fwhm_px(self) -> float:
        """Full width at half maximum before the pixels blur it, in pixels."""

        def excess(radius: float) -> float:
            parts = [(weight / sigma**2, sigma) for weight, sigma in self.components]
            return sum(a * (np.exp(-0.5 * (radius / s) ** 2) - 0.5) for a, s in parts)

        return 2 * float(brentq(excess, 0, 5 * WING_WIDTH * self.sigma_px))  # pyright: ignore[reportArgumentType]

    @property
    def half_width_px(self) -> int:
        """Half the side of a stamp that holds practically all of the light."""
        return int(np.clip(np.ceil(4.5 * self.sigma_px + 1), 3, 25))

    @property
    def effective_pixels(self) -> float:
        """Noise-equivalent area 1 / sum(psf^2) in pixels, mean over where in a pixel the star falls."""
        phases = np.array([(x, y) for x in (0, 0.25, 0.5) for y in (0, 0.25, 0.5)])
        value, _, _ = stamps(self, phases[:, 0], phases[:, 1], self.half_width_px)
        return float(np.mean(1 / (value**2).sum((1, 2))))


class Fits(NamedTuple):
    """Fitted sources, each array (n,): zero-based pixels, flux in ADU, one-sigma errors, reduced chi-squared."""

    x: Array
    y: Array
    flux: Array
    x_error: Array
    y_error: Array
    flux_error: Array
    chi2: Array
    core_chi2: Array
    """The same over the pixels that get at least a twentieth of the brightest one's light: does it look like a star?"""
    shift_px: Array
    """How far the fit moved from where it started."""


def stamps(psf: Psf, dx: Array, dy: Array, half: int) -> tuple[Array, Array, Array]:
    """Return the unit-flux model and its derivatives in x and y, each (n, 2 half + 1, 2 half + 1).

    `dx`, `dy` (n,) are the star's offsets from the centre of the middle pixel.
    """
    grid = np.arange(-half, half + 1.0)
    value = along_x = along_y = np.zeros((len(dx), len(grid), len(grid)))
    for weight, sigma in psf.components:
        if weight <= 0:
            continue
        profile_x, slope_x = _profile(grid, dx, sigma)
        profile_y, slope_y = _profile(grid, dy, sigma)
        profile_y, slope_y = weight * profile_y[:, :, None], weight * slope_y[:, :, None]
        value = value + profile_y * profile_x[:, None, :]
        along_x = along_x + profile_y * slope_x[:, None, :]
        along_y = along_y + slope_y * profile_x[:, None, :]
    return value, along_x, along_y


def _profile(grid: Array, centre: Array, sigma: float) -> tuple[Array, Array]:
    edges = (np.append(grid - 0.5, grid[-1] + 0.5) - centre[:, None]) / sigma
    cumulative = 0.5 * erf(edges / np.sqrt(2))
    density = np.exp(-0.5 * edges**2) / (sigma * np.sqrt(2 * np.pi))
    return np.diff(cumulative, axis=1), -np.diff(density, axis=1)


def cut_out(image: NDArray[Any], x: Array, y: Array, half: int) -> tuple[Array, NDArray[np.bool_]]:
    """Return stamps (n, side, side) around the pixels nearest to x, y, and which of their pixels lie in the image."""
    offsets = np.arange(-half, half + 1)
    rows = np.rint(y).astype(int)[:, None] + offsets
    columns = np.rint(x).astype(int)[:, None] + offsets
    inside = ((rows >= 0) & (rows < image.shape[0]))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < image.shape[1]))[:, None, :]
    rows, columns = rows.clip(0, image.shape[0] - 1), columns.clip(0, image.shape[1] - 1)
    return image[rows[:, :, None], columns[:, None, :]].astype(np.float64), inside


def fit_sources(
    pixels: NDArray[Any],
    variance: NDArray[Any],
    psf: Psf,
    x: Array,
    y: Array,
    *,
    gain_e_adu: float,
    iterations: int = 6,
    model_error: float = 0.02,
    fixed: bool = False,
    half: int | None = None,
) -> Fits:
    """Fit position and flux of every source for itself, all at once.

    Parameters
    ----------
    pixels, variance
        Background-subtracted ADU and the background's variance in ADU^2 (infinite in bad pixels); (rows, columns).
    x, y
        Starting positions (n,), zero-based pixels; taken as they are if `fixed`.
    model_error
        Fraction of the model by which the real profile may differ from it.
    half
        Half the side of the stamps in pixels, if not the model's own choice.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    half = half or psf.half_width_px
    data, inside = cut_out(pixels, x, y, half)
    sky, _ = cut_out(variance, x, y, half)
    sky = np.where(inside, sky, np.inf)
    data = np.where(np.isfinite(sky), data, 0)
    noise = _Noise(sky, gain_e_adu, model_error)
    start = x - np.rint(x), y - np.rint(y)
    dx, dy = start
    flux = np.zeros(len(x))
    for _ in range(2 if fixed else iterations):
        model, along_x, along_y = stamps(psf, dx, dy, half)
        weight = noise.weight(model * np.maximum(flux, 0)[:, None, None])
        flux = (weight * model * data).sum((1, 2)) / np.maximum((weight * model**2).sum((1, 2)), 1e-30)
        if not fixed:
            slope = np.maximum(flux, 0)[:, None, None]
            moved = dx - start[0], dy - start[1]
            step = _position_step(data - model * flux[:, None, None], weight, slope * along_x, slope * along_y, moved)
            dx, dy = dx + step[0], dy + step[1]
    fits = _report(data, stamps(psf, dx, dy, half), flux, noise)
    return fits._replace(x=np.rint(x) + dx, y=np.rint(y) + dy, shift_px=np.hypot(dx - start[0], dy - start[1]))


def _position_step(
    residual: Array, weight: Array, gx: Array, gy: Array, moved: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return the Gauss-Newton step in x and y; a weak prior keeps faint sources where they were seen."""
    prior = _POSITION_PRIOR_PX**-2
    xx = (weight * gx * gx).sum((1, 2)) + prior
    yy = (weight * gy * gy).sum((1, 2)) + prior
    xy = (weight * gx * gy).sum((1, 2))
    rx = (weight * gx * residual).sum((1, 2)) - prior * moved[0]
    ry = (weight * gy * residual).sum((1, 2)) - prior * moved[1]
    determinant = xx * yy - xy**2
    step_x, step_y = (yy * rx - xy * ry) / determinant, (xx * ry - xy * rx) / determinant
    return step_x.clip(-_MAX_STEP_PX, _MAX_STEP_PX), step_y.clip(-_MAX_STEP_PX, _MAX_STEP_PX)


class _Noise(NamedTuple):
    """Variance of the background (n, side, side), electrons per ADU, and the profile's own relative error."""

    sky: Array
    gain_e_adu: float
    model_error: float

    def weight(self, expected: Array, *, with_model_error: bool = True) -> Array:
        """Return 1 / variance where so much light is expected."""
        share = self.model_error if with_model_error else 0.0
        return 1 / (self.sky + expected / self.gain_e_adu + (share * expected) ** 2)


def _report(data: Array, shape: tuple[Array, Array, Array], flux: Array, noise: _Noise) -> Fits:
    model, along_x, along_y = shape
    expected = model * np.maximum(flux, 0)[:, None, None]
    photons = noise.weight(expected, with_model_error=False)
    slope = np.maximum(flux, 1e-9)[:, None, None]

    def error(derivative: Array) -> Array:
        return 1 / np.sqrt(np.maximum((photons * derivative**2).sum((1, 2)), 1e-30))

    weight = noise.weight(expected)
    residual = data - model * flux[:, None, None]
    core = model > 0.05 * model.max((1, 2), keepdims=True)
    unmoved = np.zeros(len(flux))
    return Fits(
        x=unmoved,
        y=unmoved,
        flux=flux,
        x_error=error(slope * along_x),
        y_error=error(slope * along_y),
        flux_error=error(model),
        chi2=_reduced(weight, residual),
        core_chi2=_reduced(weight * core, residual),
        shift_px=unmoved,
    )


def _reduced(weight: Array, residual: Array) -> Array:
    return (weight * residual**2).sum((1, 2)) / np.maximum((weight > 0).sum((1, 2)) - 3, 1)


def measure_psf(pixels: NDArray[Any], variance: NDArray[Any], x: Array, y: Array, *, gain_e_adu: float) -> Psf:
    """Return the width and wing that fit bright, lonely, unsaturated stars at x, y (n,) best.

    Blended stars among them are tolerated: the worst-fitting third is ignored.
    """
    first = Psf(_first_width(pixels, x, y), 0.1)

    def misfit(parameters: Array) -> float:
        psf = Psf(float(np.exp(parameters[0])), float(np.clip(parameters[1], 0, 0.6)))
        penalty = 10 * abs(parameters[1] - psf.wing) + max(0.0, -2 - parameters[0]) + max(0.0, parameters[0] - 2.5)
        fits = fit_sources(
            pixels, variance, psf, x, y, gain_e_adu=gain_e_adu, iterations=3, model_error=0.01, half=first.half_width_px
        )
        worst_first = np.sort(np.log(fits.chi2 + 1e-3))
        return float(worst_first[: max(3, 2 * len(x) // 3)].mean()) + penalty

    begin = np.array([np.log(first.sigma_px), first.wing])
    simplex = begin + np.array([[0, 0], [0.25, 0], [0, 0.15]])
    options = {"initial_simplex": simplex, "xatol": 0.02, "fatol": 0.005, "maxfev": 30}
    best = minimize(misfit, begin, method="Nelder-Mead", options=options).x
    return Psf(float(np.exp(best[0].clip(-2, 2.5))), float(best[1].clip(0, 0.6)))


def _first_width(pixels: NDArray[Any], x: Array, y: Array) -> float:
    """Width from the median share of the 3 × 3 core's flux that falls on the brightest pixel."""
    core, _ = cut_out(pixels, x, y, 1)
    share = float(np.median(core[:, 1, 1] / np.maximum(core.sum((1, 2)), 1e-9)))
    widths, shares = _core_shares()
    return float(widths[np.argmin(np.abs(shares - share))])


@lru_cache(maxsize=1)
def _core_shares() -> tuple[Array, Array]:
    """Return widths in pixels, and what share of the core a star a quarter of a pixel off centre puts on its middle."""
    widths = np.geomspace(0.25, 6, 60)
    centre = np.array([0.25])
    models = [stamps(Psf(width, 0.0), centre, centre, 1)[0] for width in widths]
    return widths, np.array([value[0, 1, 1] / value[0].sum() for value in models])
