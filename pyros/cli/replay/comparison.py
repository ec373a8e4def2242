"""What an actor said in a recording, and where it says something else now. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pyros.flight.record import DELIVERED, PUBLISHED, Recorded
from pyros.messages.base import REGISTRY, Event, Message, State
from pyros.messages.system import ActorFailed, ActorStarted, ActorStopped

TOLERANCE_S = 2.0
"""An actor that is fed takes a message when it was delivered, not when the first one was busy with something else."""
SAME, NOW, THEN = " ", "+", "-"
KERNELS = (ActorStarted, ActorStopped, ActorFailed)
"""What the kernel says of an incarnation."""
COUNTED = {"Beat": ("count",)}
"""What every incarnation counts from its own start."""


class Said(NamedTuple):
    """Something that an actor sent to `to`, or published (`to` is '')."""

    t_us: int
    to: str
    body: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """What has to agree before contents are compared."""
        return self.to, str(self.body.get("type", ""))


class Line(NamedTuple):
    """One thing said: now as then, only now, or only then."""

    mark: str
    said: Said


def said_in(records: Iterable[Recorded], actor: str) -> list[Said]:
    """Return what an actor sent to others, answered and published in a recording."""
    return [Said(row.t_us, row.to, row.body) for row in records if row.sender == actor and _is_said(row, actor)]


def _is_said(record: Recorded, actor: str) -> bool:
    """Leave out what an actor tells itself, and the deliveries of what it has published."""
    kind = REGISTRY.get(record.tag, Message)
    if kind in KERNELS:
        return False
    if record.kind == PUBLISHED:
        return True
    return record.kind == DELIVERED and record.to != actor and (record.is_reply or not issubclass(kind, Event | State))


def compare(then: Sequence[Said], now: Sequence[Said], tolerance_s: float = TOLERANCE_S) -> list[Line]:
    """Return everything said, in order of time, each marked by when it was said."""
    waiting: dict[tuple[str, str], list[Said]] = {}
    for said in then:
        waiting.setdefault(said.key, []).append(said)
    lines: list[Line] = []
    for said in now:
        same = [one for one in waiting.get(said.key, ()) if agree(one, said, tolerance_s)]
        old = min(same, key=lambda one: abs(one.t_us - said.t_us), default=None)
        if old is not None:
            waiting[said.key].remove(old)
        lines.append(Line(NOW if old is None else SAME, said))
    lines += [Line(THEN, said) for left in waiting.values() for said in left]
    return sorted(lines, key=lambda line: (line.said.t_us, line.mark == NOW))


def agree(one: Said, other: Said, tolerance_s: float) -> bool:
    """Tell whether two things said mean the same; both have the same key."""
    if abs(one.t_us - other.t_us) > tolerance_s * 1e6:
        return False
    counted = COUNTED.get(one.key[1], ())
    return _same(_without(one.body, counted), _without(other.body, counted), timedelta(seconds=tolerance_s))


def _without(body: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in keys}


def _same(one: Any, other: Any, tolerance: timedelta) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*pair, tolerance) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, str) and isinstance(other, str) and one != other:
        at, other_at = _instant(one), _instant(other)
        return at is not None and other_at is not None and abs(at - other_at) <= tolerance
    return bool(one == other)


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
