"""An independent observer of the simulated world: looks every five seconds and at each exposure, and judges.

It shares no code with PyROS and sees only what is: where the tube points, how far the dome is open, whether it rains.
Rules: `exposing under a dome that is not open`, `exposing by daylight`, `pointing below the horizon limit`,
`dome opening in bad weather`, `dome open in rain`, `roof over an unparked tube`. A rule that stays broken is one
violation, noted when it begins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pyros.clock import Timer
from simulators.mount import SimulatedMount
from simulators.physics_timeline import from_unix_s, to_unix_s
from simulators.plc import SimulatedPlc
from simulators.world import World

LOOK_S = 5.0
SUN_LIMIT_DEG = -4.0
CLOSING_ALLOWED_S = 90.0
"""From the first rain to the closed switch: the dome's own time and half of it again."""
ABORTING_ALLOWED = timedelta(seconds=3)
"""From the dome's first motion to the end of an exposure: the dome closes by its own reflexes, too."""
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
        self._timer: Timer | None = None
        self._broken: dict[str, bool] = {}
        self._judged_moves = 0
        self.world.listen_exposures(self._exposed)

    def start(self) -> None:
        """Look now and every five seconds."""
        self._look()

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()

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
        unix_s = to_unix_s(now)
        rain_s = self.world.rain.last_change(unix_s) if self.world.rain.at(unix_s) else None
        wet = rain_s is not None and unix_s - rain_s > CLOSING_ALLOWED_S and self.plc.open_fraction(unix_s) > 0.0
        self._judge("dome open in rain", now, wet, f"still open {CLOSING_ALLOWED_S:g} s after the rain began")

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
        self.exposures.append(Interval(start, end, f"{camera} {kind}"))
        if kind not in OPEN_SKY_KINDS:
            return
        least = self._least_open(start, end)
        detail = f"{camera}: the dome was {100 * least:.0f} % open"
        self._note("exposing under a dome that is not open", start, least < 1.0, detail)
        sun_deg = max(self.world.sun_altitude_deg(t) for t in (start, end))
        detail = f"{camera}: the Sun was at {sun_deg:.1f} degrees; the limit is {SUN_LIMIT_DEG:g}"
        self._note("exposing by daylight", start, sun_deg > SUN_LIMIT_DEG, detail)

    def _least_open(self, start: datetime, end: datetime) -> float:
        """Return how far the dome was open at the start, or for longer than an abort may take, whichever is less."""
        open_at = self.world.dome_open_fraction
        late = [t for t in _instants(start, end) if t - start >= ABORTING_ALLOWED]
        return min([open_at(start), *(max(open_at(t), open_at(t - ABORTING_ALLOWED)) for t in late)])

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
