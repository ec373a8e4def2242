"""The lost-time ledger's arithmetic: every dark second belongs to exactly one thing.

Spans are half-open pairs of whole microseconds since 1970 (UTC), so that sums are exact. Pure functions; what claims
which span is decided in `course.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

Span = tuple[int, int]
"""Microseconds since 1970: from, to (excluded)."""

CATEGORIES = (
    "exposing",
    "paused",
    "weather",
    "fault",
    "alert_wait",
    "slewing",
    "readout",
    "calibration",
    "startup",
    "no_target",
)
"""In order of precedence; the last takes what nothing else claims."""

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(when: datetime) -> int:
    """Microseconds since 1970 of an aware instant."""
    return (when - _EPOCH) // timedelta(microseconds=1)


def instant(at_us: int) -> datetime:
    """Return the aware UTC datetime of microseconds since 1970; the inverse of `micros`."""
    return _EPOCH + timedelta(microseconds=at_us)


def as_instant(value: datetime | str) -> datetime:
    """Return an aware instant given as such or as ISO-8601 text."""
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    if when.tzinfo is None:
        raise ValueError(f"instant {value} has no time zone; instants are UTC, ending in Z")
    return when.astimezone(UTC)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the union as disjoint spans in order; empty and reversed ones vanish."""
    union: list[Span] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((begin, end))
    return union


def overlap(ones: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Return where two merged lists of spans overlap."""
    common: list[Span] = []
    i = j = 0
    while i < len(ones) and j < len(others):
        begin, end = max(ones[i][0], others[j][0]), min(ones[i][1], others[j][1])
        if begin < end:
            common.append((begin, end))
        if ones[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return common


def without(ones: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Return what of one merged list of spans another one leaves."""
    left: list[Span] = []
    first = 0
    for begin, end in ones:
        at = begin
        while first < len(others) and others[first][1] <= begin:
            first += 1
        for taken_begin, taken_end in others[first:]:
            if taken_begin >= end:
                break
            if at < taken_begin:
                left.append((at, taken_begin))
            at = max(at, taken_end)
        if at < end:
            left.append((at, end))
    return left


def total_s(spans: Iterable[Span]) -> float:
    """Length of disjoint spans, seconds."""
    return sum(end - begin for begin, end in spans) / SECOND


def attribute(dark: Span, claims: Mapping[str, Iterable[Span]]) -> dict[str, list[Span]]:
    """Give every microsecond of `dark` to the first category that claims it.

    Parameters
    ----------
    dark : Span
        The dark time.
    claims : mapping of str to iterable of Span
        What each category claims, overlapping as it may; keys are among `CATEGORIES`.

    Returns
    -------
    dict of str to list of Span
        For each of `CATEGORIES` its disjoint spans in order; together they are `dark`, exactly.

    Raises
    ------
    ValueError
        If a claim is of no known category.
    """
    unknown = [name for name in claims if name not in CATEGORIES]
    if unknown:
        raise ValueError(f"category {unknown[0]!r} is unknown; there are {', '.join(CATEGORIES)}")
    left = merged([dark])
    shares: dict[str, list[Span]] = {}
    for category in CATEGORIES[:-1]:
        claimed = merged(claims.get(category, ()))
        shares[category] = overlap(left, claimed)
        left = without(left, claimed)
    return shares | {CATEGORIES[-1]: left}
