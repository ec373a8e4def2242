"""Reads the stars that are known around a place: from a CSV file, a folder of CSV tiles, or a FITS table.

Tiles are `tile_<j>_<i>.csv`, three digits each: declination band j = floor(dec + 90), in it n = max(1, round(360 cos
of the band's middle)) tiles, i = floor(ra / 360 n). A missing tile or file is told, never cached: it may come later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

_NAMES = {
    "ra_deg": ("ra_deg", "ra", "ra_icrs"),
    "dec_deg": ("dec_deg", "dec", "de_icrs"),
    "mag": ("mag", "vmag", "vtmag"),
}


class CatalogueError(Exception):
    """No stars can be had; the text is one line for a person."""


class Stars(Struct, frozen=True):
    """Known stars, ICRS degrees and magnitudes, each array (n,)."""

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    mag: NDArray[np.float64]
    problem: str | None = None
    """What was missing, if not all could be read."""

    def __len__(self) -> int:
        return len(self.mag)

    @property
    def depth_mag(self) -> float:
        """Magnitude down to which the catalogue knows stars at all (its 99th percentile)."""
        return float(np.percentile(self.mag, 99))


def stars_near(
    path: str | Path, ra_deg: float, dec_deg: float, radius_deg: float, needed_deg: float | None = None
) -> Stars:
    """Return the stars of the catalogue at `path` within `radius_deg` (at most 20) of a place, in the file's order.

    Tiles that are missing are a problem if they reach nearer than `needed_deg` (by default `radius_deg`).

    Raises
    ------
    CatalogueError
        If there is no catalogue, it cannot be read, or it has no star there.
    """
    path = Path(path)
    if not 0 < radius_deg <= 20:
        raise CatalogueError(f"catalogue radius is {radius_deg}°; it must be above 0 and at most 20")
    files = sorted(_tiles_near(ra_deg, dec_deg, radius_deg)) if path.is_dir() else [""]
    found: list[NDArray[np.float64]] = []
    missing: list[str] = []
    for name in files:
        file = path / name if name else path
        try:
            status = file.stat()
        except OSError:
            missing.append(str(file))
            continue
        found.append(_read(file, status.st_mtime_ns, status.st_size))
    if not found:
        raise CatalogueError(f"no star catalogue: {missing[0]} does not exist")
    table = np.concatenate(found)
    near = table[_separation_deg(table[:, 0], table[:, 1], ra_deg, dec_deg) <= radius_deg]
    if not len(near):
        raise CatalogueError(f"{path} has no star within {radius_deg:.3f}° of {ra_deg:.4f} {dec_deg:+.4f}")
    needed = _tiles_near(ra_deg, dec_deg, needed_deg or radius_deg)
    missing = [file for file in missing if Path(file).name in needed]
    problem = f"{len(missing)} of {len(needed)} catalogue tiles are missing: {missing[0]}" if missing else None
    return Stars(near[:, 0], near[:, 1], near[:, 2], problem)


def tile_name(ra_deg: float, dec_deg: float) -> str:
    """Return the name of the tile that holds a place."""
    band = min(math.floor(dec_deg + 90), 179)
    count = _tiles_in(band)
    return f"tile_{band:03d}_{min(math.floor(ra_deg % 360 / 360 * count), count - 1):03d}.csv"


def _tiles_in(band: int) -> int:
    return max(1, round(360 * math.cos(math.radians(band - 89.5))))


def _tiles_near(ra_deg: float, dec_deg: float, radius_deg: float) -> set[str]:
    names = set()
    for dec in _steps(max(dec_deg - radius_deg, -90), min(dec_deg + radius_deg, 90)):
        # the circle's greatest half-width in right ascension, wherever in it this declination lies
        sine = math.sin(math.radians(radius_deg)) / max(math.cos(math.radians(dec_deg)), 1e-9)
        reach = 180.0 if sine >= 1 or abs(dec_deg) + radius_deg >= 90 else math.degrees(math.asin(sine))
        names |= {tile_name(ra, dec) for ra in _steps(ra_deg - reach, ra_deg + reach)}
    return names


def _steps(low: float, high: float) -> Iterator[float]:
    """From low to high, both included, in steps smaller than the narrowest tile."""
    count = max(1, math.ceil((high - low) / 0.4))
    return (low + (high - low) * k / count for k in range(count + 1))


@lru_cache(maxsize=64)
def _read(file: Path, _modified_ns: int, _size: int) -> NDArray[np.float64]:
    try:
        table = _read_fits(file) if file.suffix.lower() in {".fits", ".fit", ".fz"} else _read_csv(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogueError(f"star catalogue {file} cannot be read: {' '.join(str(error).split())}") from error
    good = np.isfinite(table).all(axis=1) & (np.abs(table[:, 1]) <= 90) if len(table) else []
    return table[good] if len(table) else np.empty((0, 3))


def _read_csv(file: Path) -> NDArray[np.float64]:
    with file.open(encoding="utf-8") as stream:
        names = [name.strip().lower() for name in stream.readline().lstrip("#").split(",")]
        columns = [names.index(_column(names, wanted)) for wanted in _NAMES]
        lines = [line for line in stream if line.strip()]
    return np.loadtxt(lines, delimiter=",", usecols=columns, ndmin=2) if lines else np.empty((0, 3))


def _read_fits(file: Path) -> NDArray[np.float64]:
    from astropy.io import fits

    table: Any = fits.getdata(file, 1)
    by_name = {name.lower(): name for name in table.names}
    return np.stack([np.asarray(table[by_name[_column(list(by_name), w)]], np.float64) for w in _NAMES], axis=1)


def _column(names: list[str], wanted: str) -> str:
    for name in _NAMES[wanted]:
        if name in names:
            return name
    raise ValueError(f"no column {wanted} among {', '.join(names)}")


def _separation_deg(ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float) -> NDArray[np.float64]:
    """Haversine formula: exact at small angles."""
    d, d0 = np.radians(dec), math.radians(dec0)
    h = np.sin((d - d0) / 2) ** 2 + np.cos(d) * math.cos(d0) * np.sin(np.radians(ra - ra0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(h.clip(0, 1))))
