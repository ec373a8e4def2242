"""Messages of the night's course: safety verdict, majordome, observation manager, scheduler."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pyros.messages.base import (
    Command,
    Count,
    Event,
    Name,
    Part,
    State,
    Text,
)

SafetyLevel = Literal["SAFE", "WARN", "UNSAFE"]
SafetyCause = Literal[
    "rain", "wind", "humidity", "dew_point", "cold", "stale", "people", "power", "fault", "latch", "boot", "clock",
    "start", "hold_off",
]  # fmt: skip
"""`stale`: weather that is old, frozen or unknown; `people`: local key or emergency stop; `fault`: the PLC is silent or
contradicts itself; `start`: nothing was known before."""
Phase = Literal["day", "evening twilight", "night", "morning twilight"]
ObservatoryMode = Literal["closed", "opening", "observing", "paused", "closing", "stopped"]

# -- monitor ---------------------------------------------------------------------------------------------------------


class SafetyVerdict(State):
    """Is it safe to be open, and why (not). Fresh at every PLC reading; the devices' guards look at its age."""

    level: SafetyLevel
    reasons: list[str]
    causes: list[SafetyCause] = []
    """The same for programs, each kind once; after "hold_off" those that it follows from."""
    at: datetime
    reopen_after: datetime | None = None


class ClockJumped(Event):
    """The process stood still, or the machine's time was set: whatever was known before is void."""

    gap_s: float
    """Seconds of the monotonic clock in which the monitor did not come to look."""
    step_s: float
    """By how much UTC has moved more than the monotonic clock."""


class DeviceHealth(Part):
    """One device as the monitor sees it. Part of `MonitorState`."""

    device: Name
    link: Literal["up", "down"]
    blocking: bool
    problem: Text


class MonitorState(State):
    """The night's times and phase, and each device's health."""

    phase: Phase
    night: Text
    """Local date at the preceding noon, YYYY-MM-DD."""
    begins: datetime | None
    ends: datetime | None
    opens: datetime | None
    sunrise: datetime | None
    level: SafetyLevel
    reasons: list[str]
    devices: list[DeviceHealth]


class NightStarted(Event):
    """The Sun has sunk below the limit; once per night, also over restarts."""

    night: Text
    ends: datetime


class NightEnded(Event):
    """The Sun has risen above the limit; once per night."""

    night: Text


# -- majordome -------------------------------------------------------------------------------------------------------


class StartObserving(Command):
    """Observe from now on, whenever night and weather allow."""

    cause: Text = "ordered"


class StopObserving(Command):
    """End the observing: abort, close, park, and stay so until `StartObserving`."""

    makes_safer = True
    cause: Text = "ordered"


class Pause(Command):
    """Abort what runs and close; take up again at `Resume`."""

    makes_safer = True
    cause: Text = "ordered"


class Resume(Command):
    """End a `Pause`."""

    cause: Text = "ordered"


class Lockdown(Command):
    """Close and stay closed over restarts, until a named operator says `Release`."""

    makes_safer = True
    operator: Name
    reason: Text


class Release(Command):
    """Lift a lockdown."""

    operator: Name


class Replan(Command):
    """Something to observe has come or gone; plan the rest of the night anew soon."""

    cause: Text


class Permit(State):
    """Majordome's word that a sequence may use the instruments, or that the dome may open; good for ten seconds."""

    sequence_id: int | None
    open_dome: bool
    calibration: bool = False
    at: datetime


class ObserveAlert(Command):
    """An alert's sequence stands ready; let it in at once if it may interrupt what runs."""

    sequence_id: int
    alert_id: int
    may_interrupt: bool
    until: datetime


class MajordomeState(State):
    """What the observatory is doing, and what comes next."""

    mode: ObservatoryMode
    why: Text
    since: datetime
    sequence_id: int | None = None
    sequence: Text = ""
    until: datetime | None = None
    next_sequence_id: int | None = None
    next_sequence: Text = ""
    next_start: datetime | None = None
    locked_by: Text = ""


class ModeChanged(Event):
    """The observatory went from one mode to another."""

    before: ObservatoryMode
    after: ObservatoryMode
    cause: Text


# -- observation manager ---------------------------------------------------------------------------------------------

Outcome = Literal["EXECUTED", "ABORTED", "INTERRUPTED"]


class Execute(Command):
    """Carry out a sequence, plan by plan. Answered at once; the end comes as `SequenceEnded`."""

    sequence_id: int


class Abort(Command):
    """End the running sequence now; Refused if another one runs."""

    makes_safer = True
    sequence_id: int
    cause: Text


class SequenceStarted(Event):
    """The sequence's intent is stored and its first command is on its way."""

    sequence_id: int
    name: Text
    alert_id: int | None


class Pointed(Event):
    """The telescope tracks the sequence's target."""

    sequence_id: int
    alert_id: int | None
    commanded_at: datetime
    settled_at: datetime


class PlanEnded(Event):
    """One plan is through: how many frames it gave."""

    sequence_id: int
    plan_id: int
    frames: Count
    outcome: Outcome


class ImageTaken(Event):
    """A frame is on disk and in the store."""

    image_id: int
    file: Text
    camera: Name
    filter: Text
    sequence_id: int
    plan_id: int
    alert_id: int | None
    start: datetime
    exposure_s: float
    datasum: Text


class SequenceEnded(Event):
    """The sequence is over."""

    sequence_id: int
    outcome: Outcome
    cause: Text
    exposed_s: float


class ObservationManagerState(State):
    """The running sequence, step by step."""

    sequence_id: int | None = None
    name: Text = ""
    step: Text = ""
    plan_id: int | None = None
    frame: Count = 0
    frames: Count = 0
    until: datetime | None = None


# -- scheduler -------------------------------------------------------------------------------------------------------


class ExecutionRefused(Event):
    """The observation manager did not begin a sequence, and why."""

    sequence_id: int
    reason: Text


class MakeSchedule(Command):
    """Plan the rest of the night. The first one of a night brings its times, the later ones start now."""

    budget_s = 10.0
    first_schedule: bool
    night_start: datetime | None = None
    night_end: datetime | None = None
    trigger: Text


class PlannedSequence(Part):
    """A sequence's place in a planning. Part of `ScheduleMade`."""

    sequence_id: int
    name: Text
    start: datetime
    end: datetime
    delta_tl_s: float
    delta_tr_s: float
    priority: int


class RejectedSequence(Part):
    """A sequence that found no place, and why. Part of `ScheduleMade`."""

    sequence_id: int
    code: Name
    reason: Text


class ScheduleMade(Event):
    """A new planning is the current one. Also the reply to `MakeSchedule`."""

    schedule_id: int
    trigger: Text
    placed: list[PlannedSequence]
    rejected: list[RejectedSequence]


class SchedulerState(State):
    """The current planning in short."""

    schedule_id: int | None = None
    trigger: Text = ""
    made_at: datetime | None = None
    placed: list[PlannedSequence] = []
    rejected: Count = 0
