"""The PLC: dome, interlocks, heartbeat. The only actor that may ask for opening.

Takes `Poll` (each second, always), `Beat`, `OpenDome`, `CloseDome`, `ResetLatch`; emits `PlcState` at every poll,
`DomeMoved` and `DomeCannotClose`. Its reflex: rain contact, or no fresh verdict while the dome is not closed, and it
closes at once. Closing is a desired state, asked for at every poll until the closed switch makes, and from then on
whenever the switch opens again; a roof that would touch the tube is asked as soon as that is seen parked (majordome
parks), and not before. Opening is asked once and never repeated. The heartbeat is written only after a fresh `Beat`
(see `heartbeat`) and is withheld from a dome that does not obey. When it dies the PLC's own dead-man has the last word.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from pyros.actors.devices import guard
from pyros.actors.devices.base import DeviceActor
from pyros.actors.devices.dome import dome_position, either, hands_on, latched_reasons, tube_parked
from pyros.actors.devices.guard import safety_s
from pyros.actors.devices.heartbeat import EVERY_S, Heartbeat, Postmark
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import Plc, PlcReading
from pyros.hardware.urls import open_plc
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import (
    Beat,
    CloseDome,
    DomeCannotClose,
    DomeMoved,
    DomePosition,
    OpenDome,
    PlcState,
    Poll,
    ResetLatch,
    TelescopeState,
)
from pyros.messages.night import SafetyVerdict

DEADMAN_LONGEST_S = 120
POLLS_WITHOUT_LIFE = 3
"""A PLC whose life counter stands still for this many polls answers, but does not work."""
OBEYS_WITHIN_S = 10.0
"""A dome that neither closes nor is closed so long after the command is left to the dead-man."""
CLOSES_WITHIN_S = 120.0
ASK_MOUNT_EVERY_S = 10.0
"""A mount whose word a roof waits for is asked so often: only what it says after the order to close counts."""


class PlcActor(DeviceActor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context, environment)
        self._plc = open_plc(
            environment.settings.devices.plc.url,
            self.clock,
            self.lease,
            device=self.name,
            journal=environment.device_journal,
        )
        self._max_age_s = safety_s(self.clock, self.settings.safety.verdict_max_age_s)
        self._started_s = self.clock.monotonic_s()
        self._reading: PlcReading | None = None
        self._dome: DomePosition = "unknown"
        self._desired: Literal["closed", "open", "as is"] = "as is"
        self._cause = "start"
        self._wanted_closed_s = 0.0
        """Since when it shall be closed and is not."""
        self._obeyed_s = 0.0
        """When it was last seen closing or closed, or was first told to."""
        self._kept_s = 0.0
        """When it was last kept from closing by people or by the tube."""
        self._alarmed = False
        self._mount_asked_s = float("-inf")
        self._mount_counts_from: datetime | None = self.clock.now()
        """What the mount said before does not count; None: nothing does until it is asked."""
        self._heartbeat = Heartbeat(self._max_age_s, min(EVERY_S, self.settings.safety.deadman_s / 4))

    @property
    def device(self) -> Plc:
        """The PLC's driver."""
        return self._plc

    def read(self) -> None:
        """See `DeviceActor.read`."""
        self._reading = self._plc.poll()

    def connected(self) -> None:
        """Set the dead-man's time."""
        self._plc.set_deadman(min(DEADMAN_LONGEST_S, round(safety_s(self.clock, self.settings.safety.deadman_s))))

    # -- the poll ----------------------------------------------------------------------------------------------------

    def on_poll(self, _: Poll) -> None:
        """Read, react, feed the heartbeat if the loop has decided, and tell everyone."""
        self.poll_in(self.clock.at_least_real(self.settings.devices.plc.poll_s, 0.2))
        if self.attempt(self.poll):
            self._note_dome()
            self._reflex()
            self._act()
        self._alarm()
        self.publish(self.state())

    def _note_dome(self) -> None:
        before, self._dome = self._dome, dome_position(self._reading)
        if before == self._dome:
            return
        cause = "as found"
        if self._dome in {"closing", "closed"} and before != "unknown":
            if self._desired != "closed":
                self._want_closed(f"the PLC closes by itself: {self._hardware_words() or 'no reason given'}")
            cause = self._cause
        elif before != "unknown":
            ordered = self._desired == "open" and self._dome in {"opening", "open"}
            cause = self._cause if ordered else self._hardware_words() or "not ordered from here"
        self.publish(DomeMoved(before=before, after=self._dome, cause=cause))

    def _hardware_words(self) -> str:
        reading = self._reading
        if reading is None:
            return ""
        words = [*(reading.latch_reasons or ()), hands_on(reading)]
        return ", ".join(dict.fromkeys(word for word in words if word))

    def _reflex(self) -> None:
        if self._dome == "closed" or self._desired == "closed":
            return
        reading, verdict = self._reading, self.latest(SafetyVerdict)
        age_s = verdict[1] if verdict else self.clock.monotonic_s() - self._started_s
        if reading is not None and (reading.rain_contact is not False or reading.rain is not False):
            self._want_closed("rain contact" if reading.rain_contact or reading.rain else "rain contact unknown")
        elif age_s > self._max_age_s:
            self._want_closed(f"no safety verdict for {age_s:.1f} s")

    def _want_closed(self, cause: str) -> None:
        """Close from now on; the first cause is the one that is told until the dome has closed."""
        if self._desired != "closed" or self._position() == "closed":
            self._desired, self._cause = "closed", cause
            self._wanted_closed_s = self._obeyed_s = self.clock.monotonic_s()
            self._mount_counts_from, self._mount_asked_s = None, float("-inf")

    def _act(self) -> None:
        """Close if need be, and feed the dead-man; the first error ends it, so that a poll stays short."""
        now_s = self.clock.monotonic_s()
        if self._dome == "closed":
            self._wanted_closed_s = now_s
        if self._hands_off() or not self._tube_clear():
            self._kept_s = now_s
        if self._dome in {"closed", "closing"} or self._kept_s == now_s:
            self._obeyed_s = now_s
        try:
            if self._shall_close() and self._may_move():
                self._plc.close_dome()
            if self._heartbeat.is_due(now_s) and self._obeys(now_s):
                self._plc.heartbeat(self._heartbeat.next_number())
                self._heartbeat.written(now_s)
        except DeviceError as error:
            self.note(error)

    def _shall_close(self) -> bool:
        return self._desired == "closed" and self._dome not in {"closed", "closing"} and not self._hands_off()

    def _obeys(self, now_s: float) -> bool:
        """A dome that does not is left to the dead-man."""
        return self._desired != "closed" or now_s - self._obeyed_s <= safety_s(self.clock, OBEYS_WITHIN_S)

    def _hands_off(self) -> bool:
        """Somebody has the dome in his hands, or its power is off: nothing is sent."""
        return bool(hands_on(self._reading))

    # -- the tube under the roof -------------------------------------------------------------------------------------

    def _may_move(self) -> bool:
        """Tell whether the tube is out of the way; if not, or if nobody knows, ask the mount again."""
        if self._tube_clear():
            return True
        now_s = self.clock.monotonic_s()
        if now_s - self._mount_asked_s >= self.clock.at_least_real(ASK_MOUNT_EVERY_S, 1.0):
            self._mount_asked_s = now_s
            self.publish(self.state())  # from here on no slew begins: what the mount says next stays true
            self._mount_counts_from = self.clock.now()
            self.tell("telescope", Poll())
        return False

    def _tube_clear(self) -> bool:
        if not self.settings.dome.parks_first:
            return True
        latest = self.latest(TelescopeState)
        mount = latest[0] if latest is not None and latest[0].link == "up" else None
        if mount is None or mount.read_at is None or self._mount_counts_from is None:
            return tube_parked(self._reading, None)
        return tube_parked(self._reading, mount.parked if mount.read_at >= self._mount_counts_from else None)

    def _is_late_to_park(self) -> bool:
        return self._late_s() > safety_s(self.clock, self.settings.dome.park_within_s)

    def _late_s(self) -> float:
        return self.clock.monotonic_s() - self._wanted_closed_s

    # -- commands ----------------------------------------------------------------------------------------------------

    def on_beat(self, message: Beat) -> Done | Refused:
        """Note that the loop has decided; the next poll tells the PLC."""
        verdict, age_s = self.latest(SafetyVerdict) or (None, 0.0)
        postmark = Postmark(self.sender, self.sender_epoch)
        at = verdict.at if verdict is not None else None
        refusal = self._heartbeat.hear(message, postmark, at, age_s, self.clock.monotonic_s())
        return Done() if refusal is None else Refused(reason=refusal)

    def on_open_dome(self, message: OpenDome) -> Done | Refused | Failed:
        """Check everything once more against the hardware as it is now, then pulse "open" once."""
        if not self.attempt(self.poll):
            return Failed(reason=f"opening refused: {self.problem}")
        self._note_dome()
        refusal = guard.refuse_open(replace(self.seen(), plc=self.state(), plc_age_s=0.0), self.settings)
        if refusal is None and not self._may_move():
            refusal = "the telescope is not seen parked, and the roof would touch it"
        if refusal is not None:
            return Refused(reason=f"opening refused: {refusal}")
        try:
            self._plc.open_dome()
        except DeviceError as error:  # it may have been taken all the same: only closing is certain
            self.note(error)
            self._want_closed(f"opening has failed: {error}")
            return Failed(reason=str(error))
        self._desired, self._cause = "open", message.cause
        return Done()

    def on_close_dome(self, message: CloseDome) -> Done | Failed:
        """Close now, and go on asking at every poll."""
        self._want_closed(message.cause)
        if self._position() in {"closed", "closing"} or self._hands_off() or not self._may_move():
            return Done()
        try:
            self._plc.close_dome()
        except DeviceError as error:
            self.note(error)
            return Failed(reason=f"{error}; asked again at every poll")
        return Done()

    def on_reset_latch(self, message: ResetLatch) -> Done | Failed:
        """Clear the latch, on a named operator's word or by the rule of `deadman_reset`."""
        del message
        try:
            self._plc.reset_latch()
        except DeviceError as error:
            self.note(error)
            return Failed(reason=str(error))
        return Done()

    # -- state -------------------------------------------------------------------------------------------------------

    def _stands_still(self) -> bool:
        longest_s = safety_s(self.clock, POLLS_WITHOUT_LIFE * self.settings.devices.plc.poll_s)
        return self._reading is not None and self._reading.life_age_s > longest_s

    def _position(self) -> DomePosition:
        """Where the dome is, as far as that is known now."""
        return self._dome if self.link == "up" and not self._stands_still() else "unknown"

    def _problems(self) -> str:
        reading = self._reading
        words = [self.problem, *(reading.problems if reading is not None else ()), self._why_open()]
        return "; ".join(word for word in words if word)

    def _why_open(self) -> str:
        """Say what keeps a dome open that shall be closed, once it is late or nothing can be done from here."""
        if self._desired != "closed" or self._dome == "closed":
            return ""
        if self._hands_off():
            return f"the dome is {self._dome} and cannot be closed from here: {self._hardware_words()}"
        words = f"told to close {self._late_s():.0f} s ago, the dome is {self._dome}"
        if not self._tube_clear():
            return f"{words}: the telescope is not seen parked" if self._is_late_to_park() else ""
        free_for_s = self.clock.monotonic_s() - max(self._kept_s, self._wanted_closed_s)
        return words if free_for_s > CLOSES_WITHIN_S else ""

    def _alarm(self) -> None:
        """Say once, for somebody to come, that the dome shall be closed and cannot be."""
        words = self._why_open()
        if words and not self._alarmed:
            self.publish(DomeCannotClose(cause=words))
        self._alarmed = bool(words)

    def state(self) -> PlcState:
        """Return what the PLC said last; while it says nothing, only when it did."""
        reading = self._reading
        if reading is None or self.link == "down":
            read_at = reading.read_at if reading is not None else None
            return PlcState(link="down", desired=self._desired, problem=self.problem, read_at=read_at)
        if self._stands_still():
            problem = f"the PLC's life counter has stood at {reading.life_counter} for {reading.life_age_s:.0f} s"
            return PlcState(link="down", desired=self._desired, problem=problem, read_at=reading.read_at)
        return PlcState(
            link="up",
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
            park_switch=reading.park_switch if self.settings.dome.parks_first else None,
            latched=latched_reasons(reading),
            desired=self._desired,
            problem=self._problems(),
            read_at=reading.read_at,
        )
