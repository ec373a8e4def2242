"""Whatever way an actor fails in, it is one actor's failure: told, counted, replaced; and no mail vanishes by it."""

import threading

import pytest
from kernel_stage import RUN, House, actor, eventually, hangs, spec

from pyros.actors.kernel import Sleep
from pyros.clock import WallClock
from pyros.messages.base import Done, Failed, GetState, Refused
from pyros.messages.devices import Brake, Halt
from pyros.messages.night import Execute
from pyros.messages.people import CancelSequence
from pyros.messages.system import ActorFailed, ActorRestarted, Crash, LibrarianState

FAILURES = {"RuntimeError": RuntimeError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}
FAILURES |= {"MemoryError": MemoryError, "GeneratorExit": GeneratorExit}
PLACES = ["handler", "timer", "continuation", "procedure", "__init__", "on_start"]


def breaking_in(place, failure):
    """An actor whose first incarnation breaks in this place with this failure when it is told to `Execute`."""

    def break_(*_):
        raise failure("on purpose")

    def on_execute(me, m):
        if me.epoch > 1:
            return Done()
        if place == "handler":
            break_()
        elif place == "timer":
            me.after(1.0, Brake(cause="timer"))
        elif place == "continuation":
            me.ask("early", GetState(), 1.0, break_)
        elif place == "procedure":
            return steps()
        return Done()

    def steps():
        yield Sleep(1.0)
        break_()

    hooks = {"on_execute": on_execute, "on_brake": break_}
    if place == "on_start":
        hooks["on_start"] = lambda me: break_() if me.epoch == 1 else None
    made = actor(**hooks)

    def make(context):
        if place == "__init__" and context.lease.epoch == 1:
            break_()
        return made(context)

    return make


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("place", PLACES)
def test_an_actor_is_replaced_whatever_it_fails_with_and_wherever(place, failure):
    house = House(spec("early"), spec("a", breaking_in(place, FAILURES[failure])), spec("late"))
    house.tell("a", RUN)
    house.run(5)
    (failed,) = house.events(ActorFailed)
    assert (failed.actor, failed.epoch, failed.cause) == ("a", 1, f"{failure}: on purpose")
    (letter,) = [letter for letter in house.system.dead_letters if letter.to == "a"]
    assert (letter.message, "Traceback" in letter.reason) == (failed.message, True)
    assert [event.epoch for event in house.events(ActorRestarted)] == [2]
    assert house.ask("a") == LibrarianState(queries=2)
    assert [house.row(name).epoch for name in ("early", "late")] == [1, 1]


@pytest.mark.parametrize("failure", FAILURES)
def test_what_on_stop_raises_is_a_dead_letter_and_no_failure(failure):
    def on_stop(me):
        raise FAILURES[failure]

    house = House(spec("plc_", strategy="rest_for_one"), spec("a", actor(on_stop=on_stop), needs=("plc_",)))
    house.tell("plc_", Crash())
    house.run(1)
    assert ("a", "on_stop") in house.letters()
    assert [event.actor for event in house.events(ActorFailed)] == ["plc_"]
    assert house.row("a").epoch == 2


@pytest.mark.parametrize("how", ["raise", "exit", "memory", "interrupt"])
def test_on_the_wall_clock_a_thread_that_breaks_harms_neither_the_process_nor_anybody_else(how, capsys):
    """Here the exception is raised in a real thread; nothing of it reaches standard error or the main thread."""
    house = House(spec("early"), spec("a"), clock=WallClock())
    answer = house.ask("a", Crash(how=how))
    assert isinstance(answer, Failed)
    assert eventually(lambda: house.row("a").status == "up" and house.row("a").epoch == 2)
    assert house.ask("a") == LibrarianState(queries=2)
    assert house.row("early").epoch == 1
    assert not house.supervisor.finished.is_set()
    assert "Traceback" not in capsys.readouterr().err
    house.shut_down()


