"""How a mount moves: pure functions of the last command and the time.

Both axes move together along a straight line in hour angle and declination: the axis with the longer way follows a
trapezoid (acceleration, cruise, deceleration), the other the same shape over its own way, so that a slew between two
points above the horizon stays above it. Angles are degrees, times seconds of UTC since 1970.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from simulators.physics_frames import SIDEREAL_DEG_PER_S, wrap_180

SPEED_DEG_S = 6.0
ACCELERATION_DEG_S2 = 3.0
SETTLE_S = 2.0


def slew_duration_s(
    distance_deg: float, speed_deg_s: float = SPEED_DEG_S, acceleration_deg_s2: float = ACCELERATION_DEG_S2
) -> float:
    """Seconds from rest to rest over a distance, by the trapezoid (or the triangle, if full speed is not reached)."""
    distance = abs(distance_deg)
    if distance * acceleration_deg_s2 <= speed_deg_s**2:
        return 2.0 * math.sqrt(distance / acceleration_deg_s2)
    return distance / speed_deg_s + speed_deg_s / acceleration_deg_s2


def travelled_fraction(
    elapsed_s: float,
    distance_deg: float,
    speed_deg_s: float = SPEED_DEG_S,
    acceleration_deg_s2: float = ACCELERATION_DEG_S2,
) -> float:
    """Part of a way from rest to rest, 0 to 1, that has been covered after `elapsed_s`."""
    distance = abs(distance_deg)
    duration = slew_duration_s(distance, speed_deg_s, acceleration_deg_s2)
    if elapsed_s >= duration:
        return 1.0
    if elapsed_s <= 0.0:
        return 0.0
    ramp = min(speed_deg_s / acceleration_deg_s2, duration / 2)
    if elapsed_s < ramp:
        return acceleration_deg_s2 * elapsed_s**2 / 2 / distance
    if elapsed_s > duration - ramp:
        return 1.0 - acceleration_deg_s2 * (duration - elapsed_s) ** 2 / 2 / distance
    return acceleration_deg_s2 * ramp * (elapsed_s - ramp / 2) / distance


class After(Enum):
    """What a mount does once it has arrived."""

    TRACK = "tracks"
    HOLD = "stands"
    PARK = "is parked"


@dataclass(frozen=True)
class Motion:
    """A motion from one hour angle and declination to another, begun at `start_s`, and what follows it.

    `ha_end_deg` is where the hour axis is on arrival: for a tracked target the sky's motion until then is in it.
    `slowness` stretches the time axis.
    """

    start_s: float
    ha_start_deg: float
    dec_start_deg: float
    ha_end_deg: float
    dec_end_deg: float
    after: After
    duration_s: float
    ha_limit_deg: float = 180.0
    """Hour angle at which a tracking mount stops: the horizon limit of its declination."""
    slowness: float = 1.0

    @property
    def arrival_s(self) -> float:
        """When both axes have reached their ends."""
        return self.start_s + self.duration_s

    @property
    def ready_s(self) -> float:
        """When the tube has stopped swinging."""
        return self.arrival_s + (SETTLE_S if self.duration_s > 0 else 0.0)


def axes_at(motion: Motion, unix_s: float) -> tuple[float, float]:
    """Hour angle (not wrapped) and declination of the axes at a time not before the motion's start."""
    if unix_s >= motion.arrival_s:
        ha = motion.ha_end_deg
        if motion.after is After.TRACK:
            tracked = ha + SIDEREAL_DEG_PER_S * (unix_s - motion.arrival_s)
            ha = max(ha, min(tracked, motion.ha_limit_deg))
        return ha, motion.dec_end_deg
    ha_way, dec_way = motion.ha_end_deg - motion.ha_start_deg, motion.dec_end_deg - motion.dec_start_deg
    elapsed = (unix_s - motion.start_s) / motion.slowness
    done = travelled_fraction(elapsed, max(abs(ha_way), abs(dec_way)))
    return motion.ha_start_deg + done * ha_way, motion.dec_start_deg + done * dec_way


def is_slewing(motion: Motion, unix_s: float) -> bool:
    """Whether the mount moves or still swings."""
    return unix_s < motion.ready_s


def is_tracking(motion: Motion, unix_s: float) -> bool:
    """Whether the mount follows the sky: settled, asked to, and not stopped by its horizon limit."""
    if motion.after is not After.TRACK or unix_s < motion.arrival_s:
        return False
    return motion.ha_end_deg + SIDEREAL_DEG_PER_S * (unix_s - motion.arrival_s) < motion.ha_limit_deg


def setting_hour_angle_deg(dec_deg: float, latitude_deg: float, altitude_deg: float) -> float:
    """Hour angle, 0 to 180, at which a declination sinks below an altitude (180 if never, 0 if always below)."""
    sine = math.sin(math.radians(altitude_deg))
    phi, delta = math.radians(latitude_deg), math.radians(dec_deg)
    horizontal = math.cos(phi) * math.cos(delta)
    if horizontal < 1e-12:
        return 180.0 if math.sin(phi) * math.sin(delta) >= sine else 0.0
    cosine = (sine - math.sin(phi) * math.sin(delta)) / horizontal
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def slew_to(
    origin: tuple[float, float],
    target: tuple[float, float],
    start_s: float,
    after: After,
    *,
    ha_limit_deg: float = 180.0,
    slowness: float = 1.0,
) -> Motion:
    """Begin a slew from the axes' (hour angle, declination) to a target's, both as of `start_s`.

    A target that is to be tracked moves on during the slew; the meeting point is found by iteration.
    """
    ha0, dec0 = origin
    ha1, dec1 = wrap_180(target[0]), target[1]
    ha_end, duration = ha1, 0.0
    for _ in range(8):
        duration = slowness * slew_duration_s(max(abs(ha_end - ha0), abs(dec1 - dec0)))
        if after is After.TRACK:
            ha_end = ha1 + SIDEREAL_DEG_PER_S * duration
    return Motion(start_s, ha0, dec0, ha_end, dec1, after, duration, ha_limit_deg, slowness)


def standing(axes: tuple[float, float], start_s: float, after: After, ha_limit_deg: float = 180.0) -> Motion:
    """Return the motion that is none: from `start_s` on the mount stays, or tracks, where its axes are."""
    return Motion(start_s, *axes, *axes, after, 0.0, ha_limit_deg)
