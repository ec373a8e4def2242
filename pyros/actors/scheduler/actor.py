"""The scheduler: what is observed when, and why the rest is not.

Takes `MakeSchedule`, answered with `ScheduleMade` (which is published too), and `NightEnded`; emits `SchedulerState`.
The planning itself is the pure function in placement.py and the writes are those of plannings.py; here sequences come
from the store, and the planning goes into it in one commit with the sequences' new states and the quota they reserve.
One planning is made at a time; one that the store has overtaken is made again. When it dies the stored planning stands;
what was planned for a night that is over is set free at the next start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.actors.scheduler.placement import make_schedule
from pyros.actors.scheduler.plannings import (
    iterations_for,
    made_of,
    night_closed,
    owner_of,
    planning_writes,
    problem_of,
)
from pyros.actors.scheduler.problem import Planning
from pyros.messages.base import Failed, Refused
from pyros.messages.night import MakeSchedule, MonitorState, NightEnded, ScheduleMade, SchedulerState
from pyros.messages.store import Commit, Committed
from pyros.sky.night import Night, date_of, night_of
from pyros.sky.visibility import NightSky
from pyros.store.database import Reader, open_reader
from pyros.store.quota import Reservation, balance, held_by
from pyros.store.repositories import SequenceTree, current_schedule, observable_sequences

COMMIT_S = 20.0
TRIES = 3
"""How often a planning is made anew when the store has changed between reading and writing."""


class Scheduler(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings
        self._reader: Reader | None = None
        self._night: Night | None = None
        self._sky: NightSky | None = None
        self._shown_planning = SchedulerState()
        self._wanted: deque[tuple[MakeSchedule, Deferred]] = deque()
        self._planning = False

    def on_start(self) -> None:
        """Open the store, prepare tonight's sky, and close the plannings of nights that are over."""
        self._reader = open_reader(self.environment.state_folder)
        self.subscribe(NightEnded)
        on = self._date()
        self._tonight(on)
        schedule = current_schedule(self._reader)
        if schedule is not None and schedule["night"] != str(on):
            self._close_night(schedule["id"])
        self.show()

    def on_stop(self) -> None:
        """Close the store."""
        if self._reader is not None:
            self._reader.close()

    @property
    def _store(self) -> Reader:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        return self._reader

    # -- plannings ---------------------------------------------------------------------------------------------------

    def on_make_schedule(self, message: MakeSchedule) -> Deferred:
        """Plan, store, publish, answer; after the planning that is being stored, if there is one."""
        answer = Deferred()
        self._wanted.append((message, answer))
        self._next()
        return answer

    def _next(self) -> None:
        if self._wanted and not self._planning:
            self._planning = True
            self._plan(*self._wanted.popleft(), TRIES)

    def _plan(self, message: MakeSchedule, answer: Deferred, tries: int) -> None:
        statuses = ("OBSERVABLE", "PLANNED", "EXECUTING")
        trees = {str(tree.id): tree for tree in observable_sequences(self._store, statuses)}
        held = held_by(self._store, [tree.id for tree in trees.values() if tree.user_id is not None])
        night, sky = self._tonight(self._date())
        now = self.clock.now()
        problem = problem_of(
            list(trees.values()), self.environment, night, message, now, self._quotas_s(trees.values(), held)
        )
        planning = make_schedule(problem, sky, iterations=iterations_for(problem.requests))
        old = current_schedule(self._store)
        writes, schedule_at = planning_writes(planning, trees, held, old["id"] if old else None, message, problem, now)

        def stored(reply: Answer) -> None:
            if isinstance(reply, Refused) and tries > 1:
                self._plan(message, answer, tries - 1)
                return
            if isinstance(reply, Committed):
                answer.answer(self._publish(planning, trees, message, reply.ids[schedule_at]))
            else:
                answer.answer(Failed(reason=f"the planning could not be stored: {getattr(reply, 'reason', reply)}"))
            self._planning = False
            self._next()

        self._commit(writes, f"planning: {message.trigger}", stored)

    def _quotas_s(self, trees: Iterable[SequenceTree], held: dict[int, list[Reservation]]) -> dict[str, float]:
        """Return the seconds that each owner may have in a planning: what is left, and what its sequences hold."""
        quotas: dict[str, float] = {}
        for tree in trees:
            if tree.user_id is None:
                continue
            owner = owner_of(tree)
            if owner not in quotas:
                quotas[owner] = balance(self._store, tree.user_id, tree.programme_id).available_s
            quotas[owner] += sum(one.seconds for one in held[tree.id])
        return quotas

    def _date(self) -> date:
        monitor = self.latest(MonitorState)
        if monitor is not None and monitor[0].night:
            return date.fromisoformat(monitor[0].night)
        return date_of(self.environment.site, self.clock.now())

    def _tonight(self, on: date) -> tuple[Night, NightSky]:
        if self._night is None or self._sky is None or self._night.date != on:
            self._night = night_of(self.environment.site, on, self.settings.night.sun_altitude_max_deg)
            self._sky = NightSky(self.environment.site, self._night)
        return self._night, self._sky

    def _publish(
        self, planning: Planning, trees: dict[str, SequenceTree], message: MakeSchedule, schedule_id: int
    ) -> ScheduleMade:
        made = made_of(planning, trees, message.trigger, schedule_id)
        self._shown_planning = SchedulerState(
            schedule_id=schedule_id,
            trigger=message.trigger,
            made_at=self.clock.now(),
            placed=made.placed,
            rejected=len(made.rejected),
        )
        self.publish(made)
        self.show()
        return made

    # -- the night's end ---------------------------------------------------------------------------------------------

    def on_night_ended(self, _: NightEnded) -> None:
        """Set free what was planned and not begun; the planning itself is kept."""
        schedule = current_schedule(self._store)
        if schedule is not None:
            self._close_night(schedule["id"])

    def _close_night(self, schedule_id: int, tries: int = TRIES) -> None:
        planned = observable_sequences(self._store, ("PLANNED",))
        held = held_by(self._store, [tree.id for tree in planned])

        def closed(reply: Answer) -> None:
            schedule = current_schedule(self._store)
            if isinstance(reply, Refused) and schedule is not None and tries > 1:
                self._close_night(schedule["id"], tries - 1)  # something was written in between
            elif isinstance(reply, Committed):
                self._shown_planning = SchedulerState(trigger="the night is over")
                self.show()

        self._commit(night_closed(schedule_id, planned, held, self.clock.now()), "night closed", closed)

    def _commit(self, writes: list[Any], reason: str, then: Callable[[Answer], None]) -> None:
        within_s = self.clock.at_least_real(COMMIT_S, 10.0)
        self.ask("archivist", Commit(writes=writes, reason=reason[:200]), within_s, then)

    def state(self) -> SchedulerState:
        """Return the current planning in short."""
        return self._shown_planning
