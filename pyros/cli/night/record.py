"""What a simulated night leaves behind for its report: the actors' words, the store, and an independent observer's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pyros.messages.base import Message
from pyros.messages.night import SafetyVerdict


@dataclass(frozen=True)
class Said:
    """One event or state as an actor published it."""

    at: datetime
    actor: str
    message: Message


@dataclass(frozen=True)
class Order:
    """What an operator ordered, when it was answered, and the answer's name (`Done`, `Refused`)."""

    at: datetime
    command: str
    answer: str


@dataclass
class NightRecord:
    """Filled while the night runs. `begins` and `ends` bound the dark time (Sun below the limit)."""

    night: str
    seed: int
    site: dict[str, Any]
    begins: datetime
    ends: datetime
    state_folder: Path
    """Where the store (`pyros.db`) is, and the frames below `images/`."""
    said: list[Said] = field(default_factory=list[Said])
    """Everything published, in order; of `SafetyVerdict` only changes of level."""
    violations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The observer's: {t, rule, detail}."""
    dome: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The observer's: {t, from, to, cause}."""
    exposures: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    """The observer's: light exposures."""
    slews: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    readouts: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    transients: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The truth: {ra_deg, dec_deg, t0, mag_at_60s, alpha}."""
    orders: list[Order] = field(default_factory=list[Order])
    """Operators' orders that were answered."""
    news: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """By centre, the ids of the news that it has had, each once, in order."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    _level: str = ""

    def hear(self, at: datetime, actor: str, message: Message) -> None:
        """Take what an actor published."""
        if isinstance(message, SafetyVerdict):
            if message.level == self._level:
                return
            self._level = message.level
        self.said.append(Said(at, actor, message))
