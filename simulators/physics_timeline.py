"""Values that change in steps, remembered with the instant of each change, so that any past instant can be asked."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

V = TypeVar("V")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_unix_s(when: datetime) -> float:
    """Seconds of UTC since 1970-01-01 of an aware datetime.

    Raises
    ------
    ValueError
        If the instant has no time zone.
    """
    if when.tzinfo is None:
        raise ValueError(f"instant {when} has no time zone; instants are aware UTC datetimes")
    return (when - EPOCH) / timedelta(seconds=1)


def from_unix_s(unix_s: float) -> datetime:
    """Aware UTC datetime of seconds since 1970-01-01, to the microsecond."""
    return EPOCH + timedelta(microseconds=round(unix_s * 1e6))


class Timeline(Generic[V]):
    """A step function of time. Changes are set in order of time; times are seconds since 1970 (UTC)."""

    def __init__(self, initial: V) -> None:
        self._times: list[float] = []
        self._values: list[V] = [initial]

    def set(self, unix_s: float, value: V) -> None:
        """Let the value hold from `unix_s` on (later changes already set are dropped: the newest word counts)."""
        keep = bisect_left(self._times, unix_s)
        del self._times[keep:]
        del self._values[keep + 1 :]
        if self._values[-1] != value:
            self._times.append(unix_s)
            self._values.append(value)

    def at(self, unix_s: float) -> V:
        """Return the value that held at `unix_s`; a change counts from its own instant on."""
        return self._values[bisect_right(self._times, unix_s)]

    def next_change(self, after_s: float) -> float | None:
        """Return the first instant of change after `after_s`, if there is one."""
        index = bisect_right(self._times, after_s)
        return self._times[index] if index < len(self._times) else None

    def last_change(self, until_s: float) -> float | None:
        """Return the last instant of change up to and including `until_s`, if there is one."""
        index = bisect_right(self._times, until_s)
        return self._times[index - 1] if index else None
