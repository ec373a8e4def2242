"""What the actors of one observatory share besides the kernel: settings, place, folders, and the way to its devices."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyros.config import Settings
from pyros.sky.site import Site
from pyros.store.database import Store

DeviceJournal = Callable[[str, bytes, bytes], None]
BeforeWrite = Callable[[Path | Store], None]


def _write_freely(place: Path | Store) -> None:
    """Let every write begin."""
    del place


@dataclass(frozen=True)
class Environment:
    """Given to every actor when it is made; nothing in it changes while the daemon runs."""

    settings: Settings
    site: Site
    state_folder: Path
    pool: Executor
    """Where images are analysed: processes."""
    boot: int = 1
    device_journal: DeviceJournal | None = None
    before_write: BeforeWrite = _write_freely
    """Called with the frame's path or the store before it is written: where a simulated night fills the disk."""

    @property
    def images(self) -> Path:
        """Where frames are written; files in messages and store are relative to it."""
        return self.state_folder / "images"

    @classmethod
    def of(cls, settings: Settings, state_folder: Path, pool: Executor, **more: Any) -> Environment:
        """Derive the place on Earth from the settings."""
        place = settings.site
        site = Site(place.name, place.longitude_deg, place.latitude_deg, place.height_m)
        return cls(settings=settings, site=site, state_folder=state_folder, pool=pool, **more)
