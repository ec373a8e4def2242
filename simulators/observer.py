"""An independent observer of the simulated world: looks every five seconds and at each exposure, and judges.

It shares no code with PyROS and sees only what is: where the tube points, how far the dome is open, whether it rains.
Rules: `exposing under a dome that is not open`, `exposing by daylight`, `pointing below the horizon limit`,
`dome opening in bad weather`, `dome open in rain`, `dome open in bad weather`, `dome open by daylight`, `dome open
without a heartbeat`, `roof over an unparked tube`. A rule that stays broken is one violation, noted when it begins.

A dome that is open in rain is always a violation. Otherwise what nobody could have done is nobody's fault: a dome
that is stuck, or that a hand holds, is judged again when it has been free for as long as closing may take; a station
that stands still or lies convincingly is believed for as long as documented; a camera that hears nothing exposes on,
and what a dead process left exposing is for the next one to end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pyros.clock import Timer
from simulators.mount import SimulatedMount
from simulators.physics_dome import Latch
from simulators.physics_timeline import from_unix_s, to_unix_s
from simulators.plc import SimulatedPlc
from simulators.world import World

LOOK_S = 5.0
SUN_LIMIT_DEG = -4.0
CLOSING_ALLOWED_S = 90.0
"""From the first rain to the closed switch: the dome's own time and half of it again."""
PARKING_ALLOWED_S = 60.0
"""What a roof that waits for the park switch may take besides: the mount's longest way at 6°/s, and as long again."""
ABORTING_ALLOWED = timedelta(seconds=3)
"""From the dome's first motion to the end of an exposure: the dome closes by its own reflexes, too."""
TAKING_UP_ALLOWED = timedelta(seconds=20)
"""From the start of a new process to the end of an exposure that the last one left behind."""
REACTION_ALLOWED_S = 240.0
"""From bad weather, or the order, to the closed switch where every other way fails: a sample, a polite command that is
not obeyed, the dead-man, and the dome's own time and half of it again."""
BELIEVED_S = 900.0
"""How long a station that stands still may be believed."""
DAYLIGHT_ALLOWED_S = 600.0
FOR_EVER = timedelta(days=365)
IN_RAIN = "dome open in rain"
CLEARS_ITSELF = Latch.RAIN | Latch.BOOT
OPEN_SKY_KINDS = frozenset({"light", "flat"})


@dataclass(frozen=True)
class Limits:
    """Weather in which a dome that opens is a violation: coarser than any rule PyROS is configured with."""

    wind_m_s: float = 20.0
    gust_m_s: float = 25.0
    humidity_percent: float = 97.0


@dataclass(frozen=True)
class Violation:
    """A rule that was broken, when, and how."""

    t: datetime
    rule: str
    detail: str


@dataclass(frozen=True)
class Interval:
    """Something that lasted from `start` to `end`."""

    start: datetime
    end: datetime
    what: str = ""
    place: tuple[float, float] | None = None
    """Where the tube pointed halfway, ICRS degrees, if it was under the sky."""


