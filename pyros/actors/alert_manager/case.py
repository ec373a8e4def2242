"""A decided notice with all that its deed is made from, and the deed: what is written, remembered and aborted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyros.actors.alert_manager.decision import Decision
from pyros.actors.alert_manager.ledger import AlertFile
from pyros.actors.alert_manager.memory import Memory
from pyros.actors.alert_manager.notice import Notice
from pyros.actors.alert_manager.strategy import StrategyRequest
from pyros.store.database import Reader


@dataclass(frozen=True)
class Case:
    """A decision on a stored notice, and what is known when it is made."""

    decision: Decision
    notice_id: int
    notice: Notice
    memory: Memory
    reader: Reader
    times: dict[str, datetime]
    """When the notice was received, stored and decided on."""
    night: str
    now: datetime


@dataclass
class Deed:
    """What follows from a decision."""

    decision: Decision
    writes: list[Any]
    remember: Callable[[list[Any]], None]
    """Called with the ids once the writes are in the store."""
    file: AlertFile | None = None
    """The alert it is about; of a new one, once it is remembered."""
    request: StrategyRequest | None = None
    """The new sequence's, if there is one."""
    abort: list[int] = field(default_factory=list[int])
    cause: str = ""
