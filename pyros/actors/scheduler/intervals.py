"""Free-interval arithmetic: what is left of a night, as sorted lists of disjoint (start, end).

The plan itself is an order with slack (`order.py`); intervals are how it is shown and how gaps are spoken of. Plain
lists: a night holds some sixty of them, and measured libraries of interval trees were 60 to 1,000 times slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Interval = tuple[float, float]


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Sort, drop the empty ones, and join those that overlap or touch."""
    merged: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[1] > i[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def cut(intervals: Iterable[Interval], used: Iterable[Interval]) -> list[Interval]:
    """Return what of `intervals` is not in `used`."""
    taken = merge(used)
    left: list[Interval] = []
    for start, end in merge(intervals):
        at = start
        for low, high in taken:
            if high <= at or low >= end:
                continue
            if low > at:
                left.append((at, low))
            at = high
        if at < end:
            left.append((at, end))
    return left


def fit(free: Sequence[Interval], duration: float, earliest: float, latest: float) -> float | None:
    """Return the earliest start of a stretch that lies in one free interval and in earliest..latest, or None."""
    for start, end in free:
        at = max(start, earliest)
        if at + duration <= min(end, latest):
            return at
    return None


def shift(intervals: Iterable[Interval], by: float) -> list[Interval]:
    """Move every interval by the same time."""
    return [(start + by, end + by) for start, end in intervals]
