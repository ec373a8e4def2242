"""The PLC: dome, interlocks, heartbeat. The only actor that may ask for opening.

Takes `Poll` (each second, always), `Beat`, `OpenDome`, `CloseDome`, `ResetLatch`; emits `PlcState` at every poll and
`DomeMoved`. Its reflex: rain contact, or no fresh verdict while the dome is not closed, and it closes at once. Closing
is a desired state, asked for at every poll until the closed switch makes; opening is asked once and never repeated. The
heartbeat is written only after a fresh `Beat`, that is after a verdict that went through majordome. When it dies the
PLC's own dead-man has the last word.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pyros.actors.devices import guard
from pyros.actors.devices.base import DeviceActor
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import PlcReading
from pyros.hardware.urls import open_plc
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import (
    Beat,
    CloseDome,
    DomeMoved,
    DomePosition,
    OpenDome,
    PlcState,
    Poll,
    ResetLatch,
)
from pyros.messages.night import SafetyVerdict

BEAT_EVERY_S = 5.0


class PlcActor(DeviceActor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context, environment)
        self._plc = open_plc(
            environment.settings.devices.plc.url, self.clock, self.lease, device=self.name,
            journal=environment.device_journal,
        )
        self._reading: PlcReading | None = None
        self._dome: DomePosition = "unknown"
        self._desired: Literal["closed", "open", "as is"] = "as is"
        self._cause = "start"
        self._beat: Beat | None = None
        self._written_count = -1
        self._written_at_s = float("-inf")
        self._heartbeat = 0

    @property
    def device(self) -> object:
        """The PLC's driver."""
        return self._plc

    def read(self) -> None:
        """See `DeviceActor.read`."""
        self._reading = self._plc.poll()

    def connected(self) -> None:
        """Set the dead-man's time."""
        self._plc.set_deadman(self.settings.safety.deadman_s)

    # -- the poll ----------------------------------------------------------------------------------------------------

    def on_poll(self, _: Poll) -> None:
        """Read, react, feed the heartbeat if the loop has decided, and tell everyone."""
        self.after(self.clock.at_least_real(self.settings.devices.plc.poll_s, 0.2), Poll())
        if self.attempt(self.poll):
            self._note_dome()
            self._reflex()
            self.attempt(self._keep_closing)
            self.attempt(self._feed_deadman)
        self.publish(self.state())

    def _note_dome(self) -> None:
        before, self._dome = self._dome, dome_position(self._reading)
        if before != self._dome:
            self.publish(DomeMoved(before=before, after=self._dome, cause=self._cause))

    def _reflex(self) -> None:
        if self._dome == "closed" or self._desired == "closed":
            return
        reading, verdict = self._reading, self.latest(SafetyVerdict)
        age_s = verdict[1] if verdict else self.clock.monotonic_s()
        if reading is not None and (reading.rain_contact is not False or reading.rain is not False):
            self._want_closed("rain contact" if reading.rain_contact or reading.rain else "rain contact unknown")
        elif age_s > self.clock.at_least_real(self.settings.safety.verdict_max_age_s, 5.0):
            self._want_closed(f"no safety verdict for {age_s:.1f} s")

    def _want_closed(self, cause: str) -> None:
        self._desired, self._cause = "closed", cause

    def _keep_closing(self) -> None:
        if self._desired == "closed" and self._dome not in {"closed", "closing"}:
            self._plc.close_dome()

    def _feed_deadman(self) -> None:
        beat, now_s = self._beat, self.clock.monotonic_s()
        if beat is None or beat.count == self._written_count or now_s - self._written_at_s < BEAT_EVERY_S:
            return
        freshest = self.clock.now() - timedelta(
            seconds=self.clock.at_least_real(self.settings.safety.verdict_max_age_s, 5.0)
        )
        if beat.verdict_at < freshest:
            return
        self._heartbeat = (self._heartbeat + 1) % 65_536
        self._plc.heartbeat(self._heartbeat)
        self._written_count, self._written_at_s = beat.count, now_s

    # -- commands ----------------------------------------------------------------------------------------------------

    def on_beat(self, message: Beat) -> None:
        """Note that the loop has decided; the next poll tells the PLC."""
        self._beat = message

    def on_open_dome(self, message: OpenDome) -> Done | Refused | Failed:
        """Check everything once more against the hardware as it is now, then pulse "open" once."""
        try:
            self.poll()
        except DeviceError as error:
            self.link, self.problem = "down", str(error)
            return Failed(reason=f"opening refused: {error}")
        self._note_dome()
        seen = self.seen()
        refusal = guard.refuse_open(guard.with_plc(seen, self.state()), self.settings)
        if refusal is not None:
            return Refused(reason=f"opening refused: {refusal}")
        try:
            self._plc.open_dome()
        except DeviceError as error:
            return Failed(reason=str(error))
        self._desired, self._cause = "open", message.cause
        return Done()

    def on_close_dome(self, message: CloseDome) -> Done | Failed:
        """Close now, and go on asking at every poll."""
        self._want_closed(message.cause)
        if self._dome not in {"closed", "closing"} and not self.attempt(self._plc.close_dome):
            return Failed(reason=f"{self.problem}; asked again at every poll")
        return Done()

    def on_reset_latch(self, message: ResetLatch) -> Done | Failed:
        """Clear the latch, on a named operator's word."""
        del message
        return Done() if self.attempt(self._plc.reset_latch) else Failed(reason=self.problem)

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> PlcState:
        """Return what the PLC said last."""
        reading = self._reading
        if reading is None or self.link == "down":
            return PlcState(link="down", desired=self._desired, problem=self.problem)
        return PlcState(
            link=self.link,
            dome=dome_position(reading),
            dome_open_fraction=reading.dome_position,
            rain=either(reading.rain, reading.rain_contact),
            wind_m_s=reading.wind_ms,
            gust_m_s=reading.gust_ms,
            humidity_percent=reading.humidity_percent,
            temperature_c=reading.temperature_c,
            dew_point_c=reading.dew_point_c,
            pressure_hpa=reading.pressure_hpa,
            sky_minus_ambient_c=reading.sky_minus_ambient_c,
            sensor_age_s=reading.sensor_age_s,
            life=reading.life_counter,
            mains=reading.mains_ok,
            ups_percent=reading.ups_percent,
            local_key=reading.local_key,
            emergency_stop=reading.emergency_stop,
            latched=list(reading.latch_reasons or ()) or (["unknown"] if reading.latch_set is not False else []),
            desired=self._desired,
            problem="; ".join(reading.problems),
            read_at=reading.read_at,
        )


def either(one: bool | None, other: bool | None) -> bool | None:
    """Tell whether one of two witnesses says yes; no only when both say no."""
    if one or other:
        return True
    return None if one is None or other is None else False


def dome_position(reading: PlcReading | None) -> DomePosition:
    """Tell where the dome is from its limit switches and motors alone; contradictions are "unknown"."""
    if reading is None or reading.closed_switch is None or reading.open_switch is None:
        return "unknown"
    if reading.closed_switch and reading.open_switch:
        return "unknown"
    if reading.opening:
        return "opening"
    if reading.closing:
        return "closing"
    if reading.closed_switch:
        return "closed"
    return "open" if reading.open_switch else "between"
