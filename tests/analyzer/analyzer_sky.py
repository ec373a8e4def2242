"""A small sky and camera of the tests' own: oversampled Moffat stars, a turned and distorted plate, noise, cosmic rays.

It shares no code with what is tested, so that a mistake does not cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
GAIN, READ_NOISE, BIAS, DARK_E_S = 1.6, 7.0, 900.0, 0.1
ZERO_MAG_E_S = 10**9.1
"""Electrons per second of a star of magnitude 0."""
OVERSAMPLING = 5


@dataclass
class Sky:
    """Stars of a place; `hidden` ones are not in the catalogue."""

    seed: int = 1
    ra: float = 150.3
    dec: float = 31.2
    per_deg2_at_20: float = 4000.0
    field_deg: float = 0.45
    extra: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        half = self.field_deg * 0.8
        n = rng.poisson(self.per_deg2_at_20 * (2 * half) ** 2 * 10 ** (0.32 * 1.0))
        self.star_ra = self.ra + rng.uniform(-half, half, n) / np.cos(np.radians(self.dec))
        self.star_dec = self.dec + rng.uniform(-half, half, n)
        self.star_mag = 21 + np.log10(rng.uniform(10 ** (0.32 * -12), 1, n)) / 0.32

    def write_catalogue(self, path: Path, limit_mag: float = 20.0) -> Path:
        keep = self.star_mag < limit_mag
        columns = np.stack([self.star_ra[keep] % 360, self.star_dec[keep], self.star_mag[keep]], 1)
        np.savetxt(path, columns, delimiter=",", header="ra_deg,dec_deg,mag", comments="", fmt=["%.7f", "%.7f", "%.3f"])
        return path


@dataclass
class Camera:
    """A square detector; `fwhm_arcsec` is the seeing."""

    pixels: int = 512
    scale: float = 3.05
    fwhm_arcsec: float = 5.5
    rotation_deg: float = 0.3
    distortion: float = 1.5e-3
    mirrored: bool = False
    seed: int = 5

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        y, x = np.mgrid[-1 : 1 : self.pixels * 1j, -1 : 1 : self.pixels * 1j]
        self.flat = (1 - 0.12 * (x**2 + y**2)) * rng.normal(1, 0.01, x.shape)
        self.dark = np.full(x.shape, DARK_E_S)
        hot = rng.integers(0, self.pixels, (2, self.pixels // 8))
        self.dark[hot[0], hot[1]] = 40.0
        self.bias = BIAS + rng.normal(0, 3, (1, self.pixels))

    def pixel(self, ra, dec, centre):
        """Zero-based pixels of places: gnomonic about `centre`, turned, with barrel distortion."""
        ra0, dec0 = np.radians(centre)
        r, d = np.radians(ra), np.radians(dec)
        cosc = np.sin(dec0) * np.sin(d) + np.cos(dec0) * np.cos(d) * np.cos(r - ra0)
        xi = np.degrees(np.cos(d) * np.sin(r - ra0) / cosc) * 3600 / self.scale
        eta = (
            np.degrees((np.cos(dec0) * np.sin(d) - np.sin(dec0) * np.cos(d) * np.cos(r - ra0)) / cosc)
            * 3600
            / self.scale
        )
        t = np.radians(self.rotation_deg)
        x, y = -(xi * np.cos(t) - eta * np.sin(t)), xi * np.sin(t) + eta * np.cos(t)
        k = 1 + self.distortion * (x**2 + y**2) / (self.pixels / 2) ** 2
        x = -x if self.mirrored else x
        return x * k + (self.pixels - 1) / 2, y * k + (self.pixels - 1) / 2

    def light(self, sky, centre, exposure_s, extra=(), sky_e_s_arcsec2=6.9):
        """Expected electrons without the detector's traces."""
        image = np.full((self.pixels, self.pixels), sky_e_s_arcsec2 * self.scale**2 * exposure_s)
        ra = np.append(sky.star_ra, [e[0] for e in extra])
        dec = np.append(sky.star_dec, [e[1] for e in extra])
        electrons = ZERO_MAG_E_S * exposure_s * 10 ** (-0.4 * np.append(sky.star_mag, [e[2] for e in extra]))
        x, y = self.pixel(ra, dec, centre)
        inside = (x > -20) & (x < self.pixels + 20) & (y > -20) & (y < self.pixels + 20)
        self._draw(image, x[inside], y[inside], electrons[inside])
        return image

    def _draw(self, image, x, y, electrons):
        alpha = self.fwhm_arcsec / self.scale / 2 / np.sqrt(2 ** (1 / 3.2) - 1)
        for x0, y0, flux in zip(x, y, electrons, strict=True):
            half = int(np.ceil(alpha * (12 if flux > 2e4 else 5))) + 1
            cx, cy = round(float(x0)), round(float(y0))
            fine = (np.arange((2 * half + 1) * OVERSAMPLING) + 0.5) / OVERSAMPLING - half - 0.5
            r2 = (fine[None, :] + cx - x0) ** 2 + (fine[:, None] + cy - y0) ** 2
            profile = 2.2 / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -3.2 / OVERSAMPLING**2
            n = 2 * half + 1
            stamp = flux * profile.reshape(n, OVERSAMPLING, n, OVERSAMPLING).sum((1, 3))
            rows, columns = slice(max(0, cy - half), cy + half + 1), slice(max(0, cx - half), cx + half + 1)
            if cy + half < 0 or cx + half < 0 or cy - half >= self.pixels or cx - half >= self.pixels:
                continue
            target = image[rows, columns]
            dy, dx = rows.start - (cy - half), columns.start - (cx - half)
            target += stamp[dy : dy + target.shape[0], dx : dx + target.shape[1]]

    def read_out(self, light, exposure_s, seed, cosmic_rays=0):
        rng = np.random.default_rng(seed)
        electrons = rng.poisson(light * self.flat + self.dark * exposure_s).astype(float)
        for _ in range(cosmic_rays):
            y, x = rng.integers(3, self.pixels - 3, 2)
            electrons[y, x] += rng.lognormal(7, 0.8)
            electrons[y, x + 1] += rng.lognormal(6, 0.8)
        adu = (electrons + rng.normal(0, READ_NOISE, electrons.shape)) / GAIN + self.bias
        return np.clip(np.rint(adu), 0, 65535).astype(np.uint16)


def afterglow_mag(mag_at_60s, t_s, alpha=1.1):
    return mag_at_60s + 2.5 * alpha * np.log10(t_s / 60)


def after(seconds):
    return START + timedelta(seconds=seconds)
