"""Makes a small grey picture of an image for the web page: a PNG, written without a picture library."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREVIEW_PX = 512


def write_preview(path: str | Path, pixels: NDArray[Any], side_px: int = PREVIEW_PX) -> None:
    """Write a PNG of at most `side_px` a side; row 0 of `pixels` (rows, columns) is at the bottom.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(encode_png(stretch(shrink(pixels, side_px))[::-1]))
    part.replace(path)


def shrink(pixels: NDArray[Any], side_px: int) -> NDArray[np.float32]:
    """Average square blocks until no side is longer than `side_px`; what is left over at the edges is cut off."""
    block = -(-max(pixels.shape) // side_px)
    rows, columns = max(1, pixels.shape[0] // block), max(1, pixels.shape[1] // block)
    cut = pixels[: rows * block, : columns * block].astype(np.float32)
    return cut.reshape(rows, cut.shape[0] // rows, columns, cut.shape[1] // columns).mean(axis=(1, 3))


def stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map pixels to 0..255: zscale's limits (sky minus two sigma, and far above it), asinh between them."""
    finite = pixels[np.isfinite(pixels)][::3]
    if not finite.size:
        return np.zeros(pixels.shape, np.uint8)
    sky = float(np.median(finite))
    sigma = max(1.4826 * float(np.median(np.abs(finite - sky))), 1e-6)
    black, white = sky - 2 * sigma, max(float(np.percentile(finite, 99.8)), sky + 20 * sigma)
    scaled = np.arcsinh(np.clip(np.nan_to_num(pixels, nan=sky) - black, 0, None) / (4 * sigma))
    return (255 * np.clip(scaled / np.arcsinh((white - black) / (4 * sigma)), 0, 1)).astype(np.uint8)


def encode_png(grey: NDArray[np.uint8]) -> bytes:
    """Return an 8-bit grey PNG (ISO/IEC 15948) of (rows, columns), first row on top."""
    height, width = grey.shape
    rows = np.zeros((height, width + 1), np.uint8)  # a zero before each row: no filter
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
