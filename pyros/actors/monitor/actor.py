"""The monitor: what night it is, how the devices are, and whether it is safe.

Takes `PlcState` (each second) and its own `Poll`; emits `SafetyVerdict` at every PLC reading, `MonitorState` on change,
`NightStarted` and `NightEnded` once per night. It decides SAFE, WARN or UNSAFE and why; what follows from it is
majordome's and the devices' business. When it dies no verdict is fresh, the PLC actor closes, and the next incarnation
starts from UNSAFE.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.actors.monitor.safety import Memory, Seen, judge
from pyros.messages.base import State
from pyros.messages.devices import CameraState, FilterWheelState, PlcState, Poll, TelescopeState, WeatherState
from pyros.messages.night import DeviceHealth, MonitorState, NightEnded, NightStarted, Phase, SafetyVerdict
from pyros.messages.store import Commit, Committed, Insert
from pyros.sky.night import Night, crossing, date_of, night_of

LOOK_EVERY_S = 5.0


class Monitor(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._memory: Memory | None = None
        self._verdict: SafetyVerdict | None = None
        self._night: Night | None = None
        self._opens: datetime | None = None
        self._phase: Phase = "day"
        self._announced = ""

    def on_start(self) -> None:
        """Compute the night and begin to look."""
        self.subscribe(PlcState)
        self._compute_night(date_of(self.environment.site, self.clock.now()))
        self.after(0.0, Poll())

    def _compute_night(self, on: date) -> None:
        site, settings = self.environment.site, self.settings.night
        self._night = night_of(site, on, settings.sun_altitude_max_deg)
        self._opens = crossing(site, on, settings.open_sun_altitude_deg)[0]

    # -- the verdict -------------------------------------------------------------------------------------------------

    def on_plc_state(self, message: PlcState) -> None:
        """Judge each reading of the PLC as it comes."""
        self._judge(message, 0.0)

    def _judge(self, plc: PlcState | None, age_s: float) -> None:
        stations = [
            sample[0]
            for name in self.settings.devices.weather
            if (sample := self.latest(WeatherState, f"weather:{name}")) is not None
        ]
        seen = Seen(plc=plc, plc_age_s=age_s, stations=stations, now=self.clock.now())
        longest_s = self.clock.at_least_real(3 * self.settings.devices.plc.poll_s, 5.0)
        self._verdict, self._memory = judge(self.settings.safety, seen, self._memory, longest_s)
        self.publish(self._verdict)

    # -- the night ---------------------------------------------------------------------------------------------------

    def on_poll(self, _: Poll) -> None:
        """Look at the Sun and at the devices; arm the next look."""
        self.after(self.clock.at_least_real(LOOK_EVERY_S, 0.5), Poll())
        plc = self.latest(PlcState)
        if plc is None or plc[1] > self.clock.at_least_real(3 * self.settings.devices.plc.poll_s, 5.0):
            self._judge(plc[0] if plc else None, plc[1] if plc else float("inf"))
        self._look_at_the_sun()
        self.show()

    def _look_at_the_sun(self) -> None:
        night, now = self._night, self.clock.now()
        if night is None or now >= night.noon_after:
            self._compute_night(date_of(self.environment.site, now))
            night = self._night
        assert night is not None  # noqa: S101 - computed above
        self._phase = phase_at(night, now)
        if self._phase == "night" and self._announced != f"{night.date} begins" and night.ends is not None:
            self._announced = f"{night.date} begins"
            self._record(night, "BEGUN", NightStarted(night=str(night.date), ends=night.ends))
        elif self._phase == "morning twilight" and self._announced == f"{night.date} begins":
            self._announced = f"{night.date} ends"
            self.publish(NightEnded(night=str(night.date)))

    def _record(self, night: Night, status: str, event: NightStarted) -> None:
        """Publish the start of the night once the store has it for good; a store that has it already has seen it."""
        values = {"date": str(night.date), "begins": night.begins, "ends": night.ends, "status": status}
        commit = Commit(writes=[Insert(table="night", values=values)], reason=f"night {night.date} begins")

        def recorded(reply: Answer) -> None:
            if isinstance(reply, Committed):
                self.publish(event)

        self.ask("archivist", commit, 10.0, recorded)

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> MonitorState:
        """Return the night's times and the devices' health."""
        night, verdict = self._night, self._verdict
        return MonitorState(
            phase=self._phase,
            night=str(night.date) if night else "",
            begins=night.begins if night else None,
            ends=night.ends if night else None,
            opens=self._opens,
            sunrise=night.sunrise if night else None,
            level=verdict.level if verdict else "UNSAFE",
            reasons=verdict.reasons if verdict else ["no verdict yet"],
            devices=self._health(),
        )

    def _health(self) -> list[DeviceHealth]:
        devices = self.settings.devices
        rows: list[tuple[str, type[State], bool]] = [
            ("plc", PlcState, devices.plc.blocking),
            ("telescope", TelescopeState, devices.telescope.blocking),
            *((f"camera:{name}", CameraState, camera.blocking) for name, camera in devices.camera.items()),
            *((f"filter_wheel:{name}", FilterWheelState, wheel.blocking) for name, wheel in devices.filter_wheel.items()),
        ]
        return [self._health_of(*row) for row in rows]

    def _health_of(self, name: str, state_type: type[State], blocking: bool) -> DeviceHealth:
        latest = self.latest(state_type, name)
        if latest is None:
            return DeviceHealth(device=name, link="down", blocking=blocking, problem="has said nothing yet")
        state = latest[0]
        assert isinstance(state, PlcState | TelescopeState | CameraState | FilterWheelState)  # noqa: S101 - the table above
        return DeviceHealth(device=name, link=state.link, blocking=blocking, problem=state.problem)


def phase_at(night: Night, now: datetime) -> Phase:
    """Tell the phase of a night: by its dark time, and by sunset and sunrise around it."""
    if night.begins is not None and night.ends is not None:
        if now < night.begins:
            return "evening twilight" if night.sunset is not None and now >= night.sunset else "day"
        if now < night.ends:
            return "night"
        return "morning twilight" if night.sunrise is None or now < night.sunrise else "day"
    middle = night.noon_before + timedelta(hours=12)
    if night.sunset is None or night.sunrise is None or not night.sunset <= now < night.sunrise:
        return "day"
    return "evening twilight" if now < middle else "morning twilight"
