"""Majordome: the state of the observatory.

Takes `SafetyVerdict` (its tick), `ObserveAlert`, `Replan`, `ScheduleMade`, `SequenceEnded`, `ExecutionRefused` and
people's `StartObserving`, `StopObserving`, `Pause`, `Resume`, `Lockdown`, `Release`; emits `MajordomeState`,
`ModeChanged`, `Permit` and, after each fresh verdict, the `Beat` that feeds the PLC's dead-man. It alone decides what
runs and who may interrupt whom, and orders all plannings of the night. Without verdicts it closes.

When it dies the permits age and no beat is sent. The next incarnation takes people's orders from the store and the
running sequence from the observation manager's last word, sees the dome as it is, and goes on from there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pyros.actors.devices.guard import safety_s
from pyros.actors.environment import Environment
from pyros.actors.kernel import Answer, Context
from pyros.actors.majordome.agenda import Agenda, Item
from pyros.actors.majordome.people import OrderTaker
from pyros.actors.majordome.policy import Step, View, may_start, next_mode, should_ask_again, should_park
from pyros.actors.majordome.replanning import Replanning
from pyros.actors.majordome.turn import LOST_AFTER_S, Turn
from pyros.messages.base import Done
from pyros.messages.devices import Beat, CloseDome, OpenDome, Park, PlcState, Poll, TelescopeState
from pyros.messages.night import (
    Abort,
    Execute,
    ExecutionRefused,
    MajordomeState,
    ModeChanged,
    MonitorState,
    ObservationManagerState,
    ObservatoryMode,
    ObserveAlert,
    Permit,
    PlannedSequence,
    Replan,
    SafetyLevel,
    SafetyVerdict,
    ScheduleMade,
    SequenceEnded,
    SequenceStarted,
)
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import current_schedule, sequence_tree

LOOK_EVERY_S = 2.0
OPEN_AGAIN_S = 30.0
MOTION_S = 180.0
PARK_AGAIN_S = 30.0
ABORT_TAKES_S = 10.0
LEAD_S = 45.0
"""A slew may be commanded so long before the night; it takes less, and the camera waits for the rest."""
WAITING = "; waiting: "


class Majordome(OrderTaker):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._mode: ObservatoryMode = "closed"
        self._why = "start"
        self._since = self.clock.now()
        self._agenda = Agenda()
        self._turn = Turn()
        self._replanning = Replanning()
        self._hold = ("", self._since)
        self._parked_at_s = float("-inf")
        self._waits_for = ""
        self._beats = 0
        self._reader: Reader | None = None

    def on_start(self) -> None:
        """Take up people's orders, tonight's planning and what the observation manager is at."""
        self.subscribe(SafetyVerdict, ScheduleMade, SequenceEnded, SequenceStarted, ExecutionRefused)
        self._reader = open_reader(self.environment.state_folder)
        self.load_orders(self._reader)
        schedule = current_schedule(self._reader)
        if schedule is not None:
            self._replanning.night_planned = schedule["night"]
        observing = self.latest(ObservationManagerState)
        if observing is not None and observing[0].sequence_id is not None:
            tree = sequence_tree(self._reader, observing[0].sequence_id)
            if tree is not None:
                self._turn.adopt(tree, self.clock.now(), self.clock.monotonic_s())
        self._resume()
        self.show()
        self.after(0.0, Poll())

    def _resume(self) -> None:
        """Go on in the mode of the incarnation before this one; what it was opening is looked at anew."""
        last = self.latest(MajordomeState)
        if last is not None and last[0].mode not in {"closed", "opening"}:
            self._mode, self._since = last[0].mode, last[0].since
            self._why = last[0].why.partition(WAITING)[0]
            if self._mode == "closing":
                self._close(self._why)
            self._want_planning("majordome was restarted", 0.0)

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    # -- the tick ----------------------------------------------------------------------------------------------------

    def on_safety_verdict(self, verdict: SafetyVerdict) -> None:
        """Decide by the last verdict, which this one is unless it has waited; only then feed the heartbeat."""
        self._decide(self._look())
        self._permit()
        self._beats += 1
        self.tell("plc", Beat(verdict_at=verdict.at, count=self._beats))
        self.show()

    def on_poll(self, _: Poll) -> None:
        """Without verdicts nothing else makes it decide: then it closes. This feeds no heartbeat."""
        self.after(self.clock.at_least_real(LOOK_EVERY_S, 0.5), Poll())
        verdict = self.latest(SafetyVerdict)
        limit_s = safety_s(self.clock, self.settings.safety.verdict_max_age_s)
        if verdict is not None and verdict[1] > limit_s:
            self._decide(self._view("UNSAFE", f"no safety verdict for {verdict[1]:.0f} s"))
        self.store_orders()
        self.show()

    def _decide(self, view: View) -> None:
        step = next_mode(view)
        if step is not None:
            self._go(step)
            view = self._look()
        elif should_ask_again(view):
            self.tell("plc", CloseDome(cause=self._why))
        self._park_if_due(view)
        self._look_for_lost(view.now)
        if self._mode == "observing":
            self._plan_if_due(view)
            self._start_next()

    def _look(self) -> View:
        """Return what is known now, by the last verdict."""
        verdict = self.latest(SafetyVerdict)
        if verdict is None or verdict[1] > safety_s(self.clock, self.settings.safety.verdict_max_age_s):
            return self._view("UNSAFE", "no fresh safety verdict")
        return self._view(verdict[0].level, ", ".join(verdict[0].reasons))

    def _view(self, level: SafetyLevel, reasons: str) -> View:
        monitor, plc, telescope = self.latest(MonitorState), self.latest(PlcState), self.latest(TelescopeState)
        now = self.clock.now()
        return View(
            now=now,
            mode=self._mode,
            since=self._since,
            level=level,
            reasons=reasons,
            monitor=monitor[0] if monitor else None,
            plc=plc[0] if plc else None,
            telescope=telescope[0] if telescope else None,
            ordered=self.orders.ordered,
            parks_first=self.settings.dome.parks_first,
            hold=self._hold[0] if now < self._hold[1] else "",
            opening_takes_s=self.clock.at_least_real(MOTION_S, 10.0),
            closing_takes_s=self.clock.at_least_real(MOTION_S, 10.0),
        )

    def _permit(self) -> None:
        observing = self._mode == "observing"
        plc = self.latest(PlcState)
        self.publish(
            Permit(
                sequence_id=self._turn.sequence_id if observing else None,
                open_dome=self._mode == "opening",
                calibration=self._mode == "closed" and plc is not None and plc[0].dome == "closed",
                at=self.clock.now(),
            )
        )

    # -- modes -------------------------------------------------------------------------------------------------------

    def _go(self, step: Step) -> None:
        before, self._mode = self._mode, step.mode
        self._why, self._since = step.cause, self.clock.now()
        self.publish(ModeChanged(before=before, after=step.mode, cause=step.cause))
        self._permit()
        match step.mode:
            case "opening":
                within_s = self.clock.at_least_real(10.0, 5.0)
                self.ask("plc", OpenDome(cause=step.cause), within_s, self._opening_answered)
            case "observing":
                self._want_planning("the dome is open", 0.0)
            case "closing":
                self._close(step.cause)
            case _:
                pass

    def _opening_answered(self, reply: Answer) -> None:
        if not isinstance(reply, Done) and self._mode == "opening":
            reason = str(getattr(reply, "reason", "no answer"))
            self._hold = (reason, self.clock.now() + timedelta(seconds=self.clock.at_least_real(OPEN_AGAIN_S, 2.0)))
            self._go(Step("closing", reason))

    def _close(self, cause: str) -> None:
        self._abort_running(cause)
        self.tell("plc", CloseDome(cause=cause))
        self._agenda.plan, self._replanning.due, self._waits_for = [], None, ""
        self._parked_at_s = float("-inf")

    def _park_if_due(self, view: View) -> None:
        """Ask for parking until the mount says that it is parked: once nothing uses it, or the abort takes too long."""
        running = self._turn.item is not None and view.late_s < self.clock.at_least_real(ABORT_TAKES_S, 2.0)
        now_s = self.clock.monotonic_s()
        if not should_park(view, running=running) or now_s - self._parked_at_s < self.clock.at_least_real(
            PARK_AGAIN_S, 2.0
        ):
            return
        self._parked_at_s = now_s
        self.tell("telescope", Park(cause=self._why))

    # -- what runs ---------------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        """Start what is due, if nothing runs and everything allows it."""
        if self._turn.item is not None:
            return
        view, overhead_s = self._look(), self.settings.scheduler.overhead_s
        waits_s = self._turn.waits_s(self.clock.monotonic_s())
        refusal = may_start(view, min(LEAD_S, self.settings.night.pointing_before_s))
        item = None if refusal is not None else self._agenda.next_item(view.now, overhead_s)
        if isinstance(item, PlannedSequence) and waits_s > 0.0:
            refusal, item = f"{self._turn.interruptions} interruptions; {waits_s:.0f} s to wait", None
        self._waits_for = refusal or ""
        if item is not None:
            self._execute(item)
        elif refusal is None and self._agenda.drop_missed(view.now):
            self._want_planning("sequences could no longer be started in time")

    def _execute(self, item: Item) -> None:
        self._agenda.take(item)
        self._turn.begin(item, self.clock.monotonic_s())
        self._permit()
        self.tell("observation_manager", Execute(sequence_id=item.sequence_id))

    def on_observe_alert(self, message: ObserveAlert) -> None:
        """Let an alert in at once: abort what it may interrupt, or start it if nothing runs."""
        if message.sequence_id == self._turn.sequence_id:
            return
        self._agenda.add(message)
        if self._turn.item is None:
            self._start_next()
        elif message.may_interrupt and not self._turn.is_alert and may_start(self._look(), LEAD_S) is None:
            self._abort_running(f"alert {message.alert_id}")
        self.show()

    def _abort_running(self, cause: str) -> None:
        if self._turn.sequence_id is not None:
            self.tell("observation_manager", Abort(sequence_id=self._turn.sequence_id, cause=cause))

    def _look_for_lost(self, now: datetime) -> None:
        """Forget a sequence that the observation manager knows nothing of: it died over it."""
        limit_s = self.clock.at_least_real(LOST_AFTER_S, 5.0)
        observing = self.latest(ObservationManagerState)
        at = observing[0].sequence_id if observing is not None else None
        if self._turn.is_lost(at, self.clock.monotonic_s(), limit_s):
            sequence_id = self._turn.sequence_id
            self._turn.end("INTERRUPTED", self.clock.monotonic_s())
            self._want_planning(f"sequence {sequence_id} was lost at {now:%H:%M:%S}", 0.0)

    def on_sequence_started(self, message: SequenceStarted) -> None:
        """Show it, with the time until which it will take."""
        if message.sequence_id == self._turn.sequence_id:
            assert self._reader is not None  # noqa: S101 - opened in on_start
            tree = sequence_tree(self._reader, message.sequence_id)
            self._turn.started(message.name, tree, self.clock.now())
        self.show()

    def on_execution_refused(self, message: ExecutionRefused) -> None:
        """A sequence did not begin: an alert is offered again, else the planning is looked at again."""
        item = self._turn.item
        if item is None or item.sequence_id != message.sequence_id:
            return
        self._turn.forget()
        if not (isinstance(item, ObserveAlert) and self._agenda.offer_again(item)):
            self._want_planning(f"sequence {message.sequence_id} was refused: {message.reason}")
        self.show()

    def on_sequence_ended(self, message: SequenceEnded) -> None:
        """Go on with the next at once; after anything but a plain success the night is planned anew."""
        if self._turn.sequence_id != message.sequence_id:
            return
        was_alert = self._turn.is_alert
        self._turn.end(message.outcome, self.clock.monotonic_s())
        if message.outcome != "EXECUTED" or was_alert:
            self._want_planning(f"sequence {message.sequence_id} {message.outcome.lower()}: {message.cause}", 0.0)
        elif not self._agenda.plan:
            self._want_planning("the planning is used up")
        self._park_if_due(self._look())
        self._start_next()
        self._permit()
        self.show()

    # -- planning ----------------------------------------------------------------------------------------------------

    def _want_planning(self, cause: str, after_s: float | None = None) -> None:
        delay_s = self.settings.scheduler.replan_after_s if after_s is None else after_s
        self._replanning.want(cause, self.clock.now() + timedelta(seconds=delay_s))

    def on_replan(self, message: Replan) -> None:
        """Plan anew after what comes together with it has come too."""
        self._want_planning(message.cause, 2.0)

    def _plan_if_due(self, view: View) -> None:
        """Ask for the planning that is due; an alert that runs is not disturbed."""
        if view.monitor is None or view.level != "SAFE" or self._turn.is_alert:
            return
        order = self._replanning.order(view.monitor, view.now, self.settings.night.pointing_before_s)
        if order is not None:
            self.ask("scheduler", order, self.clock.at_least_real(30.0, 15.0), self._schedule_answered)

    def _schedule_answered(self, reply: Answer) -> None:
        self._replanning.under_way = False
        if not isinstance(reply, ScheduleMade):  # that comes as an event too, also when somebody else asked for it
            self._want_planning(f"planning failed: {getattr(reply, 'reason', reply)}")

    def on_schedule_made(self, message: ScheduleMade) -> None:
        """Take the new planning; an empty one is looked at again in a while."""
        running = self._turn.sequence_id
        self._agenda.plan = [planned for planned in message.placed if planned.sequence_id != running]
        if not self._agenda.plan:
            self._want_planning("nothing was placed", 600.0)
        self.show()

    # -- people ------------------------------------------------------------------------------------------------------

    def ordered(self, cause: str) -> None:
        """See `OrderTaker.ordered`."""
        if self.orders.ordered != "run" and self._mode in {"opening", "observing"}:
            self._go(Step("closing", f"{self.orders.ordered}: {cause}"))
        self.show()

    def released(self, operator: str) -> None:
        """See `OrderTaker.released`."""
        self.publish(ModeChanged(before=self._mode, after=self._mode, cause=f"released by {operator}"))

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> MajordomeState:
        """Return what is going on and what comes next."""
        following = self._agenda.following()
        name, start = "", None
        if isinstance(following, PlannedSequence):
            name, start = following.name, following.start
        elif following is not None:
            name = f"alert {following.alert_id}"
        return MajordomeState(
            mode=self._mode,
            why=f"{self._why}{WAITING}{self._waits_for}" if self._waits_for else self._why,
            since=self._since,
            sequence_id=self._turn.sequence_id,
            sequence=self._turn.name,
            until=self._turn.until,
            next_sequence_id=following.sequence_id if following else None,
            next_sequence=name,
            next_start=start,
            locked_by=self.orders.locked_by,
        )
