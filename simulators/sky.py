"""The simulated sky: seeded stars that are the same for every frame of a place, and the catalogue that knows them.

The sphere is cut into tiles: declination bands j = floor(dec + 90), each divided evenly in right ascension into about
one-degree pieces. A tile's stars depend on (seed, j, i) alone, so that the order in which places are visited does not
matter. Star counts follow log10 N(<m) = 0.32 m + const.
"""

from __future__ import annotations

import math
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COUNT_SLOPE = 0.32
"""Slope of log10 N(<m), a little below Euclidean as at high galactic latitude."""
BRIGHTEST_MAG, FAINTEST_MAG = 7.0, 21.0
CATALOGUE_LIMIT_MAG = 20.0
BANDS = 180
CACHED_TILES = 1024


class Tile(NamedTuple):
    """The stars of a tile: ICRS degrees, magnitudes and unit vectors (n, 3); all read-only."""

    ra_deg: Array
    dec_deg: Array
    mag: Array
    vectors: Array


def tiles_in_band(j: int) -> int:
    """Return into how many tiles the declination band j (0 at the south pole) is divided."""
    return max(1, round(360.0 * math.cos(math.radians(j - 89.5))))


def tile_at(ra_deg: float, dec_deg: float) -> tuple[int, int]:
    """Return (i, j) of the tile that holds a place."""
    j = min(math.floor(dec_deg + 90.0), BANDS - 1)
    n = tiles_in_band(j)
    return math.floor((ra_deg % 360.0) / 360.0 * n) % n, j


def tiles_around(ra_deg: float, dec_deg: float, radius_deg: float) -> list[tuple[int, int]]:
    """Return (i, j) of every tile that a circle on the sky may touch, in order of j, then eastward.

    The circle's half-width in right ascension is asin(sin r / cos dec), or everything when it holds a pole.
    """
    reaches_pole = abs(dec_deg) + radius_deg >= 90.0
    half_deg = (
        180.0
        if reaches_pole
        else math.degrees(math.asin(math.sin(math.radians(radius_deg)) / math.cos(math.radians(dec_deg))))
    )
    first = max(0, math.floor(dec_deg - radius_deg + 90.0))
    last = min(BANDS - 1, math.floor(dec_deg + radius_deg + 90.0))
    return [(i, j) for j in range(first, last + 1) for i in _columns(ra_deg, half_deg, tiles_in_band(j))]


def _columns(ra_deg: float, half_deg: float, n: int) -> list[int]:
    first = math.floor((ra_deg - half_deg) / 360.0 * n)
    last = math.floor((ra_deg + half_deg) / 360.0 * n)
    return [i % n for i in range(first, min(last, first + n - 1) + 1)]


def unit_vectors(ra_deg: Array, dec_deg: Array) -> Array:
    """Return the (n, 3) unit vectors of places in degrees."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


class SyntheticSky:
    """A sky full of stars.

    Parameters
    ----------
    seed : int
        Not negative; the same seed is the same sky.
    stars_per_deg2 : float
        Mean density of stars brighter than magnitude 20.

    Raises
    ------
    ValueError
        When the seed is negative or the density outside 1 to 50,000 per square degree.
    """

    def __init__(self, seed: int, stars_per_deg2: float = 2500.0) -> None:
        if seed < 0:
            raise ValueError(f"sky seed is {seed}; it must be 0 or more")
        if not 1.0 <= stars_per_deg2 <= 50_000.0:
            raise ValueError(f"stars_per_deg2 is {stars_per_deg2}; it must be between 1 and 50000")
        self.seed = seed
        self.stars_per_deg2 = stars_per_deg2
        self.tile = lru_cache(maxsize=CACHED_TILES)(self._populate)

    def stars(self, ra_deg: float, dec_deg: float, radius_deg: float) -> tuple[Array, Array, Array]:
        """Return right ascension and declination (ICRS degrees) and magnitude of the stars in a circle."""
        tiles = [self.tile(i, j) for i, j in tiles_around(ra_deg, dec_deg, radius_deg)]
        centre = unit_vectors(np.array(ra_deg), np.array(dec_deg))
        chord2 = 4.0 * math.sin(math.radians(radius_deg) / 2.0) ** 2
        inside = [((tile.vectors - centre) ** 2).sum(axis=1) <= chord2 for tile in tiles]
        ra, dec, mag = (
            np.concatenate([tile[column][chosen] for tile, chosen in zip(tiles, inside, strict=True)])
            for column in range(3)
        )
        return ra, dec, mag

    def write_tile(self, folder: Path, i: int, j: int) -> Path:
        """Write a tile's stars brighter than magnitude 20 as CSV, all at once, and return the file's path.

        The text depends on the sky alone; a reader sees the old file or the whole new one.
        """
        path = Path(folder) / f"tile_{j:03d}_{i:03d}.csv"
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="ascii") as part:
            part.write(self._catalogue_text(i, j))
        Path(part.name).chmod(0o644)
        os.replace(part.name, path)  # noqa: PTH105 - Path.replace says the same and is no more atomic
        return path

    def _catalogue_text(self, i: int, j: int) -> str:
        tile = self.tile(i, j)
        rows = zip(tile.ra_deg.tolist(), tile.dec_deg.tolist(), np.round(tile.mag, 3).tolist(), strict=True)
        lines = [f"{ra:.7f},{dec:.7f},{mag:.3f}\n" for ra, dec, mag in rows if mag < CATALOGUE_LIMIT_MAG]
        return "ra_deg,dec_deg,mag\n" + "".join(lines)

    def _populate(self, i: int, j: int) -> Tile:
        n = tiles_in_band(j)
        rng = np.random.default_rng([self.seed, j, i])
        sin_low, sin_high = (math.sin(math.radians(edge)) for edge in (j - 90.0, j - 89.0))
        area_deg2 = 360.0 / n * math.degrees(sin_high - sin_low)
        bright, faint = (10.0 ** (COUNT_SLOPE * (mag - 20.0)) for mag in (BRIGHTEST_MAG, FAINTEST_MAG))
        count = rng.poisson(self.stars_per_deg2 * (faint - bright) * area_deg2)
        ra = (i + rng.random(count)) * (360.0 / n)
        dec = np.degrees(np.arcsin(rng.uniform(sin_low, sin_high, count)))
        mag = 20.0 + np.log10(rng.uniform(bright, faint, count)) / COUNT_SLOPE
        tile = Tile(ra, dec, mag, unit_vectors(ra, dec))
        for column in tile:
            column.setflags(write=False)
        return tile
