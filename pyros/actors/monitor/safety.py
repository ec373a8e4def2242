"""Is it safe to be open? A pure judgement with a memory: hysteresis per quantity, and a hold-off after anything bad.

Unknown, stale, frozen or contradictory is UNSAFE, and so is the start. WARN keeps an open dome and forbids opening.
Limits and hold-offs come from `[safety]`; the defaults follow what robotic observatories use. A latch of the PLC is
UNSAFE until somebody resets it and has no hold-off of its own: what made it latch has had one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pyros.config import Rule, Safety
from pyros.messages.devices import PlcState, WeatherState
from pyros.messages.night import SafetyLevel, SafetyVerdict

FROZEN_S = 900.0
"""A station whose every value stands still for this long is not measuring."""
WEATHER_RULES = (("wind_m_s", "m/s"), ("gust_m_s", "m/s"), ("humidity_percent", "%"))


@dataclass(frozen=True)
class Memory:
    """What the judgement remembers from one reading to the next; seconds of the monotonic clock."""

    tripped: frozenset[str] = frozenset()
    """Quantities beyond their limit and not yet below their clear value."""
    bad_until_s: float = 0.0
    """End of the hold-off, as counted from the last bad reading."""
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
        return Memory(bad_until_s=at_s + safety.hold_off_s, tripped=frozenset(name for name, _ in WEATHER_RULES))
    if last.level != "UNSAFE":
        return Memory(bad_until_s=at_s)
    left_s = max(safety.hold_off_s, safety.rain_hold_off_s)
    if last.reopen_after is not None:
        left_s = min(left_s, max(0.0, (last.reopen_after - last.at).total_seconds() - last_age_s))
    return Memory(bad_until_s=at_s + left_s, tripped=frozenset(name for name, _ in WEATHER_RULES))


def judge(safety: Safety, seen: Seen, memory: Memory, plc_max_age_s: float) -> tuple[SafetyVerdict, Memory]:
    """Return the verdict on what is seen, and the memory for the next one."""
    memory = _remember_samples(memory, seen)
    dangers = _plc_dangers(safety, seen, plc_max_age_s)
    tripped, weather, warnings = _weather(safety, seen, memory)
    dangers += weather
    bad_until_s, good_since_s = memory.bad_until_s, memory.good_since_s
    if dangers:
        hold_off_s = safety.rain_hold_off_s if _rains(seen) else safety.hold_off_s
        bad_until_s, good_since_s = max(bad_until_s, seen.at_s + hold_off_s), None
    latched = tuple(seen.plc.latched) if seen.plc else ()
    if not dangers and (good_since_s is None or latched != memory.latched):
        good_since_s = seen.at_s
    latches = [f"PLC latched: {reason}" for reason in latched if reason != "boot"]
    reopen_after = seen.now + timedelta(seconds=bad_until_s - seen.at_s) if seen.at_s < bad_until_s else None
    if "boot" in latched:
        warnings.append("the PLC has booted and has had no heartbeat yet")
    level, reasons = _level(dangers + latches, warnings, reopen_after)
    verdict = SafetyVerdict(
        level=level, reasons=reasons, at=seen.now, reopen_after=None if dangers or latches else reopen_after
    )
    return verdict, replace(
        memory, tripped=tripped, bad_until_s=bad_until_s, good_since_s=good_since_s, latched=latched
    )


def reset_is_due(safety: Safety, seen: Seen, memory: Memory) -> bool:
    """Tell whether `deadman_reset` clears the latch now: nothing else is latched, and all has been good long enough."""
    if safety.deadman_reset == "operator" or memory.good_since_s is None:
        return False
    latched = seen.plc is not None and seen.plc.latched == ["deadman"] and seen.plc.dome == "closed"
    return latched and seen.at_s - memory.good_since_s >= safety.deadman_reset


def _rains(seen: Seen) -> bool:
    return (seen.plc is not None and seen.plc.rain is True) or any(station.rain for station in seen.stations)


def _level(dangers: list[str], warnings: list[str], reopen_after: datetime | None) -> tuple[SafetyLevel, list[str]]:
    if dangers:
        return "UNSAFE", dangers
    if reopen_after is not None:
        return "UNSAFE", [f"good again; hold-off until {reopen_after:%H:%M:%S}"]
    if warnings:
        return "WARN", warnings
    return "SAFE", []


def _plc_dangers(safety: Safety, seen: Seen, plc_max_age_s: float) -> list[str]:
    plc = seen.plc
    if plc is None or plc.link == "down":
        return ["the PLC does not answer"]
    if seen.plc_age_s > plc_max_age_s:
        return [f"the PLC's last word is {seen.plc_age_s:.0f} s old"]
    return [
        text
        for wrong, text in (
            (plc.rain is True, "rain"),
            (plc.rain is None, "the rain contact is unknown"),
            (plc.emergency_stop is not False, "emergency stop"),
            (plc.local_key is not False, "local key"),
            (plc.mains is not True, "no mains"),
            (plc.ups_percent is None, "the UPS's charge is unknown"),
            (
                plc.ups_percent is not None and plc.ups_percent < safety.ups_min_percent,
                f"UPS at {plc.ups_percent or 0:.0f} % (limit {safety.ups_min_percent:g})",
            ),
            (plc.dome == "unknown", "the dome's limit switches contradict each other"),
        )
        if wrong
    ]


def _weather(safety: Safety, seen: Seen, memory: Memory) -> tuple[frozenset[str], list[str], list[str]]:
    """Judge the stations together: the worst value counts, and at least one of them has to be fresh and alive."""
    fresh = [station for station in seen.stations if _is_alive(safety, station, memory, seen.now)]
    if not fresh:
        return memory.tripped, ["no weather station has fresh values"], []
    tripped: set[str] = set()
    dangers: list[str] = []
    warnings: list[str] = []
    for name, unit in WEATHER_RULES:
        rule: Rule = getattr(safety, name)
        known = [value for station in fresh if _is_number(value := getattr(station, name))]
        label = name.split("_")[0]
        if not known:
            dangers.append(f"{label} is unknown")
            tripped |= memory.tripped & {name}
            continue
        worst = max(known)
        limit = rule.clear if name in memory.tripped else rule.limit
        if worst > limit:
            tripped.add(name)
            dangers.append(f"{label} {worst:.1f} {unit} (limit {limit:g})")
        elif rule.warn is not None and worst > rule.warn:
            warnings.append(f"{label} {worst:.1f} {unit} (warning at {rule.warn:g})")
    dangers += _cold_and_damp(safety, fresh)
    return frozenset(tripped), dangers, warnings


def _cold_and_damp(safety: Safety, fresh: list[WeatherState]) -> list[str]:
    dangers: list[str] = []
    for station in fresh:
        temperature_c, dew_point_c = station.temperature_c, station.dew_point_c
        if station.rain is not False:
            dangers.append(f"{station.station}: rain" if station.rain else f"{station.station}: rain is unknown")
        if temperature_c is None or dew_point_c is None or not math.isfinite(temperature_c - dew_point_c):
            dangers.append(f"{station.station}: temperature or dew point is unknown")
            continue
        spread_c = temperature_c - dew_point_c
        if spread_c < safety.dew_point_spread_min_c:
            dangers.append(
                f"dew point {spread_c:.1f} °C below the temperature (limit {safety.dew_point_spread_min_c:g})"
            )
        if temperature_c < safety.temperature_min_c:
            dangers.append(f"temperature {temperature_c:.1f} °C (limit {safety.temperature_min_c:g})")
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
