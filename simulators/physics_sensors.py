"""What the sensors of a weather station say about the simulated world, with their own faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from simulators.physics_timeline import Timeline
from simulators.physics_weather import RANGES, jitter

SAMPLE_S = 2.0
"""A station measures every two seconds; the age of its values is counted from its last measurement."""
FAULTS = ("frozen", "stale", "nan", "offset")
_NOISE = {
    "temperature_c": 0.15,
    "humidity_percent": 0.4,
    "wind_m_s": 0.4,
    "gust_m_s": 0.3,
    "pressure_hpa": 0.1,
    "sky_minus_ambient_c": 0.2,
}
MEASURED = tuple(_NOISE)


@dataclass(frozen=True)
class Reading:
    """One measurement: values in the units of their names (NaN where the sensor gives none), rain, and its age."""

    values: dict[str, float]
    rain: bool | None
    """None where the sensor gives no answer."""
    age_s: float


@dataclass(frozen=True)
class SensorFault:
    """What a station suffers from since `since_s`; `value` is the error of `offset`, in each quantity's own unit."""

    kind: str
    since_s: float
    value: float = 0.0


class Station:
    """One weather station: the world's truth, measured every `SAMPLE_S` with a little seeded noise.

    Parameters
    ----------
    truth : callable
        Of a time in seconds since 1970 gives (values by name, rain).
    """

    def __init__(self, name: str, seed: int, truth: Callable[[float], tuple[dict[str, float], bool]]) -> None:
        self._name = name
        self._seed = seed
        self._truth = truth
        self._fault: Timeline[SensorFault | None] = Timeline(None)
        self._last: tuple[int, Reading] | None = None

    def set_fault(self, unix_s: float, kind: str | None, value: float = 0.0) -> None:
        """Begin a fault at `unix_s`, or end it (None)."""
        if kind is not None and kind not in FAULTS:
            raise ValueError(f"sensor fault {kind!r} is unknown; use one of {', '.join(FAULTS)}")
        self._fault.set(unix_s, None if kind is None else SensorFault(kind, unix_s, value))

    def fault_at(self, unix_s: float) -> SensorFault | None:
        """Return what the station suffers from at a time."""
        return self._fault.at(unix_s)

    def reading(self, unix_s: float) -> Reading:
        """Return what the station reports at a time."""
        fault = self._fault.at(unix_s)
        held_s = unix_s if fault is None or fault.kind not in {"frozen", "stale"} else min(unix_s, fault.since_s)
        sample = math.floor(held_s / SAMPLE_S)
        measured = self._measure(sample)
        if fault is None:
            return replace(measured, age_s=unix_s - sample * SAMPLE_S)
        if fault.kind == "stale":
            return replace(measured, age_s=unix_s - sample * SAMPLE_S)
        age_s = unix_s - math.floor(unix_s / SAMPLE_S) * SAMPLE_S
        if fault.kind == "nan":
            return Reading(dict.fromkeys(measured.values, math.nan), None, age_s)
        if fault.kind == "offset":
            shifted = {name: _shift(name, value, fault.value) for name, value in measured.values.items()}
            return Reading(shifted, measured.rain, age_s)
        return replace(measured, age_s=age_s)

    def _measure(self, sample: int) -> Reading:
        if self._last is None or self._last[0] != sample:
            truth, rain = self._truth(sample * SAMPLE_S)
            values = {
                name: _shift(name, truth[name], noise * jitter(self._seed, self._name + name, sample))
                for name, noise in _NOISE.items()
            }
            self._last = (sample, Reading(values, rain, 0.0))
        return self._last[1]


def _shift(name: str, value: float, by: float) -> float:
    low, high = RANGES.get(name, (-60.0, 60.0))
    return min(high, max(low, value + by))
