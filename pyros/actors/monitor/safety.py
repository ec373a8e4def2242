"""Is it safe to be open? A pure judgement with a memory: hysteresis per quantity, and a hold-off after anything bad.

Unknown, stale, frozen or contradictory is UNSAFE, and so is the start. WARN keeps an open dome and forbids opening.
Limits and hold-offs come from `[safety]`; the defaults follow what robotic observatories use.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pyros.config import Rule, Safety
from pyros.messages.devices import PlcState, WeatherState
from pyros.messages.night import SafetyLevel, SafetyVerdict

FROZEN_S = 900.0
"""A station whose every value stands still for this long is not measuring."""


@dataclass(frozen=True)
class Memory:
    """What the judgement remembers from one reading to the next."""

    tripped: frozenset[str] = frozenset()
    """Quantities beyond their limit and not yet below their clear value."""
    bad_until: datetime | None = None
    """End of the hold-off, as counted from the last bad reading."""
    samples: dict[str, tuple[tuple[float | None, ...], datetime]] = field(default_factory=dict)
    """Each station's last values, and since when they are the same."""


@dataclass(frozen=True)
class Seen:
    """What is known at this moment; `plc_age_s` is by the monotonic clock."""

    plc: PlcState | None
    plc_age_s: float
    stations: list[WeatherState]
    now: datetime


def judge(safety: Safety, seen: Seen, memory: Memory | None, plc_max_age_s: float) -> tuple[SafetyVerdict, Memory]:
    """Return the verdict on what is seen, and the memory for the next one; no memory means that we have just started."""
    if memory is None:
        memory = Memory(bad_until=seen.now + timedelta(seconds=safety.hold_off_s))
    memory = _remember_samples(memory, seen)
    dangers = _plc_dangers(safety, seen, plc_max_age_s)
    rain = seen.plc is not None and seen.plc.rain is True
    tripped, weather, warnings = _weather(safety, seen, memory)
    dangers += weather
    bad_until = memory.bad_until
    if dangers:
        hold_off_s = safety.rain_hold_off_s if rain else safety.hold_off_s
        bad_until = max(bad_until or seen.now, seen.now + timedelta(seconds=hold_off_s))
    level, reasons = _level(dangers, warnings, bad_until, seen.now)
    verdict = SafetyVerdict(
        level=level, reasons=reasons, at=seen.now, reopen_after=bad_until if level == "UNSAFE" and not dangers else None
    )
    return verdict, replace(memory, tripped=tripped, bad_until=bad_until)


def _level(
    dangers: list[str], warnings: list[str], bad_until: datetime | None, now: datetime
) -> tuple[SafetyLevel, list[str]]:
    if dangers:
        return "UNSAFE", dangers
    if bad_until is not None and now < bad_until:
        return "UNSAFE", [f"good again; hold-off until {bad_until:%H:%M:%S}"]
    if warnings:
        return "WARN", warnings
    return "SAFE", []


def _plc_dangers(safety: Safety, seen: Seen, plc_max_age_s: float) -> list[str]:
    plc = seen.plc
    if plc is None or plc.link == "down":
        return ["the PLC does not answer"]
    if seen.plc_age_s > plc_max_age_s:
        return [f"the PLC's last word is {seen.plc_age_s:.0f} s old"]
    dangers = [
        text
        for wrong, text in (
            (plc.rain is True, "rain"),
            (plc.rain is None, "the rain contact is unknown"),
            (plc.emergency_stop is not False, "emergency stop"),
            (plc.local_key is not False, "local key"),
            (plc.mains is not True, "no mains"),
            (plc.ups_percent is None or plc.ups_percent < safety.ups_min_percent, f"UPS at {plc.ups_percent} %"),
            (plc.dome == "unknown", "the dome's limit switches contradict each other"),
        )
        if wrong
    ]
    return dangers + [f"PLC latched: {reason}" for reason in plc.latched if reason != "boot"]


def _weather(safety: Safety, seen: Seen, memory: Memory) -> tuple[frozenset[str], list[str], list[str]]:
    """Judge the stations together: the worst value counts, and at least one of them has to be fresh and alive."""
    fresh = [station for station in seen.stations if _is_alive(safety, station, memory, seen.now)]
    if not fresh:
        return memory.tripped, ["no weather station has fresh values"], []
    tripped: set[str] = set()
    dangers: list[str] = []
    warnings: list[str] = []
    for name, unit in (("wind_m_s", "m/s"), ("gust_m_s", "m/s"), ("humidity_percent", "%")):
        rule: Rule = getattr(safety, name)
        known = [value for station in fresh if (value := getattr(station, name)) is not None]
        label = name.split("_")[0]
        if not known:
            dangers.append(f"{label} is unknown")
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
        if station.temperature_c is None or station.dew_point_c is None:
            dangers.append(f"{station.station}: temperature or dew point is unknown")
            continue
        spread_c = station.temperature_c - station.dew_point_c
        if spread_c < safety.dew_point_spread_min_c:
            dangers.append(f"dew point {spread_c:.1f} °C below the temperature (limit {safety.dew_point_spread_min_c:g})")
        if station.temperature_c < safety.temperature_min_c:
            dangers.append(f"temperature {station.temperature_c:.1f} °C (limit {safety.temperature_min_c:g})")
        if station.rain is not False:
            dangers.append(f"{station.station}: rain" if station.rain else f"{station.station}: rain is unknown")
    return dangers


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
