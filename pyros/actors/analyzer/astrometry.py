"""Finds where an image looks: a vote for the shift, then a fit of catalogue positions that ends as a TAN-SIP plate.

The mount points to an arcminute, so no blind search is needed: pairs of bright detections and bright catalogue stars
vote for the shift between them. Should the camera be turned, or its image be mirrored, other orientations are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.spatial import KDTree

from pyros.actors.analyzer.catalogue import Stars
from pyros.actors.analyzer.frame import Card, LinearWcs, wcs_cards

Array = NDArray[np.float64]

MIN_MATCHES = 4
MIN_MATCHED_SHARE = 0.2
"""Of the detections or the catalogue's stars in the image, whichever are fewer; a plate bent to noise matches less."""
_CUBIC_FROM = 40
"""Matches from which a cubic plate is well determined; below, a linear one extrapolates better."""
_VOTERS = 150
_BEYOND_DOUBT = 20.0
"""Standard deviations of a vote above chance that spare the other rotations."""
_FAR_PX = 20_000
_ROTATIONS_DEG = (0.0, 0.35, -0.35, 0.7, -0.7, 1.05, -1.05, 1.4, -1.4)


class AstrometryError(Exception):
    """The image cannot be matched with the sky; the text is one line for a person."""


class Plate(Struct, frozen=True):
    """Zero-based pixels to ICRS degrees and back: TAN projection with SIP polynomials (Shupe et al. 2005)."""

    ra_deg: float
    dec_deg: float
    x0: float
    y0: float
    cd: Array
    """(2, 2), degrees per pixel."""
    sip: Array
    """(2, order + 1, order + 1): A and B, coefficients of u^i v^j."""
    rms_arcsec: float = 0.0
    """Per axis, of the matched stars."""
    matches: int = 0

    @property
    def scale_arcsec(self) -> float:
        """Arcseconds per pixel at the reference point."""
        return 3600 * float(np.sqrt(abs(np.linalg.det(self.cd))))

    def to_sky(self, x: Any, y: Any) -> tuple[Array, Array]:
        """Return right ascension and declination of pixels, arrays (n,)."""
        u, v = np.atleast_1d(x) - self.x0, np.atleast_1d(y) - self.y0
        xi, eta = self.cd @ np.stack([u + _polynomial(self.sip[0], u, v), v + _polynomial(self.sip[1], u, v)])
        return tan_to_sky(xi, eta, self.ra_deg, self.dec_deg)

    def to_pixel(self, ra_deg: Any, dec_deg: Any) -> tuple[Array, Array]:
        """Return the pixels of sky positions, arrays (n,); NaN far outside the image."""
        xi, eta = sky_to_tan(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg), self.ra_deg, self.dec_deg)
        straight = np.linalg.solve(self.cd, np.stack([xi, eta]))
        straight[:, np.hypot(*straight) > _FAR_PX] = np.nan  # the distortion means nothing out there
        u, v = straight
        for _ in range(6):  # the distortion is small, so this converges at once
            u, v = straight[0] - _polynomial(self.sip[0], u, v), straight[1] - _polynomial(self.sip[1], u, v)
        return u + self.x0, v + self.y0

    def cards(self) -> Iterator[Card]:
        """FITS cards of the plate."""
        distorted = bool(self.sip.any())
        yield from wcs_cards(self.linear(), "TAN-SIP" if distorted else "TAN")
        if distorted:
            order = self.sip.shape[1] - 1
            for name, coefficients in zip("AB", self.sip, strict=True):
                yield f"{name}_ORDER", order, ""
                for i, j in _exponents(order):
                    if i + j >= 2:
                        yield f"{name}_{i}_{j}", float(coefficients[i, j]), ""
        yield "ASTRRMS", round(self.rms_arcsec, 4), "[arcsec] per axis, matched stars"
        yield "ASTRNUM", self.matches, "matched stars"

    def linear(self) -> LinearWcs:
        """Return the plate without its distortion."""
        (a, b), (c, d) = self.cd.tolist()
        reference = {"crval1": self.ra_deg, "crval2": self.dec_deg, "crpix1": self.x0 + 1, "crpix2": self.y0 + 1}
        return LinearWcs(**reference, cd1_1=a, cd1_2=b, cd2_1=c, cd2_2=d)


