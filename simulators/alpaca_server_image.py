"""How Alpaca sends an image: nested lists in JSON, or ImageBytes.

Both are in [x][y] order, the transpose of a NumPy or FITS image (ASCOM Alpaca API Reference, ImageBytes).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

NdArray = np.ndarray

METADATA = struct.Struct("<iiIIiiiiiii")
"""Version, error number, client and server transaction, data start, image and transmission type, rank, three sizes."""
INT32, UINT16 = 2, 8


def image_bytes(image: np.ndarray[Any, Any], client: int, server: int) -> bytes:
    """Return `image[y, x]` of uint16 as ImageBytes: an array of Int32 that travels as UInt16."""
    height, width = image.shape
    head = METADATA.pack(1, 0, client, server, METADATA.size, INT32, UINT16, 2, width, height, 0)
    return head + np.ascontiguousarray(image.T, dtype="<u2").tobytes()


def image_json(image: np.ndarray[Any, Any], client: int, server: int) -> bytes:
    """Return `image[y, x]` as the JSON answer to imagearray."""
    answer = {
        "Type": INT32,
        "Rank": 2,
        "Value": image.T.tolist(),
        "ClientTransactionID": client,
        "ServerTransactionID": server,
        "ErrorNumber": 0,
        "ErrorMessage": "",
    }
    return json.dumps(answer, separators=(",", ":")).encode()
