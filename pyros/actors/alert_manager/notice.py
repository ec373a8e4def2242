"""What PyROS knows of one notice, whatever mission wrote it."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

R90_PER_R68 = math.sqrt(math.log(0.10) / math.log(0.32))
"""90 % over 68 % containment radius of a circular Gaussian: P(>r) = exp(-r² / 2σ²), so 1.42."""

ONE_SIGMA = "1 sigma statistical"
NINETY = "90 %"
R90 = "R90"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One notice in terms common to all missions.

    Angles are ICRS degrees, instants aware UTC; None means not told or not usable, and `problems` then says why.
    """

    ivorn: str
    stream: str
    """Authority and stream of the IVORN, such as `nasa.gsfc.gcn/SWIFT`."""
    role: str
    kind: str
    """trigger (no position), initial, update, final, subthreshold, catalogue, retraction, test or other."""
    mission: str = ""
    """Who numbers the trigger: `trigger` is unique within it."""
    instrument: str = ""
    trigger: str = ""
    packet_type: str = ""
    serial: int | None = None
    t0: datetime | None = None
    """Instant of the burst; never the start of a later exposure."""
    observed_at: datetime | None = None
    """Start of the exposure, where a notice tells that instead: not earlier than the burst."""
    sent: datetime | None = None
    ra_deg: float | None = None
    dec_deg: float | None = None
    error_deg: float | None = None
    error_meaning: str = ""
    systematic_deg: float = 0.0
    """Known error that `error_deg` leaves out, 1 sigma, degrees."""
    position_trusted: bool = False
    significance: float | None = None
    classification: str = ""
    """GRB, or what else the mission took it for; empty when it does not say."""
    class_probability: float | None = None
    """Percent."""
    flags: tuple[str, ...] = ()
    """What speaks against it: not_identified, catalogue_source, star_tracker_lost, subthreshold, not_a_grb."""
    retraction: bool = False
    test: bool = False
    acted_upon: bool = False
    """Whether PyROS observes bursts of this packet type at all; the others are stored and shown."""
    citations: tuple[str, ...] = ()
    problems: list[str] = []

    @property
    def reference(self) -> datetime | None:
        """The burst's instant, or else the latest that it can have been."""
        return self.t0 or self.observed_at or self.sent

    @property
    def identity(self) -> tuple[str, str, str, int | None]:
        """Mission, trigger, packet type and serial: equal for a message that was sent twice under two names."""
        return self.mission, self.trigger, self.packet_type, self.serial


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A place on the sky with its uncertainty; see `Notice` for the units."""

    ra_deg: float
    dec_deg: float
    error_deg: float
    error_meaning: str = NINETY
    systematic_deg: float = 0.0

    @property
    def sigma_deg(self) -> float:
        """The radius to associate with: as stated, whatever its meaning, and the systematic error in quadrature."""
        return math.hypot(self.error_deg, self.systematic_deg)

    @property
    def r90_deg(self) -> float:
        """Radius that holds the source with 90 % probability."""
        if self.error_meaning == ONE_SIGMA:
            return R90_PER_R68 * self.sigma_deg
        return math.hypot(self.error_deg, R90_PER_R68 * self.systematic_deg)


def position_of(notice: Notice) -> Position | None:
    """Return the notice's position if it has one that can be believed, radius included."""
    if notice.ra_deg is None or notice.dec_deg is None or notice.error_deg is None or not notice.position_trusted:
        return None
    return Position(
        ra_deg=notice.ra_deg,
        dec_deg=notice.dec_deg,
        error_deg=notice.error_deg,
        error_meaning=notice.error_meaning,
        systematic_deg=notice.systematic_deg,
    )


def separation_deg(ra_1_deg: float, dec_1_deg: float, ra_2_deg: float, dec_2_deg: float) -> float:
    """Return the angle between two directions (degrees), exact at all distances (Vincenty's formula on a sphere)."""
    dec_1, dec_2 = math.radians(dec_1_deg), math.radians(dec_2_deg)
    d_ra = math.radians(ra_2_deg - ra_1_deg)
    across = math.hypot(
        math.cos(dec_2) * math.sin(d_ra),
        math.cos(dec_1) * math.sin(dec_2) - math.sin(dec_1) * math.cos(dec_2) * math.cos(d_ra),
    )
    along = math.sin(dec_1) * math.sin(dec_2) + math.cos(dec_1) * math.cos(dec_2) * math.cos(d_ra)
    return math.degrees(math.atan2(across, along))


def galactic_latitude_deg(ra_deg: float, dec_deg: float) -> float:
    """Return the galactic latitude of an ICRS direction; pole as in the Hipparcos catalogue, section 1.5.3."""
    return 90.0 - separation_deg(ra_deg, dec_deg, 192.85948, 27.12825)
