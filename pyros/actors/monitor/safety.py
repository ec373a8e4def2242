"""Is it safe to be open? A pure judgement with a memory: hysteresis per quantity, and a hold-off after anything bad.

Unknown, stale, frozen or contradictory is UNSAFE, and so is the start. WARN keeps an open dome and forbids opening.
Limits and hold-offs come from `[safety]`; the defaults follow what robotic observatories use. A latch of the PLC is
UNSAFE until somebody resets it and has no hold-off of its own: what made it latch has had one. Every reason is a pair:
its cause, for programs, and its words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pyros.actors.monitor.jumps import Jump
from pyros.config import Rule, Safety
from pyros.messages.devices import PlcState, WeatherState
from pyros.messages.night import SafetyCause, SafetyLevel, SafetyVerdict

FROZEN_S = 900.0
"""A station whose every value stands still for this long is not measuring."""
WEATHER_RULES: tuple[tuple[str, str, SafetyCause], ...] = (
    ("wind_m_s", "m/s", "wind"),
    ("gust_m_s", "m/s", "wind"),
    ("humidity_percent", "%", "humidity"),
)
ALL_TRIPPED = frozenset(name for name, _, _ in WEATHER_RULES)
Reason = tuple[SafetyCause, str]


@dataclass(frozen=True)
class Memory:
    """What the judgement remembers from one reading to the next; seconds of the monotonic clock."""

    tripped: frozenset[str] = frozenset()
    """Quantities beyond their limit and not yet below their clear value."""
    bad_until_s: float = 0.0
    """End of the hold-off, as counted from the last bad reading."""
    bad_by: tuple[SafetyCause, ...] = ()
    """What the hold-off follows from, the first first."""
    good_since_s: float | None = None
    """Since when nothing was bad but a latch of the PLC, and that the same; None while something is."""
    latched: tuple[str, ...] = ()
    """The PLC's latch as it was last seen."""
    samples: dict[str, tuple[tuple[float | None, ...], datetime]] = field(default_factory=dict)
    """Each station's last values, and since when they are the same."""


@dataclass(frozen=True)
class Seen:
    """What is known at this moment; `plc_age_s` and `at_s` are by the monotonic clock."""

    plc: PlcState | None
    plc_age_s: float
    stations: list[WeatherState]
    now: datetime
    at_s: float


def at_start(safety: Safety, at_s: float, last: SafetyVerdict | None, last_age_s: float) -> Memory:
    """Return the memory to begin with: a whole hold-off, unless a verdict moments ago says how far it has come.

    Parameters
    ----------
    last, last_age_s
        What an incarnation before this one has said, and how many seconds ago. Only the hold-off is taken over: the
        next verdict comes from the next reading.
    """
    if last is None or last_age_s > safety.verdict_max_age_s:
        return Memory(bad_until_s=at_s + safety.hold_off_s, bad_by=("start",), tripped=ALL_TRIPPED)
    if last.level != "UNSAFE":
        return Memory(bad_until_s=at_s)
    left_s = max(safety.hold_off_s, safety.rain_hold_off_s)
    if last.reopen_after is not None:
        left_s = min(left_s, max(0.0, (last.reopen_after - last.at).total_seconds() - last_age_s))
    bad_by: tuple[SafetyCause, ...] = tuple(cause for cause in last.causes if cause != "hold_off")
    return Memory(bad_until_s=at_s + left_s, bad_by=bad_by, tripped=ALL_TRIPPED)


def voided(safety: Safety, at_s: float, memory: Memory) -> Memory:
    """Return what is left of the memory after a jump of the clock: nothing but a fresh hold-off.

    It lasts until no reading from before the jump counts as fresh any more, however short the hold-off is.
    """
    bad_until_s = at_s + max(safety.hold_off_s, safety.stale_s)
    return Memory(bad_until_s=max(bad_until_s, memory.bad_until_s), bad_by=("clock",), tripped=ALL_TRIPPED)


