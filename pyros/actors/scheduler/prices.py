"""Better plans by prices: what a place in the night, or a second of a quota, costs those who compete for it.

Each request has a price. The best path through the night on a coarse grid,

    f(t) = max(f(t + grid), max over rows open at t of value - price + f(t + p)),

may use a request twice: then it becomes dearer; one that is not used becomes cheaper (subgradient of the Lagrangian
dual; Fisher 1981, Management Science 27, 1). Users with quotas have a price per second in the same way. Each path,
repeats dropped, is an order that `order.Order` times exactly and fills up: a feasible plan at any moment, and the
smallest dual value is a bound of the problem on the grid, by which the step is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.actors.scheduler.order import FOREVER_S, Floats, Indices, Order, Rows

PATIENCE = 5
"""Iterations without a better bound after which the step shrinks."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Ranges of starts of rows between the pinned ones (arrays of one length), on the grid and in seconds."""

    row: Indices
    lo_s: Floats
    hi_s: Floats
    lo: Indices
    hi: Indices
    period: Indices
    open_at: list[Indices]
    """For each grid step the pieces that may start there."""


def best_order(pinned: Order, candidates: Indices, grid_s: float, iterations: int) -> Order:
    """Return the best plan found that keeps the pinned rows and places candidates (rows of the same table) around them.

    The candidates come in the order in which gaps are to be filled, the most valuable per second first.
    """
    best = _filled(pinned, pinned.sequence, candidates)
    pieces = _pieces(pinned, candidates, grid_s)
    if not len(pieces.row):
        return best
    prices = _Prices(pinned, candidates)
    for _ in range(iterations):
        reduced = prices.reduced(pieces.row)
        gain, choice = _best_path(pieces, reduced)
        path = _walk(pieces, choice)
        plan = _filled(pinned, _order(pinned, pieces, path), candidates)
        if plan.value > best.value:
            best = plan
        if not prices.update(gain, pieces.row[path], best.value - pinned.value):
            break
    return best


def _filled(pinned: Order, sequence: list[int], candidates: Indices) -> Order:
    plan = Order(pinned.rows, len(pinned.used), pinned.overhead_s, _allowance(pinned), sequence)
    plan.fill(candidates)
    return plan


def _allowance(order: Order) -> Floats:
    """Return what each user had before the rows of this order were placed."""
    spent = np.zeros(len(order.left_s))
    np.add.at(spent, order.rows.user[order.sequence], order.rows.duration_s[order.sequence])
    return order.left_s + spent


def _pieces(pinned: Order, candidates: Indices, grid_s: float) -> Pieces:
    low, high = pinned.openings(candidates)
    which, gap = np.nonzero(low <= high)
    row, lo_s, hi_s = candidates[which], low[which, gap], high[which, gap]
    zero = lo_s.min() if len(lo_s) else 0.0
    lo = np.rint((lo_s - zero) / grid_s).astype(np.intp)
    hi = np.maximum(lo, np.rint((hi_s - zero) / grid_s).astype(np.intp))
    period = np.maximum(1, np.rint(pinned.period_s[row] / grid_s)).astype(np.intp)
    steps = int(hi.max()) + 1 if len(hi) else 0
    open_at = [np.flatnonzero((lo <= t) & (hi >= t)) for t in range(steps)]
    return Pieces(row, lo_s, hi_s, lo, hi, period, open_at)


def _best_path(pieces: Pieces, reduced: Floats) -> tuple[float, list[int]]:
    """Return the value of the best path, and for each grid step the piece it starts there, -1 to wait."""
    steps = len(pieces.open_at)
    best = np.zeros(steps + int(pieces.period.max()) + 1)
    choice = [-1] * steps
    for t in range(steps - 1, -1, -1):
        best[t] = best[t + 1]
        here = pieces.open_at[t]
        if not len(here):
            continue
        worth = reduced[here] + best[t + pieces.period[here]]
        k = worth.argmax()
        if worth[k] > best[t]:
            best[t] = worth[k]
            choice[t] = int(here[k])
    return float(best[0]), choice


def _walk(pieces: Pieces, choice: list[int]) -> list[int]:
    """Return the pieces of the path, in time order."""
    path: list[int] = []
    t = 0
    while t < len(choice):
        piece = choice[t]
        if piece >= 0:
            path.append(piece)
            t += int(pieces.period[piece])
        else:
            t += 1
    return path


def _order(pinned: Order, pieces: Pieces, path: list[int]) -> list[int]:
    """Drop repeats, what exact time has no room for, and what exceeds a quota; merge with the pinned rows."""
    rows, used, left_s = pinned.rows, pinned.used.copy(), pinned.left_s.copy()
    timed = list(zip(pinned.earliest_s.tolist(), pinned.sequence, strict=True))
    free_s = -FOREVER_S
    for piece in path:
        row = int(pieces.row[piece])
        request, user, duration = rows.request[row], rows.user[row], rows.duration_s[row]
        start = max(float(pieces.lo_s[piece]), free_s)
        if used[request] or start > pieces.hi_s[piece] or duration > left_s[user]:
            continue
        used[request] = True
        left_s[user] -= duration
        timed.append((start, row))
        free_s = start + float(pinned.period_s[row])
    return [row for _, row in sorted(timed)]


class _Prices:
    """Prices of requests and of seconds of quota, and the step by which they move."""

    def __init__(self, pinned: Order, candidates: Indices) -> None:
        self._rows: Rows = pinned.rows
        self._available = np.zeros(len(pinned.used), bool)
        self._available[pinned.rows.request[candidates]] = True
        self._available &= ~pinned.used
        self._limited: NDArray[np.bool_] = np.isfinite(pinned.left_s)
        self._left_s = np.where(self._limited, np.maximum(pinned.left_s, 0.0), 0.0)
        self._scale_s = float(pinned.rows.duration_s[candidates].mean())
        self._request = np.zeros(len(pinned.used))
        self._second = np.zeros(len(pinned.left_s))
        self._bound, self._stalled, self._theta = np.inf, 0, 1.0

    def reduced(self, row: Indices) -> Floats:
        """Values less prices."""
        rows = self._rows
        cost = self._request[rows.request[row]] + self._second[rows.user[row]] * rows.duration_s[row]
        return np.where(self._available[rows.request[row]], rows.value[row] - cost, -1.0)

    def update(self, gain: float, path_rows: Indices, best: float) -> bool:
        """Move the prices after a path; return False when the path has shown the best plan to be optimal."""
        dual = gain + self._request.sum() + float(self._second @ self._left_s)
        self._shrink(dual)
        rows = self._rows
        excess = np.bincount(rows.request[path_rows], minlength=len(self._request)) - 1.0
        excess[~self._available | ((excess < 0) & (self._request <= 0))] = 0
        over = np.bincount(rows.user[path_rows], rows.duration_s[path_rows], len(self._second)) - self._left_s
        over[~self._limited | ((over < 0) & (self._second <= 0))] = 0
        over /= self._scale_s
        norm = float(excess @ excess + over @ over)
        if norm == 0:
            return False
        step = self._theta * max(dual - best, 1e-3 * dual) / norm
        self._request = np.maximum(0, self._request + step * excess)
        self._second = np.maximum(0, self._second + step * over / self._scale_s)
        return True

    def _shrink(self, dual: float) -> None:
        if dual < self._bound:
            self._bound, self._stalled = dual, 0
            return
        self._stalled += 1
        if self._stalled >= PATIENCE:
            self._theta, self._stalled = self._theta * 0.6, 0
