"""The alert manager: whether a notice is interesting, whether it is the same event, which request follows.

Takes `NoticeArrived` (answered `NoticeStored` once it is in the store, before anything is decided), `CancelAlert`,
`Poll` (its own timer), and the events of an alert's way (`Pointed`, `ShutterOpened`, `Analysed`, `SequenceEnded`);
emits `NoticeJudged`, `AlertOpened`, `AlertUpdated` and `AlertManagerState`. One notice is decided at a time, and its
decision is in the store before the next begins: two notices of one burst never open two alerts. What is decided is the
pure decision.py; what is written, deeds.py and rows.py. Its memory is a cache of the last day and a half, loaded at the
start; when it dies, what was stored but not decided is decided by the next incarnation, and its alerts go on from what
the store says.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from pyros.actors.alert_manager import memory, rows
from pyros.actors.alert_manager.case import Case, Deed
from pyros.actors.alert_manager.decision import decide
from pyros.actors.alert_manager.deeds import Deeds
from pyros.actors.alert_manager.intake import NoticeTaker
from pyros.actors.alert_manager.ledger import STEPS, AlertFile, Undecided, opened, updated
from pyros.actors.alert_manager.resumption import next_step
from pyros.actors.alert_manager.strategy import defaults, parse
from pyros.actors.alert_manager.verdict import AlertPolicy, Verdict
from pyros.actors.environment import Environment
from pyros.actors.kernel import Answer, Context
from pyros.messages.alerts import (
    AlertManagerState,
    AlertStatus,
    Analysed,
    CancelAlert,
    NoticeJudged,
)
from pyros.messages.base import Done, Refused
from pyros.messages.devices import Poll, ShutterOpened
from pyros.messages.night import (
    Abort,
    MonitorState,
    ObservationManagerState,
    ObserveAlert,
    Pointed,
    Replan,
    SequenceEnded,
)
from pyros.messages.store import Committed
from pyros.messages.system import ActorRestarted
from pyros.sky import coordinates
from pyros.sky.night import date_of
from pyros.store.database import open_reader
from pyros.store.repositories import SequenceTree, pending_notice, sequence_tree, undecided_notices

RETRY_S = 5.0
TRIES = 3
MOST_REISSUES = 3
REISSUE_AFTER_S = 10.0
"""How long a sequence that a device broke off waits before it is tried again, times the number of the try."""
RESUME_AFTER_S = 30.0
"""How long the end of a sequence that is running at the start is waited for before the store is looked at again."""
OBSERVE_WITHIN = timedelta(hours=1)


class AlertManager(NoticeTaker):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        alerts = environment.settings.alerts
        self._policy = AlertPolicy(max_error_deg=alerts.max_error_deg, max_age_s=alerts.max_age_s)
        strategies = (
            parse(alerts.strategies.read_text(encoding="utf-8")) if alerts.strategies is not None else defaults()
        )
        self._deeds = Deeds(strategies, environment.settings)
        self._memory = memory.Memory()
        self._undecided: deque[Undecided] = deque()
        self._deciding = False
        self._accepted = 0

    # -- start -------------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Take up the alerts of the last day and a half, and what a crash left undecided.

        What the last incarnation had sent to the archivist is waited for, so that nothing of it is done twice.
        """
        self.reader = open_reader(self.environment.state_folder)
        self.subscribe(Pointed, ShutterOpened, Analysed, SequenceEnded, ActorRestarted)
        self._deciding = True
        self.commit([], "before the alert manager loads", lambda _: self._load())
        self.show()

    def _load(self) -> None:
        self._memory = memory.load(self.store, self.clock.now())
        for file in self._memory.alive():
            self._watch_end(file)
            self._resume(file)
        for row in undecided_notices(self.store):
            self._queue(row)
        self._go_on()

    def decide_on(self, row: dict[str, Any]) -> None:
        """See `NoticeTaker.decide_on`."""
        self._queue(row)
        self._decide_next()

    def _queue(self, row: dict[str, Any]) -> None:
        """Put a stored notice that is not judged yet into the queue, once."""
        if any(due.notice_id == row["id"] for due in self._undecided):
            return
        notice, problem = memory.read_notice(row["raw"])
        if notice is None:
            self._write([rows.quarantined(row["id"], problem, self.clock.now())], "a notice set aside")
        else:
            self._undecided.append(Undecided(row["id"], notice, row["received_at"], self.clock.now()))

    def _resume(self, file: AlertFile) -> None:
        """Go on with an alert from where the store says that its last sequence is."""
        tree = sequence_tree(self.store, file.sequences[-1]) if file.sequences else None
        observing = self.latest(ObservationManagerState)
        step = next_step(tree, observing[0].sequence_id if observing is not None else None)
        if tree is None:
            self._issue(file)
        elif step == "wait":  # for `SequenceEnded`, or should that be lost, for what the store says then
            file.resume_at = self.clock.now() + timedelta(seconds=RESUME_AFTER_S)
            self.after(RESUME_AFTER_S, Poll())
        elif step == "done":
            self._end(file, "DONE", "observed")
        elif step == "offer":
            self._offer(file, tree)
        else:
            self._try_again(file, f"sequence {tree.id} was {tree.status} at the start", 0.0)

    def _offer(self, file: AlertFile, tree: SequenceTree) -> None:
        may_interrupt = self._deeds.tactics.may_interrupt(file.strategy)
        self._call(file, tree.id, tree.min_altitude_deg, may_interrupt=may_interrupt)

    def on_actor_restarted(self, message: ActorRestarted) -> None:
        """Order again what a majordome that died has forgotten."""
        for file in self._memory.alive() if message.actor == "majordome" else []:
            tree = sequence_tree(self.store, file.sequences[-1]) if file.sequences else None
            if tree is not None and next_step(tree, None) == "offer":
                self._offer(file, tree)

    def on_stop(self) -> None:
        """Close the store."""
        if self.reader is not None:
            self.reader.close()

    def _night(self) -> str:
        monitor = self.latest(MonitorState)
        if monitor is not None and monitor[0].night:
            return monitor[0].night
        return str(date_of(self.environment.site, self.clock.now()))

    # -- decisions, one at a time ------------------------------------------------------------------------------------

    def _decide_next(self) -> None:
        if self._deciding or not self._undecided:
            return
        self._deciding = True
        due, now = self._undecided[0], self.clock.now()
        self._memory.forget(now)
        try:
            decision = decide(due.notice, self._memory.alerts, self._memory.loose, self._policy, due.received_at)
            times = {"received": due.received_at, "stored": due.stored_at, "decided": now}
            case = Case(decision, due.notice_id, due.notice, self._memory, self.store, times, self._night(), now)
            deed = self._deeds.of(case)
        except Exception as error:  # noqa: BLE001 - one notice that breaks us must not stop those behind it
            self._set_aside(due, f"it could not be decided on: {type(error).__name__}: {error}")
            return
        self.commit(deed.writes, f"verdict on {due.notice.ivorn}", lambda reply: self._decided(due, deed, reply))

    def _decided(self, due: Undecided, deed: Deed, reply: Answer) -> None:
        if isinstance(reply, Committed):
            self._undecided.popleft()
            deed.remember(reply.ids)
            self._act(deed)
            self._say(due, deed.decision.verdict, deed.file)
        elif isinstance(reply, Refused) and pending_notice(self.store, due.notice_id) is None:
            self._undecided.popleft()
            self._load()  # the answer to an earlier try was lost: it is decided, and the store knows what followed
            return
        elif isinstance(reply, Refused) and due.tries + 1 >= TRIES:
            self._set_aside(due, f"its decision was refused by the store: {reply.reason}")
            return
        elif isinstance(reply, Refused):
            due.tries += 1  # something has changed since it was read
        else:
            self._deciding = False
            self.after(self.clock.at_least_real(RETRY_S, 1.0), Poll())  # the disk: it stays undecided, and first
            return
        self._go_on()

    def _set_aside(self, due: Undecided, reason: str) -> None:
        self._undecided.popleft()
        self._write([rows.quarantined(due.notice_id, reason, self.clock.now())], "a notice set aside")
        self._say(due, Verdict(accepted=False, reason=reason), None)
        self._go_on()

    def _go_on(self) -> None:
        self._deciding = False
        self.show()
        self._decide_next()

    def _say(self, due: Undecided, verdict: Verdict, file: AlertFile | None) -> None:
        self.publish(
            NoticeJudged(
                notice_id=due.notice_id,
                ivorn=due.notice.ivorn,
                stream=due.notice.stream,
                trigger=due.notice.trigger,
                accepted=verdict.accepted,
                reason=verdict.reason,
                alert_id=None if file is None else file.alert_id,
            )
        )

    def _act(self, deed: Deed) -> None:
        """Do what a decision that is in the store asks for."""
        decision, file = deed.decision, deed.file
        if file is None or decision.action in {"loose", "record", "keep"}:
            return
        for sequence_id in deed.abort:
            self.tell("observation_manager", Abort(sequence_id=sequence_id, cause=deed.cause[:500]))
        if deed.request is not None and file.sequences:
            self._call(
                file, file.sequences[-1], deed.request.min_altitude_deg, may_interrupt=deed.request.may_interrupt
            )
        if decision.action == "open":
            self._accepted += 1
            self._watch_end(file)
            self.publish(opened(file))
        else:
            self.publish(updated(file, deed.cause))

    def _call(self, file: AlertFile, sequence_id: int, least_altitude_deg: float, *, may_interrupt: bool) -> None:
        """Send the sequence to majordome: at once if the target stands high enough, else through the planning."""
        now, site = self.clock.now(), self.environment.site
        altitude_deg = coordinates.altaz(site, file.position.ra_deg, file.position.dec_deg, now).altitude_deg
        if altitude_deg <= max(least_altitude_deg, self.environment.settings.site.horizon_deg) + 0.1:
            self.tell("majordome", Replan(cause=f"alert {file.name} is at altitude {altitude_deg:.1f}°, for later"))
            return
        until = min(file.latest or now + OBSERVE_WITHIN, now + OBSERVE_WITHIN)
        self.tell(
            "majordome",
            ObserveAlert(sequence_id=sequence_id, alert_id=file.alert_id, may_interrupt=may_interrupt, until=until),
        )

    # -- the way of an alert -----------------------------------------------------------------------------------------

    def _reached(self, file: AlertFile | None, **steps: datetime) -> None:
        if file is not None and file.note(steps):
            self._write([rows.times_of(file.alert_id, file.times, STEPS)], f"alert {file.name}: times")
            self.show()

    def on_pointed(self, message: Pointed) -> None:
        """Note when the telescope was sent and when it had settled."""
        file = self._memory.of_sequence(message.sequence_id)
        self._reached(file, slew_commanded=message.commanded_at, settled=message.settled_at)

    def on_shutter_opened(self, message: ShutterOpened) -> None:
        """Note the first shutter."""
        self._reached(self._memory.of_sequence(message.sequence_id), first_shutter=message.start)

    def on_analysed(self, message: Analysed) -> None:
        """Note the first result, and how many candidates there are."""
        file = self._memory.alert(message.alert_id)
        if file is not None:
            file.candidates = max(file.candidates, len(message.candidates))
            self._reached(file, first_result=self.clock.now())
            self.show()

    def on_sequence_ended(self, message: SequenceEnded) -> None:
        """An alert is done with its sequence; one that was broken off is tried again while it is of use."""
        file = self._memory.of_sequence(message.sequence_id)
        if file is None or file.status != "ACTIVE" or message.sequence_id != file.sequences[-1]:
            return
        if message.outcome == "EXECUTED":
            self._end(file, "DONE", "observed")
        else:
            wait_s = 0.0 if message.outcome == "ABORTED" else REISSUE_AFTER_S * (file.reissued + 1)
            self._try_again(file, message.cause, wait_s)

    def _try_again(self, file: AlertFile, cause: str, wait_s: float) -> None:
        file.resume_at = None
        file.reissued += 1
        if file.reissued > MOST_REISSUES:
            self._end(file, "EXPIRED", f"broken off {file.reissued} times; last: {cause}")
            return
        file.reissue_at = self.clock.now() + timedelta(seconds=wait_s)
        self.after(wait_s, Poll())

    def on_poll(self, _: Poll) -> None:
        """Do what is due: try again, end what is too late, decide on what the disk did not take."""
        now = self.clock.now()
        for file in self._memory.alive():
            if file.latest is not None and now >= file.latest:
                self._end(file, "EXPIRED", f"nothing is observed of it after {file.latest:%Y-%m-%dT%H:%M:%SZ}")
            elif file.reissue_at is not None and now >= file.reissue_at:
                file.reissue_at = None
                self._issue(file)
            elif file.resume_at is not None and now >= file.resume_at:
                file.resume_at = None
                self._resume(file)
        self._decide_next()

    def _watch_end(self, file: AlertFile) -> None:
        if file.latest is not None:
            self.after((file.latest - self.clock.now()).total_seconds() + 1.0, Poll())

    def _issue(self, file: AlertFile) -> None:
        """Make a new sequence for an alert that goes on."""
        made = self._deeds.again(file, self.clock.now())
        if made is None:
            self._end(file, "EXPIRED", "nothing more can be observed in time")
            return
        request, commit = made

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                self._try_again(file, f"not stored: {getattr(reply, 'reason', reply)}", RETRY_S)
                return
            file.sequences.append(reply.ids[rows.place_of(commit, "sequence")])
            file.latest = request.latest
            if file.alive:
                self._call(file, file.sequences[-1], request.min_altitude_deg, may_interrupt=request.may_interrupt)

        self.commit(commit.writes, f"alert {file.name} goes on", stored)

    def on_cancel_alert(self, message: CancelAlert) -> Done | Refused:
        """End an alert on a person's word."""
        file = self._memory.alert(message.alert_id)
        if file is None:
            return Refused(reason=f"alert {message.alert_id} is not one of the last days'")
        if not file.alive:
            return Refused(reason=f"alert {message.alert_id} is {file.status} already")
        self._end(file, "CANCELLED", f"cancelled by {message.by}")
        return Done()

    def _end(self, file: AlertFile, status: AlertStatus, cause: str) -> None:
        file.status, file.reissue_at, file.resume_at = status, None, None
        writes, running = self._deeds.ended(file, status, cause, self.store, self.clock.now())
        for sequence_id in running if status != "DONE" else []:
            self.tell("observation_manager", Abort(sequence_id=sequence_id, cause=cause[:500]))
        self._write(writes, f"alert {file.name} {status}")
        self.publish(updated(file, cause))
        self.show()

    # -- store and state ---------------------------------------------------------------------------------------------

    def _write(self, writes: list[Any], reason: str, tries: int = TRIES) -> None:
        """Write what is known already and must not be lost; tried again while the disk fails."""

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed | Refused) and tries > 1:
                self._write(writes, reason, tries - 1)

        self.commit(writes, reason, stored)

    def state(self) -> AlertManagerState:
        """Return the alerts of the last day and a half."""
        return AlertManagerState(
            notices=self.notices, accepted=self._accepted, alerts=[file.row() for file in self._memory.alerts]
        )