def judge(
    safety: Safety, seen: Seen, memory: Memory, plc_max_age_s: float, jump: Jump | None = None
) -> tuple[SafetyVerdict, Memory]:
    """Return the verdict on what is seen, and the memory for the next one; after a `jump` it begins anew."""
    if jump is not None:
        memory = voided(safety, seen.at_s, memory)
    memory = _remember_samples(memory, seen)
    tripped, weather, warnings = _weather(safety, seen, memory)
    dangers = [*_plc_dangers(safety, seen, plc_max_age_s), *weather]
    if jump is not None:
        dangers.append(("clock", str(jump)))
    memory = replace(_remember_dangers(safety, seen, memory, dangers), tripped=tripped)
    latches: list[Reason] = [("latch", f"PLC latched: {reason}") for reason in memory.latched if reason != "boot"]
    reopen_after = seen.now + timedelta(seconds=memory.bad_until_s - seen.at_s)
    held = seen.at_s < memory.bad_until_s
    if "boot" in memory.latched:
        warnings.append(("boot", "the PLC has booted and has had no heartbeat yet"))
    level, reasons = _level(dangers + latches, warnings, memory.bad_by, reopen_after if held else None)
    verdict = SafetyVerdict(
        level=level,
        reasons=[words for _, words in reasons if words],
        causes=list(dict.fromkeys(cause for cause, _ in reasons)),
        at=seen.now,
        reopen_after=reopen_after if held and not dangers and not latches else None,
    )
    return verdict, memory


def _remember_dangers(safety: Safety, seen: Seen, memory: Memory, dangers: list[Reason]) -> Memory:
    """Begin the hold-off anew while anything is bad; note since when nothing is, but a latch that stays the same."""
    latched = tuple(seen.plc.latched) if seen.plc else ()
    if dangers:
        hold_off_s = safety.rain_hold_off_s if _rains(seen) else safety.hold_off_s
        bad_until_s = max(memory.bad_until_s, seen.at_s + hold_off_s)
        before = memory.bad_by if seen.at_s < memory.bad_until_s else ()
        bad_by = tuple(dict.fromkeys((*before, *(cause for cause, _ in dangers))))
        return replace(memory, bad_until_s=bad_until_s, bad_by=bad_by, good_since_s=None, latched=latched)
    same = memory.good_since_s is not None and latched == memory.latched
    return replace(memory, good_since_s=memory.good_since_s if same else seen.at_s, latched=latched)


def reset_is_due(safety: Safety, seen: Seen, memory: Memory) -> bool:
    """Tell whether `deadman_reset` clears the latch now: nothing else is latched, and all has been good long enough."""
    if safety.deadman_reset == "operator" or memory.good_since_s is None:
        return False
    latched = seen.plc is not None and seen.plc.latched == ["deadman"] and seen.plc.dome == "closed"
    return latched and seen.at_s - memory.good_since_s >= safety.deadman_reset


def _rains(seen: Seen) -> bool:
    return (seen.plc is not None and seen.plc.rain is True) or any(station.rain for station in seen.stations)


def _level(
    dangers: list[Reason], warnings: list[Reason], bad_by: Iterable[SafetyCause], reopen_after: datetime | None
) -> tuple[SafetyLevel, list[Reason]]:
    """Return the level with its reasons; those without words only name what a hold-off follows from."""
    if dangers:
        return "UNSAFE", dangers
    if reopen_after is not None:
        hold_off: Reason = ("hold_off", f"good again; hold-off until {reopen_after:%H:%M:%S}")
        return "UNSAFE", [hold_off, *((cause, "") for cause in bad_by)]
    if warnings:
        return "WARN", warnings
    return "SAFE", []


