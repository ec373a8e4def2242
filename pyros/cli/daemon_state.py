"""The state directory: who holds it, and how often a daemon was started in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pyros.messages.store import Commit, Committed
from pyros.store.commit import apply
from pyros.store.database import Synchronous, open_store
from pyros.store.migrations import migrate
from pyros.store.repositories import setting_write, settings

LOCK = "daemon.lock"
BOOT = "boot"


class StateError(RuntimeError):
    """The state directory cannot be used; one line says why and what to do."""


def default_state() -> Path:
    """Return the state directory that is used when nobody names one; its gateway is where clients look first."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "pyros"


@contextmanager
def claimed(folder: Path) -> Generator[None]:
    """Hold the state directory, making it if need be, so that no second daemon runs on it.

    A record lock: unlike flock it is not inherited by the processes that the daemon forks, which may outlive it.

    Raises
    ------
    StateError
        If another daemon holds it, or it cannot be written.
    """
    lock = _open_lock(folder)
    try:
        if not _take(lock):
            raise StateError(
                f"state directory {folder} is in use by the daemon with pid {_pid(lock)}; stop that one first, or name "
                "another directory with --state"
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def holder(folder: Path) -> int | None:
    """Return the pid of the daemon that holds the state directory, or None."""
    if not (folder / LOCK).exists():
        return None
    lock = _open_lock(folder)
    try:
        return None if _take(lock) else _pid(lock)
    finally:
        os.close(lock)


def _open_lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"state directory {folder} cannot be written: {error.strerror}; name another with --state"
        ) from None


def _take(lock: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _pid(lock: int) -> int:
    text = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else 0


def count_boot(folder: Path, now: datetime, synchronous: Synchronous = "full") -> int:
    """Count this start of a daemon, durably, and return its number, from 1; brings the store's tables up to date.

    Raises
    ------
    StoreError, StateError
        If the store cannot be opened or written.
    """
    with open_store(folder, synchronous) as store:
        migrate(store)
        boot = int(settings(store).get(BOOT, 0)) + 1
        write = setting_write(store, BOOT, boot, now, "daemon")
        (reply,) = apply(store, [Commit(writes=[write], reason="boot")])
    if not isinstance(reply, Committed):
        raise StateError(f"state directory {folder}: the start could not be counted: {reply.reason}")
    return boot
