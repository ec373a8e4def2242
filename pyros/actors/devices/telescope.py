"""The telescope: the mount's link, slewing and parking, and the last guard before any motion.

Takes `Slew` (answered `Slewed` when settled), `Park`, `Halt`, `Poll`; emits `TelescopeState`. A halt ends a slew's
procedure, not a parking, which makes safer; the motion itself is stopped by `telescope.brake`. When it dies its link is
closed and the next incarnation asks the mount; nothing is moved again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from pyros.actors.devices import guard
from pyros.actors.devices.base import DeviceActor
from pyros.actors.devices.brake import BrakeLine
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context, Procedure, Sleep
from pyros.hardware.errors import Braked, DeviceError, DeviceFault
from pyros.hardware.interfaces import Mount, MountReading
from pyros.hardware.urls import open_mount
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import Halt, Park, Slew, Slewed, TelescopeState
from pyros.sky import coordinates

LOOK_S = 0.5
LONGEST_MOTION_S = 180.0
STANDS_LOOKS = 4
"""Looks in a row at a mount that stands, unparked, after which it is not parking any more."""
ARRIVED_DEG = 0.1
PARKING = "parking"
Look = Generator[Sleep, Any, MountReading]
"""A part of a procedure that waits, looking at the mount, and returns the last reading."""


class Telescope(DeviceActor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment, line: BrakeLine) -> None:
        super().__init__(context, environment)
        self._mount = open_mount(
            environment.settings.devices.telescope.url,
            self.clock,
            self.lease,
            to_apparent=coordinates.to_apparent,
            to_icrs=coordinates.to_icrs,
            device=self.name,
            journal=environment.device_journal,
        )
        line.fit(self._mount.brake)
        self._reading: MountReading | None = None
        self._doing = ""

    @property
    def device(self) -> Mount:
        """The mount's driver."""
        return self._mount

    def read(self) -> None:
        """See `DeviceActor.read`."""
        self._reading = self._mount.state()

    # -- slewing -----------------------------------------------------------------------------------------------------

    def on_slew(self, message: Slew) -> Procedure | Refused:
        """Check everything once more, then begin to slew."""
        refusal = guard.refuse_slew(
            self.seen(), self.settings, self.environment.site, message.sequence_id, message.ra_deg, message.dec_deg
        )
        if refusal is not None:
            return Refused(reason=f"slew refused: {refusal}")
        return self._slew(message)

    def _slew(self, message: Slew) -> Procedure:
        commanded_at = self.clock.now()
        self._doing = f"slewing for sequence {message.sequence_id}"
        try:
            reading = yield from self._slew_to(message.ra_deg, message.dec_deg)
            self.complaint = ""
        except Braked as error:
            return Refused(reason=f"aborted: {error}")
        except DeviceError as error:
            self.complain(error)
            return Failed(reason=str(error))
        finally:
            self._doing = ""
            self.show()
        return Slewed(
            ra_deg=reading.ra_deg, dec_deg=reading.dec_deg, commanded_at=commanded_at, settled_at=self.clock.now()
        )

    def _slew_to(self, ra_deg: float, dec_deg: float) -> Look:
        self._connect()
        if self._reading is None or self._reading.at_park is not False:
            self._mount.unpark()
        self._mount.slew_to_coordinates_async(ra_deg, dec_deg)
        reading = yield from self._watch(lambda now: not now.slewing)
        off_deg = coordinates.separation_deg(ra_deg, dec_deg, reading.ra_deg, reading.dec_deg)
        if off_deg > ARRIVED_DEG:
            raise DeviceFault(
                self.name, "slew", f"it says that it has arrived, but stands {off_deg:.2f}° from the target"
            )
        return reading

    # -- parking -----------------------------------------------------------------------------------------------------

    def on_park(self, message: Park) -> Procedure | Refused | None:
        """End whatever else runs and go to the park position; a parking under way goes on."""
        refusal = guard.refuse_park(self.seen())
        if refusal is not None:
            return Refused(reason=f"parking refused: {refusal}")
        if self._doing == PARKING:
            return None
        self.abort(f"parking: {message.cause}")
        return self._park()

    def _park(self) -> Procedure:
        self._doing = PARKING
        self.show()
        try:
            self._connect()
            self._mount.park()
            yield from self._watch(lambda now: now.at_park is True, stands_means_failed=True)
            self.complaint = ""
        except DeviceError as error:
            self.complain(error)
            return Failed(reason=str(error))
        finally:
            self._doing = ""
            self.show()
        return Done()

    # -- both --------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if not self._mount.connected:
            self.poll()

    def _watch(self, there: Callable[[MountReading], bool], *, stands_means_failed: bool = False) -> Look:
        """Look at the mount until it is there; returns the last reading."""
        deadline_s = self.clock.monotonic_s() + self.clock.at_least_real(LONGEST_MOTION_S, 10.0)
        stands = 0
        while True:
            yield Sleep(self.clock.at_least_real(LOOK_S, 0.05))
            self.poll()
            self.well()
            self.show()
            reading = self._reading
            assert reading is not None  # noqa: S101 - poll has just read it
            if there(reading):
                return reading
            stands = 0 if reading.slewing else stands + 1
            if stands_means_failed and stands >= STANDS_LOOKS:
                raise DeviceFault(self.name, self._doing, "the mount stands and is not parked")
            if self.clock.monotonic_s() > deadline_s:
                raise DeviceFault(self.name, self._doing, f"no end of the motion in {LONGEST_MOTION_S:g} s")

    def on_halt(self, message: Halt) -> None:
        """Give up a slew; the brake stops the motion, and the next look shows it."""
        if self._doing != PARKING:
            self.abort(message.cause)
        self.poll_in(self.clock.at_least_real(LOOK_S, 0.05))
        self.show()

    def state(self) -> TelescopeState:
        """Return what the mount said last."""
        reading = self._reading
        if reading is None:
            return TelescopeState(link=self.link, doing=self._doing, problem=self.trouble)
        return TelescopeState(
            link=self.link,
            ra_deg=reading.ra_deg,
            dec_deg=reading.dec_deg,
            altitude_deg=reading.altitude_deg,
            azimuth_deg=reading.azimuth_deg,
            slewing=reading.slewing,
            tracking=reading.tracking,
            parked=reading.at_park,
            doing=self._doing,
            problem=self.trouble or reading.problem or "",
            read_at=reading.read_at,
        )
