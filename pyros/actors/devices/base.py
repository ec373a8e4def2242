"""What the device actors have in common: a link that is kept up, a poll, a problem in words, and what the guard sees."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from pyros.actors.devices.guard import Seen
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context
from pyros.hardware.errors import DeviceError
from pyros.messages.devices import Link, PlcState, Poll
from pyros.messages.night import MonitorState, Permit, SafetyVerdict

RECONNECT_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class DeviceActor(Actor):
    """Owns one device link. It dies without losing anything: the next incarnation asks the device how it is."""

    poll_s = 30.0
    """Clock seconds between polls of a device at rest; a procedure polls on its own while something moves."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self.link: Link = "down"
        self.problem = "not connected yet"
        self._failures = 0

    @property
    @abstractmethod
    def device(self) -> Any:
        """The driver."""

    @abstractmethod
    def read(self) -> None:
        """Ask the device how it is and remember it; may raise `DeviceError`."""

    def on_start(self) -> None:
        """Say in whose hands the device is, and begin to poll; a device that does not answer stops nobody."""
        self.lease.on_revoke(self.device.disconnect)
        self.show()
        self.after(0.0, Poll())

    def on_stop(self) -> None:
        """Let the link go."""
        self.device.disconnect()

    def on_poll(self, _: Poll) -> None:
        """Keep the link up and the state fresh; arm the next poll."""
        up = self.attempt(self.poll)
        self.show()
        self.after(self.poll_s if up else self._reconnect_s(), Poll())

    def poll(self) -> None:
        """Connect if need be, and read."""
        if not self.device.connected:
            self.device.connect()
            self.connected()
        self.read()

    def connected(self) -> None:
        """Set up what has to be set after a connection; may raise `DeviceError`."""

    def attempt(self, action: Any) -> bool:
        """Do something with the device; turn its errors into `problem` and tell whether it worked."""
        try:
            action()
        except DeviceError as error:
            self.link, self.problem = "down", str(error)
            self._failures += 1
            return False
        self.link, self.problem, self._failures = "up", "", 0
        return True

    def _reconnect_s(self) -> float:
        wait_s = RECONNECT_S[min(self._failures, len(RECONNECT_S)) - 1]
        return self.clock.at_least_real(wait_s, 0.5)

    def seen(self) -> Seen:
        """Gather what the last guard looks at."""
        verdict = self.latest(SafetyVerdict)
        permit = self.latest(Permit)
        plc = self.latest(PlcState)
        monitor = self.latest(MonitorState)
        return Seen(
            now=self.clock.now(),
            verdict=verdict[0] if verdict else None,
            verdict_age_s=verdict[1] if verdict else float("inf"),
            permit=permit[0] if permit else None,
            permit_age_s=permit[1] if permit else float("inf"),
            plc=plc[0] if plc else None,
            monitor=monitor[0] if monitor else None,
            verdict_max_age_s=self.clock.at_least_real(self.settings.safety.verdict_max_age_s, 5.0),
            permit_max_age_s=self.clock.at_least_real(10.0, 5.0),
        )
