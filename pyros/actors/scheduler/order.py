"""A plan is an order with slack, not a list of times.

For the rows of an order, each with a range of starts lo..hi and a period p (duration and overhead),

    earliest[k] = max(lo[k], earliest[k-1] + p[k-1])      everything before it pushed to the left
    latest[k]   = min(hi[k], latest[k+1] - p[k])          everything after it pushed to the right

and a further row fits at position k if and only if max(lo, earliest[k-1] + p[k-1]) <= min(hi, latest[k] - p): one
comparison, for all rows and all positions at once. What is already placed moves aside without a line of code, since
times are derived. Pinned rows (executed, executing, or of a higher tier) have lo = hi.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
FOREVER_S = 1e9
IDLE_CAP_S = 600.0
"""Idle time behind a row beyond this is as good as any: another row will fit there."""


class Rows(NamedTuple):
    """Pairs of a request and one of its windows (arrays of one length): the request's index, and its start range."""

    request: Indices
    lo_s: Floats
    hi_s: Floats
    duration_s: Floats
    value: Floats
    user: Indices
    pinned: NDArray[np.bool_]

    @classmethod
    def movable(
        cls, *, request: Indices, lo_s: Floats, hi_s: Floats, duration_s: Floats, value: Floats, user: Indices
    ) -> Rows:
        """Return rows that are not pinned."""
        return cls(request, lo_s, hi_s, duration_s, value, user, np.zeros(len(request), bool))

    def take_from(self, first: int) -> Rows:
        """Return the rows from a position of the table on."""
        return Rows(
            self.request[first:],
            self.lo_s[first:],
            self.hi_s[first:],
            self.duration_s[first:],
            self.value[first:],
            self.user[first:],
            self.pinned[first:],
        )

    def joined(self, other: Rows) -> Rows:
        """Return a table of its own: these rows, then the others."""
        return Rows(
            np.concatenate([self.request, other.request]),
            np.concatenate([self.lo_s, other.lo_s]),
            np.concatenate([self.hi_s, other.hi_s]),
            np.concatenate([self.duration_s, other.duration_s]),
            np.concatenate([self.value, other.value]),
            np.concatenate([self.user, other.user]),
            np.concatenate([self.pinned, other.pinned]),
        )


class Exchange(NamedTuple):
    """The best place for a row when others may go: positions first..last-1 of the order make room for it."""

    row: int
    first: int
    last: int
    gain: float


def earliest_starts(rows: Rows, order: Sequence[int], overhead_s: float) -> list[float]:
    """Return the start of each row of an order with all pushed to the left. Pinned rows do not move."""
    starts: list[float] = []
    free_s = -FOREVER_S
    lo, duration, pinned = rows.lo_s, rows.duration_s, rows.pinned
    for row in order:
        start = float(lo[row]) if pinned[row] else max(float(lo[row]), free_s)
        starts.append(start)
        free_s = max(free_s, start + float(duration[row]) + overhead_s)
    return starts


def latest_starts(rows: Rows, order: Sequence[int], overhead_s: float) -> list[float]:
    """Return the start of each row of an order with all pushed to the right."""
    starts: list[float] = []
    over_s = FOREVER_S
    hi, duration, pinned = rows.hi_s, rows.duration_s, rows.pinned
    for row in reversed(order):
        start = over_s - float(duration[row]) - overhead_s
        start = float(hi[row]) if pinned[row] else min(float(hi[row]), start)
        starts.append(start)
        over_s = min(over_s, start)
    return starts[::-1]


def starts_near(rows: Rows, order: Sequence[int], overhead_s: float, wished_s: Floats) -> list[float]:
    """Time an order: each row as early as it can, or, where it has a wish, as near to it as the rows before allow.

    `wished_s` has one start per row, NaN for none. Nobody leaves its range, since nobody starts after its latest start.
    """
    starts: list[float] = []
    free_s = -FOREVER_S
    for row, latest in zip(order, latest_starts(rows, order, overhead_s), strict=True):
        wish = float(wished_s[row])
        start = max(float(rows.lo_s[row]), free_s)
        if not rows.pinned[row]:
            start = max(start, min(wish, latest)) if wish == wish else start  # noqa: PLR0124 - NaN is not itself
        else:
            start = float(rows.lo_s[row])
        starts.append(start)
        free_s = max(free_s, start + float(rows.duration_s[row]) + overhead_s)
    return starts


