"""How long to wait before what failed is tried again: not at all at first, then ever longer, never in step."""

from __future__ import annotations

import random
from dataclasses import dataclass

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
JITTER = 0.2


def backoff_s(failures: int, dice: random.Random) -> float:
    """Return the seconds to wait after so many failures in a row: none after the first, then 1, 2, 4 … 60 ± 20 %."""
    if failures <= 1:
        return 0.0
    wait_s = BACKOFF_S[min(failures - 2, len(BACKOFF_S) - 1)]
    return wait_s * (1 + JITTER * dice.uniform(-1, 1))


@dataclass(eq=False)
class Backoff:
    """Counts failures in a row: those without `period_s` of health between them."""

    dice: random.Random
    period_s: float = 60.0
    failures: int = 0
    up_since_s: float | None = None

    def up(self, now_s: float) -> None:
        """Note that it works (again)."""
        self.up_since_s = now_s

    def failed(self, now_s: float) -> float:
        """Note a failure; return the seconds to wait before the next attempt."""
        healthy = self.up_since_s is not None and now_s - self.up_since_s >= self.period_s
        self.failures = 1 if healthy else self.failures + 1
        self.up_since_s = None
        return backoff_s(self.failures, self.dice)
