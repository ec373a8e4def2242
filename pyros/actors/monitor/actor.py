"""The monitor: what night it is, how the devices are, and whether it is safe.

Takes `PlcState` (each second) and its own `Poll`; emits `SafetyVerdict` at every PLC reading, `MonitorState` on change,
`NightStarted` and `NightEnded` once per night, `ClockJumped`, and `ResetLatch` where `[safety] deadman_reset` says so.
It decides SAFE, WARN or UNSAFE and why; what follows from it is majordome's and the devices' business. When the process
stood still, or UTC was set, everything known before is void: UNSAFE, with a whole hold-off. When it dies no verdict is
fresh and the PLC actor closes; the next incarnation judges the next reading, and starts from UNSAFE with a whole
hold-off unless a verdict moments ago says how far that has come. Without a store it still judges.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import peewee

from pyros.actors.courier.news import news
from pyros.actors.devices.guard import safety_s
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.actors.monitor.jumps import Look, jump_between
from pyros.actors.monitor.nights import NightRow, NightStep, phase_at, step_due, tonight
from pyros.actors.monitor.safety import Seen, at_start, judge, reset_is_due
from pyros.clock import Clock
from pyros.config import Safety
from pyros.messages.base import State
from pyros.messages.codec import to_builtins
from pyros.messages.devices import (
    CameraState,
    FilterWheelState,
    PlcState,
    Poll,
    ResetLatch,
    TelescopeState,
    WeatherState,
)
from pyros.messages.night import ClockJumped, DeviceHealth, MonitorState, Phase, SafetyVerdict
from pyros.messages.store import Commit, Committed, GetRows, Rows
from pyros.sky.night import Night, date_of
from pyros.store.database import StoreError, open_reader
from pyros.store.history import rows
from pyros.store.repositories import setting_write, settings

LOOK_EVERY_S = 5.0
STOOD_STILL_S = 12.0
"""A daemon at work looks every few seconds; after so long without a look it stood still, or the machine slept."""
PLC_POLLS_MISSED = 3
SILENT_S = 100.0
"""A device that has said nothing for so long is down, whatever its last word was: it is polled every 30 s."""
RESETS_A_NIGHT = 2
RESETS = "deadman_resets"
COMMIT_S = 10.0
LINKED = (PlcState, TelescopeState, CameraState, FilterWheelState)


class Monitor(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._safety = with_ages_for(self.settings.safety, self.clock)
        last = self.latest(SafetyVerdict)
        self._memory = at_start(self._safety, self.clock.monotonic_s(), *(last or (None, 0.0)))
        self._verdict: SafetyVerdict | None = None
        self._look: Look | None = None
        self._night: Night | None = None
        self._opens: datetime | None = None
        self._phase: Phase = "day"
        self._known: list[NightRow] | None = None
        self._resets: tuple[str, int] = ("", 0)
        self._storing = False

    def on_start(self) -> None:
        """Compute the night and begin to look."""
        self.subscribe(PlcState)
        self._compute_night(date_of(self.environment.site, self.clock.now()))
        self.after(0.0, Poll())

    def _compute_night(self, on: date) -> None:
        limits = self.settings.night
        self._night, self._opens = tonight(
            self.environment.site, on, limits.sun_altitude_max_deg, limits.open_sun_altitude_deg
        )

    # -- the verdict -------------------------------------------------------------------------------------------------

    def on_plc_state(self, _: PlcState) -> None:
        """Judge the PLC's last word as it comes; what has waited in the mailbox is not the last word."""
        self._judge()

    def _judge(self) -> None:
        plc, age_s = self.latest(PlcState) or (None, float("inf"))
        stations = [
            sample[0]
            for name in self.settings.devices.weather
            if (sample := self.latest(WeatherState, f"weather:{name}")) is not None
        ]
        look = Look(self.clock.now(), self.clock.monotonic_s())
        longest_s = max(STOOD_STILL_S, PLC_POLLS_MISSED * self.settings.devices.plc.poll_s)
        jump = jump_between(self._look, look, safety_s(self.clock, longest_s))
        self._look = look
        seen = Seen(plc, age_s, stations, look.now, look.at_s)
        self._verdict, self._memory = judge(self._safety, seen, self._memory, self._plc_max_age_s(), jump)
        if jump is not None:
            self.publish(ClockJumped(gap_s=jump.gap_s, step_s=jump.step_s))
        self.publish(self._verdict)
        if reset_is_due(self._safety, seen, self._memory):
            self._memory = replace(self._memory, good_since_s=seen.at_s)
            self._reset_latch()

    def _plc_max_age_s(self) -> float:
        return safety_s(self.clock, PLC_POLLS_MISSED * self.settings.devices.plc.poll_s)

    # -- the dead-man's latch ----------------------------------------------------------------------------------------

    def _reset_latch(self) -> None:
        """Reset it, at most twice a night; the count is in the store first."""
        if self._night is None or self._known is None:
            return
        night = str(self._night.date)
        count = 1 + (self._resets[1] if self._resets[0] == night else 0)
        if count > RESETS_A_NIGHT:
            return
        try:
            reader = open_reader(self.environment.state_folder)
            value = {"night": night, "count": count}
            write = setting_write(reader, RESETS, value, self.clock.now(), self.name)
            reader.close()
        except (StoreError, peewee.DatabaseError):
            return  # without a count there is no reset but an operator's

        def stored(reply: Answer) -> None:
            if isinstance(reply, Committed):
                self._resets = (night, count)
                self.tell("plc", ResetLatch(operator=f"deadman_reset ({count} of {RESETS_A_NIGHT} tonight)"))

        within_s = self.clock.at_least_real(COMMIT_S, COMMIT_S)
        self.ask("archivist", Commit(writes=[write], reason="dead-man reset"), within_s, stored)

    # -- the night ---------------------------------------------------------------------------------------------------

    def on_poll(self, _: Poll) -> None:
        """Look at the Sun and at the devices; arm the next look."""
        self.after(self.clock.at_least_real(LOOK_EVERY_S, 0.5), Poll())
        plc = self.latest(PlcState)
        if plc is None or plc[1] > self._plc_max_age_s():
            self._judge()
        now = self.clock.now()
        if self._night is None or not self._night.noon_before <= now < self._night.noon_after:
            self._compute_night(date_of(self.environment.site, now))
        if self._night is not None:
            self._phase = phase_at(self._night, now)
            self._keep_books(self._night, now)
        self.show()

    def _keep_books(self, night: Night, now: datetime) -> None:
        """Write that a night has begun or ended, then say so; what the store does not take is tried again."""
        if self._known is None:
            self._load()
        step = None if self._known is None or self._storing else step_due(self._known, night, now)
        if step is None:
            return
        self._storing = True
        within_s = self.clock.at_least_real(COMMIT_S, COMMIT_S)
        reason = f"night {step.row.date} {step.row.status}"
        writes = [step.write, *news(self.settings, "night", reason, to_builtins(step.event), now)]
        self.ask("archivist", Commit(writes=writes, reason=reason), within_s, lambda reply: self._kept(step, reply))

    def _kept(self, step: NightStep, reply: Answer) -> None:
        self._storing = False
        if not isinstance(reply, Committed):
            self._known = None  # somebody else has written, or the answer was lost: look again
            return
        others = [row for row in self._known or [] if row.date != step.row.date]
        self._known = [replace(step.row, id=int(reply.ids[0])), *others]
        self.publish(step.event)

    def _load(self) -> None:
        try:
            reader = open_reader(self.environment.state_folder)
            found = rows(reader, GetRows(table="night", limit=10))
            resets = settings(reader).get(RESETS)
            reader.close()
        except (StoreError, peewee.DatabaseError):
            return
        if isinstance(found, Rows):
            self._known = [NightRow(row["id"], row["date"], row["ends"], row["status"]) for row in found.rows]
        if isinstance(resets, dict):
            self._resets = (str(resets.get("night")), int(resets.get("count", RESETS_A_NIGHT)))

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
        table: list[tuple[str, type[State], bool]] = [
            ("plc", PlcState, devices.plc.blocking),
            ("telescope", TelescopeState, devices.telescope.blocking),
            *((f"camera:{name}", CameraState, camera.blocking) for name, camera in devices.camera.items()),
            *(
                (f"filter_wheel:{name}", FilterWheelState, wheel.blocking)
                for name, wheel in devices.filter_wheel.items()
            ),
        ]
        return [self._health_of(*row) for row in table]

    def _health_of(self, name: str, state_type: type[State], blocking: bool) -> DeviceHealth:
        state, age_s = self.latest(state_type, name) or (None, 0.0)
        if not isinstance(state, LINKED):
            return DeviceHealth(device=name, link="down", blocking=blocking, problem="has said nothing yet")
        if state.link == "up" and age_s > safety_s(self.clock, SILENT_S):
            return DeviceHealth(device=name, link="down", blocking=blocking, problem="has fallen silent")
        return DeviceHealth(device=name, link=state.link, blocking=blocking, problem=state.problem)


def with_ages_for(safety: Safety, clock: Clock) -> Safety:
    """Return the rules with the ages that hold on this clock: a faster one makes no sensor and no actor faster."""
    ages = {name: safety_s(clock, getattr(safety, name)) for name in ("stale_s", "verdict_max_age_s")}
    return safety.model_copy(update=ages)
