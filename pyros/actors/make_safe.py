"""Make safe: close the dome and park the telescope, on connections of its own, in the order that the dome demands.

Used by the supervisor when it gives up, by the daemon's last resort, and by `pyros close-dome`. It needs no actor and
holds no lease: closing is never fenced. A clamshell closes over a telescope in any position, so it is closed first, and
the mount braked and parked meanwhile. A roof that would touch the tube is told to close only when the tube is seen
parked; if it is not in time, the roof stays where it is and the answer says so. Nothing is moved while somebody has set
the local key or the emergency stop.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Literal, TypeVar

from pyros.actors.devices.dome import Closing, dome_position, hands_on, tube_parked
from pyros.clock import Clock
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import Mount, MountReading, PlcReading, StandingLease
from pyros.hardware.urls import open_mount, open_plc
from pyros.sky import coordinates

__all__ = ["CLOSED_WITHIN_S", "Closing", "make_safe"]

CLOSED_WITHIN_S = 60.0
"""How long whoever gives up waits for the closed switch: as long as a sound dome takes."""
ORDER_WITHIN_S = 15.0
"""How long to go on asking a PLC that does not take the order."""
PARK_AGAIN_S = 20.0
"""A mount that stands, unparked, is told again after so long."""
PARK_TRIES = 5
"""How often a mount is told that a closed dome does not wait for."""
LOOK_S = 1.0
_T = TypeVar("_T")
Due = Literal["nothing", "hands off", "close", "park"]


def due(reading: PlcReading | None, mount_says: bool | None, *, parks_first: bool) -> Due:
    """Tell what the dome needs now; `reading` is None while the PLC says nothing."""
    if dome_position(reading) == "closed":
        return "nothing"
    if hands_on(reading):
        return "hands off"
    return "close" if not parks_first or tube_parked(reading, mount_says) else "park"


def make_safe(
    closing: Closing,
    clock: Clock,
    cause: str,
    *,
    closed_within_s: float = 0.0,
    meanwhile: Callable[[], object] = lambda: None,
) -> str:
    """Close and park; return "" once the PLC has taken the order to close, else why it could not be given.

    Parameters
    ----------
    closed_within_s
        Go on until the closed switch makes, at most this long after the order; then "" means that the dome is closed.
    meanwhile
        Called at each look, once a second.

    Raises
    ------
    ValueError
        If the PLC's address is none.
    """
    return _Closer(closing, clock, cause).run(closed_within_s, meanwhile)


class _Closer:
    """One attempt: looks at PLC and mount each second and does what is due."""

    def __init__(self, closing: Closing, clock: Clock, cause: str) -> None:
        self._closing = closing
        self._clock = clock
        self._plc = open_plc(closing.plc_url, clock, StandingLease(), device=f"plc (make safe: {cause})")
        self._mount_problem = ""
        self._mount = self._open_mount(cause) if closing.telescope_url else None
        self._problem = ""
        self._closed = False
        self._ordered_s: float | None = None
        self._park_told_s = -inf
        self._park_tries = 0
        self._mount_done = self._mount is None
        """Whether the mount need not be looked at: there is none, or a clamshell does not wait for it any more."""

    def _open_mount(self, cause: str) -> Mount | None:
        try:
            return open_mount(
                self._closing.telescope_url,
                self._clock,
                StandingLease(),
                to_apparent=coordinates.to_apparent,
                to_icrs=coordinates.to_icrs,
                device=f"telescope (make safe: {cause})",
            )
        except ValueError as error:  # a telescope's address that is none must not keep the dome open
            self._mount_problem = str(error)
            return None

    def run(self, closed_within_s: float, meanwhile: Callable[[], object]) -> str:
        """Look and act until it is over; return what is wrong, or ""."""
        began_s = self._clock.monotonic_s()
        try:
            while True:
                self._look()
                verdict = self._verdict(began_s, closed_within_s)
                if verdict is not None:
                    return verdict
                meanwhile()
                self._clock.sleep(self._clock.at_least_real(LOOK_S, 0.1))
        finally:
            self._plc.disconnect()
            if self._mount is not None:
                self._mount.disconnect()

    def _look(self) -> None:
        self._problem = ""
        reading = self._attempt(self._read_plc)
        mount = None if self._mount_done else self._attempt_mount(self._read_mount)
        what = due(reading, None if mount is None else mount.at_park, parks_first=self._closing.parks_first)
        self._closed = what == "nothing"
        if what == "hands off":
            self._problem = f"nothing is moved from here: {hands_on(reading)}"
            return
        if what == "close":
            taken = (reading is not None and reading.closing) or self._attempt(self._order)
            self._ordered_s = self._clock.monotonic_s() if taken and self._ordered_s is None else self._ordered_s
        if what == "park":
            self._park_before(mount)
        elif not self._closing.parks_first and not self._mount_done:
            self._park_meanwhile(mount)

    def _read_plc(self) -> PlcReading:
        self._plc.connect()
        return self._plc.poll()

    def _order(self) -> bool:
        self._plc.close_dome()
        return True

    def _attempt(self, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - the last resort goes on, whatever breaks
            self._problem = _words(error)
            return None

    # -- the mount ---------------------------------------------------------------------------------------------------

    def _read_mount(self) -> MountReading | None:
        if self._mount is None:
            return None
        if not self._mount.connected:
            self._mount.connect()
        return self._mount.state()

    def _attempt_mount(self, action: Callable[[], _T]) -> _T | None:
        try:
            result = action()
        except Exception as error:  # noqa: BLE001 - no fault of the mount's may keep a dome open
            self._mount_problem = _words(error)
            return None
        self._mount_problem = ""
        return result

    def _park_before(self, seen: MountReading | None) -> None:
        """Park what the roof waits for; a mount that stands is told again, one on its way is left alone."""
        told_ago_s = self._clock.monotonic_s() - self._park_told_s
        on_its_way = told_ago_s < inf and seen is not None and seen.slewing
        if not on_its_way and told_ago_s >= self._clock.at_least_real(PARK_AGAIN_S, 5.0) and self._told_to_park():
            self._park_told_s = self._clock.monotonic_s()

    def _park_meanwhile(self, seen: MountReading | None) -> None:
        """Park what the dome does not wait for: until it has taken the order, a few times at most."""
        self._park_tries += 1
        parked = seen is not None and seen.at_park is True
        self._mount_done = parked or self._told_to_park() or self._park_tries >= PARK_TRIES

    def _told_to_park(self) -> bool:
        mount = self._mount
        return mount is not None and self._attempt_mount(lambda: _brake_and_park(mount)) is True

    # -- the end -----------------------------------------------------------------------------------------------------

    def _verdict(self, began_s: float, closed_within_s: float) -> str | None:
        """Return the answer, or None to go on."""
        now_s = self._clock.monotonic_s()
        mount_done = self._mount_done or self._closing.parks_first
        if self._closed:
            return "" if mount_done else None  # under a closed roof nothing is moved
        if self._ordered_s is None:
            within_s = self._closing.park_within_s if self._closing.parks_first else ORDER_WITHIN_S
            late = now_s - began_s > self._clock.at_least_real(within_s, 5.0)
            return self._not_ordered() if late else None
        if closed_within_s <= 0.0:
            return "" if mount_done else None
        late = now_s - self._ordered_s > self._clock.at_least_real(closed_within_s, 5.0)
        return self._problem_then(f"the closed switch has not made in {closed_within_s:g} s") if late else None

    def _not_ordered(self) -> str:
        if not self._closing.parks_first:
            return self._problem or "the PLC has not taken the order to close"
        waited = f"the telescope was not seen parked in {self._closing.park_within_s:g} s"
        detail = "; ".join(words for words in (self._problem, self._mount_problem) if words)
        return f"{waited}, and the roof was not driven into the tube" + (f": {detail}" if detail else "")

    def _problem_then(self, words: str) -> str:
        return f"{words}; {self._problem}" if self._problem else words


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"


def _brake_and_park(mount: Mount) -> bool:
    """Brake and park over one connection, so that the brake cannot overtake the parking; else brake at least."""
    try:
        if not mount.connected:
            mount.connect()
    finally:
        mount.brake()
    mount.park()
    return True
