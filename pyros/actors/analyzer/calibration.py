"""Applies bias, dark and flat to a raw frame and says how noisy and how usable each pixel is. One pure function."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pyros.actors.analyzer.frame import FrameHeader

MIN_FLAT = 0.4
"""A pixel that sees less than this share of the light is masked."""
HOT_SIGMA = 12.0
"""Dark current this many robust standard deviations above the median makes a pixel hot."""
SATURATION_SHARE = 0.92
"""Near full well a pixel is no longer linear."""

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]


class MasterPixels(Struct, frozen=True):
    """Pixels of the masters to apply; what is None is not applied. Bias in ADU, dark in ADU/s, flat around 1."""

    bias: Image | None = None
    dark: Image | None = None
    flat: Image | None = None


class Calibrated(Struct, frozen=True):
    """Pixels in ADU of the flat-fielded scale, the variance expected by the CCD equation (ADU^2), and two masks."""

    pixels: Image
    variance: Image
    bad: Mask
    """Dead, hot or hardly lit: says nothing."""
    saturated: Mask


def calibrate(raw: NDArray[Any], header: FrameHeader, masters: MasterPixels) -> Calibrated:
    """Apply the masters to a raw frame (AN-P1).

    The noise is that of the CCD equation, read noise and photons of sky, sources and dark current, divided by the flat
    (Howell 2006, Handbook of CCD Astronomy, eq. 4.4).

    Raises
    ------
    ValueError
        If a master has another shape than the frame.
    """
    for name in ("bias", "dark", "flat"):
        master = getattr(masters, name)
        if master is not None and master.shape != raw.shape:
            raise ValueError(f"master {name} is {master.shape}, the frame {raw.shape}; they must have one shape")
    pixels = raw.astype(np.float32)
    bad = ~np.isfinite(pixels)
    saturated = raw >= np.float32(SATURATION_SHARE * header.saturation_adu)
    if masters.bias is not None:
        pixels -= masters.bias
    electrons = np.maximum(pixels, 0) * np.float32(header.gain_e_adu)  # dark current still in it: it is noisy too
    variance = (electrons + np.float32(header.read_noise_e**2)) / np.float32(header.gain_e_adu**2)
    if masters.dark is not None:
        pixels -= masters.dark * np.float32(header.exposure_s)
        bad |= hot_pixels(masters.dark)
    if masters.flat is not None:
        inverse = 1 / np.maximum(masters.flat, np.float32(0.05))
        pixels *= inverse
        variance *= inverse**2
        bad |= masters.flat < MIN_FLAT
    pixels[bad] = 0
    return Calibrated(pixels, variance, bad, saturated)


def hot_pixels(dark: Image) -> Mask:
    """Return where a dark (ADU/s) stands far above its neighbourhood's spread."""
    sample = dark.ravel()[::17]
    middle = np.median(sample)
    spread = 1.4826 * np.median(np.abs(sample - middle))
    return dark > middle + HOT_SIGMA * max(float(spread), 1e-6)
