"""Why a request is not observed: one sentence with the figures that decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pyros.actors.scheduler.openings import Openings
from pyros.actors.scheduler.order import Indices, Order
from pyros.actors.scheduler.problem import Problem, RejectCode, Rejected, Request
from pyros.sky.visibility import NightSky, Places


class _Case(NamedTuple):
    """One request without any opening, and the span in which it was sought."""

    request: Request
    place: Places
    sky: NightSky
    span_s: tuple[float, float]

    def clock(self, after_s: float) -> str:
        return f"{self.sky.instant(after_s):%d %H:%M:%S} UT"

    def window(self) -> tuple[float, float]:
        """Return what of the span the request asks for."""
        asked = self.sky.seconds(self.request.earliest), self.sky.seconds(self.request.latest)
        return max(asked[0], self.span_s[0]), min(asked[1], self.span_s[1])


def explain_impossible(problem: Problem, openings: Openings, sky: NightSky) -> dict[int, Rejected]:
    """Return the reason for each request (by index) that could not be observed even if it were alone."""
    reasons: dict[int, Rejected] = {}
    for k, code in enumerate(openings.blame):
        if code is not None:
            place = Places(openings.places.ra_rad[k : k + 1], openings.places.dec_rad[k : k + 1])
            case = _Case(problem.requests[k], place, sky, openings.span_s)
            reasons[k] = Rejected(case.request.id, *_SENTENCES[code](case))
    return reasons


def explain_crowding(problem: Problem, order: Order, candidates: Indices) -> dict[int, Rejected]:
    """Return the reason for each candidate's request (by index) that the order has no place for."""
    unused = candidates[~order.used[order.rows.request[candidates]]]
    if not len(unused):
        return {}
    worth = np.where(order.rows.pinned, np.inf, order.rows.value)
    reasons: dict[int, tuple[float, Rejected]] = {}
    for exchange in order.exchanges(unused, worth):
        k = int(order.rows.request[exchange.row])
        if k not in reasons or exchange.gain > reasons[k][0]:
            gone = [problem.requests[order.rows.request[r]].id for r in order.sequence[exchange.first : exchange.last]]
            reasons[k] = exchange.gain, _crowded(problem, order, k, exchange.gain, gone)
    return {k: rejected for k, (_, rejected) in reasons.items()}


def _crowded(problem: Problem, order: Order, k: int, gain: float, gone: list[str]) -> Rejected:
    request = problem.requests[k]
    left_s = problem.quotas_s.get(request.user, np.inf)
    if np.isfinite(left_s):
        left_s = float(order.left_s[list(problem.quotas_s).index(request.user)])
    if request.duration_s > left_s:
        text = (
            f"it takes {request.duration_s:.0f} s, and of the quota of {request.user}, "
            f"{problem.quotas_s[request.user]:.0f} s, only {max(left_s, 0.0):.0f} s are left"
        )
        return Rejected(request.id, RejectCode.QUOTA, text)
    if not np.isfinite(gain):
        return Rejected(request.id, RejectCode.NO_ROOM, "all its openings are held by what may not be displaced")
    text = (
        f"worth {request.value:,.0f} (priority {request.priority:g} for {request.duration_s:.0f} s), its cheapest "
        f"opening costs {request.value - gain:,.0f}: it would displace {_names(gone)}"
    )
    return Rejected(request.id, RejectCode.NO_ROOM, text)


def _names(ids: list[str]) -> str:
    if len(ids) > 4:
        return f"{', '.join(ids[:3])} and {len(ids) - 3} more"
    return " and ".join([", ".join(ids[:-1]), ids[-1]] if len(ids) > 1 else ids)


def _night(case: _Case) -> tuple[RejectCode, str]:
    night = case.sky.night
    if case.sky.dark_s is None:
        return RejectCode.NIGHT, f"the Sun does not go below {night.sun_altitude_max_deg:g}° this night"
    end = case.clock(min(case.sky.dark_s[1], case.span_s[1]))
    return RejectCode.NIGHT, f"nothing is left of the night, whose planned part ends at {end}"


def _too_long(case: _Case) -> tuple[RejectCode, str]:
    request = case.request
    wide_s = (request.latest - request.earliest).total_seconds()
    return RejectCode.TOO_LONG, f"it takes {request.duration_s:.0f} s and its window is {wide_s:.0f} s wide"


def _window(case: _Case) -> tuple[RejectCode, str]:
    low, high = case.window()
    night = f"{case.clock(case.span_s[0])} to {case.clock(case.span_s[1])}"
    if high <= low:
        asked = (
            case.clock(case.sky.seconds(case.request.earliest)),
            case.clock(case.sky.seconds(case.request.latest)),
        )
        return RejectCode.WINDOW, f"its window, {asked[0]} to {asked[1]}, lies outside the dark time left, {night}"
    text = f"it takes {case.request.duration_s:.0f} s and only {high - low:.0f} s of its window are in the dark time"
    code = RejectCode.TOO_LONG if case.request.duration_s > case.span_s[1] - case.span_s[0] else RejectCode.WINDOW
    return code, f"{text} left, {night}"


def _altitude(case: _Case) -> tuple[RejectCode, str]:
    highest, at_s = case.sky.highest(case.place, *case.window())
    limit = case.request.min_altitude_deg
    if highest[0] < limit:
        when = case.clock(float(at_s[0]))
        return RejectCode.ALTITUDE, f"it stays below {limit:g}°: at most {highest[0]:.2f}°, at {when}"
    return (
        RejectCode.ALTITUDE,
        f"it reaches {highest[0]:.2f}° but is not above {limit:g}° for the {case.request.duration_s:.0f} s it takes",
    )


def _moon(case: _Case) -> tuple[RejectCode, str]:
    low, high = case.window()
    grid = case.sky.moon_grid_s
    inside = (grid >= low) & (grid <= high)
    if not inside.any():
        inside = np.abs(grid - (low + high) / 2) <= np.abs(grid - (low + high) / 2).min()
    separation = case.sky.moon_separations_deg(case.place)[inside, 0]
    text = f"the Moon is {separation.min():.1f}° to {separation.max():.1f}° away in its window"
    return RejectCode.MOON, f"{text} and has to be {case.request.moon_separation_deg:g}° away while it is high enough"


def _preferred(case: _Case) -> tuple[RejectCode, str]:
    request = case.request
    if request.t_preferred is None:
        return _window(case)
    middle = case.clock(case.sky.seconds(request.t_preferred))
    return RejectCode.PREFERRED, (
        f"its middle cannot be within -{request.delta_left_s:.0f} s and +{request.delta_right_s:.0f} s of {middle}, "
        "when it is not observable"
    )


_SENTENCES: dict[RejectCode, Callable[[_Case], tuple[RejectCode, str]]] = {
    RejectCode.NIGHT: _night,
    RejectCode.TOO_LONG: _too_long,
    RejectCode.WINDOW: _window,
    RejectCode.ALTITUDE: _altitude,
    RejectCode.MOON: _moon,
    RejectCode.PREFERRED: _preferred,
}
