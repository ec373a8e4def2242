"""What a camera sees of the simulated world: where it points, how dark the sky is, what flares up.

`World` lists all that the camera asks of it. A `Sample` is the world at one instant of an exposure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

ZERO_POINT_MAG = 19.3 + 2.5 * math.log10(370.0 / 30.0)
"""Magnitude that gives 1 electron/s: 370 electrons in 30 s, five sigma at 0.76 arcsec/pixel, are magnitude 19.3."""
DARK_SKY_E_S_ARCSEC2 = 4.0 / (26.0 * 60.0 / 2048.0) ** 2
"""Moonless night sky: 120 electrons per pixel in 30 s at 0.76 arcsec/pixel."""
FULL_MOON_MAG_ARCSEC2 = 18.5
"""Sky under a full Moon in the zenith, a mean over the sky."""
DAY_MAG_ARCSEC2 = 3.5


class Transient(Protocol):
    """A source that comes and fades, at an ICRS place in degrees."""

    @property
    def ra_deg(self) -> float:
        """Right ascension."""
        ...

    @property
    def dec_deg(self) -> float:
        """Declination."""
        ...

    def magnitude(self, t: datetime, /) -> float | None:
        """Return the magnitude, None before the source exists."""
        ...


class Faults(Protocol):
    """The faults injected at present."""

    def active(self, device: str, /) -> str | None:
        """Return the kind of a device's fault."""
        ...


class World(Protocol):
    """What a camera needs of the simulated world.

    A world may also have `sun_altitude_deg(t)`, `moon(t)` (altitude in degrees and illuminated fraction) and
    `transparency(t)` (0 to 1); without them it is a clear, moonless night.
    """

    @property
    def transients(self) -> Sequence[Transient]:
        """All sources that are no stars."""
        ...

    @property
    def faults(self) -> Faults:
        """See `Faults`."""
        ...

    def pointing(self, t: datetime, /) -> tuple[float, float, float, float]:
        """Return where the telescope points: ra, dec (ICRS), altitude, azimuth in degrees."""
        ...

    def dome_open_fraction(self, t: datetime, /) -> float:
        """Return 0 for closed to 1 for open."""
        ...

    def seeing(self, t: datetime, /) -> float:
        """Return the full width at half maximum in arcsec."""
        ...

    def on_exposure(self, camera: str, start: datetime, end: datetime, kind: str, /) -> None:
        """Hear that the shutter has closed; kind is light, flat, dark or bias."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """The world at one instant; `throughput` is the fraction of a star's light that reaches the camera."""

    ra_deg: float
    dec_deg: float
    seeing_arcsec: float
    throughput: float
    sky_e_s_arcsec2: float


def sample(world: World, t: datetime) -> Sample:
    """Look at the world at the instant t. Under a closed dome or below the horizon there is no light at all."""
    ra_deg, dec_deg, altitude_deg, _ = world.pointing(t)
    open_fraction = min(1.0, max(0.0, world.dome_open_fraction(t))) if altitude_deg > 0.0 else 0.0
    transparency = float(_ask(world, "transparency", t, 1.0))
    return Sample(
        ra_deg,
        dec_deg,
        world.seeing(t),
        open_fraction * transparency,
        open_fraction * sky_brightness_e_s_arcsec2(sun_altitude_deg(world, t), _moonlight(world, t)),
    )


def sun_altitude_deg(world: World, t: datetime) -> float:
    """Return the Sun's altitude, or deep night where the world does not know it."""
    return float(_ask(world, "sun_altitude_deg", t, -90.0))


def _moonlight(world: World, t: datetime) -> float:
    moon: Any = _ask(world, "moon", t, None)
    if moon is None:
        return 0.0
    altitude_deg, illuminated = moon
    return max(0.0, math.sin(math.radians(altitude_deg))) * illuminated**3


def _ask(world: World, name: str, t: datetime, otherwise: Any) -> Any:
    question: Callable[[datetime], Any] | None = getattr(world, name, None)
    return otherwise if question is None else question(t)


def sky_brightness_e_s_arcsec2(sun_altitude_deg: float, moonlight: float = 0.0) -> float:
    """Return the sky's brightness in electrons per second and square arcsecond.

    Night sky, twilight after Patat, Ugolnikov and Postylyakov (2006, A&A 455, 385, table 2, V; extended linearly above
    5 degrees of depression), and moonlight (0 to 1, a full Moon in the zenith).
    """
    twilight = max(DAY_MAG_ARCSEC2, twilight_mag_arcsec2(sun_altitude_deg))
    return DARK_SKY_E_S_ARCSEC2 + electrons_per_s(twilight) + moonlight * electrons_per_s(FULL_MOON_MAG_ARCSEC2)


def twilight_mag_arcsec2(sun_altitude_deg: float) -> float:
    """Return the zenith's V surface brightness from scattered sunlight alone."""
    x = -5.0 - sun_altitude_deg
    if x < 0.0:
        return 11.84 + 1.518 * x
    if x < 10.0:
        return 11.84 + 1.518 * x - 0.057 * x * x
    return 21.32 + 1.0 * (x - 10.0)  # past the fit's range: a magnitude per degree, soon below the night sky


def electrons_per_s(mag: float) -> float:
    """Return the rate that a magnitude gives through the whole, clear aperture."""
    return 10.0 ** (0.4 * (ZERO_POINT_MAG - mag))


def mean_electrons_per_s(source: Transient, start: datetime, duration_s: float, steps: int = 64) -> float:
    """Return a transient's rate averaged over an exposure; it gives nothing before its magnitude exists."""
    middles = (start + timedelta(seconds=(k + 0.5) * duration_s / steps) for k in range(steps))
    magnitudes = [source.magnitude(t) for t in middles]
    return sum(electrons_per_s(mag) for mag in magnitudes if mag is not None) / steps


class NoFaults:
    """A world in which nothing breaks."""

    def active(self, device: str, /) -> str | None:
        """Return None, whatever the device."""
        del device


@dataclass
class PlainWorld:
    """A world for a camera that runs alone: an open dome, a mount that tracks one place, a dark, still night."""

    ra_deg: float
    dec_deg: float
    seeing_arcsec: float = 2.0
    transients: list[Transient] = field(default_factory=list[Transient])
    faults: Faults = field(default_factory=NoFaults)

    def pointing(self, t: datetime, /) -> tuple[float, float, float, float]:
        """Return the fixed pointing, as if in the zenith."""
        del t
        return self.ra_deg, self.dec_deg, 90.0, 0.0

    def dome_open_fraction(self, t: datetime, /) -> float:
        """Return 1: open."""
        del t
        return 1.0

    def seeing(self, t: datetime, /) -> float:
        """Return the fixed seeing in arcsec."""
        del t
        return self.seeing_arcsec

    def on_exposure(self, camera: str, start: datetime, end: datetime, kind: str, /) -> None:
        """Let an exposure pass: nobody judges it here."""
