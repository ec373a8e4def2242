"""Measures one calibrated image: sources, plate, zero point, limiting magnitude. What the search then works on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pyros.actors.analyzer.astrometry import AstrometryError, Plate, plate_of, solve_plate
from pyros.actors.analyzer.calibration import Calibrated
from pyros.actors.analyzer.catalogue import Stars, stars_near
from pyros.actors.analyzer.detection import Sources, find_sources
from pyros.actors.analyzer.frame import Card, FrameHeader
from pyros.actors.analyzer.photometry import ZeroPoint, limiting_magnitude, measure_zero_point

MATCH_PX = 1.5


class Measured(Struct, frozen=True):
    """An image that is understood: every pixel has a place, every flux a magnitude."""

    name: str
    started_at: datetime
    exposure_s: float
    gain_e_adu: float
    sources: Sources
    plate: Plate
    zero_point: ZeroPoint
    limiting_mag: float
    stars: Stars
    """The catalogue's stars in and around the image."""

    @property
    def fwhm_arcsec(self) -> float:
        """Full width at half maximum of a star, before the pixels blur it."""
        return self.sources.psf.fwhm_px * self.plate.scale_arcsec

    def cards(self) -> list[Card]:
        """FITS cards of what was measured; the plate's among them."""
        return [
            *self.plate.cards(),
            ("ZEROPT", round(self.zero_point.magnitude, 4), "[mag] of 1 adu/s at the centre"),
            ("ZPERR", round(self.zero_point.error, 4), "[mag]"),
            ("ZPRAD", round(self.zero_point.radial, 4), "[mag] added at half a side from the centre"),
            ("FWHM", round(self.fwhm_arcsec, 3), "[arcsec]"),
            ("LIMMAG", round(self.limiting_mag, 3), "[mag] five sigma"),
            ("SKYLEVEL", round(self.sources.sky_level_adu, 3), "[adu]"),
            ("SKYSIGMA", round(self.sources.sky_sigma_adu, 4), "[adu]"),
        ]


def measure(
    name: str, image: Calibrated, header: FrameHeader, catalogue: str | Path, max_pointing_error_arcsec: float
) -> Measured:
    """Detect, match, and calibrate astrometrically and photometrically.

    Raises
    ------
    DetectionError, CatalogueError, AstrometryError, PhotometryError
        Each with one line that says what the image or the catalogue lacks.
    """
    if header.wcs is None:
        raise AstrometryError("the header says neither where the image looks nor its scale (CRVAL, CRPIX, CD)")
    shape = (image.pixels.shape[0], image.pixels.shape[1])
    sources = find_sources(image, header.gain_e_adu)
    stars = _stars_around(catalogue, header, shape, max_pointing_error_arcsec)
    fits, usable = sources.fits, sources.usable
    by_flux = np.nonzero(usable)[0][np.argsort(-fits.flux[usable], kind="stable")]
    x, y, snr = fits.x[by_flux], fits.y[by_flux], (fits.flux / fits.flux_error)[by_flux]
    reliable = snr > 5
    plate = solve_plate(
        x[reliable],
        y[reliable],
        snr[reliable],
        stars=stars,
        estimate=header.wcs,
        shape=shape,
        max_error_arcsec=max_pointing_error_arcsec,
    )
    source, star = match(plate, x, y, stars)
    chosen = by_flux[source]
    zero_point = measure_zero_point(
        fits.flux[chosen],
        fits.flux_error[chosen],
        stars.mag[star],
        x=fits.x[chosen],
        y=fits.y[chosen],
        exposure_s=header.exposure_s,
        shape=shape,
    )
    limit = limiting_magnitude(
        zero_point.magnitude,
        sources.psf,
        sky_sigma_adu=sources.sky_sigma_adu,
        gain_e_adu=header.gain_e_adu,
        exposure_s=header.exposure_s,
    )
    return Measured(
        name, header.started_at, header.exposure_s, header.gain_e_adu, sources, plate, zero_point, limit, stars
    )


def match(
    plate: Plate, x: NDArray[np.float64], y: NDArray[np.float64], stars: Stars
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which detections (indices) are which stars, each detection's nearest one within `MATCH_PX`.

    Where several catalogue stars are that near, the brightest is taken: it makes the light.
    """
    px, py = plate.to_pixel(stars.ra_deg, stars.dec_deg)
    known = np.nonzero(np.isfinite(px))[0]
    tree = KDTree(np.stack([px[known], py[known]], 1))
    pairs = [
        (k, min(near, key=lambda i: (stars.mag[known[i]], i)))
        for k, near in enumerate(tree.query_ball_point(np.stack([x, y], 1), MATCH_PX))
        if near
    ]
    return np.array([k for k, _ in pairs], np.intp), known[np.array([i for _, i in pairs], np.intp)]


def _stars_around(catalogue: str | Path, header: FrameHeader, shape: tuple[int, int], error_arcsec: float) -> Stars:
    assert header.wcs is not None  # noqa: S101 - the caller has looked
    estimate = plate_of(header.wcs)
    ra, dec = estimate.to_sky((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    half_diagonal_deg = float(np.hypot(*shape)) / 2 * estimate.scale_arcsec / 3600
    reach_deg = half_diagonal_deg + error_arcsec / 3600
    return stars_near(catalogue, float(ra[0]), float(dec[0]), reach_deg, half_diagonal_deg)