def plate_of(wcs: LinearWcs) -> Plate:
    """Return a plate without distortion."""
    cd = np.array([[wcs.cd1_1, wcs.cd1_2], [wcs.cd2_1, wcs.cd2_2]])
    return Plate(wcs.crval1, wcs.crval2, wcs.crpix1 - 1, wcs.crpix2 - 1, cd, np.zeros((2, 1, 1)))


def sky_to_tan(ra_deg: Array, dec_deg: Array, ra0_deg: float, dec0_deg: float) -> tuple[Array, Array]:
    """Gnomonic projection about (ra0, dec0), degrees (Calabretta & Greisen 2002, eq. 54); NaN behind the horizon."""
    r, d, d0 = np.radians(np.asarray(ra_deg) - ra0_deg), np.radians(dec_deg), np.radians(dec0_deg)
    cosine = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(r)
    cosine = np.where(cosine > 0.1, cosine, np.nan)
    xi = np.cos(d) * np.sin(r) / cosine
    eta = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(r)) / cosine
    return np.degrees(xi), np.degrees(eta)


def tan_to_sky(xi_deg: Array, eta_deg: Array, ra0_deg: float, dec0_deg: float) -> tuple[Array, Array]:
    """Inverse of `sky_to_tan`."""
    xi, eta, d0 = np.radians(xi_deg), np.radians(eta_deg), np.radians(dec0_deg)
    below = np.cos(d0) - eta * np.sin(d0)
    ra = (ra0_deg + np.degrees(np.arctan2(xi, below))) % 360
    return ra, np.degrees(np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, below)))


def solve_plate(
    x: Array,
    y: Array,
    weight: Array,
    *,
    stars: Stars,
    estimate: LinearWcs,
    shape: tuple[int, int],
    max_error_arcsec: float,
) -> Plate:
    """Match detections with catalogue stars and fit the plate.

    Parameters
    ----------
    x, y, weight
        Detections (n,), zero-based pixels, from bright to faint, and their signal-to-noise ratios.
    max_error_arcsec
        How far off the estimate may be.

    Raises
    ------
    AstrometryError
        If no shift gathers more pairs than chance would, or fewer than four stars match in the end.
    """
    if len(x) < MIN_MATCHES:
        raise AstrometryError(f"{len(x)} stars were detected; matching needs {MIN_MATCHES}")
    catalogue = _brightest_first(stars)
    for start in _orientations(estimate, shape):
        shifted = _vote(x, y, catalogue, start, shape=shape, max_error_arcsec=max_error_arcsec)
        if shifted is None:
            continue
        plate = _refine(x, y, weight, catalogue, shifted, shape=shape)
        if plate is not None:
            return plate
    raise AstrometryError(
        f"{len(x)} detections do not match {len(stars)} catalogue stars within {max_error_arcsec:.0f}″ of the estimate"
    )


def _brightest_first(stars: Stars) -> Stars:
    order = np.argsort(stars.mag, kind="stable")
    return Stars(stars.ra_deg[order], stars.dec_deg[order], stars.mag[order])


def _orientations(estimate: LinearWcs, shape: tuple[int, int]) -> Iterator[Plate]:
    """Yield the estimate about the frame's centre; then turned by 180° (a German mount's other side); then mirrored."""
    rough = plate_of(estimate)
    x0, y0 = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    ra, dec = rough.to_sky(x0, y0)
    for mirror in (1, -1):
        for turn in (0, 180, 90, 270):
            c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            cd = rough.cd @ np.array([[c, -s], [s, c]]) @ np.diag([mirror, 1])
            yield Plate(float(ra[0]), float(dec[0]), x0, y0, cd, np.zeros((2, 1, 1)))


