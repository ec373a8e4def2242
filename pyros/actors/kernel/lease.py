"""A lease: an incarnation's right to act. Drivers check it before every write that does not make safer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


class LeaseRevokedError(Exception):
    """The incarnation that acts has been replaced; what it meant to do is not done."""


class Lease:
    """Valid from an incarnation's start until it is replaced; revoking closes its links, which wakes stuck reads."""

    def __init__(self, holder: str, epoch: int) -> None:
        self.holder = holder
        self.epoch = epoch
        self._valid = True
        self._lock = threading.Lock()
        self._on_revoke: list[Callable[[], object]] = []

    @property
    def valid(self) -> bool:
        """Whether the holder may still act."""
        return self._valid

    def check(self) -> None:
        """Raise `LeaseRevokedError` if the holder has been replaced."""
        if not self._valid:
            raise LeaseRevokedError(f"{self.holder}: incarnation {self.epoch} has been replaced; the write is refused")

    def on_revoke(self, close: Callable[[], object]) -> None:
        """Call `close` once when the lease ends; at once if it has ended, so that no link opened late stays open."""
        with self._lock:
            if self._valid:
                self._on_revoke.append(close)
                return
        close()

    def revoke(self) -> None:
        """End the lease. Called by the supervisor, from its own thread; what `close` raises must not harm it."""
        with self._lock:
            self._valid = False
            closing, self._on_revoke = self._on_revoke, []
        for close in closing:
            try:
                close()
            except Exception as error:  # noqa: BLE001 - every link is closed, whatever another one's closing raises
                sys.excepthook(type(error), error, error.__traceback__)
