"""Pending calls in the order of their times: what the clocks keep their timers in. Knows no clock."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

FEWEST_SWEPT = 256


class Timer:
    """A pending call; `cancel()` may be called from any thread, any number of times."""

    __slots__ = ("callback", "due_us")

    def __init__(self, due_us: int, callback: Callable[[], None]) -> None:
        self.due_us = due_us
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call, if it has not been made yet."""
        self.callback = None


class TimerQueue:
    """Timers by their times, those of the same microsecond in the order in which they were set. Its user locks it.

    Nearly every timer is the deadline of an ask and is cancelled long before it is due. So that they do not pile up
    until then, the queue drops the cancelled ones whenever it has grown to twice what the last time was left.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = FEWEST_SWEPT

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, timer: Timer) -> None:
        """Add a timer."""
        heapq.heappush(self._heap, (timer.due_us, next(self._order), timer))
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._sweep_at = max(FEWEST_SWEPT, 2 * len(self._heap))

    def next_due_us(self) -> int | None:
        """When the first timer that is not cancelled is due, or None if there is none."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Timer:
        """Take out the first timer; call `next_due_us` before."""
        return heapq.heappop(self._heap)[2]


def checked_delay_s(delay_s: float) -> float:
    """Return the seconds until a call, none for what is past; raises `ValueError` if they have no end."""
    if not math.isfinite(delay_s):
        raise ValueError(f"a delay of {delay_s} s has no end; every wait has a deadline")
    return max(0.0, delay_s)
