"""The brake: a device's stop on its own path, so that it never waits behind a stuck read.

Owns nothing but the way to pull; takes `Brake`; emits nothing. When it dies it is restarted with the same line.
"""

from __future__ import annotations

from collections.abc import Callable

from pyros.actors.kernel import Actor, Context
from pyros.hardware.errors import DeviceError
from pyros.messages.base import Done, Failed
from pyros.messages.devices import Brake, BrakeState


class BrakeLine:
    """Joins a device's brake actor with the driver of the device actor's present incarnation."""

    def __init__(self) -> None:
        self._brake: Callable[[], None] | None = None

    def fit(self, brake: Callable[[], None]) -> None:
        """Called by each incarnation of the device's actor with its driver's brake."""
        self._brake = brake

    def pull(self) -> bool:
        """Brake, if there is a driver; may raise `DeviceError`."""
        if self._brake is None:
            return False
        self._brake()
        return True


class BrakeActor(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, line: BrakeLine) -> None:
        super().__init__(context)
        self._line = line
        self._pulled = 0

    def on_brake(self, message: Brake) -> Done | Failed:
        """Write the stop to the wire; I/O of at most a second, in this actor's own thread."""
        del message
        try:
            if not self._line.pull():
                return Failed(reason=f"{self.name}: there is no device to brake yet")
        except DeviceError as error:
            return Failed(reason=str(error))
        self._pulled += 1
        return Done()

    def state(self) -> BrakeState:
        """Return how often it was pulled."""
        return BrakeState(pulled=self._pulled)