def test_a_poison_message_is_delivered_once_and_what_waits_behind_it_is_handled_in_order():
    delivered = []

    def on_execute(me, m):
        delivered.append(m.sequence_id)
        if m.sequence_id % 3 == 0:
            raise MemoryError(m.sequence_id)

    house = House(spec("a", actor(on_execute=on_execute)))
    answers = [house.question("a", Execute(sequence_id=number), 900) for number in range(1, 10)]
    house.run(30)
    assert delivered == list(range(1, 10))
    assert [type(answer) for (answer,) in answers] == [Done, Done, Failed] * 3
    assert house.letters() == [("a", "Execute")] * 3


def test_two_actors_that_crash_each_other_back_off_and_the_rest_lives():
    """a's message kills b, whose first word after its restart kills a, which sends its message when it starts."""

    def break_(me, m):
        raise RuntimeError(m.cause)

    def on_start(me):
        me.tell("b" if me.name == "a" else "a", Halt(cause=f"{me.name} has started"))

    hooks = {"on_start": on_start, "on_halt": break_}
    house = House(spec("bystander"), spec("a", actor(**hooks)), spec("b", actor(**hooks)))
    house.run(3600)
    deaths = [event.actor for event in house.events(ActorFailed)]
    assert {"a", "b"} == set(deaths)
    assert len(deaths) <= 2 * (6 + 3600 // 48), "once a minute each at most, when they have backed off"
    assert house.row("bystander").epoch == 1
    assert house.ask("bystander") == LibrarianState(queries=1)
    assert not house.supervisor.finished.is_set()


def test_a_crash_loop_is_no_storm():
    house = House(spec("a", actor(on_start=lambda me: 1 / 0)), spec("b"))
    house.run(3600)
    assert 60 <= len(house.events(ActorFailed)) <= 6 + 3600 // 48
    assert house.row("b").epoch == 1


def test_of_a_mailbox_that_overflows_behind_a_hang_nothing_vanishes():
    """Twelve orders for ten places: two refused; the brake passes them all; the ten are inherited, in order."""
    taken = []
    hooks = {"on_execute": lambda me, m: taken.append(m.sequence_id), "on_brake": lambda me, m: taken.append("brake")}
    house = House(spec("a", actor(on_cancel_sequence=hangs, **hooks)))
    house.system.mailbox("a")._limit = 10
    hung = house.question("a", CancelSequence(sequence_id=1, by="eve"), 900)
    house.run(0.1)
    answers = [house.question("a", Execute(sequence_id=number), 900) for number in range(12)]
    brake = house.question("a", Brake(cause="x"), 900)
    assert [type(answer) for (answer,) in answers[10:]] == [Refused, Refused]
    house.run(20)
    assert taken == ["brake", *range(10)]
    assert [type(answer) for (answer,) in [hung, brake, *answers]] == [Failed, *[Done] * 11, Refused, Refused]
    assert house.letters() == [("a", "Execute"), ("a", "Execute"), ("a", "CancelSequence")]


def test_on_the_wall_clock_crashes_under_load_lose_no_good_message_and_keep_the_order():
    taken = []
    house = House(spec("a", actor(on_execute=lambda me, m: taken.append(m.sequence_id))), clock=WallClock(200.0))
    for number in range(2000):
        house.tell("a", Crash() if number % 200 == 50 else Execute(sequence_id=number))
    assert eventually(lambda: taken and taken[-1] == 1999, 20)
    assert taken == [number for number in range(2000) if number % 200 != 50]
    house.shut_down()


def test_on_the_wall_clock_mail_that_overflows_is_refused_and_every_other_one_is_handled():
    taken, gate = [], threading.Event()
    hooks = {"on_execute": lambda me, m: taken.append(m.sequence_id), "on_halt": lambda me, m: gate.wait(10) and None}
    house = House(spec("a", actor(**hooks)), clock=WallClock())
    house.system.mailbox("a")._limit = 500
    house.tell("a", Halt(cause="wait"))
    answers = [house.question("a", Execute(sequence_id=number), 60) for number in range(700)]
    gate.set()
    assert eventually(lambda: all(answers), 20)
    done = [number for number, (answer,) in enumerate(answers) if isinstance(answer, Done)]
    assert 500 <= len(done) < 700
    assert taken == done
    assert sum(isinstance(answer, Refused) for (answer,) in answers) == 700 - len(done)
    house.shut_down()
