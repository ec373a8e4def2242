"""Previews of frames: fetched from the librarian in chunks, the last few kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from pyros.messages.store import FileChunk, GetFile
from pyros.web.board import LastImage
from pyros.web.gateway import Gateway

KEPT = 16
LARGEST = 8 << 20
"""Bytes of a preview; more is no preview."""
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Previews:
    """A small cache before the librarian; thread-safe."""

    def __init__(self, client: Gateway) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def get(self, image_id: int, version: int) -> bytes | None:
        """Return the preview of an image, or None if there is none yet.

        Raises
        ------
        GatewayError
            If the daemon cannot be reached.
        """
        key = image_id, version
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = self._fetch(image_id)
        if content is None or mime_type(content) is None:
            return None
        with self._lock:
            self._kept[key] = content
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return content

    def _fetch(self, image_id: int) -> bytes | None:
        content = b""
        while True:
            chunk = self._client.ask("librarian", GetFile(image_id=image_id, preview=True, offset=len(content)))
            if not isinstance(chunk, FileChunk) or chunk.size > LARGEST or not chunk.content:
                return None
            content += chunk.content
            if len(content) >= chunk.size:
                return content


def mime_type(content: bytes) -> str | None:
    """Return the type of a picture that browsers show, told by its first bytes, or None."""
    return next((mime for magic, mime in _MAGIC.items() if content.startswith(magic)), None)


def last_image(row: dict[str, Any]) -> LastImage:
    """Return what the page says of a row of the store's `image` table."""
    return LastImage(
        image_id=int(row["id"]),
        camera=str(row.get("camera", "")),
        filter=str(row.get("filter", "")),
        start=_instant(row.get("start")),
        exposure_s=float(row.get("exposure_s") or 0.0),
    )


def _instant(value: object) -> datetime | None:
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
