"""Which recordings are kept, and what they are called. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime

KEEP_AT_LEAST = 50
MOST_FILES = 500
MOST_BYTES = 512 << 20
SUFFIX = ".msgpack"
NAME = re.compile(r"\d{8}T\d{6}Z-[a-z0-9-]+\.msgpack")
"""The names of recordings; sorted they are in order of time. Other files are left alone."""
SLUG_LENGTH = 60


def name_for(at: datetime, cause: str, taken: Collection[str] = ()) -> str:
    """Return a file name, such as `20261122T053107Z-dome-closing-rain-contact.msgpack`, that is not taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", cause.lower())[:SLUG_LENGTH].strip("-") or "occasion"
    stem = f"{at:%Y%m%dT%H%M%SZ}-{slug}"
    number, name = 1, f"{stem}{SUFFIX}"
    while name in taken:
        number += 1
        name = f"{stem}-{number}{SUFFIX}"
    return name


def surplus(files: Sequence[tuple[str, int]]) -> list[str]:
    """Return which of these files (name, bytes) have to go, oldest first; the newest 50 stay, whatever their size."""
    kept, total, gone = 0, 0, list[str]()
    for name, size in sorted((one for one in files if NAME.fullmatch(one[0])), reverse=True):
        total += size
        if kept >= KEEP_AT_LEAST and (kept >= MOST_FILES or total > MOST_BYTES):
            gone.append(name)
        else:
            kept += 1
    return gone[::-1]
