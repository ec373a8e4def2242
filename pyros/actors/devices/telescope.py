"""The telescope: the mount's link, slewing and parking, and the last guard before any motion.

Takes `Slew` (answered `Slewed` when settled), `Park`, `Halt`, `Poll`; emits `TelescopeState`. A halt ends the procedure;
the motion itself is stopped by `telescope.brake`. When it dies its link is closed and the next incarnation asks the
mount; nothing is moved again by itself.
"""

from __future__ import annotations

from pyros.actors.devices import guard
from pyros.actors.devices.base import DeviceActor
from pyros.actors.devices.brake import BrakeLine
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context, Procedure, Sleep
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import MountReading
from pyros.hardware.urls import open_mount
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import Halt, Park, Slew, Slewed, TelescopeState
from pyros.sky import coordinates

LOOK_S = 0.5
LONGEST_MOTION_S = 180.0


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
    def device(self) -> object:
        """The mount's driver."""
        return self._mount

    def read(self) -> None:
        """See `DeviceActor.read`."""
        self._reading = self._mount.state()

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
            if self._reading is None or self._reading.at_park is not False:
                self._mount.unpark()
            self._mount.slew_to_coordinates_async(message.ra_deg, message.dec_deg)
            yield from self._wait_for_rest(lambda reading: not reading.slewing)
        except DeviceError as error:
            self.link, self.problem = "down", str(error)
            return Failed(reason=str(error))
        finally:
            self._doing = ""
            self.show()
        reading = self._reading
        assert reading is not None  # noqa: S101 - _wait_for_rest has just read it
        off_deg = coordinates.separation_deg(message.ra_deg, message.dec_deg, reading.ra_deg, reading.dec_deg)
        if off_deg > 0.1:
            return Failed(reason=f"{self.name} says that it has arrived, but {off_deg:.2f}° from the target")
        return Slewed(
            ra_deg=reading.ra_deg, dec_deg=reading.dec_deg, commanded_at=commanded_at, settled_at=self.clock.now()
        )

    def on_park(self, message: Park) -> Procedure:
        """End whatever runs and go to the park position."""
        self.abort(f"parking: {message.cause}")
        return self._park()

    def _park(self) -> Procedure:
        self._doing = "parking"
        try:
            self._mount.park()
            yield from self._wait_for_rest(lambda reading: reading.at_park is True)
        except DeviceError as error:
            self.link, self.problem = "down", str(error)
            return Failed(reason=str(error))
        finally:
            self._doing = ""
            self.show()
        return Done()

    def _wait_for_rest(self, at_rest: object) -> Procedure:
        deadline_s = self.clock.monotonic_s() + self.clock.at_least_real(LONGEST_MOTION_S, 10.0)
        while True:
            yield Sleep(self.clock.at_least_real(LOOK_S, 0.05))
            self.poll()
            self.link, self.problem = "up", ""
            self.show()
            if self._reading is not None and at_rest(self._reading):  # type: ignore[operator]
                return None
            if self.clock.monotonic_s() > deadline_s:
                raise DeviceError(self.name, self._doing, f"no end of the motion in {LONGEST_MOTION_S:g} s")

    def on_halt(self, message: Halt) -> None:
        """Give up what runs; the brake stops the motion."""
        self.abort(message.cause)
        self.attempt(self.poll)
        self.show()

    def state(self) -> TelescopeState:
        """Return what the mount said last."""
        reading = self._reading
        if reading is None:
            return TelescopeState(link=self.link, doing=self._doing, problem=self.problem)
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
            problem=self.problem or reading.problem or "",
            read_at=reading.read_at,
        )
