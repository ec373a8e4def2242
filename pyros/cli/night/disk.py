"""A disk that is full for a while: what writes to it meets the real errors of the operating system and of SQLite.

A frame's temporary file is made to lie on `/dev/full`, where every write fails with ENOSPC; the store may not grow by
another page, so that its inserts fail with SQLITE_FULL.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pyros.store.database import Store

FULL_DEVICE = Path("/dev/full")
MOST_PAGES = 1_073_741_823
"""SQLite's own default."""


class Disk:
    """Given to the actors as `Environment.before_write`."""

    def __init__(self) -> None:
        self.full = False

    def before_write(self, place: Path | Store) -> None:
        """Prepare a place for what its writer will meet.

        Raises
        ------
        OSError
            Where the disk is full and the system has no device that says so by itself.
        """
        if isinstance(place, Store):
            self._bound(place)
        elif self.full and FULL_DEVICE.exists():
            place.with_name(f".{place.name}.part").symlink_to(FULL_DEVICE)
        elif self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))

    def _bound(self, store: Store) -> None:
        for database in (store.main, store.telemetry):
            pages = database.execute_sql("PRAGMA page_count").fetchone()[0] if self.full else MOST_PAGES
            database.execute_sql(f"PRAGMA max_page_count = {pages:d}")
