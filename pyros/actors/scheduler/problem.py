"""What a scheduling is asked and what it answers.

Instants are aware UTC datetimes, as in messages and store; the arrays inside count seconds from the night's first
noon, so that sums stay exact to far better than a microsecond. Julian dates exist only in the exchange files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pyros.sky.night import Night
from pyros.sky.site import Site


class RejectCode(StrEnum):
    """Which constraint left no place for a request; the sentence beside it has the figures."""

    NIGHT = "NIGHT"
    WINDOW = "WINDOW"
    TOO_LONG = "TOO_LONG"
    ALTITUDE = "ALTITUDE"
    MOON = "MOON"
    PREFERRED = "PREFERRED"
    QUOTA = "QUOTA"
    NO_ROOM = "NO_ROOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One uninterrupted exposure (or sequence) that somebody wants.

    `tier` ranks strictly: everything of a higher tier is placed before anything of a lower one, and is never displaced
    by it. Alerts have a tier above routine requests (0). Within a tier, value is priority times duration.
    """

    id: str
    ra_deg: float
    dec_deg: float
    priority: float
    duration_s: float
    earliest: datetime
    latest: datetime
    """The exposure lies between `earliest` and `latest`."""
    t_preferred: datetime | None = None
    """Preferred instant of mid-exposure."""
    delta_left_s: float = 0.0
    delta_right_s: float = 0.0
    """How far mid-exposure may be before and after `t_preferred`."""
    user: str = ""
    min_altitude_deg: float = 20.0
    moon_separation_deg: float = 0.0
    tier: int = 0

    def __post_init__(self) -> None:
        if not self.duration_s > 0:
            raise ValueError(f"request {self.id}: duration_s is {self.duration_s}; it must be above 0")
        if self.latest < self.earliest:
            raise ValueError(f"request {self.id}: latest {self.latest} is before earliest {self.earliest}")

    @property
    def value(self) -> float:
        """Priority times duration in seconds."""
        return self.priority * self.duration_s


@dataclass(frozen=True, slots=True)
class Fixed:
    """A request that was executed or is executing: it stays where it is."""

    id: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One scheduling.

    The first scheduling of a night needs `night_start` and `night_end`; a later one needs `now`, before which nothing
    starts that is not fixed, and may leave the pair out (the night's own noons). Exposures lie between the pair and in
    dark time. `quotas_s` is the most exposure that each user may have in this planning, fixed rows included; a user
    without an entry has no limit.

    Raises
    ------
    ValueError
        If the pair or `now` is missing, the overhead negative, an id used twice, or a fixed id not among the requests.
    """

    site: Site
    night: Night
    requests: tuple[Request, ...]
    overhead_s: float = 30.0
    first_schedule: bool = False
    night_start: datetime | None = None
    night_end: datetime | None = None
    now: datetime | None = None
    fixed: tuple[Fixed, ...] = ()
    quotas_s: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        if self.first_schedule and (self.night_start is None or self.night_end is None):
            raise ValueError("the first schedule of a night needs night_start and night_end")
        if not self.first_schedule and self.now is None:
            raise ValueError("a schedule that is not the first of its night needs now")
        if not self.overhead_s >= 0:
            raise ValueError(f"overhead_s is {self.overhead_s}; it must be 0 or more")
        self._check_ids()

    def _check_ids(self) -> None:
        known: dict[str, Request] = {}
        for request in self.requests:
            if request.id in known:
                raise ValueError(f"request {request.id} is given twice; ids are unique")
            known[request.id] = request
        fixed: dict[str, Fixed] = {}
        for row in self.fixed:
            if row.id not in known:
                raise ValueError(f"fixed {row.id} is not among the requests")
            if row.id in fixed or row.end < row.start:
                raise ValueError(f"fixed {row.id} is given twice or ends before it starts")
            fixed[row.id] = row


@dataclass(frozen=True, slots=True)
class Placed:
    """When a request is observed, and how far its start may move with the order kept.

    With everything before it pushed to its earliest it could start `delta_tl_s` sooner, with everything after it pushed
    to its latest `delta_tr_s` later.
    """

    id: str
    start: datetime
    end: datetime
    delta_tl_s: float
    delta_tr_s: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a request is not observed: a code, and one sentence with figures."""

    id: str
    code: RejectCode
    reason: str


@dataclass(frozen=True, slots=True)
class Planning:
    """The answer: every request once, in `placed` (by start) or in `rejected` (in the order asked)."""

    placed: tuple[Placed, ...]
    rejected: tuple[Rejected, ...]
    free: tuple[tuple[datetime, datetime], ...]
    """The dark time that nobody uses, overheads taken as used."""
    value: float
    """Sum of priority times duration over what is placed."""
