"""Whether the observatory could observe, and why not: read from what majordome and monitor said through the night.

A closure keeps its cause from the closing through the hold-off until observing is taken up again. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pyros.cli.night.attribution import SECOND, Span, micros
from pyros.cli.night.record import Said
from pyros.messages.night import MajordomeState, ModeChanged, MonitorState, SafetyVerdict

REOPENING_S = 300.0
"""Longest time from good conditions to observing that still belongs to what closed the dome."""

Cause = Literal["paused", "weather", "fault"]

_HANDS = re.compile(r"emergency stop|local key|lock")
_WEATHER = re.compile(
    r"\brain\b(?! (is unknown|contact is unknown))|\b(wind|gust|humidity|temperature|dew point|cloud\w*) -?\d"
)
_HOLD_OFF = re.compile(r"hold-off")
_ORDERED = re.compile(r"^(pause|stop|lockdown|ordered)\b(?!: run)")


@dataclass
class Conditions:
    """Spans in order; each instant from the first word on is in `ready`, `shut` or one of `closed`."""

    ready: list[Span] = field(default_factory=list[Span])
    """Majordome observes and it is not UNSAFE."""
    warned: list[tuple[Span, Cause]] = field(default_factory=list[tuple[Span, Cause]])
    """Within `ready`: WARN, in which nothing new is begun, and whose doing that is."""
    shut: list[Span] = field(default_factory=list[Span])
    """Not observing, though nobody said what is against it."""
    closed: list[tuple[Span, Cause]] = field(default_factory=list[tuple[Span, Cause]])
    down: list[Span] = field(default_factory=list[Span])
    """A device without which nothing can be observed did not answer."""
    taken_up: list[tuple[int, Cause | None]] = field(default_factory=list[tuple[int, Cause | None]])
    """When observing began, and what had been against it."""


def blame(reasons: Sequence[str]) -> Cause | None:
    """Return whose doing an unsafe verdict is; None when its reasons only say that a hold-off lasts."""
    if any(_HANDS.search(reason) for reason in reasons):
        return "paused"
    if any(_WEATHER.search(reason) for reason in reasons):
        return "weather"
    return "fault" if any(not _HOLD_OFF.search(reason) for reason in reasons) else None


@dataclass
class _View:
    """What is known at a point of the night."""

    mode: str = "closed"
    ordered: bool = False
    level: str = ""
    reasons: tuple[str, ...] = ()
    down: bool = False

    def take(self, said: Said) -> None:
        """Take a message that matters here."""
        match said.message:
            case ModeChanged(after=mode, cause=cause):
                self.mode, self.ordered = mode, _by_order(mode, cause, "")
            case MajordomeState(mode=mode, why=why, locked_by=locked_by):
                self.mode, self.ordered = mode, _by_order(mode, why, locked_by)
            case SafetyVerdict(level=level, reasons=reasons):
                self.level, self.reasons = level, tuple(reasons)
            case MonitorState(level=level, reasons=reasons, devices=devices):
                self.level, self.reasons = level, tuple(reasons)
                self.down = any(device.blocking and device.link == "down" for device in devices)
            case _:
                pass

    @property
    def ready(self) -> bool:
        return self.mode == "observing" and self.level != "UNSAFE"

    def against(self) -> Cause | None:
        """Return what is against observing now, by itself."""
        if self.ordered:
            return "paused"
        return None if self.level in {"SAFE", ""} else blame(self.reasons)


def _by_order(mode: str, why: str, locked_by: str) -> bool:
    return mode in {"paused", "stopped"} or bool(locked_by) or (mode == "closing" and bool(_ORDERED.search(why)))


@dataclass
class _Walk:
    """Turns views into spans as they pass."""

    found: Conditions = field(default_factory=Conditions)
    cause: Cause | None = None
    """What the present closure is due to."""
    since_us: int = 0
    good_since_us: int | None = None
    was_ready: bool = False

    def span(self, view: _View, until_us: int) -> None:
        """File the span from the last change to this one under what held during it."""
        span = (self.since_us, until_us)
        self.since_us = until_us
        if span[0] >= span[1]:
            return
        if view.down:
            self.found.down.append(span)
        if view.ready:
            self.found.ready.append(span)
            if view.level == "WARN":
                self.found.warned.append((span, blame(view.reasons) or "weather"))
            return
        self._closed(span)

    def _closed(self, span: Span) -> None:
        cause = self.cause
        if cause is None:
            self.found.shut.append(span)
            return
        if self.good_since_us is None:
            self.found.closed.append((span, cause))
            return
        late_us = self.good_since_us + int(REOPENING_S * SECOND)
        self.found.closed.append(((span[0], min(span[1], late_us)), cause))
        self.found.shut.append((max(span[0], late_us), span[1]))

    def arrive(self, view: _View, at_us: int) -> None:
        """Take up what holds from now on."""
        if view.ready:
            if not self.was_ready:
                self.found.taken_up.append((at_us, self.cause))
            self.cause = self.good_since_us = None
        else:
            against = view.against()
            holding = view.level == "UNSAFE" and against is None
            self.cause = against or self.cause or ("weather" if holding and view.reasons else None)
            good = against is None and not holding
            self.good_since_us = (self.good_since_us or at_us) if good else None
        self.was_ready = view.ready


def conditions(said: Sequence[Said], until: datetime) -> Conditions:
    """Return the course of the observatory's conditions from the first word to `until`."""
    view, walk = _View(), _Walk()
    end_us = micros(until)
    walk.since_us = min(end_us, micros(said[0].at)) if said else end_us
    walk.arrive(view, walk.since_us)
    for one in said:
        if not isinstance(one.message, ModeChanged | MajordomeState | SafetyVerdict | MonitorState):
            continue
        at_us = micros(one.at)
        if at_us >= end_us:
            break
        before = replace(view)
        view.take(one)
        if view != before:
            walk.span(before, at_us)
            walk.arrive(view, at_us)
    walk.span(view, end_us)
    return walk.found