class Order:
    """An order of rows with its slack, the requests it uses, and what is left of each user's quota."""

    def __init__(
        self, rows: Rows, requests: int, overhead_s: float, allowance_s: Floats, sequence: Iterable[int] = ()
    ) -> None:
        self.rows, self.overhead_s = rows, overhead_s
        self.period_s = rows.duration_s + overhead_s
        self.used = np.zeros(requests, bool)
        self.left_s = allowance_s.copy()
        self.sequence: list[int] = []
        for row in sequence:
            self._take(row)
            self.sequence.append(row)
        self._retime()

    @property
    def value(self) -> float:
        """Sum of the rows' values."""
        return float(self.rows.value[self.sequence].sum())

    def openings(self, candidates: Indices) -> tuple[Floats, Floats]:
        """Ranges of starts of each candidate at each position, shape (candidates, positions); empty where hi < lo."""
        low = np.maximum(self.rows.lo_s[candidates][:, None], self.free_s)
        high = np.minimum(self.rows.hi_s[candidates][:, None], self.over_s - self.period_s[candidates][:, None])
        return low, high

    def fill(self, candidates: Indices) -> None:
        """Insert candidates in the order given until none fits; those placed already move aside within their slack."""
        while len(candidates := self._eligible(candidates)):
            low, high = self.openings(candidates)
            fits = low <= high
            some = fits.any(1)
            if not some.any():
                return
            first = int(some.argmax())
            self.insert(self._least_idle(candidates[first], low[first], fits[first]), int(candidates[first]))
            candidates = candidates[some]

    def insert(self, position: int, row: int) -> None:
        """Place a row that fits before `position`."""
        self._take(row)
        self.sequence.insert(position, row)
        self._retime()

    def exchanges(self, candidates: Indices, worth: Floats) -> list[Exchange]:
        """Return the best place of each candidate if neighbours may be thrown out, with what that gains.

        `worth` is the value of each row of the table, infinite for those that may not go. A candidate whose gain is
        minus infinity has no place at all.
        """
        low, _ = self.openings(candidates)
        low = np.minimum(low, FOREVER_S)
        reachable = low <= self.rows.hi_s[candidates][:, None]
        end = low + self.period_s[candidates][:, None]
        last = np.maximum(np.searchsorted(self.over_s, end, side="left"), np.arange(len(self.over_s)))
        worth_here = np.minimum(worth[self.sequence], 1e15)
        running = np.concatenate([[0.0], np.cumsum(worth_here)])
        loss = running[last] - running[None, :]
        loss[~reachable | self._over_quota(candidates, last)] = np.inf
        loss[loss > 1e14] = np.inf
        best = loss.argmin(1)
        each = np.arange(len(candidates))
        gains = self.rows.value[candidates] - loss[each, best]
        columns = candidates.tolist(), best.tolist(), last[each, best].tolist(), gains.tolist()
        return [Exchange(*row) for row in zip(*columns, strict=True)]

    def apply(self, exchange: Exchange) -> None:
        """Throw out the rows in the way and place the other."""
        for row in self.sequence[exchange.first : exchange.last]:
            self.used[self.rows.request[row]] = False
            self.left_s[self.rows.user[row]] += self.rows.duration_s[row]
        self.sequence[exchange.first : exchange.last] = [exchange.row]
        self._take(exchange.row)
        self._retime()

    def pin(self, starts_s: Sequence[float]) -> None:
        """Time every row for good: from now on it starts then and at no other time."""
        self.rows.lo_s[self.sequence] = self.rows.hi_s[self.sequence] = starts_s
        self.rows.pinned[self.sequence] = True
        self._retime()

    def _eligible(self, candidates: Indices) -> Indices:
        candidates = candidates[~self.used[self.rows.request[candidates]]]
        return candidates[self.rows.duration_s[candidates] <= self.left_s[self.rows.user[candidates]]]

    def _least_idle(self, row: np.intp, low: Floats, fits: NDArray[np.bool_]) -> int:
        before = np.where(self.free_s > -FOREVER_S, low - self.free_s, 0.0)
        after = np.clip(self.over_s - low - self.period_s[row], 0.0, IDLE_CAP_S)
        return int(np.where(fits, before + after, np.inf).argmin())

    def _over_quota(self, candidates: Indices, last: Indices) -> NDArray[np.bool_]:
        """Where the owner's quota would not suffice even with his own rows in the way given back."""
        users = len(self.left_s)
        spent = np.zeros((users, len(self.sequence) + 1))
        for k, row in enumerate(self.sequence):
            spent[self.rows.user[row], k + 1] = self.rows.duration_s[row]
        spent = np.cumsum(spent, 1)
        user = self.rows.user[candidates]
        back = np.take_along_axis(spent[user], last, 1) - spent[user]
        return self.rows.duration_s[candidates][:, None] > self.left_s[user][:, None] + back

    def _take(self, row: int) -> None:
        self.used[self.rows.request[row]] = True
        self.left_s[self.rows.user[row]] -= self.rows.duration_s[row]

    def _retime(self) -> None:
        """Derive from the order when each position is free, and by when it must be over."""
        earliest = np.array(earliest_starts(self.rows, self.sequence, self.overhead_s))
        latest = np.array(latest_starts(self.rows, self.sequence, self.overhead_s))
        self.earliest_s = earliest
        free = np.maximum.accumulate(earliest + self.period_s[self.sequence]) if len(earliest) else earliest
        over = np.minimum.accumulate(latest[::-1])[::-1] if len(latest) else latest
        self.free_s = np.concatenate([[-FOREVER_S], free])
        self.over_s = np.concatenate([over, [FOREVER_S]])
