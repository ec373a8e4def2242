"""Looks for new sources inside an error circle, in one image or several.

Known stars are taken out, what is left is filtered with the profile, and its peaks are fitted. Each peak is then
measured at the same place in every image: an afterglow is there again, a cosmic ray is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve

from pyros.actors.analyzer.astrometry import tan_to_sky
from pyros.actors.analyzer.known_stars import Box, Residual, subtract_stars
from pyros.actors.analyzer.measurement import Measured
from pyros.actors.analyzer.photometry import magnitude_error
from pyros.actors.analyzer.psf import Fits, Psf, fit_sources, stamps

Array = NDArray[np.float64]

PEAK_SIGMA = 3.5
"""Peaks that are looked at in each image."""
CANDIDATE_SIGMA = 5.5
"""Of all images together. Chance in a circle of 40,000 places would allow 5, unresolved faint stars do not."""
CONFIRM_SIGMA = 2.5
"""What the other images together must show of it."""
MAX_FADING = 0.15
"""Less than this share of the flux in the next image is no fading, it is a cosmic ray."""
NEW_BY_FADING_SIGMA = 3.0
"""What is not brighter than the catalogue is deep is new only if it fades."""
MAX_CHI2 = 2.5
"""Of the fit's core; stars stay below, single hot pixels and tracks rarely do."""
MAX_CANDIDATES = 20
_MAX_PEAKS = 300
_MARGIN_PX = 12
_MODEL_ERROR = 0.06


class ErrorCircle(Struct, frozen=True, kw_only=True):
    """Where the source may be: ICRS degrees, radius in arcminutes."""

    ra_deg: float
    dec_deg: float
    radius_arcmin: float


class Measurement(Struct, frozen=True, kw_only=True):
    """A candidate in one image; `mag` is None where it is below three sigma, then `limit_mag` (3 sigma) counts."""

    file: str
    started_at: datetime
    exposure_s: float
    mag: float | None
    mag_err: float | None
    snr: float
    limit_mag: float | None


class Candidate(Struct, frozen=True, kw_only=True):
    """A new source. Magnitude and its error are those of the first image that shows it."""

    ra_deg: float = field(name="ra")
    dec_deg: float = field(name="dec")
    position_error_arcsec: float
    """One sigma per axis."""
    mag: float
    mag_err: float
    snr: float
    """Of all images together."""
    frames: int
    """Images that show it at 2.5 sigma or more."""
    fading_sigma: float
    """How significantly the last image's flux is below the first one's; 0 for one image."""
    light_curve: tuple[Measurement, ...]


class _Peaks(NamedTuple):
    """Fitted peaks of one image: ICRS degrees, error per axis in arcsec, signal-to-noise; arrays (n,)."""

    ra: Array
    dec: Array
    error_arcsec: Array
    snr: Array


class _View(NamedTuple):
    """An image around the circle, without the known stars."""

    image: Measured
    box: Box
    residual: Residual


class _Forced(NamedTuple):
    """Flux at a given place in one image, on the scale of magnitude 25 = 1; NaN where the image does not show it."""

    flux: float
    error: float
    chi2: float


def search(images: Sequence[Measured], circle: ErrorCircle) -> tuple[Candidate, ...]:
    """Return the new sources inside the circle, the likeliest first (AN-T3).

    Images are taken in the order of time. The rank is the signal-to-noise ratio plus twice the fading's significance.
    """
    ordered = sorted(images, key=lambda image: (image.started_at, image.name))
    views = [view for image in ordered if (view := _look(image, circle)) is not None]
    groups = _associate([_find_peaks(view, circle) for view in views], views)
    candidates = [c for group in groups if (c := _judge(group, views)) is not None]
    candidates.sort(key=lambda c: (-(c.snr + 2 * max(c.fading_sigma, 0.0)), c.ra_deg, c.dec_deg))
    return tuple(candidates[:MAX_CANDIDATES])


