"""Majordome's decisions as pure functions: in which mode the observatory should be, and which sequence comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyros.messages.devices import PlcState, TelescopeState
from pyros.messages.night import MonitorState, ObservatoryMode, ObserveAlert, PlannedSequence, SafetyLevel


@dataclass(frozen=True)
class View:
    """What majordome sees at a tick."""

    now: datetime
    mode: ObservatoryMode
    since: datetime
    level: SafetyLevel
    reasons: str
    monitor: MonitorState | None
    plc: PlcState | None
    telescope: TelescopeState | None
    ordered: str
    """"run", "pause", "stop" or "lockdown": what people want."""
    close_requires_park: bool = False
    opening_takes_s: float = 180.0
    closing_takes_s: float = 180.0


@dataclass(frozen=True)
class Step:
    """A mode to go to, and why."""

    mode: ObservatoryMode
    cause: str


def next_mode(view: View) -> Step | None:
    """Return the transition that is due, or None to stay."""
    match view.mode:
        case "closed" | "paused" | "stopped":
            return _from_closed(view)
        case "opening":
            return _from_opening(view)
        case "observing":
            return _from_observing(view)
        case "closing":
            return _from_closing(view)


def may_open_now(view: View) -> str | None:
    """Say why the dome shall stay closed now, or None when it may open."""
    if view.ordered != "run":
        return {"pause": "paused", "stop": "stopped", "lockdown": "locked down"}[view.ordered]
    monitor = view.monitor
    if monitor is None or monitor.opens is None or monitor.ends is None or monitor.begins is None:
        return "there is no dark time tonight" if monitor is not None else "the night's times are unknown"
    if view.now < monitor.opens:
        return f"the Sun is up; opening at {monitor.opens:%H:%M:%S}"
    if view.now >= monitor.ends:
        return "the night is over"
    if view.level != "SAFE":
        return f"{view.level}: {view.reasons}"
    return None


def _from_closed(view: View) -> Step | None:
    resting = {"pause": "paused", "stop": "stopped", "lockdown": "stopped"}.get(view.ordered, "closed")
    if resting != view.mode:
        return Step(resting, f"ordered: {view.ordered}")  # type: ignore[arg-type]
    refusal = may_open_now(view)
    if refusal is None:
        return Step("opening", "night and weather allow")
    if view.plc is not None and view.plc.dome not in {"closed", "closing", "unknown"}:
        return Step("closing", f"the dome is {view.plc.dome} and should not be: {refusal}")
    return None


def _must_close(view: View) -> str | None:
    if view.ordered != "run":
        return f"ordered: {view.ordered}"
    if view.level == "UNSAFE":
        return view.reasons
    if view.monitor is not None and view.monitor.ends is not None and view.now >= view.monitor.ends:
        return "the night is over"
    if view.plc is None or view.plc.link == "down":
        return "the PLC does not answer"
    return None


def _from_opening(view: View) -> Step | None:
    cause = _must_close(view)
    if cause is not None:
        return Step("closing", cause)
    if view.plc is not None and view.plc.dome == "open":
        return Step("observing", "the dome is open")
    if view.now - view.since > timedelta(seconds=view.opening_takes_s):
        return Step("closing", f"the dome has not opened in {view.opening_takes_s:.0f} s")
    return None


def _from_observing(view: View) -> Step | None:
    cause = _must_close(view)
    if cause is not None:
        return Step("closing", cause)
    if view.plc is not None and view.plc.dome != "open":
        return Step("closing", f"the dome is {view.plc.dome}")
    return None


def _from_closing(view: View) -> Step | None:
    closed = view.plc is not None and view.plc.dome == "closed"
    parked = view.telescope is None or view.telescope.parked is True or view.telescope.link == "down"
    late = view.now - view.since > timedelta(seconds=view.closing_takes_s)
    if closed and (parked or late):
        return Step("closed", "closed and parked" if parked else "closed; the telescope has not parked in time")
    return None


def next_alert(pending: Sequence[ObserveAlert], now: datetime) -> ObserveAlert | None:
    """Return the latest alert that may still be observed: the youngest burst fades fastest."""
    alive = [alert for alert in pending if now < alert.until]
    return alive[-1] if alive else None


def next_planned(plan: Sequence[PlannedSequence], now: datetime, lead_s: float) -> PlannedSequence | None:
    """Return the planned sequence whose time has come: not before `lead_s` ahead, not after its latest start."""
    for planned in plan:
        if now > planned.start + timedelta(seconds=planned.delta_tr_s + 1.0):
            continue
        return planned if now >= planned.start - timedelta(seconds=lead_s) else None
    return None


def missed(plan: Sequence[PlannedSequence], now: datetime) -> list[PlannedSequence]:
    """Return what can no longer be started in time."""
    return [planned for planned in plan if now > planned.start + timedelta(seconds=planned.delta_tr_s + 1.0)]
