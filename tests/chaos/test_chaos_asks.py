"""The count of questions and answers: it balances in the real kernel, and tells of answers kept or given twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chaos_asks import counting

from pyros.actors.kernel import Actor, ChildSpec, Deferred, Supervisor, System, start_supervisor
from pyros.actors.kernel.system import Question
from pyros.clock import VirtualClock
from pyros.messages.base import GetState
from pyros.messages.devices import Poll
from pyros.messages.system import LibrarianState


class Silent(Actor):
    """Never answers a poll."""

    def on_poll(self, _):
        return Deferred()

    def state(self):
        return LibrarianState(queries=0)


def after_a_question(within_s=5.0, message=None):
    """Return the ledger of one question to a silent actor, long after it was due."""
    clock = VirtualClock(datetime(2026, 11, 23, tzinfo=UTC))
    with counting() as ledger:
        system = System(clock)
        start_supervisor(system, lambda context: Supervisor(context, [ChildSpec("silent", Silent)]))
        clock.run(until=clock.now() + timedelta(seconds=1))
        system.question("silent", message or Poll(), within_s, lambda reply: None)
        clock.run(until=clock.now() + timedelta(seconds=600))
        return ledger, ledger.unanswered(clock.monotonic_s())


def test_in_the_real_kernel_every_ask_is_answered():
    ledger, overdue = after_a_question(message=GetState())
    assert (ledger.asked, ledger.answered, overdue, ledger.twice) == (1, 1, [], [])
    ledger, overdue = after_a_question()
    assert (ledger.asked, ledger.answered, overdue, ledger.twice) == (1, 1, [], [])


def test_an_ask_that_never_expires_is_seen(monkeypatch):
    monkeypatch.setattr(Question, "expire_after", lambda *_: None)
    ledger, overdue = after_a_question()
    assert (ledger.asked, ledger.answered, [one.to for one in overdue]) == (1, 0, ["silent"])


def test_an_ask_that_is_answered_twice_is_seen(monkeypatch):
    monkeypatch.setattr(Question, "answer", lambda self, reply: [self._deliver(reply) for _ in range(2)])
    ledger, _ = after_a_question(message=GetState())
    assert {one.message for one in ledger.twice} == {"GetState"}