def coverage(images: Sequence[Measured], circle: ErrorCircle, points: int = 2000) -> float:
    """Return which share of the circle's area lies in at least one image, 0 to 1, from evenly spread points."""
    k = np.arange(points) + 0.5
    radius, angle = circle.radius_arcmin / 60 * np.sqrt(k / points), k * np.pi * (3 - np.sqrt(5))
    ra, dec = tan_to_sky(radius * np.cos(angle), radius * np.sin(angle), circle.ra_deg, circle.dec_deg)
    covered = np.zeros(points, bool)
    for image in images:
        x, y = image.plate.to_pixel(ra, dec)
        rows, columns = image.sources.pixels.shape
        covered |= (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
    return float(covered.mean())


def _look(image: Measured, circle: ErrorCircle) -> _View | None:
    x, y = (float(v[0]) for v in image.plate.to_pixel(circle.ra_deg, circle.dec_deg))
    reach = circle.radius_arcmin * 60 / image.plate.scale_arcsec + _MARGIN_PX
    rows, columns = image.sources.pixels.shape
    if not np.isfinite([x, y]).all():
        return None
    x0, x1 = (int(np.clip(round(v), 0, columns)) for v in (x - reach, x + reach + 1))
    y0, y1 = (int(np.clip(round(v), 0, rows)) for v in (y - reach, y + reach + 1))
    if x1 - x0 < 3 or y1 - y0 < 3:
        return None
    box = Box(y0, x0, y1 - y0, x1 - x0)
    return _View(image, box, subtract_stars(image, box))


def significance(pixels: Array, variance: Array, psf: Psf) -> Array:
    """Return the signal-to-noise ratio of a star at each pixel, the best of the places within the pixel.

    The matched filter of independent noise: sum(data psf / variance) / sqrt(sum(psf^2 / variance)).
    """
    weight = np.where(np.isfinite(variance), 1 / variance, 0)
    phases = ((0.0, 0.0),) if psf.sigma_px > 1.2 else ((0, 0), (-0.3, -0.3), (0.3, -0.3), (-0.3, 0.3), (0.3, 0.3))
    typical = float(np.median(weight[weight > 0]))
    best = np.full(pixels.shape, -np.inf)
    half = min(psf.half_width_px, int(np.ceil(3 * psf.sigma_px)) + 1)
    for dx, dy in phases:
        kernel = stamps(psf, np.array([dx]), np.array([dy]), half)[0][0][::-1, ::-1]
        signal = fftconvolve(np.where(weight > 0, pixels, 0) * weight, kernel, mode="same")
        power = fftconvolve(weight, kernel**2, mode="same")
        enough = power > 0.03 * typical * (kernel**2).sum()
        best = np.maximum(best, np.where(enough, signal / np.sqrt(np.maximum(power, 1e-30)), -np.inf))
    return best


def _find_peaks(view: _View, circle: ErrorCircle) -> _Peaks:
    residual, image = view.residual, view.image
    if not np.isfinite(residual.variance).any():
        return _Peaks(*np.empty((4, 0)))
    snr = significance(residual.pixels, residual.variance, image.sources.psf)
    rows, columns = np.nonzero((snr > PEAK_SIGMA) & (snr == maximum_filter(snr, 3)))
    brightest = np.argsort(-snr[rows, columns], kind="stable")[:_MAX_PEAKS]
    at = np.stack([columns[brightest] + view.box.x0, rows[brightest] + view.box.y0]).astype(np.float64)
    fits = _fit(view, at[0], at[1])
    ra, dec = image.plate.to_sky(fits.x, fits.y)
    scale = image.plate.scale_arcsec
    error = np.hypot(np.sqrt((fits.x_error**2 + fits.y_error**2) / 2) * scale, 0.3 * image.plate.rms_arcsec)
    error = np.hypot(error, 0.03 * scale)  # the profile's own error, in pixels
    inside = separation_arcsec(ra, dec, circle.ra_deg, circle.dec_deg) <= circle.radius_arcmin * 60 + 2 * error
    good = inside & (fits.flux > 0) & (fits.shift_px < 2) & ~_is_star(view, fits)
    return _Peaks(ra[good], dec[good], error[good], (fits.flux / fits.flux_error)[good])


def _fit(view: _View, x: Array, y: Array, *, fixed: bool = False) -> Fits:
    fits = fit_sources(
        view.residual.pixels,
        view.residual.variance,
        view.image.sources.psf,
        x - view.box.x0,
        y - view.box.y0,
        gain_e_adu=view.image.gain_e_adu,
        model_error=_MODEL_ERROR,
        fixed=fixed,
    )
    return fits._replace(x=fits.x + view.box.x0, y=fits.y + view.box.y0)


def _is_star(view: _View, fits: Fits) -> NDArray[np.bool_]:
    """Return which peaks are what is left of a known star: on top of it and not much brighter, or a speck beside it."""
    residual = view.residual
    if not len(residual.star_x):
        return np.zeros(len(fits.x), bool)
    fwhm = view.image.sources.psf.fwhm_px
    distance = np.hypot(fits.x[:, None] - residual.star_x, fits.y[:, None] - residual.star_y)
    on_top = (distance < max(0.7, 0.4 * fwhm)) & (fits.flux[:, None] < 2 * residual.star_flux)
    beside = (distance < 1.2 * fwhm) & (fits.flux[:, None] < 0.05 * residual.star_flux)
    return np.any(on_top | beside, axis=1)


def _associate(peaks: Sequence[_Peaks], views: Sequence[_View]) -> list[_Peaks]:
    """Group the peaks of all images by place, each around its most significant one."""
    if not peaks:
        return []
    everything = _Peaks(*(np.concatenate(column) for column in zip(*peaks, strict=True)))
    pixel = max((view.image.plate.scale_arcsec for view in views), default=1.0)
    free = np.ones(len(everything.ra), bool)
    groups = []
    for k in np.argsort(-everything.snr, kind="stable"):
        if free[k]:
            distance = separation_arcsec(
                everything.ra, everything.dec, float(everything.ra[k]), float(everything.dec[k])
            )
            tolerance = np.maximum(3 * np.hypot(everything.error_arcsec, everything.error_arcsec[k]), 0.7 * pixel)
            group = free & (distance < tolerance)
            free &= ~group
            groups.append(_Peaks(*(column[group] for column in everything)))
    return groups


def _judge(group: _Peaks, views: Sequence[_View]) -> Candidate | None:
    ra, dec, error = _mean_place(group)
    forced = [_force(view, ra, dec) for view in views]
    seen = [k for k, f in enumerate(forced) if np.isfinite(f.flux)]
    if not seen:
        return None
    flux = np.array([forced[k].flux for k in seen])
    sigma = np.array([forced[k].error for k in seen])
    snr = _combined_snr(flux, sigma)
    if snr < CANDIDATE_SIGMA or not _is_real(flux, sigma, np.array([forced[k].chi2 for k in seen])):
        return None
    fading = float((flux[0] - flux[-1]) / np.hypot(sigma[0], sigma[-1])) if len(seen) > 1 else 0.0
    if fading < NEW_BY_FADING_SIGMA and not _is_brighter(flux, sigma, views[seen[0]].image.stars.depth_mag):
        return None
    shown = [k for k, s in zip(seen, flux / sigma, strict=True) if s >= CONFIRM_SIGMA]
    curve = tuple(_measurement(view, f) for view, f in zip(views, forced, strict=True) if np.isfinite(f.flux))
    first = forced[shown[0]]
    return Candidate(
        ra_deg=ra,
        dec_deg=dec,
        position_error_arcsec=error,
        mag=25 - 2.5 * float(np.log10(first.flux)),
        mag_err=magnitude_error(first.flux, first.error, views[shown[0]].image.zero_point.error),
        snr=snr,
        frames=len(shown),
        fading_sigma=fading,
        light_curve=curve,
    )


def _combined_snr(flux: Array, sigma: Array) -> float:
    """Return the best of the first image, the mean of the first two, of three ...: what fades is brightest early."""
    return float(((flux / sigma**2).cumsum() / np.sqrt((1 / sigma**2).cumsum())).max())


def _is_brighter(flux: Array, sigma: Array, depth_mag: float) -> bool:
    """Return whether the catalogue would surely know it: fainter stars than its faintest are everywhere."""
    weight = 1 / sigma**2
    mean, error = float((weight * flux).sum() / weight.sum()), float(weight.sum() ** -0.5)
    return mean - 2.5 * error > 10 ** (-0.4 * (depth_mag - 25))


def _is_real(flux: Array, sigma: Array, chi2: Array) -> bool:
    """Tell a source from a cosmic ray: seen again where there are several images, else of the profile's shape."""
    best = int((flux / sigma).argmax())
    if len(flux) == 1:
        return bool(chi2[0] < MAX_CHI2)
    others = np.arange(len(flux)) != best
    again = float((flux[others] / sigma[others] ** 2).sum() / np.sqrt((1 / sigma[others] ** 2).sum()))
    neighbours = [k for k in (best - 1, best + 1) if 0 <= k < len(flux)]
    steady = any(flux[k] + CONFIRM_SIGMA * sigma[k] > MAX_FADING * flux[best] for k in neighbours)
    looks_like_a_star = chi2[flux / sigma > 3].min(initial=np.inf) < MAX_CHI2
    return again > CONFIRM_SIGMA and steady and bool(looks_like_a_star)


def _mean_place(group: _Peaks) -> tuple[float, float, float]:
    """Weighted mean of the fitted places; the tangent plane of the first is flat enough."""
    weight = 1 / group.error_arcsec**2
    east = (group.ra - group.ra[0] + 180) % 360 - 180
    ra = (group.ra[0] + float((weight * east).sum() / weight.sum())) % 360
    dec = float((weight * group.dec).sum() / weight.sum())
    return float(ra), dec, float(1 / np.sqrt(weight.sum()))


def _force(view: _View, ra: float, dec: float) -> _Forced:
    image = view.image
    x, y = image.plate.to_pixel(ra, dec)
    row, column = round(float(y[0])) - view.box.y0, round(float(x[0])) - view.box.x0
    nothing = _Forced(np.nan, np.nan, np.nan)
    if not (0 <= row < view.box.rows and 0 <= column < view.box.columns):
        return nothing
    if not np.isfinite(view.residual.variance[row, column]):
        return nothing
    fit = _fit(view, x, y, fixed=True)
    unit = float(image.zero_point.fluxes(25.0, x, y, image.exposure_s)[0])
    return _Forced(float(fit.flux[0]) / unit, float(fit.flux_error[0]) / unit, float(fit.core_chi2[0]))


def _measurement(view: _View, forced: _Forced) -> Measurement:
    image, snr = view.image, forced.flux / forced.error
    detected = snr >= 3
    return Measurement(
        file=image.name,
        started_at=image.started_at,
        exposure_s=image.exposure_s,
        mag=25 - 2.5 * float(np.log10(forced.flux)) if detected else None,
        mag_err=magnitude_error(forced.flux, forced.error, image.zero_point.error) if detected else None,
        snr=snr,
        limit_mag=None if detected else 25 - 2.5 * float(np.log10(max(forced.flux, 0) + 3 * forced.error)),
    )


def separation_arcsec(ra: Array, dec: Array, ra0: float, dec0: float) -> Array:
    """Angle between near places, degrees in, arcseconds out (tangent plane, right in azimuth across RA 0)."""
    east = (np.asarray(ra) - ra0 + 180) % 360 - 180
    return 3600 * np.hypot(east * np.cos(np.radians((np.asarray(dec) + dec0) / 2)), np.asarray(dec) - dec0)
