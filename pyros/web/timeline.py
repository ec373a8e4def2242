"""The night as a drawing: where the plan's sequences, the twilights, the hours and the present stand. Pure geometry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyros.messages.night import MajordomeState, MonitorState, PlannedSequence, SchedulerState
from pyros.web.board import Board

CHARACTER = 7.4
"""Width of a label's character in drawing units."""


@dataclass(frozen=True)
class Block:
    """One placed sequence: left edge and width in drawing units, and the label that fits into it."""

    x: float
    width: float
    label: str
    title: str
    running: bool


@dataclass(frozen=True)
class Hour:
    """One full hour of UTC."""

    x: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """The drawing, `width` units wide. `dark_x` and `dark_width` bound the astronomical part of the night."""

    width: float
    start: datetime
    end: datetime
    now_x: float | None
    dark_x: float
    dark_width: float
    blocks: tuple[Block, ...]
    hours: tuple[Hour, ...]
    summary: str


def night_span(board: Board) -> tuple[datetime, datetime] | None:
    """Return the night's span to draw: dome opening to sunrise, stretched over the plan; None if unknown."""
    monitor = board.one(MonitorState)
    plan = board.one(SchedulerState)
    instants = [placed.start for placed in plan.state.placed] + [p.end for p in plan.state.placed] if plan else []
    if monitor:
        times = (monitor.state.opens, monitor.state.begins, monitor.state.ends, monitor.state.sunrise)
        instants += [instant for instant in times if instant is not None]
    if not instants or max(instants) <= min(instants):
        return None
    start, end = min(instants).astimezone(UTC), max(instants).astimezone(UTC)
    return None if end - start > timedelta(days=60) else (start, end)


def night_timeline(board: Board, width: float) -> Timeline | None:
    """Lay out the night over `width` drawing units, or None when nothing is known of it."""
    span = night_span(board)
    if span is None:
        return None
    start, end = span

    def place(instant: datetime) -> float:
        share = (instant - start) / (end - start)
        return round(min(max(share, 0.0), 1.0) * width, 1)

    monitor, plan, majordome = board.one(MonitorState), board.one(SchedulerState), board.one(MajordomeState)
    begins, ends = (monitor.state.begins, monitor.state.ends) if monitor else (None, None)
    dark_x = place(begins) if begins else 0.0
    running = majordome.state.sequence_id if majordome else None
    placed = plan.state.placed if plan else []
    return Timeline(
        width=width,
        start=start,
        end=end,
        now_x=place(board.now) if start <= board.now <= end else None,
        dark_x=dark_x,
        dark_width=max(0.0, (place(ends) if ends else width) - dark_x),
        blocks=tuple(
            _block(p, place(p.start), place(p.end), running=p.sequence_id == running) for p in placed if p.end > p.start
        ),
        hours=tuple(Hour(place(hour), f"{hour:%H}") for hour in _hours(start, end, width)),
        summary=f"Night from {start:%H:%M} to {end:%H:%M} UTC, {len(placed)} sequences placed",
    )


def _block(placed: PlannedSequence, left: float, right: float, *, running: bool) -> Block:
    width = max(right - left, 2.0)
    fits = int((width - 8) / CHARACTER)
    name = placed.name
    label = name if len(name) <= fits else name[: fits - 1] + "…" if fits >= 4 else ""
    title = f"{name}, {placed.start:%H:%M} to {placed.end:%H:%M} UTC, priority {placed.priority}"
    return Block(left, width, label, title, running)


def _hours(start: datetime, end: datetime, width: float) -> list[datetime]:
    """Return the full hours to label: every one, or every so many that labels keep 28 units apart."""
    span_h = (end - start).total_seconds() / 3600
    step_h = next((step for step in (1, 2, 3, 6, 12, 24, 48, 96) if width / span_h * step >= 28), 192)
    first = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    hours = [first + timedelta(hours=number) for number in range(int(span_h) + 1)]
    return [
        hour
        for hour in hours
        if hour < end and (hour - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 3600 % step_h == 0
    ]
