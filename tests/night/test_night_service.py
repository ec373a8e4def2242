"""The simulated service manager: a daemon that ends, is killed or hangs is followed by the next, after ExecStopPost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyros.actors.kernel import Actor, ChildSpec, Supervisor, System, start_supervisor
from pyros.cli.night.process import Machine
from pyros.cli.night.service import RESTART_S, WATCHDOG_S, Daemon, Service, StartError
from pyros.clock import VirtualClock
from pyros.messages.devices import Poll
from pyros.messages.system import ActorFailed, ActorRestarted, Crash, LibrarianState

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


class Clerk(Actor):
    """Writes into a book once a second; `slow` lets it sleep in the middle of a handler."""

    def __init__(self, context, book, slow):
        super().__init__(context)
        self.book, self.slow = book, slow

    def on_start(self):
        self.after(0.0, Poll())

    def on_poll(self, _):
        self.after(1.0, Poll())
        if self.slow:
            self.clock.sleep(0.5)
        self.book.append(self.clock.monotonic_s())

    def state(self):
        return LibrarianState(queries=0)


class Stage:
    """A service that keeps a daemon with one clerk."""

    def __init__(self, *, slow=False, refusals=0):
        self.clock = VirtualClock(EVENING, stall_s=10.0)
        self.book, self.said, self.posts, self.boots = [], [], [], 0
        self.slow, self.refusals = slow, refusals
        self.machine = Machine(self.clock)
        self.service = Service(
            self.machine, self.boot, self.stop_post, lambda actor, message: self.said.append(message)
        )
        self.service.start()

    def boot(self, clock, notify):
        self.boots += 1
        if self.boots <= self.refusals:
            raise StartError("the store cannot be opened")
        system = System(clock, self.boots)
        specs = [ChildSpec("clerk", lambda context: Clerk(context, self.book, self.slow))]
        make = lambda context: Supervisor(context, specs, notify=notify)
        return Daemon(clock, system, start_supervisor(system, make))

    def stop_post(self, clock, cause):
        clock.sleep(2.0)
        self.posts.append((self.clock.monotonic_s(), cause))

    def run(self, seconds):
        until = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < until:
            self.clock.run(until=until, done=lambda: self.service.needs_care)
            self.service.care()
            if self.service.stopped and self.service.daemon is None:
                return

    def at(self, second, action):
        self.clock.call_at(EVENING + timedelta(seconds=second), action)

    def restarts(self):
        return [(one.epoch, one.cause, one.away_s) for one in self.said if isinstance(one, ActorRestarted)]


@pytest.mark.parametrize("slow", [False, True])
def test_of_a_process_that_was_killed_nothing_happens_any_more_and_the_next_one_comes_after_the_clean_up(slow):
    stage = Stage(slow=slow)
    stage.at(10.25, lambda: stage.service.kill("kill -9"))
    stage.run(17.0)
    assert len(stage.book) == 11 - slow
    assert stage.posts == [(12.25, "kill -9")]
    stage.run(10.0)
    assert stage.boots == 2
    assert stage.restarts() == [(2, "kill -9", 2.0 + RESTART_S)]
    assert len(stage.book) > 15


def test_a_supervisor_that_gives_up_ends_its_process_and_the_night_goes_on_with_the_next():
    stage = Stage()
    stage.at(10.0, lambda: stage.service.send("supervisor", Crash()))
    stage.run(30.0)
    assert [cause.partition(":")[0] for _, cause, _ in stage.restarts()] == ["exit status 1"]
    assert stage.service.daemon is not None


def test_a_supervisor_that_hangs_starves_the_watchdog():
    stage = Stage()
    stage.at(10.5, lambda: stage.service.send("supervisor", Crash(how="hang")))
    stage.run(WATCHDOG_S + 5.0)
    assert stage.restarts() == []
    stage.run(20.0)
    assert [cause for _, cause, _ in stage.restarts()] == ["the watchdog was not fed"]


def test_a_daemon_that_was_told_to_stop_is_not_started_again():
    stage = Stage()
    stage.run(10.0)
    stage.service.stop("the night is over")
    stage.run(200.0)
    assert stage.service.daemon is None
    assert (stage.boots, stage.posts, stage.restarts()) == (1, [], [])


def test_a_daemon_that_cannot_begin_is_tried_again_for_ever():
    stage = Stage(refusals=3)
    stage.run(60.0)
    assert stage.boots == 4
    assert len(stage.posts) == 3
    assert stage.restarts() == [(2, "the store cannot be opened", 3 * (2.0 + RESTART_S))]
    assert sum(isinstance(one, ActorFailed) for one in stage.said) == 3


def test_while_no_daemon_runs_an_order_is_not_heard():
    stage = Stage()
    stage.run(5.0)
    stage.service.kill("kill -9")
    answers = []
    stage.service.ask("clerk", Poll(), 5.0, answers.append)
    assert [one.reason for one in answers] == ["no daemon runs"]


def test_a_step_of_the_machine_s_utc_moves_its_processes_and_nothing_else():
    stage = Stage()
    stage.run(5.0)
    process = stage.service.daemon.clock
    stage.machine.step_utc(-3600.0)
    assert process.now() == stage.clock.now() - timedelta(hours=1)
    assert process.monotonic_s() == stage.clock.monotonic_s() == 5.0
    stage.run(5.0)
    assert len(stage.book) == 11
