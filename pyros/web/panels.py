"""The page's other panels as values: verdict, what runs, alerts, the system. Pure functions of the board."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyros.messages.alerts import AlertManagerState, AlertRow, AnalyzerState, ListenerState
from pyros.messages.devices import PlcState
from pyros.messages.night import MajordomeState, MonitorState, ObservationManagerState, SafetyVerdict, SchedulerState
from pyros.messages.system import ChildRow, SupervisorState
from pyros.web.board import Board
from pyros.web.cards import REAL_FLOOR_S
from pyros.web.wording import declination, error_radius, right_ascension

VERDICT_STALE_S = 10.0
"""Age in clock seconds from which a verdict counts for nothing; the devices' last guards use the same."""
IN_PROGRESS = ("ACTIVE", "HELD")


@dataclass(frozen=True)
class Verdict:
    """Is it safe. `level` is NO VERDICT when none was ever heard."""

    level: str
    why: str
    at: datetime | None
    stale_s: float
    reopen_after: datetime | None


@dataclass(frozen=True)
class Running:
    """What the observatory does, until when, and what comes next."""

    mode: str
    why: str
    since: datetime | None
    sequence: str
    step: str
    until: datetime | None
    following: str
    following_start: datetime | None
    locked_by: str


@dataclass(frozen=True)
class AlertTime:
    """One milestone of an alert and its distance from T0."""

    label: str
    at: datetime
    after_s: float


@dataclass(frozen=True)
class AlertPanel:
    """One alert in progress."""

    row: AlertRow
    position: str
    times: tuple[AlertTime, ...]


@dataclass(frozen=True)
class SystemPanel:
    """The tree and the queues: one line for all that is well, one for each that is not."""

    up: int
    total: int
    restarts: int
    status: str
    troubled: tuple[ChildRow, ...]
    listeners: tuple[ListenerState, ...]
    analyzer: AnalyzerState | None
    unreadable: tuple[str, ...]


def verdict(board: Board) -> Verdict:
    """Return the verdict; when there is none, that too is a reason not to trust the sky."""
    stale_s = max(VERDICT_STALE_S, REAL_FLOOR_S * board.speed)
    heard = board.one(SafetyVerdict)
    if heard is None:
        return Verdict("NO VERDICT", "nothing has been heard from the monitor: treat as unsafe", None, stale_s, None)
    state = heard.state
    why = "; ".join(state.reasons) or ("every rule is met" if state.level == "SAFE" else "no reason was given")
    return Verdict(state.level, why, state.at, stale_s, state.reopen_after)


def running(board: Board) -> Running:
    """Return what runs now and what is next."""
    majordome, manager = board.one(MajordomeState), board.one(ObservationManagerState)
    step = _step(manager.state) if manager and manager.state.sequence_id is not None else ""
    if majordome is None:
        name = manager.state.name if manager else ""
        return Running("unknown", "no word from majordome", None, name, step, None, "", None, "")
    state = majordome.state
    return Running(
        mode=state.mode,
        why=state.why,
        since=state.since,
        sequence=state.sequence or (f"sequence {state.sequence_id}" if state.sequence_id is not None else ""),
        step=step,
        until=state.until or (manager.state.until if manager else None),
        following=state.next_sequence or (f"sequence {state.next_sequence_id}" if state.next_sequence_id else ""),
        following_start=state.next_start,
        locked_by=state.locked_by,
    )


def alerts_in_progress(board: Board) -> list[AlertPanel]:
    """Return the alerts that are not over, the youngest burst first."""
    return [_alert(row) for row in sorted(_rows_in_progress(board), key=lambda row: row.t0, reverse=True)]


def notice_counts(board: Board) -> str:
    """Return how many notices came and were taken tonight, in words."""
    heard = board.one(AlertManagerState)
    if heard is None:
        return "no word from the alert manager"
    return f"{heard.state.notices} notices tonight, {heard.state.accepted} taken"


def plan(board: Board) -> tuple[SchedulerState | None, int | None]:
    """Return the current planning and which of its sequences runs."""
    scheduler, majordome = board.one(SchedulerState), board.one(MajordomeState)
    return scheduler.state if scheduler else None, majordome.state.sequence_id if majordome else None


def system(board: Board) -> SystemPanel:
    """Return the supervisor's tree in short, the listeners and the analyzer's queue."""
    heard, analyzer = board.one(SupervisorState), board.one(AnalyzerState)
    children = heard.state.children if heard else []
    return SystemPanel(
        up=sum(child.status == "up" for child in children),
        total=len(children),
        restarts=sum(child.restarts for child in children),
        status=heard.state.status if heard else "unknown",
        troubled=tuple(child for child in children if child.status != "up" or child.restarts),
        listeners=tuple(sighting.state for sighting in board.every(ListenerState)),
        analyzer=analyzer.state if analyzer else None,
        unreadable=board.unreadable,
    )


def night_name(board: Board) -> str:
    """Return the night's date and the phase of the day, or nothing when unknown."""
    monitor = board.one(MonitorState)
    return f"{monitor.state.night} · {monitor.state.phase}" if monitor else ""


def criticals(board: Board) -> dict[str, str]:
    """Return what a screen reader is to say at once when it is new, by a key that stays the same while it lasts."""
    found: dict[str, str] = {}
    judged = verdict(board)
    if judged.level == "UNSAFE":
        found["unsafe"] = f"UNSAFE: {judged.why}"
    for row in _rows_in_progress(board):
        found[f"alert {row.alert_id}"] = f"Alert {row.name}"
    plc = board.one(PlcState)
    if plc and plc.state.emergency_stop:
        found["emergency stop"] = "Emergency stop pressed"
    return found


def title(board: Board) -> str:
    """Return the tab's title: the page in three words."""
    return f"{verdict(board).level} · {running(board).mode} · PyROS"


def _step(state: ObservationManagerState) -> str:
    frames = f"frame {state.frame} of {state.frames}" if state.frames else ""
    return ", ".join(part for part in (state.step, frames) if part)


def _rows_in_progress(board: Board) -> list[AlertRow]:
    heard = board.one(AlertManagerState)
    return [row for row in heard.state.alerts if row.status in IN_PROGRESS] if heard else []


def _alert(row: AlertRow) -> AlertPanel:
    position = f"{right_ascension(row.ra_deg)}  {declination(row.dec_deg)}  ± {error_radius(row.error_deg)}"
    stamps = {"t0": row.t0} | row.times
    ordered = sorted(stamps.items(), key=lambda item: item[1])
    times = (AlertTime(key.replace("_", " "), at, (at - row.t0).total_seconds()) for key, at in ordered)
    return AlertPanel(row, position, tuple(times))
