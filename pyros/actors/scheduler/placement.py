"""The only entry to planning: one problem in, one planning out, a pure function.

Tiers are strict: the highest is planned first as if alone, then pinned, then the next around it. Within a tier the
value, priority times duration, is made as large as the effort allows: greedy insertion into the order with slack, then
prices and best paths (`prices.py`), then exchanges of one for its neighbours until none gains. Each step only ever
replaces a plan by a better one, so another can be added behind them.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from pyros.actors.scheduler.intervals import cut
from pyros.actors.scheduler.openings import Openings, find_openings
from pyros.actors.scheduler.order import (
    Floats,
    Indices,
    Order,
    Rows,
    earliest_starts,
    latest_starts,
    starts_near,
)
from pyros.actors.scheduler.prices import best_order
from pyros.actors.scheduler.problem import Fixed, Placed, Planning, Problem, Rejected
from pyros.actors.scheduler.reasons import explain_crowding, explain_impossible
from pyros.sky.visibility import NightSky

GRID_S = 60.0
ITERATIONS = 20
MOST_EXCHANGES = 200


def make_schedule(
    problem: Problem, sky: NightSky | None = None, *, grid_s: float = GRID_S, iterations: int = ITERATIONS
) -> Planning:
    """Plan a night, or what is left of it.

    Parameters
    ----------
    problem : Problem
    sky : NightSky, optional
        What was prepared for this site and night; made anew if not given.
    grid_s, iterations : float, int
        How fine and how often paths are sought; 0 iterations leaves greedy insertion and exchanges.

    Returns
    -------
    Planning
        Every request once, placed or rejected; the same for the same arguments, always.
    """
    sky = sky or NightSky(problem.site, problem.night)
    openings = find_openings(problem, sky)
    table = _with_fixed(problem, openings, sky)
    order = Order(table, len(problem.requests), problem.overhead_s, _allowance(problem), _fixed_order(table))
    wished_s = openings.wishes.preferred_s[table.request]
    crowded: dict[int, Rejected] = {}
    for tier in sorted(set(openings.wishes.tier.tolist()), reverse=True):
        candidates = _candidates(order, np.flatnonzero(openings.wishes.tier[table.request] == tier))
        order = _exchanged(best_order(order, candidates, grid_s, iterations), candidates)
        crowded |= explain_crowding(problem, order, candidates)
        order.pin(starts_near(table, order.sequence, problem.overhead_s, wished_s))
    return Planning(
        placed=_placed(problem, order, openings.rows, sky),
        rejected=_rejected(problem, openings, order, crowded, sky),
        free=_free(openings, order, sky),
        value=float(openings.wishes.value[order.used].sum()),
    )


def _with_fixed(problem: Problem, openings: Openings, sky: NightSky) -> Rows:
    """Return a table of its own with the movable rows of all requests that are not fixed, and the fixed rows behind."""
    wishes, index = openings.wishes, {r.id: k for k, r in enumerate(problem.requests)}
    fixed = sorted(problem.fixed, key=lambda f: (f.start, f.id))
    request = np.array([index[f.id] for f in fixed], np.intp)
    start_s = np.array([sky.seconds(f.start) for f in fixed], dtype=np.float64)
    lasted_s = np.array([(f.end - f.start).total_seconds() for f in fixed], dtype=np.float64)
    everywhere = np.ones(len(request), bool)
    rows = Rows(request, start_s, start_s, lasted_s, wishes.value[request], wishes.user[request], everywhere)
    return openings.rows.joined(rows)


def _fixed_order(table: Rows) -> list[int]:
    return np.flatnonzero(table.pinned).tolist()


def _allowance(problem: Problem) -> Floats:
    """Seconds of exposure of each user with a quota, and at the end infinity for all others."""
    return np.array([*problem.quotas_s.values(), np.inf], dtype=np.float64)


def _candidates(order: Order, rows: Indices) -> Indices:
    """Return the rows of requests not used yet, by value per second of the night, dearest first."""
    rows = rows[~order.used[order.rows.request[rows]]]
    return rows[np.argsort(-(order.rows.value / order.period_s)[rows], kind="stable")]


def _exchanged(order: Order, candidates: Indices) -> Order:
    """Throw out neighbours for something worth more, until nothing gains (each step gains, so it ends)."""
    worth = np.where(order.rows.pinned, np.inf, order.rows.value)
    for _ in range(MOST_EXCHANGES):
        unused = candidates[~order.used[order.rows.request[candidates]]]
        if not len(unused):
            break
        best = max(order.exchanges(unused, worth), key=lambda e: e.gain)
        if best.gain <= 0:
            break
        order.apply(best)
        order.fill(candidates)
    return order


def _placed(problem: Problem, order: Order, movable: Rows, sky: NightSky) -> tuple[Placed, ...]:
    """Write down the pinned order; the slack is that of the rows' own ranges, fixed rows having none."""
    true = movable.joined(order.rows.take_from(len(movable.request)))
    first = earliest_starts(true, order.sequence, order.overhead_s)
    last = latest_starts(true, order.sequence, order.overhead_s)
    fixed = {f.id: f for f in problem.fixed}
    placed: list[Placed] = []
    for row, low, high in zip(order.sequence, first, last, strict=True):
        request, start_s = problem.requests[order.rows.request[row]], float(order.rows.lo_s[row])
        start = sky.instant(start_s)
        span = fixed.get(request.id) or Fixed(request.id, start, start + timedelta(seconds=request.duration_s))
        slack = max(0.0, start_s - low), max(0.0, high - start_s)
        placed.append(Placed(request.id, span.start, span.end, *slack))
    return tuple(placed)


def _rejected(
    problem: Problem, openings: Openings, order: Order, crowded: dict[int, Rejected], sky: NightSky
) -> tuple[Rejected, ...]:
    impossible = explain_impossible(problem, openings, sky)
    left = np.flatnonzero(~order.used).tolist()
    return tuple(crowded.get(k) or impossible[k] for k in left)


def _free(openings: Openings, order: Order, sky: NightSky) -> tuple[tuple, ...]:
    """Return what nobody uses of the planned span."""
    starts = order.rows.lo_s[order.sequence]
    busy = zip(starts.tolist(), (starts + order.period_s[order.sequence]).tolist(), strict=True)
    return tuple((sky.instant(a), sky.instant(b)) for a, b in cut([openings.span_s], busy))
