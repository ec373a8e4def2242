"""The simulated detector: from light to numbers, with all that calibration has to remove.

Fixed for a (seed, camera, size): the bias's column pattern, dark current with hot pixels, and the flat with
vignetting, dust and pixel response. Drawn for each frame: photon and read noise, cosmic rays.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Frame = NDArray[np.uint16]

BIAS_ADU = 1000.0
READ_NOISE_E = 8.0
DARK_E_S = 0.08
"""Dark current per pixel at the reference temperature of -20 C; it doubles every 6 C."""
DARK_REFERENCE_C, DARK_DOUBLING_C = -20.0, 6.0
HOT_FRACTION = 2e-4
SATURATION_ADU = 65535
COSMIC_RAYS_PER_S = 0.18
"""About 1.5 per square centimetre and minute at sea level on a chip of 7.6 square centimetres."""
LAMP_E_S = 3000.0
"""Light of the flat-field lamp per unbinned pixel."""


class Window(NamedTuple):
    """What is read out, in ASCOM's terms: start and size count binned pixels."""

    start_x: int
    start_y: int
    num_x: int
    num_y: int
    bin_x: int = 1
    bin_y: int = 1


class Detector:
    """A camera's chip.

    Parameters
    ----------
    seed, name : int, str
        Choose the fixed pattern.
    pixels : int
        Pixels along a side, 64 to 4096.

    Attributes
    ----------
    flat, dark_e_s : ndarray of float32, shape (pixels, pixels)
        Relative response; electrons per second at -20 C.
    bias_columns_adu : ndarray of float32, shape (pixels,)
    """

    def __init__(self, seed: int, name: str, pixels: int) -> None:
        if not 64 <= pixels <= 4096:
            raise ValueError(f"camera {name} has {pixels} pixels along a side; it must be 64 to 4096")
        self.pixels = pixels
        self._key = [seed, crc32(name.encode())]
        rng = np.random.default_rng([*self._key, 0])
        self.bias_columns_adu = (BIAS_ADU + rng.normal(0.0, 3.0, pixels)).astype(np.float32)
        self.dark_e_s = _dark_pattern(rng, pixels)
        self.flat = _flat_pattern(rng, pixels)

    def read_out(
        self,
        number: int,
        light_e: Image | float,
        exposed_s: float,
        *,
        readout_s: float,
        ccd_temperature_c: float,
        electrons_per_adu: float,
        window: Window,
    ) -> Frame:
        """Return the frame (num_y, num_x) of the given number; the same arguments give the same frame.

        Parameters
        ----------
        light_e : ndarray (pixels, pixels) or float
            Electrons that the light would release on a perfect chip.
        exposed_s, readout_s : float
            Dark current gathers over the first, cosmic rays over both.
        """
        rng = np.random.default_rng([*self._key, 1, number])
        warmth = 2.0 ** ((ccd_temperature_c - DARK_REFERENCE_C) / DARK_DOUBLING_C)
        electrons = self.dark_e_s * np.float32(exposed_s * warmth)
        if not (isinstance(light_e, float) and light_e == 0.0):
            electrons += self.flat * light_e
        _strike(rng, electrons, exposed_s + readout_s)
        electrons, bias_adu = self._cut(electrons, window)
        return _digitise(rng, electrons, bias_adu, electrons_per_adu)

    def _cut(self, electrons: Image, window: Window) -> tuple[Image, Image]:
        rows = slice(window.start_y * window.bin_y, (window.start_y + window.num_y) * window.bin_y)
        columns = slice(window.start_x * window.bin_x, (window.start_x + window.num_x) * window.bin_x)
        electrons, bias_adu = electrons[rows, columns], self.bias_columns_adu[columns]
        if window.bin_x == window.bin_y == 1:
            return electrons, bias_adu
        blocks = electrons.reshape(window.num_y, window.bin_y, window.num_x, window.bin_x)
        return blocks.sum(axis=(1, 3)), bias_adu.reshape(window.num_x, window.bin_x).mean(axis=1)


def _digitise(rng: np.random.Generator, electrons: Image, bias_adu: Image, electrons_per_adu: float) -> Frame:
    """Add noise of variance N + R^2 (Poisson is near enough to normal under a read noise of 8) and convert."""
    noise = rng.standard_normal(electrons.shape, dtype=np.float32)
    noise *= np.sqrt(electrons + np.float32(READ_NOISE_E**2))
    noise += electrons
    noise *= np.float32(1.0 / electrons_per_adu)
    noise += bias_adu + np.float32(0.5)
    np.clip(noise, 0.0, float(SATURATION_ADU), out=noise)
    return noise.astype(np.uint16)


def _dark_pattern(rng: np.random.Generator, pixels: int) -> Image:
    dark = np.full((pixels, pixels), DARK_E_S, np.float32)
    hot = max(1, round(HOT_FRACTION * pixels * pixels))
    rows, columns = rng.integers(0, pixels, (2, hot))
    dark[rows, columns] += (10.0 ** rng.uniform(0.5, 2.3, hot)).astype(np.float32)
    return dark


def _flat_pattern(rng: np.random.Generator, pixels: int) -> Image:
    y, x = np.ogrid[-1.0 : 1.0 : pixels * 1j, -1.0 : 1.0 : pixels * 1j]
    flat = 1.0 - 0.06 * (x * x + y * y)
    for _ in range(8):  # dust out of focus: rings of shadow
        x0, y0, size, depth = rng.uniform([-0.95, -0.95, 0.015, 0.01], [0.95, 0.95, 0.05, 0.05])
        r = np.hypot(x - x0, y - y0) / size
        flat *= 1.0 - depth * np.exp(-(((r - 1.0) / 0.35) ** 2))
    flat *= rng.normal(1.0, 0.005, (pixels, pixels))
    return (flat / np.median(flat)).astype(np.float32)


def _strike(rng: np.random.Generator, electrons: Image, seconds: float) -> None:
    """Draw the tracks of cosmic rays into the frame."""
    for _ in range(rng.poisson(COSMIC_RAYS_PER_S * seconds)):
        x, y = rng.uniform(0.0, len(electrons), 2)
        length, angle = 1.0 + rng.exponential(3.0), rng.uniform(0.0, 2.0 * math.pi)
        along = np.arange(0.0, length, 0.5)
        columns = (x + along * math.cos(angle)).astype(np.intp)
        rows = (y + along * math.sin(angle)).astype(np.intp)
        hit = (columns >= 0) & (rows >= 0) & (columns < len(electrons)) & (rows < len(electrons))
        deposit = np.float32(rng.lognormal(7.0, 0.8) / 2.0)
        np.add.at(electrons, (rows[hit], columns[hit]), deposit)
