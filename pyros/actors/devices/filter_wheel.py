"""A filter wheel: its link, and turning a named filter into the beam.

Takes `SetFilter` (answered `FilterSet` when the wheel says that it is there), `Halt`, `Poll`; emits `FilterWheelState`.
When it dies the next incarnation asks the wheel where it stands.
"""

from __future__ import annotations

from pyros.actors.devices.base import DeviceActor
from pyros.actors.devices.brake import BrakeLine
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context, Procedure, Sleep
from pyros.config import FilterWheel as FilterWheelSettings
from pyros.hardware.errors import DeviceError, DeviceFault
from pyros.hardware.interfaces import FilterWheel as FilterWheelDriver
from pyros.hardware.interfaces import FilterWheelReading
from pyros.hardware.urls import open_filter_wheel
from pyros.messages.base import Failed, Refused
from pyros.messages.devices import FilterSet, FilterWheelState, Halt, SetFilter

LOOK_S = 0.5
LONGEST_TURN_S = 40.0


class FilterWheel(DeviceActor):
    """See the module's docstring."""

    def __init__(
        self, context: Context, environment: Environment, line: BrakeLine, settings: FilterWheelSettings
    ) -> None:
        super().__init__(context, environment)
        del line  # a wheel has nothing to stop
        self._filters = settings.filters
        self._wheel = open_filter_wheel(
            settings.url, self.clock, self.lease, device=self.name, journal=environment.device_journal
        )
        self._reading: FilterWheelReading | None = None

    @property
    def device(self) -> FilterWheelDriver:
        """The wheel's driver."""
        return self._wheel

    def read(self) -> None:
        """See `DeviceActor.read`."""
        self._reading = self._wheel.state()

    def on_set_filter(self, message: SetFilter) -> Procedure | Refused:
        """Turn to a filter by its name."""
        if message.filter not in self._filters:
            return Refused(reason=f"{self.name} has no filter {message.filter!r}; it has {', '.join(self._filters)}")
        return self._turn(message.filter, self._filters.index(message.filter) + 1)

    def _turn(self, filter_name: str, position: int) -> Procedure:
        try:
            yield from self._turn_to(position)
            self.complaint = ""
        except DeviceError as error:
            self.complain(error)
            return Failed(reason=str(error))
        except ValueError as error:
            return Refused(reason=str(error))
        finally:
            self.show()
        return FilterSet(filter=filter_name)

    def _turn_to(self, position: int) -> Procedure:
        deadline_s = self.clock.monotonic_s() + self.clock.at_least_real(LONGEST_TURN_S, 10.0)
        if not self._wheel.connected:
            self._wheel.connect()
        self._wheel.set_position(position)
        while True:
            self.read()
            self.well()
            if self._reading is not None and self._reading.position == position:
                return None
            if self.clock.monotonic_s() > deadline_s:
                raise DeviceFault(self.name, "turn", f"position {position} is not reached in {LONGEST_TURN_S:g} s")
            yield Sleep(self.clock.at_least_real(LOOK_S, 0.05))

    def on_halt(self, message: Halt) -> None:
        """Give up waiting; the wheel ends its turn by itself."""
        self.abort(message.cause)
        self.show()

    def state(self) -> FilterWheelState:
        """Return what the wheel said last."""
        reading = self._reading
        position = reading.position if reading is not None else None
        return FilterWheelState(
            link=self.link,
            filter=self._filters[position - 1] if position and position <= len(self._filters) else "",
            filters=list(self._filters),
            moving=reading.moving if reading is not None else False,
            problem=self.trouble,
            read_at=reading.read_at if reading is not None else None,
        )
