"""Make safe: close the dome on a connection of its own, needing nothing but the PLC's address.

Used by the supervisor when it gives up, and by `pyros close-dome`. It holds no lease: closing is never fenced.
"""

from __future__ import annotations

from pyros.clock import Clock
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import StandingLease
from pyros.hardware.urls import open_plc

TRIES = 5
BETWEEN_S = 2.0


def make_safe(plc_url: str, clock: Clock, cause: str) -> str:
    """Order the PLC to close; return "" once it has taken the order, else what it failed on."""
    plc = open_plc(plc_url, clock, StandingLease(), device=f"plc (make safe: {cause})")
    problem = ""
    for attempt in range(TRIES):
        try:
            plc.close_dome()
        except DeviceError as error:
            problem = str(error)
            if attempt + 1 < TRIES:
                clock.sleep(BETWEEN_S)
        else:
            problem = ""
            break
    plc.disconnect()
    return problem
