"""The weather of the simulated world: a smooth, seeded function of time.

Each quantity is a mean, a swing over the day and a few slow waves whose periods and phases come from the seed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

QUANTITIES = (
    "temperature_c",
    "humidity_percent",
    "wind_m_s",
    "gust_m_s",
    "pressure_hpa",
    "cloud_percent",
    "seeing_arcsec",
)
RANGES: dict[str, tuple[float, float]] = {
    "temperature_c": (-60.0, 60.0),
    "humidity_percent": (0.0, 100.0),
    "wind_m_s": (0.0, 100.0),
    "gust_m_s": (0.0, 120.0),
    "pressure_hpa": (400.0, 1100.0),
    "cloud_percent": (0.0, 100.0),
    "seeing_arcsec": (0.2, 20.0),
}
"""Range of each quantity; nothing outside is ever reported."""

_DAY_S = 86400.0


@dataclass(frozen=True)
class Wave:
    """One slow swing: value += amplitude * sin(2 pi t / period + phase)."""

    amplitude: float
    period_s: float
    phase: float


@dataclass(frozen=True)
class Climate:
    """Mean, daily swing (warmest or largest at 15 h local time) and waves of one quantity."""

    mean: float
    daily: float
    waves: tuple[Wave, ...]


def pressure_at_height_hpa(height_m: float) -> float:
    """Mean pressure by the ICAO standard atmosphere (Doc 7488)."""
    return 1013.25 * (1.0 - 2.25577e-5 * height_m) ** 5.25588


def climate(seed: int, height_m: float) -> dict[str, Climate]:
    """Draw the seed's climate: good for observing, on the whole, on every night."""
    table = {
        "temperature_c": (21.0 - 0.0048 * height_m, 4.0, 1.2),
        "humidity_percent": (32.0, -6.0, 9.0),
        "wind_m_s": (4.0, 0.8, 1.8),
        "gust_m_s": (1.8, 0.2, 0.7),
        "pressure_hpa": (pressure_at_height_hpa(height_m), 0.3, 1.5),
        "cloud_percent": (6.0, 0.0, 5.0),
        "seeing_arcsec": (1.1, 0.0, 0.25),
    }
    drawn: dict[str, Climate] = {}
    for name, (mean, daily, swing) in table.items():
        noise = random.Random(f"{seed} {name}")
        waves = tuple(
            Wave(swing * part, noise.uniform(low, high) * 3600.0, noise.uniform(0, 2 * math.pi))
            for part, low, high in ((0.6, 8, 15), (0.3, 2, 4), (0.1, 0.4, 0.9))
        )
        drawn[name] = Climate(mean, daily, waves)
    return drawn


def value_at(quantity: Climate, unix_s: float, longitude_deg: float) -> float:
    """Value of one quantity, before its range is applied."""
    local = unix_s + longitude_deg / 360.0 * _DAY_S
    value = quantity.mean + quantity.daily * math.cos(2 * math.pi * (local / _DAY_S - 15.0 / 24.0))
    for wave in quantity.waves:
        value += wave.amplitude * math.sin(2 * math.pi * unix_s / wave.period_s + wave.phase)
    return value


def within_range(name: str, value: float) -> float:
    """Bring a value into the range of its quantity."""
    low, high = RANGES[name]
    return min(high, max(low, value))


def dew_point_c(temperature_c: float, humidity_percent: float) -> float:
    """Dew point by the Magnus formula (Sonntag 1990 coefficients)."""
    gamma = math.log(max(humidity_percent, 0.1) / 100.0) + 17.62 * temperature_c / (243.12 + temperature_c)
    return 243.12 * gamma / (17.62 - gamma)


def sky_minus_ambient_c(cloud_percent: float) -> float:
    """Infrared sky temperature less the air's: -25 under a clear sky, -3 when overcast."""
    return -25.0 + 22.0 * min(100.0, max(0.0, cloud_percent)) / 100.0


def jitter(seed: int, name: str, sample: int) -> float:
    """Seeded noise in [-1, 1] of one sensor's sample (a SplitMix64 step: same everywhere, fast, no state)."""
    mask = 0xFFFFFFFFFFFFFFFF
    mixed = (seed * 0x9E3779B97F4A7C15 + sum(name.encode()) * 0xD1B54A32D192ED03 + sample * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return ((mixed ^ (mixed >> 31)) >> 11) / 2.0**52 - 1.0
