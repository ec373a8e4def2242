"""Majordome: the state of the observatory.

Takes `SafetyVerdict` (its tick), `ObserveAlert`, `ScheduleMade`, `SequenceEnded`, `ExecutionRefused` and people's
`StartObserving`, `StopObserving`, `Pause`, `Resume`, `Lockdown`, `Release`; emits `MajordomeState`, `ModeChanged`, `Permit` and, after
each fresh verdict, the `Beat` that feeds the PLC's dead-man. It alone decides what runs and who may interrupt whom, and
orders all plannings of the night. When it dies the permits age and no beat is sent; the next incarnation starts closed
in its mind, sees the dome as it is, and goes on from there.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.actors.majordome.policy import Step, View, missed, next_alert, next_mode, next_planned
from pyros.messages.base import Done, Refused
from pyros.messages.devices import Beat, CloseDome, OpenDome, Park, PlcState, TelescopeState
from pyros.messages.night import (
    Abort,
    Execute,
    ExecutionRefused,
    Lockdown,
    MajordomeState,
    MakeSchedule,
    ModeChanged,
    MonitorState,
    ObservationManagerState,
    ObservatoryMode,
    ObserveAlert,
    Pause,
    Permit,
    PlannedSequence,
    Release,
    Replan,
    Resume,
    SafetyVerdict,
    ScheduleMade,
    SequenceEnded,
    SequenceStarted,
    StartObserving,
    StopObserving,
)
from pyros.messages.store import Commit, Committed
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import setting_write, settings

OPEN_AGAIN_S = 30.0
LOCKDOWN = "lockdown"


class Majordome(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._mode: ObservatoryMode = "closed"
        self._why = "start"
        self._since = self.clock.now()
        self._ordered: Literal["run", "pause", "stop", "lockdown"] = "run"
        self._locked_by = ""
        self._plan: list[PlannedSequence] = []
        self._alerts: list[ObserveAlert] = []
        self._current: PlannedSequence | ObserveAlert | None = None
        self._night_planned = ""
        self._replan_due: datetime | None = None
        self._replan_cause = ""
        self._open_refused_at: datetime | None = None
        self._beats = 0
        self._reader: Reader | None = None

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    def on_start(self) -> None:
        """Take up a stored lockdown, and what the observation manager is at."""
        self.subscribe(SafetyVerdict, ScheduleMade, SequenceEnded, SequenceStarted, ExecutionRefused)
        self._reader = open_reader(self.environment.state_folder)
        lock = settings(self._reader).get(LOCKDOWN)
        if lock:
            self._ordered, self._locked_by = "lockdown", str(lock)
        observing = self.latest(ObservationManagerState)
        if observing is not None and observing[0].sequence_id is not None:
            self.tell(
                "observation_manager",
                Abort(sequence_id=observing[0].sequence_id, cause="majordome was restarted"),
            )
        self.show()

    # -- the tick ----------------------------------------------------------------------------------------------------

    def on_safety_verdict(self, verdict: SafetyVerdict) -> None:
        """Decide; only then feed the heartbeat."""
        view = self._look(verdict)
        step = next_mode(view)
        if step is not None:
            self._go(step)
        if self._mode == "observing":
            self._observe(view)
        self._permit()
        self._beats += 1
        self.tell("plc", Beat(verdict_at=verdict.at, count=self._beats))
        self.show()

    def _look(self, verdict: SafetyVerdict) -> View:
        monitor, plc, telescope = self.latest(MonitorState), self.latest(PlcState), self.latest(TelescopeState)
        return View(
            now=self.clock.now(),
            mode=self._mode,
            since=self._since,
            level=verdict.level,
            reasons=", ".join(verdict.reasons),
            monitor=monitor[0] if monitor else None,
            plc=plc[0] if plc else None,
            telescope=telescope[0] if telescope else None,
            ordered=self._ordered,
            opening_takes_s=self.clock.at_least_real(180.0, 10.0),
            closing_takes_s=self.clock.at_least_real(180.0, 10.0),
        )

    def _permit(self) -> None:
        self.publish(
            Permit(sequence_id=self._current_id(), open_dome=self._mode == "opening", at=self.clock.now())
        )

    # -- modes -------------------------------------------------------------------------------------------------------

    def _go(self, step: Step) -> None:
        before, self._mode = self._mode, step.mode
        self._why, self._since = step.cause, self.clock.now()
        self.publish(ModeChanged(before=before, after=step.mode, cause=step.cause))
        match step.mode:
            case "opening":
                self._open()
            case "observing":
                self._want_planning("the dome is open", 0.0)
            case "closing":
                self._close(step.cause)
            case _:
                pass

    def _open(self) -> None:
        now = self.clock.now()
        if self._open_refused_at is not None and now - self._open_refused_at < timedelta(seconds=OPEN_AGAIN_S):
            self._mode, self._why = "closed", "opening was refused a moment ago"
            return
        self._permit()
        self.ask("plc", OpenDome(cause=self._why), 10.0, self._opening_answered)

    def _opening_answered(self, reply: Answer) -> None:
        if not isinstance(reply, Done) and self._mode == "opening":
            self._open_refused_at = self.clock.now()
            self._go(Step("closing", getattr(reply, "reason", "no answer")))

    def _close(self, cause: str) -> None:
        self._abort_running(cause)
        self.tell("plc", CloseDome(cause=cause))
        self.tell("telescope", Park(cause=cause))
        self._plan, self._replan_due = [], None

    # -- what runs ---------------------------------------------------------------------------------------------------

    def _observe(self, view: View) -> None:
        monitor = view.monitor
        if monitor is None or monitor.begins is None or monitor.ends is None or view.level != "SAFE":
            return
        if view.now < monitor.begins - timedelta(seconds=self.settings.night.pointing_before_s):
            return
        if self._night_planned != monitor.night:
            self._night_planned, self._replan_due = monitor.night, None
            self._schedule(MakeSchedule(
                first_schedule=True, night_start=monitor.begins, night_end=monitor.ends, trigger="first of the night"
            ))
        elif self._replan_due is not None and view.now >= self._replan_due and not isinstance(self._current, ObserveAlert):
            self._replan_due = None
            self._schedule(MakeSchedule(first_schedule=False, trigger=self._replan_cause))
        if self._current is None:
            self._start_next(view.now)

    def _start_next(self, now: datetime) -> None:
        alert = next_alert(self._alerts, now)
        if alert is not None:
            self._alerts.remove(alert)
            self._execute(alert)
            return
        planned = next_planned(self._plan, now, self.settings.scheduler.overhead_s)
        if planned is not None:
            self._plan.remove(planned)
            self._execute(planned)
        elif missed(self._plan, now):
            self._plan = [p for p in self._plan if p not in missed(self._plan, now)]
            self._want_planning("sequences could no longer be started in time")

    def _execute(self, what: PlannedSequence | ObserveAlert) -> None:
        self._current = what
        self._permit()
        self.tell("observation_manager", Execute(sequence_id=what.sequence_id))

    def on_observe_alert(self, message: ObserveAlert) -> None:
        """Let an alert in at once: abort what it may interrupt, or start it if nothing runs."""
        self._alerts.append(message)
        if self._mode != "observing":
            return
        if self._current is None:
            verdict = self.latest(SafetyVerdict)
            if verdict is not None and verdict[0].level == "SAFE":
                self._start_next(self.clock.now())
        elif message.may_interrupt and not isinstance(self._current, ObserveAlert):
            self._abort_running(f"alert {message.alert_id}")
        self.show()

    def _abort_running(self, cause: str) -> None:
        if self._current is not None:
            self.tell("observation_manager", Abort(sequence_id=self._current.sequence_id, cause=cause))

    def on_sequence_started(self, _: SequenceStarted) -> None:
        """Show it."""
        self.show()

    def on_execution_refused(self, message: ExecutionRefused) -> None:
        """A sequence did not begin: something else has its turn, and the planning is looked at again."""
        if self._current is not None and self._current.sequence_id == message.sequence_id:
            self._current = None
            self._want_planning(f"sequence {message.sequence_id} was refused: {message.reason}"[:200])
            self.show()

    def on_sequence_ended(self, message: SequenceEnded) -> None:
        """Go on with the next at once; after anything but a plain success the night is planned anew."""
        if self._current is None or self._current.sequence_id != message.sequence_id:
            return
        was_alert = isinstance(self._current, ObserveAlert)
        self._current = None
        if message.outcome != "EXECUTED" or was_alert:
            self._want_planning(f"sequence {message.sequence_id} {message.outcome.lower()}: {message.cause}"[:200], 0.0)
        elif not self._plan:
            self._want_planning("the planning is used up")
        verdict = self.latest(SafetyVerdict)
        if self._mode == "observing" and verdict is not None and verdict[0].level == "SAFE":
            self._start_next(self.clock.now())
        self._permit()
        self.show()

    # -- planning ----------------------------------------------------------------------------------------------------

    def _want_planning(self, cause: str, after_s: float | None = None) -> None:
        delay_s = self.settings.scheduler.replan_after_s if after_s is None else after_s
        due = self.clock.now() + timedelta(seconds=delay_s)
        if self._replan_due is None or due < self._replan_due:
            self._replan_due, self._replan_cause = due, cause

    def on_replan(self, message: Replan) -> None:
        """Plan anew after what comes together with it has come too."""
        self._want_planning(message.cause, 2.0)

    def _schedule(self, message: MakeSchedule) -> None:
        self.ask("scheduler", message, 30.0, self._schedule_answered)

    def _schedule_answered(self, reply: Answer) -> None:
        if isinstance(reply, ScheduleMade):
            return  # it comes as an event too, also when somebody else asked for it
        self._want_planning(f"planning failed: {getattr(reply, 'reason', reply)}"[:200])

    def on_schedule_made(self, message: ScheduleMade) -> None:
        """Take the new planning; an empty one is looked at again in a while."""
        running = self._current_id()
        self._plan = [planned for planned in message.placed if planned.sequence_id != running]
        if not self._plan:
            self._want_planning("nothing was placed", 600.0)
        self.show()

    # -- people ------------------------------------------------------------------------------------------------------

    def _order(self, ordered: Literal["run", "pause", "stop"], cause: str) -> Done | Refused:
        if self._ordered == "lockdown":
            return Refused(reason=f"locked down by {self._locked_by}; only Release by a named operator lifts it")
        self._ordered = ordered
        if ordered != "run" and self._mode in {"opening", "observing"}:
            self._go(Step("closing", f"{ordered}: {cause}"))
        self.show()
        return Done()

    def on_start_observing(self, message: StartObserving) -> Done | Refused:
        """Observe whenever night and weather allow."""
        return self._order("run", message.cause)

    def on_stop_observing(self, message: StopObserving) -> Done | Refused:
        """Close, park, stay so."""
        return self._order("stop", message.cause)

    def on_pause(self, message: Pause) -> Done | Refused:
        """Abort and close until `Resume`."""
        return self._order("pause", message.cause)

    def on_resume(self, message: Resume) -> Done | Refused:
        """End a pause."""
        return self._order("run", message.cause)

    def on_lockdown(self, message: Lockdown) -> None:
        """Close now; the store is told as well, so that a restart does not forget it."""
        self._ordered, self._locked_by = "lockdown", message.operator
        if self._mode in {"opening", "observing"}:
            self._go(Step("closing", f"lockdown by {message.operator}: {message.reason}"))
        self._store_lock(message.operator)
        self.show()

    def on_release(self, message: Release) -> Done | Refused:
        """Lift a lockdown."""
        if self._ordered != "lockdown":
            return Refused(reason="there is no lockdown")
        self._ordered, self._locked_by = "run", ""
        self._store_lock("")
        self.publish(ModeChanged(before=self._mode, after=self._mode, cause=f"released by {message.operator}"))
        self.show()
        return Done()

    def _store_lock(self, operator: str) -> None:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        write = setting_write(self._reader, LOCKDOWN, operator, self.clock.now(), operator or self.name)
        self.ask("archivist", Commit(writes=[write], reason="lockdown"), 10.0, self._lock_stored)

    @staticmethod
    def _lock_stored(reply: Answer) -> None:
        if not isinstance(reply, Committed):
            raise RuntimeError(f"the lockdown could not be stored: {getattr(reply, 'reason', reply)}")

    # -- state -------------------------------------------------------------------------------------------------------

    def _current_id(self) -> int | None:
        return None if self._current is None else self._current.sequence_id

    def state(self) -> MajordomeState:
        """Return what is going on and what comes next."""
        observing = self.latest(ObservationManagerState)
        running = self._current
        following = self._plan[0] if self._plan else None
        return MajordomeState(
            mode=self._mode,
            why=self._why,
            since=self._since,
            sequence_id=self._current_id(),
            sequence=observing[0].name if observing is not None and running is not None else "",
            until=running.end if isinstance(running, PlannedSequence) else (running.until if running else None),
            next_sequence_id=following.sequence_id if following else None,
            next_sequence=following.name if following else "",
            next_start=following.start if following else None,
            locked_by=self._locked_by,
        )
