"""What the courier keeps in mind of one destination: what waits there, and how the last attempts went."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyros.actors.courier.post import Post
from pyros.actors.kernel.backoff import Backoff
from pyros.config import Destination
from pyros.messages.courier import DestinationRow

MICROSECOND_S = 1e-6
"""Less is nothing: no clock waits for it."""


@dataclass(frozen=True)
class Delivery:
    """A post under way."""

    row: dict[str, Any]
    post: Post
    give_up_s: float
    """When it is given up (the clock's monotonic seconds)."""


@dataclass(frozen=True)
class Settlement:
    """What the store has to be told of a row: its outcome."""

    row: dict[str, Any]
    values: dict[str, Any]


class Line:
    """The way to one destination; at most one of `delivery` and `settlement` is there."""

    def __init__(self, destination: Destination, seed: int) -> None:
        self.destination = destination
        self.delivery: Delivery | None = None
        self.settlement: Settlement | None = None
        self.storing = False
        """Whether the archivist has been asked to write the settlement."""
        self.due_s = 0.0
        """Nothing is begun before (the clock's monotonic seconds)."""
        self.next_try_at: datetime | None = None
        self.last_error = ""
        self.backoff = Backoff(random.Random(f"{seed} {destination.name}"), period_s=0.0)
        self._waiting: tuple[int, datetime | None] = (0, None)
        self._sent = self._refused = 0

    @property
    def name(self) -> str:
        """The destination's name."""
        return self.destination.name

    def is_free(self, now_s: float) -> bool:
        """Tell whether something may be begun."""
        return self.delivery is None and not self.storing and self.wait_s(now_s) < MICROSECOND_S

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until something is due: the end of a delivery's time, or of a wait; not above 0: now."""
        due_s = self.due_s if self.delivery is None else self.delivery.give_up_s
        return due_s - now_s

    def wait_until(self, due_s: float, at: datetime | None, error: str) -> None:
        """Begin nothing before; None and '' when nothing hinders it."""
        self.due_s, self.next_try_at, self.last_error = due_s, at, error

    def count(self, status: object) -> None:
        """Count a row that has come to its end."""
        self._sent += status == "SENT"
        self._refused += status == "FAILED"

    def sees(self, waiting: tuple[int, datetime | None]) -> None:
        """Note how many rows wait, and when the oldest was written."""
        self._waiting = waiting

    def row(self) -> DestinationRow:
        """Return how it fares."""
        return DestinationRow(
            name=self.name,
            waiting=self._waiting[0],
            oldest_at=self._waiting[1],
            sent=self._sent,
            refused=self._refused,
            last_error=self.last_error,
            next_try_at=self.next_try_at,
        )
