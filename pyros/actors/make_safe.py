"""Make safe: close the dome on a connection of its own, needing nothing but the PLC's address; then stop and park.

Used by the supervisor when it gives up, and by `pyros close-dome`. It holds no lease: closing is never fenced. The dome
is a clamshell, which closes over a telescope in any position, so it is closed first; the mount is braked and parked
after that, and only if its address is given.
"""

from __future__ import annotations

from collections.abc import Callable

from pyros.clock import Clock
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import Mount, Plc, StandingLease
from pyros.hardware.urls import open_mount, open_plc
from pyros.sky import coordinates

TRIES = 5
BETWEEN_S = 2.0
LOOK_S = 1.0


def make_safe(plc_url: str, clock: Clock, cause: str, *, telescope_url: str = "", closed_within_s: float = 0.0) -> str:
    """Order the PLC to close; return "" once it has taken the order, else what it failed on.

    Parameters
    ----------
    telescope_url
        The mount to brake and park afterwards; what fails there is not returned, for the dome is what counts.
    closed_within_s
        Go on asking until the closed switch makes, at most this long; then "" means that the dome is closed.
    """
    plc = open_plc(plc_url, clock, StandingLease(), device=f"plc (make safe: {cause})")
    try:
        problem = _persist(plc.close_dome, clock)
        if telescope_url:
            _park(telescope_url, clock)
        return _see_closed(plc, clock, closed_within_s) if closed_within_s > 0 else problem
    finally:
        plc.disconnect()


def _persist(action: Callable[[], None], clock: Clock) -> str:
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            clock.sleep(clock.at_least_real(BETWEEN_S, BETWEEN_S))
        try:
            action()
        except DeviceError as error:
            problem = str(error)
        else:
            return ""
    return problem


def _see_closed(plc: Plc, clock: Clock, within_s: float) -> str:
    """Ask again at each look until the closed switch makes."""
    deadline_s = clock.monotonic_s() + within_s
    problem = ""
    while True:
        try:
            plc.connect()
            reading = plc.poll()
            if reading.closed_switch and not reading.open_switch:
                return ""
            problem = f"the closed switch has not made in {within_s:g} s"
            if not reading.closing:
                plc.close_dome()
        except DeviceError as error:
            problem = str(error)
        if clock.monotonic_s() > deadline_s:
            return problem
        clock.sleep(clock.at_least_real(LOOK_S, 0.1))


def _park(telescope_url: str, clock: Clock) -> None:
    mount = open_mount(
        telescope_url,
        clock,
        StandingLease(),
        to_apparent=coordinates.to_apparent,
        to_icrs=coordinates.to_icrs,
        device="telescope (make safe)",
    )

    def brake_and_park() -> None:
        _brake_and_park(mount)

    _persist(brake_and_park, clock)
    mount.disconnect()


def _brake_and_park(mount: Mount) -> None:
    """Brake and park over one connection, so that the brake cannot overtake the parking; else brake at least."""
    try:
        mount.connect()
    finally:
        mount.brake()
    mount.park()