def _plc_dangers(safety: Safety, seen: Seen, plc_max_age_s: float) -> list[Reason]:
    plc = seen.plc
    if plc is None or plc.link == "down":
        return [("fault", "the PLC does not answer")]
    if seen.plc_age_s > plc_max_age_s:
        return [("fault", f"the PLC's last word is {seen.plc_age_s:.0f} s old")]
    low = plc.ups_percent is not None and plc.ups_percent < safety.ups_min_percent
    table: tuple[tuple[bool, SafetyCause, str], ...] = (
        (plc.rain is True, "rain", "rain"),
        (plc.rain is None, "fault", "the rain contact is unknown"),
        (plc.emergency_stop is not False, "people", "emergency stop"),
        (plc.local_key is not False, "people", "local key"),
        (plc.mains is not True, "power", "no mains"),
        (plc.ups_percent is None, "power", "the UPS's charge is unknown"),
        (low, "power", f"UPS at {plc.ups_percent or 0:.0f} % (limit {safety.ups_min_percent:g})"),
        (plc.dome == "unknown", "fault", "the dome's limit switches contradict each other"),
    )
    return [(cause, words) for wrong, cause, words in table if wrong]


def _weather(safety: Safety, seen: Seen, memory: Memory) -> tuple[frozenset[str], list[Reason], list[Reason]]:
    """Judge the stations together: the worst value counts, and at least one of them has to be fresh and alive."""
    fresh = [station for station in seen.stations if _is_alive(safety, station, memory, seen.now)]
    if not fresh:
        return memory.tripped, [("stale", "no weather station has fresh values")], []
    tripped: set[str] = set()
    dangers: list[Reason] = []
    warnings: list[Reason] = []
    for name, unit, cause in WEATHER_RULES:
        rule: Rule = getattr(safety, name)
        known = [value for station in fresh if _is_number(value := getattr(station, name))]
        label = name.split("_")[0]
        if not known:
            dangers.append(("stale", f"{label} is unknown"))
            tripped |= memory.tripped & {name}
            continue
        worst = max(known)
        limit = rule.clear if name in memory.tripped else rule.limit
        if worst > limit:
            tripped.add(name)
            dangers.append((cause, f"{label} {worst:.1f} {unit} (limit {limit:g})"))
        elif rule.warn is not None and worst > rule.warn:
            warnings.append((cause, f"{label} {worst:.1f} {unit} (warning at {rule.warn:g})"))
    dangers += _cold_and_damp(safety, fresh)
    return frozenset(tripped), dangers, warnings


def _cold_and_damp(safety: Safety, fresh: list[WeatherState]) -> list[Reason]:
    dangers: list[Reason] = []
    for station in fresh:
        if station.rain is not False:
            known: Reason = ("rain", f"{station.station}: rain")
            dangers.append(known if station.rain else ("stale", f"{station.station}: rain is unknown"))
        temperature_c, dew_point_c = station.temperature_c, station.dew_point_c
        if temperature_c is None or dew_point_c is None or not math.isfinite(temperature_c - dew_point_c):
            dangers.append(("stale", f"{station.station}: temperature or dew point is unknown"))
            continue
        spread_c, least_c = temperature_c - dew_point_c, safety.dew_point_spread_min_c
        if spread_c < least_c:
            dangers.append(("dew_point", f"dew point {spread_c:.1f} °C below the temperature (limit {least_c:g})"))
        if temperature_c < safety.temperature_min_c:
            dangers.append(("cold", f"temperature {temperature_c:.1f} °C (limit {safety.temperature_min_c:g})"))
    return dangers


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _values(station: WeatherState) -> tuple[float | None, ...]:
    return (station.wind_m_s, station.gust_m_s, station.humidity_percent, station.temperature_c, station.pressure_hpa)


def _remember_samples(memory: Memory, seen: Seen) -> Memory:
    samples = dict(memory.samples)
    for station in seen.stations:
        values = _values(station)
        known = samples.get(station.station)
        if known is None or known[0] != values:
            samples[station.station] = (values, station.sampled_at)
    return replace(memory, samples=samples)


def _is_alive(safety: Safety, station: WeatherState, memory: Memory, now: datetime) -> bool:
    age_s = (now - station.sampled_at).total_seconds()
    if age_s > safety.stale_s or age_s < -safety.stale_s:
        return False
    same_since = memory.samples[station.station][1]
    return (now - same_since).total_seconds() < FROZEN_S