def _vote(
    x: Array, y: Array, stars: Stars, start: Plate, *, shape: tuple[int, int], max_error_arcsec: float
) -> Plate | None:
    """Return `start` rotated and shifted to where most pairs agree, or None if chance explains the vote."""
    reach = max_error_arcsec / start.scale_arcsec
    size = max(2.0, max(shape) / 200)
    px, py = start.to_pixel(stars.ra_deg, stars.dec_deg)
    near = np.nonzero(_inside(px, py, shape, reach))[0][: 2 * _VOTERS]
    if len(near) < MIN_MATCHES:
        return None
    bins = max(8, int(np.ceil(2 * reach / size)))
    edges = np.linspace(-reach, reach, bins + 1)
    best: tuple[float, Plate] | None = None
    for rotation in np.radians(_ROTATIONS_DEG):
        c, s = np.cos(rotation), np.sin(rotation)
        turned = structs.replace(start, cd=start.cd @ np.array([[c, -s], [s, c]]))
        px, py = turned.to_pixel(stars.ra_deg[near], stars.dec_deg[near])
        dx, dy = x[:_VOTERS, None] - px, y[:_VOTERS, None] - py
        votes = uniform_filter(np.histogram2d(dx.ravel(), dy.ravel(), [edges, edges])[0], 3, mode="constant") * 9
        k, m = np.unravel_index(votes.argmax(), votes.shape)
        chance = float(votes.mean())
        excess = (votes[k, m] - chance) / np.sqrt(chance + 1)
        middle = (edges[k] + edges[k + 1]) / 2, (edges[m] + edges[m + 1]) / 2
        agree = np.hypot(dx - middle[0], dy - middle[1]) < 2 * size
        if excess > max(3.5, best[0] if best else 0) and agree.sum() >= MIN_MATCHES:
            x0, y0 = turned.x0 + float(np.median(dx[agree])), turned.y0 + float(np.median(dy[agree]))
            best = excess, structs.replace(turned, x0=x0, y0=y0)
        if best is not None and best[0] > _BEYOND_DOUBT:
            break
    return best[1] if best else None


def _refine(x: Array, y: Array, weight: Array, stars: Stars, plate: Plate, *, shape: tuple[int, int]) -> Plate | None:
    """Match and fit again with ever closer tolerance; None if what matches in the end may be chance."""
    size = max(2.0, max(shape) / 200)
    cubic = 3 if len(x) >= _CUBIC_FROM else 1
    for order, tolerance_px in ((0, 2 * size), (1, 1.5 * size), (1, size), (cubic, 2.0), (cubic, 1.5), (cubic, 1.2)):
        px, py = plate.to_pixel(stars.ra_deg, stars.dec_deg)
        near = np.nonzero(_inside(px, py, shape, 5))[0][: 2 * len(x)]  # a deeper catalogue only adds chance
        if len(near) < MIN_MATCHES:
            return None
        distance, nearest = KDTree(np.stack([px[near], py[near]], 1)).query(np.stack([x, y], 1))
        matched = distance < tolerance_px
        if matched.sum() < MIN_MATCHES:
            return None
        star = near[np.asarray(nearest)[matched]]
        plate = _fit(
            plate,
            (x[matched], y[matched], weight[matched]),
            (stars.ra_deg[star], stars.dec_deg[star]),
            order=_affordable(order, int(matched.sum())),
            shape=shape,
        )
    by_chance = len(x) * len(near) * np.pi * 1.2**2 / (shape[0] * shape[1])
    enough = max(MIN_MATCHES, by_chance + 4 * np.sqrt(by_chance), MIN_MATCHED_SHARE * min(len(x), len(near)))
    return plate if plate.matches >= enough else None


def _affordable(order: int, matches: int) -> int:
    """Return the order that so many stars determine: 0 only shifts, 1 is linear."""
    if matches < 6:
        return 0
    return order if matches >= _CUBIC_FROM else min(order, 1)


