"""The arithmetic under the plans: intervals, slack, exchanges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.scheduler.intervals import cut, fit, merge, shift
from pyros.actors.scheduler.order import Order, Rows, earliest_starts, latest_starts, starts_near

INTERVALS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=12)


def seconds_of(intervals):
    return {t for a, b in intervals for t in range(a, b)}


@given(INTERVALS, INTERVALS)
def test_free_and_used_are_the_night_together_and_nothing_in_common(night, used):
    """SC-E3."""
    free = cut(night, used)
    assert seconds_of(free) == seconds_of(night) - seconds_of(used)
    assert free == merge(free)


@given(INTERVALS, st.integers(1, 30), st.integers(0, 60), st.integers(40, 100))
def test_a_fit_is_the_earliest_there_is(free, duration, earliest, latest):
    """SC-E3."""
    open_s = seconds_of(free)
    possible = [t for t in range(earliest, latest - duration + 1) if set(range(t, t + duration)) <= open_s]
    assert fit(merge(free), duration, earliest, latest) == (possible[0] if possible else None)
    assert shift(shift(free, 7), -7) == free


def table(*ranges, durations=None):
    lo, hi = np.array(ranges, float).T
    n = len(ranges)
    durations = np.array(durations or [100.0] * n)
    return Rows.movable(request=np.arange(n), lo_s=lo, hi_s=hi, duration_s=durations, value=durations * 10,
                        user=np.zeros(n, int))  # fmt: skip


def test_an_insertion_pushes_what_is_placed_aside_within_its_slack():
    rows = table((0, 500), (0, 0))
    order = Order(rows, 2, 10.0, np.array([np.inf]), [0])
    order.fill(np.array([1]))
    assert order.sequence == [1, 0]
    assert order.earliest_s.tolist() == [0, 110]


def test_a_chain_hands_its_slack_on_from_end_to_end():
    rows = table((0, 1000), (0, 1000), (0, 300))
    assert earliest_starts(rows, [0, 1, 2], 10) == [0, 110, 220]
    assert latest_starts(rows, [0, 1, 2], 10) == [80, 190, 300]
    near = starts_near(rows, [0, 1, 2], 10, np.array([500.0, np.nan, 250.0]))
    assert near == [80, 190, 300]


def test_an_exchange_counts_what_it_throws_out_and_gives_its_quota_back():
    rows = table((0, 0), (0, 0), durations=[100.0, 150.0])
    order = Order(rows, 2, 10.0, np.array([200.0]), [0])
    best = order.exchanges(np.array([1]), rows.value)[0]
    assert (best.first, best.last, best.gain) == (0, 1, 500)
    order.apply(best)
    assert (order.sequence, order.left_s.tolist(), order.used.tolist()) == ([1], [50], [False, True])
    barred = Order(rows, 2, 10.0, np.array([120.0]), [0]).exchanges(np.array([1]), rows.value)[0]
    assert barred.gain == -np.inf


def test_pinned_rows_are_never_in_an_exchange():
    rows = table((0, 0), (0, 0))
    order = Order(rows, 2, 0.0, np.array([np.inf]), [0])
    order.pin([0.0])
    assert order.exchanges(np.array([1]), np.where(rows.pinned, np.inf, rows.value))[0].gain == -np.inf
    assert order.rows.hi_s[0] == pytest.approx(0)
