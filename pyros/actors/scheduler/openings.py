"""From requests to rows: in which windows may each request start, and if in none, which constraint is to blame.

Constraints are applied one after the other: the planned span and dark time, the requested window, the altitude limit,
the Moon, the preferred time. The first that leaves too little names the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pyros.actors.scheduler.order import Rows
from pyros.actors.scheduler.problem import Problem, RejectCode
from pyros.sky.visibility import NightSky, Places, Windows, altitude_windows, window_table

Floats = NDArray[np.float64]
TOLERANCE_S = 1e-3
"""A window too short by less than this is long enough: Julian dates in one number are rounded to 0.04 ms."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """The requests of a problem as arrays (n,), times in seconds after the night's first noon."""

    duration_s: Floats
    value: Floats
    earliest_s: Floats
    latest_s: Floats
    preferred_s: Floats
    """Preferred start; NaN where there is none."""
    left_s: Floats
    right_s: Floats
    min_altitude_deg: Floats
    moon_separation_deg: Floats
    tier: NDArray[np.intp]
    user: NDArray[np.intp]
    """Index into the problem's quotas; the number of quotas for users without one."""


@dataclass(frozen=True, slots=True)
class Openings:
    """Rows of all requests, and for each request the constraint that emptied it (None where it has a row)."""

    rows: Rows
    blame: tuple[RejectCode | None, ...]
    places: Places
    wishes: Wishes
    span_s: tuple[float, float]


def find_openings(problem: Problem, sky: NightSky) -> Openings:
    """Return when each request may start."""
    wishes = _wishes(problem, sky)
    places = sky.places([r.ra_deg for r in problem.requests], [r.dec_deg for r in problem.requests])
    span_s = _span(problem, sky)
    low, high = np.maximum(wishes.earliest_s, span_s[0]), np.minimum(wishes.latest_s, span_s[1])
    above = altitude_windows(sky, places, wishes.min_altitude_deg)
    clear = window_table(sky, places, wishes.min_altitude_deg, wishes.moon_separation_deg)
    rows = _start_ranges(clear, wishes, low, high, preferred=True)
    stages = {
        RejectCode.TOO_LONG: wishes.latest_s - wishes.earliest_s >= wishes.duration_s - TOLERANCE_S,
        RejectCode.WINDOW: high - low >= wishes.duration_s - TOLERANCE_S,
        RejectCode.ALTITUDE: _has_row(_start_ranges(above, wishes, low, high, preferred=False), wishes),
        RejectCode.MOON: _has_row(_start_ranges(clear, wishes, low, high, preferred=False), wishes),
        RejectCode.PREFERRED: _has_row(rows, wishes),
    }
    if span_s[1] <= span_s[0]:
        stages = {RejectCode.NIGHT: np.zeros(len(wishes.tier), bool)}
    blame = [next((code for code, good in stages.items() if not good[i]), None) for i in range(len(wishes.tier))]
    return Openings(rows, tuple(blame), places, wishes, span_s)


def _wishes(problem: Problem, sky: NightSky) -> Wishes:
    requests = problem.requests
    users = {user: k for k, user in enumerate(problem.quotas_s)}

    def seconds(when: datetime | None) -> float:
        return np.nan if when is None else sky.seconds(when)

    duration_s = _floats([r.duration_s for r in requests])
    return Wishes(
        duration_s=duration_s,
        value=_floats([r.value for r in requests]),
        earliest_s=_floats([seconds(r.earliest) for r in requests]),
        latest_s=_floats([seconds(r.latest) for r in requests]),
        preferred_s=_floats([seconds(r.t_preferred) for r in requests]) - duration_s / 2,
        left_s=_floats([r.delta_left_s for r in requests]),
        right_s=_floats([r.delta_right_s for r in requests]),
        min_altitude_deg=_floats([r.min_altitude_deg for r in requests]),
        moon_separation_deg=_floats([r.moon_separation_deg for r in requests]),
        tier=np.array([r.tier for r in requests], np.intp),
        user=np.array([users.get(r.user, len(users)) for r in requests], np.intp),
    )


def _span(problem: Problem, sky: NightSky) -> tuple[float, float]:
    """Return dark time within what is planned, from now on; empty (0, 0) without dark time."""
    if sky.dark_s is None:
        return 0.0, 0.0
    starts = [sky.seconds(t) for t in (problem.night_start, problem.now) if t is not None]
    ends = [sky.seconds(t) for t in (problem.night_end,) if t is not None]
    return max(sky.dark_s[0], *starts), min([sky.dark_s[1], *ends])


def _start_ranges(table: Windows, wishes: Wishes, low: Floats, high: Floats, *, preferred: bool) -> Rows:
    """Turn windows of visibility into ranges of start times."""
    of = table.target
    duration = wishes.duration_s[of]
    start = np.maximum(table.start_s, low[of])
    end = np.minimum(table.end_s, high[of]) - duration
    if preferred:
        start = np.fmax(start, (wishes.preferred_s - wishes.left_s)[of])
        end = np.fmin(end, (wishes.preferred_s + wishes.right_s)[of])
    fits = end >= start - TOLERANCE_S
    of, start, end = of[fits], start[fits], np.maximum(start, end)[fits]
    return Rows.movable(
        request=of,
        lo_s=start,
        hi_s=end,
        duration_s=wishes.duration_s[of],
        value=wishes.value[of],
        user=wishes.user[of],
    )


def _has_row(rows: Rows, wishes: Wishes) -> NDArray[np.bool_]:
    return np.bincount(rows.request, minlength=len(wishes.tier)) > 0


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)