def _fit(
    plate: Plate, detected: tuple[Array, Array, Array], sky: tuple[Array, Array], *, order: int, shape: tuple[int, int]
) -> Plate:
    """Fit a weighted, clipped polynomial about the frame's centre; repeat, since the reference point moves with it."""
    (x, y, weight), (ra, dec) = detected, sky
    x0, y0, half = (shape[1] - 1) / 2, (shape[0] - 1) / 2, max(shape) / 2
    u, v = (x - x0) / half, (y - y0) / half
    w = np.sqrt(weight.clip(1, 400))  # between one over sigma and uniform: bright stars show the model's own errors
    good = np.ones(len(x), bool)
    centre = plate.to_sky(x0, y0)
    ra0, dec0 = float(centre[0][0]), float(centre[1][0])
    exponents = list(_exponents(max(order, 1)))
    terms = np.stack([u**i * v**j for i, j in exponents], 1)
    coefficients = np.zeros((len(exponents), 2))
    residual = np.zeros((len(x), 2))
    for _ in range(5):
        target = np.stack(sky_to_tan(ra, dec, ra0, dec0), 1)
        if order == 0:
            coefficients[1:] = _linear_rows(exponents, plate.cd) * half
            coefficients[0] = np.median(target[good] - terms[good, 1:] @ coefficients[1:], axis=0)
        else:
            coefficients[:] = np.linalg.lstsq(terms[good] * w[good, None], target[good] * w[good, None], rcond=None)[0]
        residual = target - terms @ coefficients
        good = _clip(residual, len(exponents))
        ra_new, dec_new = tan_to_sky(coefficients[:1, 0], coefficients[:1, 1], ra0, dec0)
        ra0, dec0 = float(ra_new[0]), float(dec_new[0])
    spread = 3600 * float(np.sqrt(np.mean(residual[good] ** 2)))
    cd, sip = _sip(exponents, coefficients / half ** np.array([[i + j] for i, j in exponents]))
    return Plate(ra0, dec0, x0, y0, cd, sip, spread, int(good.sum()))


def _linear_rows(exponents: list[tuple[int, int]], cd: Array) -> Array:
    return np.array([cd[:, 0] if exponent == (1, 0) else cd[:, 1] for exponent in exponents[1:]])


def _clip(residual: Array, terms: int) -> NDArray[np.bool_]:
    distance = np.hypot(*residual.T)
    good = distance <= 3 * max(1.4826 * float(np.median(distance)), 1e-7)
    return good if good.sum() > terms else np.ones(len(residual), bool)


def _sip(exponents: list[tuple[int, int]], coefficients: Array) -> tuple[Array, Array]:
    """Return the CD matrix and the SIP coefficients of a polynomial from pixels to the tangent plane."""
    order = max(i + j for i, j in exponents)
    cd = np.zeros((2, 2))
    higher = np.zeros((2, order + 1, order + 1))
    for (i, j), both in zip(exponents, coefficients, strict=True):
        if i + j == 1:
            cd[:, j] = both
        elif i + j > 1:
            higher[:, i, j] = both
    return cd, np.einsum("kl,lij->kij", np.linalg.inv(cd), higher)


def _inside(x: Array, y: Array, shape: tuple[int, int], margin_px: float) -> NDArray[np.bool_]:
    return (x > -margin_px) & (x < shape[1] + margin_px) & (y > -margin_px) & (y < shape[0] + margin_px)


def _exponents(order: int) -> Iterable[tuple[int, int]]:
    """Return the powers of x and y, the constant first."""
    return sorted(((i, j) for i in range(order + 1) for j in range(order + 1 - i)), key=lambda e: (e[0] + e[1], e[1]))


def _polynomial(coefficients: Array, u: Array, v: Array) -> Array:
    if not coefficients.any():
        return np.zeros_like(u)
    return np.asarray(np.polynomial.polynomial.polyval2d(u, v, coefficients), np.float64)
