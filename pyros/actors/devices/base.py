"""What device actors have in common: a link that is kept up, a poll, a problem in words, and what the guard sees."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from pyros.actors.devices.guard import PERMIT_MAX_AGE_S, Seen, safety_s
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context
from pyros.clock import Timer
from pyros.hardware.errors import Braked, DeviceError, DeviceFault, RefusedByDevice
from pyros.hardware.interfaces import Device
from pyros.messages.devices import Link, PlcState, Poll
from pyros.messages.night import MonitorState, Permit, SafetyVerdict

RECONNECT_S = (1.0, 2.0, 5.0, 10.0, 30.0)
ANSWERED = (RefusedByDevice, DeviceFault, Braked)
"""Errors that do not speak against the link: the device said something, or was not asked."""


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
        self.complaint = ""
        """What the last command failed on, until one works: a poll that works says nothing against it."""
        self._failures = 0
        self._next_poll: Timer | None = None

    @property
    @abstractmethod
    def device(self) -> Device:
        """The driver."""

    @abstractmethod
    def read(self) -> None:
        """Ask the device how it is and remember it; may raise `DeviceError`."""

    def on_start(self) -> None:
        """Say in whose hands the device is, and begin to poll; a device that does not answer stops nobody."""
        self.lease.on_revoke(self.device.disconnect)
        if self.latest(type(self.state()), self.name) is None:
            self.show()  # else what the last incarnation said stands until the first poll, a moment from now
        self.poll_in(0.0)

    def on_stop(self) -> None:
        """Let the link go."""
        self.device.disconnect()

    def poll_in(self, seconds: float) -> None:
        """Poll after `seconds` instead of whenever the next poll was due."""
        if self._next_poll is not None:
            self._next_poll.cancel()
        self._next_poll = self.after(seconds, Poll())

    def on_poll(self, _: Poll) -> None:
        """Keep the link up and the state fresh; arm the next poll."""
        self.attempt(self.poll)
        self.show()
        self.poll_in(self.poll_s if self._failures == 0 else self._reconnect_s())

    def poll(self) -> None:
        """Connect if need be, and read."""
        if not self.device.connected:
            self.device.connect()
            self.connected()
        self.read()

    def connected(self) -> None:
        """Set up what has to be set after a connection; may raise `DeviceError`."""

    def attempt(self, action: Callable[[], None]) -> bool:
        """Do something with the device; turn its errors into `problem` and tell whether it worked."""
        try:
            action()
        except DeviceError as error:
            self.note(error)
            return False
        self.well()
        return True

    def note(self, error: DeviceError) -> None:
        """Remember what went wrong; only an error of the link speaks against the link."""
        if isinstance(error, Braked):
            return
        self.link = "up" if isinstance(error, ANSWERED) else "down"
        self.problem = str(error)
        self._failures += 1

    def complain(self, error: DeviceError) -> None:
        """Remember that a command failed, and look at the device soon."""
        self.note(error)
        self.complaint = str(error)
        self.poll_in(self._reconnect_s())

    def well(self) -> None:
        """Remember that the device has answered."""
        self.link, self.problem, self._failures = "up", "", 0

    @property
    def trouble(self) -> str:
        """What is wrong, in words; "" if nothing is."""
        return self.problem or self.complaint

    def _reconnect_s(self) -> float:
        wait_s = RECONNECT_S[min(max(self._failures, 1), len(RECONNECT_S)) - 1]
        return self.clock.at_least_real(wait_s, 0.5)

    def seen(self) -> Seen:
        """Gather what the last guard looks at."""
        nothing = (None, float("inf"))
        verdict, verdict_age_s = self.latest(SafetyVerdict) or nothing
        permit, permit_age_s = self.latest(Permit) or nothing
        plc, plc_age_s = self.latest(PlcState) or nothing
        monitor, _ = self.latest(MonitorState) or nothing
        return Seen(
            now=self.clock.now(),
            verdict=verdict,
            verdict_age_s=verdict_age_s,
            permit=permit,
            permit_age_s=permit_age_s,
            plc=plc,
            plc_age_s=plc_age_s,
            monitor=monitor,
            verdict_max_age_s=safety_s(self.clock, self.settings.safety.verdict_max_age_s),
            permit_max_age_s=safety_s(self.clock, PERMIT_MAX_AGE_S),
        )
