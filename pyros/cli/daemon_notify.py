"""What systemd wants to hear: one datagram per state to `$NOTIFY_SOCKET`, as in sd_notify(3); nothing without it."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Tell systemd, if it started us: READY=1, WATCHDOG=1, STOPPING=1.

    Raises
    ------
    OSError
        If systemd's socket does not take it.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.settimeout(1.0)
        line.connect("\0" + address[1:] if address.startswith("@") else address)
        line.send(state.encode())
