"""Majordome's decisions as pure functions: which mode the observatory should be in, and what may start or park."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pyros.actors.majordome.orders import Ordered
from pyros.messages.devices import PlcState, TelescopeState
from pyros.messages.night import MonitorState, ObservatoryMode, SafetyLevel

RESTING: dict[Ordered, ObservatoryMode] = {"run": "closed", "pause": "paused", "stop": "stopped", "lockdown": "stopped"}


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
    ordered: Ordered
    parks_first: bool = False
    """Whether the dome is a roof that moves only over a parked telescope."""
    hold: str = ""
    """Why opening is not tried again yet."""
    opening_takes_s: float = 180.0
    closing_takes_s: float = 180.0

    @property
    def late_s(self) -> float:
        """Seconds since the mode began."""
        return (self.now - self.since).total_seconds()

    @property
    def tube_parked(self) -> bool:
        """Whether the tube is out of a roof's way: the PLC's park switch decides where there is one."""
        if self.plc is not None and self.plc.park_switch is not None:
            return self.plc.park_switch
        return self.telescope is not None and self.telescope.link == "up" and self.telescope.parked is True


@dataclass(frozen=True)
class Step:
    """A mode to go to, and why."""

    mode: ObservatoryMode
    cause: str


def next_mode(view: View) -> Step | None:
    """Return the transition that is due, or None to stay."""
    match view.mode:
        case "closed" | "paused" | "stopped":
            return _from_resting(view)
        case "opening":
            return _from_opening(view)
        case "observing":
            return _from_observing(view)
        case "closing":
            return _from_closing(view)


def may_be_open(view: View) -> str | None:
    """Say why the dome may not be open at this hour or by order, whatever the weather; None when it may."""
    if view.ordered != "run":
        return {"pause": "paused", "stop": "stopped", "lockdown": "locked down"}[view.ordered]
    monitor = view.monitor
    if monitor is None:
        return "the night's times are unknown"
    if monitor.opens is None or monitor.ends is None or monitor.begins is None:
        return "there is no dark time tonight"
    if view.now < monitor.opens:
        return f"the Sun is up; opening at {monitor.opens:%H:%M:%S}"
    return "the night is over" if view.now >= monitor.ends else None


def may_open_now(view: View) -> str | None:
    """Say why the dome shall stay closed now, or None when it may open."""
    refusal = may_be_open(view)
    if refusal is None and view.level != "SAFE":
        refusal = f"{view.level}: {view.reasons}"
    if refusal is None and view.parks_first and not view.tube_parked:
        refusal = "the telescope is not parked, and the roof would touch it"
    return refusal or view.hold or None


def may_start(view: View, lead_s: float) -> str | None:
    """Say why no sequence may be started now: `lead_s` before the night is not too early."""
    if view.mode != "observing":
        return f"the observatory is {view.mode}"
    if view.level != "SAFE":
        return f"{view.level}: {view.reasons}"
    monitor = view.monitor
    if monitor is None or monitor.begins is None or monitor.ends is None:
        return "the night's times are unknown"
    if view.now < monitor.begins - timedelta(seconds=lead_s):
        return f"the night begins at {monitor.begins:%H:%M:%S}"
    if view.now >= monitor.ends:
        return "the night is over"
    if view.telescope is None or view.telescope.link == "down":
        return "the telescope does not answer"
    down = [device.device for device in monitor.devices if device.blocking and device.link == "down"]
    return f"no answer from {', '.join(down)}" if down else None


def should_ask_again(view: View) -> bool:
    """Tell whether the plc actor has to be told once more to close: a restarted one knows nothing of the order."""
    plc = view.plc
    return view.mode == "closing" and plc is not None and plc.desired != "closed" and plc.dome != "closed"


def should_park(view: View, *, running: bool) -> bool:
    """Tell whether the telescope is to be parked: whenever the observatory is not open, once nothing uses it.

    Not under a closed roof that would touch it: how it came to stand there is for people to find out.
    """
    telescope = view.telescope
    if view.mode in {"opening", "observing"} or telescope is None or telescope.link == "down":
        return False
    if view.plc is not None and (view.plc.local_key or view.plc.emergency_stop):
        return False
    if view.parks_first and view.plc is not None and (view.plc.park_switch or view.plc.dome == "closed"):
        return False
    return telescope.parked is not True and not running


def _from_resting(view: View) -> Step | None:
    resting = RESTING[view.ordered]
    if resting != view.mode:
        return Step(resting, f"ordered: {view.ordered}")
    dome = view.plc.dome if view.plc is not None else "unknown"
    closes = _plc_closes(view)
    if dome == "open" and closes is None and view.level != "UNSAFE" and may_be_open(view) is None:
        return Step("observing", "the dome is open already")
    refusal = may_open_now(view)
    if dome not in {"closed", "closing", "unknown"} and (refusal or closes) is not None:
        return Step("closing", f"the dome is {dome} and should not be: {refusal or closes}")
    return Step("opening", "night and weather allow") if refusal is None else None


def _plc_closes(view: View) -> str | None:
    """Say so if the plc actor has been told to close, or closes by its reflex: a roof then waits for the parking."""
    return "it is to be closed" if view.plc is not None and view.plc.desired == "closed" else None


def _must_close(view: View) -> str | None:
    if view.ordered != "run":
        return f"ordered: {view.ordered}"
    if view.level == "UNSAFE":
        return view.reasons
    if view.plc is None or view.plc.link == "down":
        return "the PLC does not answer"
    return may_be_open(view)


def _from_opening(view: View) -> Step | None:
    cause = _must_close(view)
    if cause is not None:
        return Step("closing", cause)
    if view.plc is not None and view.plc.dome == "open":
        return Step("observing", "the dome is open")
    if view.late_s > view.opening_takes_s:
        return Step("closing", f"the dome has not opened in {view.opening_takes_s:.0f} s")
    return None


def _from_observing(view: View) -> Step | None:
    cause = _must_close(view)
    if cause is None and view.plc is not None and (view.plc.dome != "open" or _plc_closes(view)):
        cause = f"the dome is {view.plc.dome}" + (" and is to be closed" if view.plc.dome == "open" else "")
    return None if cause is None else Step("closing", cause)


def _from_closing(view: View) -> Step | None:
    if view.plc is None or view.plc.dome != "closed":
        return None
    resting = RESTING[view.ordered]
    if view.telescope is None or view.telescope.parked is True or view.plc.park_switch:
        return Step(resting, "closed and parked")
    if view.telescope.link == "down":
        return Step(resting, "closed; the telescope does not answer and may not be parked")
    if view.late_s > view.closing_takes_s:
        return Step(resting, "closed; the telescope has not parked in time")
    return None