@dataclass
class Observer:
    """Watches a world from `start()` to `stop()`."""

    world: World
    mount: SimulatedMount
    plc: SimulatedPlc
    limits: Limits = field(default_factory=Limits)
    roof_needs_park: bool = False
    readout_s: float = 3.0
    violations: list[Violation] = field(default_factory=list[Violation])
    exposures: list[Interval] = field(default_factory=list[Interval])

    def __post_init__(self) -> None:
        self.absences: list[Interval] = []
        """When no process was there to act; the end of the present one is not known yet."""
        self.latched: list[Interval] = []
        """When the PLC held a latch that does not clear by itself."""
        self._timer: Timer | None = None
        self._broken: dict[str, bool] = {}
        self._judged_moves = 0
        self._since_s: dict[str, float] = {}
        """Since when each thing has been so that must not stay so under an open dome."""
        self._hindered_s = float("-inf")
        self._hindrances: list[float] = []
        self._heartbeat: tuple[int, float] = (0, float("-inf"))
        self.world.listen_exposures(self._exposed)

    def start(self) -> None:
        """Look now and every five seconds."""
        self._look()

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()

    def process_died(self) -> None:
        """Take note that nobody acts from now on."""
        now = self.world.clock.now()
        if not self.absences or self.absences[-1].end <= now:
            self.absences.append(Interval(now, now + FOR_EVER))

    def process_started(self) -> None:
        """Take note that somebody acts again."""
        if self.absences:
            self.absences[-1] = Interval(self.absences[-1].start, self.world.clock.now())

    def hindered(self, since_s: float, until_s: float) -> bool:
        """Tell whether the dome could not move at some look between two instants (seconds since 1970)."""
        return any(since_s - CLOSING_ALLOWED_S <= at_s <= until_s for at_s in self._hindrances)

    # -- reports -----------------------------------------------------------------------------------------------------

    def dome_history(self) -> list[dict[str, Any]]:
        """Return every change of the dome's state as {t, from, to, cause}."""
        states = [(from_unix_s(move.start_s), move.state, move.cause) for move in self.plc.moves()]
        before = ["closed", *(state for _, state, _ in states)]
        return [
            {"t": t, "from": old, "to": new, "cause": cause}
            for old, (t, new, cause) in zip(before, states, strict=False)
            if old != new
        ]

    def slews(self) -> list[Interval]:
        """Return every slew, settling included."""
        return [Interval(from_unix_s(start), from_unix_s(end)) for start, end in self.mount.slews]

    def readouts(self) -> list[Interval]:
        """Return the readout after each exposure."""
        return [Interval(one.end, one.end + timedelta(seconds=self.readout_s), one.what) for one in self.exposures]

    def occupancy(self) -> dict[str, list[Interval]]:
        """Return what the instruments did: `exposing` (of the sky), `slewing`, `readout`, `calibration` (shut)."""
        sky = [one for one in self.exposures if one.what.rpartition(" ")[2] in OPEN_SKY_KINDS]
        shut = [one for one in self.exposures if one not in sky]
        return {"exposing": sky, "slewing": self.slews(), "readout": self.readouts(), "calibration": shut}

    # -- judging -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = self.world.clock.now()
        self._judge_pointing(now)
        self._judge_dome(now)
        self._timer = self.world.clock.call_later(LOOK_S, self._look)

    def _judge_pointing(self, now: datetime) -> None:
        unix_s = to_unix_s(now)
        altitude_deg = self.mount.altaz(unix_s)[0]
        low = altitude_deg < self.world.horizon_limit_deg and not self.mount.parked(unix_s)
        doing = "slewing" if self.mount.slewing(unix_s) else "pointing"
        detail = f"{doing} at {altitude_deg:.1f} degrees; the limit is {self.world.horizon_limit_deg:g}"
        self._judge("pointing below the horizon limit", now, low, detail)

    def _judge_dome(self, now: datetime) -> None:
        moves = self.plc.moves()
        for move in moves[self._judged_moves :]:
            t = from_unix_s(move.start_s)
            reason = self._bad_weather(move.start_s)
            if move.state == "opening":
                self._note("dome opening in bad weather", t, reason is not None, reason or "")
            tube_out = self.roof_needs_park and not self.mount.parked(move.start_s)
            if move.state in {"opening", "closing"}:
                self._note("roof over an unparked tube", t, tube_out, f"the roof is {move.state}")
        self._judged_moves = len(moves)
        self._judge_open_dome(now, to_unix_s(now))
        self._see_latch(now)

    def _see_latch(self, now: datetime) -> None:
        if not Latch(self.plc.latch_word()) & ~CLEARS_ITSELF:
            return
        if self.latched and now - self.latched[-1].end <= timedelta(seconds=LOOK_S):
            self.latched[-1] = Interval(self.latched[-1].start, now)
        else:
            self.latched.append(Interval(now, now))

    def _judge_open_dome(self, now: datetime, unix_s: float) -> None:
        """Judge what must not be so for long while the dome is not closed and could have closed."""
        if self._is_hindered(unix_s):
            self._hindered_s = unix_s
            self._hindrances.append(unix_s)
        is_open = self.plc.open_fraction(unix_s) > 0.0
        free_s = unix_s - self._hindered_s
        sun_deg = self.world.sun_altitude_deg(now)
        bad = None if self._is_deceived(unix_s) else self._bad_weather(unix_s)
        beat_s, deadman_s = self._beat(unix_s)
        closing_s = CLOSING_ALLOWED_S + (PARKING_ALLOWED_S if self.roof_needs_park else 0.0)
        for rule, wrong, allowed_s, detail in (
            (IN_RAIN, self.world.rain.at(unix_s), closing_s, "it rains"),
            ("dome open in bad weather", bad is not None, REACTION_ALLOWED_S, bad),
            ("dome open by daylight", sun_deg > SUN_LIMIT_DEG, DAYLIGHT_ALLOWED_S, f"the Sun is at {sun_deg:.1f}°"),
            ("dome open without a heartbeat", beat_s > deadman_s, closing_s, f"the last {beat_s:.0f} s ago"),
        ):
            since_s = self._since_s.setdefault(rule, unix_s) if wrong and is_open else unix_s
            if not (wrong and is_open):
                self._since_s.pop(rule, None)
            late = unix_s - since_s > allowed_s and (free_s > allowed_s or rule == IN_RAIN)
            self._judge(rule, now, late, f"still open {allowed_s:g} s later: {detail}")

    def _is_hindered(self, unix_s: float) -> bool:
        """Tell whether the dome cannot move, whoever wants it.

        It is stuck, slow, its motor given up, in a hand, or it waits for a mount that does not do what it is told.
        """
        by_hand = self.world.local_key.at(unix_s) or self.world.emergency_stop.at(unix_s)
        jammed = self.world.faults.active(self.plc.name) in {"stuck", "slow"}
        mount_fails = self.world.faults.active(self.mount.name) is not None
        waits = self.roof_needs_park and mount_fails and not self.mount.parked(unix_s)
        return by_hand or jammed or waits or bool(Latch(self.plc.latch_word()) & Latch.MOTION_FAULT)

    def _is_deceived(self, unix_s: float) -> bool:
        """Tell whether the station says what nobody can know to be wrong."""
        fault = self.plc.station.fault_at(unix_s)
        if fault is None:
            return False
        return fault.kind == "offset" or (fault.kind == "frozen" and unix_s - fault.since_s < BELIEVED_S)

    def _beat(self, unix_s: float) -> tuple[float, float]:
        """Return how long the heartbeat has stood still, as far as looked, and how long it may."""
        heartbeat, deadman_s = self.plc.holding_registers()
        if heartbeat != self._heartbeat[0] or self.plc.open_fraction(unix_s) <= 0.0:
            self._heartbeat = (heartbeat, unix_s)
        return unix_s - self._heartbeat[1], float(deadman_s)

    def _bad_weather(self, unix_s: float) -> str | None:
        if self.world.rain.at(unix_s):
            return "it rains"
        weather = self.world.weather(unix_s)
        for name in ("wind_m_s", "gust_m_s", "humidity_percent"):
            limit = getattr(self.limits, name)
            if weather[name] > limit:
                return f"{name} is {weather[name]:.1f}, above {limit:g}"
        return None

    def _exposed(self, camera: str, start: datetime, end: datetime, kind: str) -> None:
        place = self.world.pointing(start + (end - start) / 2)[:2]
        self.exposures.append(Interval(start, end, f"{camera} {kind}", place))
        if kind not in OPEN_SKY_KINDS:
            return
        least = self._least_open(start, end)
        detail = f"{camera}: the dome was {100 * least:.0f} % open"
        deaf = self.world.faults.suffered(camera, to_unix_s(start), to_unix_s(end))
        self._note("exposing under a dome that is not open", start, least < 1.0 and not deaf, detail)
        sun_deg = max(self.world.sun_altitude_deg(t) for t in (start, end))
        detail = f"{camera}: the Sun was at {sun_deg:.1f} degrees; the limit is {SUN_LIMIT_DEG:g}"
        self._note("exposing by daylight", start, sun_deg > SUN_LIMIT_DEG, detail)

    def _least_open(self, start: datetime, end: datetime) -> float:
        """Return how far the dome was open at the start, or for longer than an abort may take, whichever is less."""
        open_at = self.world.dome_open_fraction
        late = [t for t in _instants(start, end) if t - start >= ABORTING_ALLOWED and self._is_attended(t, start)]
        return min([open_at(start), *(max(open_at(t), open_at(t - ABORTING_ALLOWED)) for t in late)])

    def _is_attended(self, t: datetime, start: datetime) -> bool:
        """Tell whether the process that began an exposure at `start`, or a later one, could have ended it by `t`."""
        return not any(start <= gone.start <= t < gone.end + TAKING_UP_ALLOWED for gone in self.absences)

    def _judge(self, rule: str, t: datetime, broken: bool, detail: str) -> None:
        """Note a rule when it begins to be broken."""
        if broken and not self._broken.get(rule):
            self.violations.append(Violation(t, rule, detail))
        self._broken[rule] = broken

    def _note(self, rule: str, t: datetime, broken: bool, detail: str) -> None:
        if broken:
            self.violations.append(Violation(t, rule, detail))


def _instants(start: datetime, end: datetime) -> list[datetime]:
    """Return instants not more than five seconds apart from start to end."""
    steps = max(1, round((end - start).total_seconds() / LOOK_S))
    return [start + (end - start) * step / steps for step in range(steps + 1)]
