"""What systemd and the daemon say to each other: states by sd_notify(3), the watchdog's period by the environment."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

SENDS_WITHIN_S = 1.0


def notify(state: str) -> bool:
    r"""Tell the service manager, if there is one: a line per assignment, all in one datagram.

    Parameters
    ----------
    state
        ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, ``STATUS=`` and a text; several are separated by ``\n``.

    Returns
    -------
    bool
        Whether somebody listens: False without `$NOTIFY_SOCKET`.

    Raises
    ------
    OSError
        If the socket does not take it within a second, or its address is of a kind that is not spoken here.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.settimeout(SENDS_WITHIN_S)
        line.connect(_unix_address(address))
        line.send(state.encode())
    return True


def _unix_address(address: str) -> bytes:
    """Return the socket's address as the kernel takes it: a path, or `@` and an abstract name."""
    if len(address) < 2 or address[0] not in "/@":
        reason = "neither a path nor an abstract name, which are all that is spoken here"
        raise OSError(errno.EAFNOSUPPORT, f"NOTIFY_SOCKET is {address!r}: {reason}")
    name = os.fsencode(address)
    return b"\0" + name[1:] if name.startswith(b"@") else name


def watchdog_beat_s(environment: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Return how often `WATCHDOG=1` has to be said: half of the time after which systemd kills, as it advises.

    Parameters
    ----------
    environment
        With `WATCHDOG_USEC`, the time, and `WATCHDOG_PID`, whom it is meant for; children inherit both.
    pid
        Of the process that asks; this one by default.

    Returns
    -------
    float or None
        Seconds; None if nobody watches this process.
    """
    period, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (period.isascii() and period.isdigit() and int(period)):
        return None
    if watched and watched != str(os.getpid() if pid is None else pid):
        return None
    return int(period) / 2e6
