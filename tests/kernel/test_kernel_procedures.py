"""Long work as generators: every wait, every way to be aborted, every way to break."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from kernel_stage import House, actor, eventually, spec

from pyros.actors.kernel import AbortedError, Ask, AskFailedError, Deferred, Outside, Sleep, Until
from pyros.clock import WallClock
from pyros.messages.base import Done, Failed, GetState, Refused
from pyros.messages.devices import Brake, Halt
from pyros.messages.night import Execute, SequenceStarted
from pyros.messages.system import Crash, LibrarianState

RUN = Execute(sequence_id=1)


def started(number):
    return SequenceStarted(sequence_id=number, name="x", alert_id=None)


def house_of(procedure, **hooks):
    """An early actor `early`, which never answers `Execute`, and `a`, which runs `procedure` on it and halts it."""
    hooks.setdefault("on_halt", lambda me, m: Done() if me.abort(m.cause) else Refused(reason="nothing runs"))
    early = actor(on_execute=lambda me, m: Deferred(), on_brake=lambda me, m: me.publish(started(7)))
    return House(spec("early", early), spec("a", actor(on_execute=procedure, **hooks)))


WAITS = {
    "ask": lambda: Ask("early", RUN, 50.0),
    "sleep": lambda: Sleep(50.0),
    "until": lambda: Until(SequenceStarted, lambda event: False, 50.0),
    "outside": lambda: Outside(Future(), 50.0),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_an_abort_ends_every_kind_of_wait_at_once_and_its_clean_up_may_tell(wait):
    told = []

    def procedure(me, m):
        try:
            yield wait()
        except AbortedError:
            me.tell("a", Brake(cause="clean-up"))
            raise

    house = house_of(procedure, on_brake=lambda me, m: told.append(m.cause))
    running = house.question("a", RUN, 100)
    house.run(1)
    assert house.ask("a", Halt(cause="rain")) == Done()
    assert running == [Refused(reason="aborted: rain")]
    house.run(1)
    assert told == ["clean-up"]
    assert house.ask("a", Halt(cause="rain")) == Refused(reason="nothing runs")


def test_what_was_waited_for_before_an_abort_does_not_resume_what_came_after():
    got = []

    def procedure(me, m):
        got.append((yield Ask("early", m, 50.0)) if m.sequence_id == 1 else (yield Sleep(5.0)))

    promise = []

    def on_execute(me, m):
        promise.append(Deferred())
        return promise[0]

    early = actor(on_execute=on_execute, on_brake=lambda me, m: promise[0].answer(LibrarianState(queries=0)))
    house = House(
        spec("early", early), spec("a", actor(on_execute=procedure, on_halt=lambda me, m: me.abort("x") and None))
    )
    house.tell("a", RUN)
    house.run(1)
    house.tell("a", Halt(cause="x"))
    house.tell("a", Execute(sequence_id=2))
    house.run(1)
    house.tell("early", Brake(cause="answer now"))
    house.run(10)
    assert got == [None]


def test_a_deadline_that_comes_together_with_the_event_does_not_cut_the_next_wait_short():
    steps = []

    def procedure(me, m):
        steps.append((yield Until(SequenceStarted, lambda event: True, 1.0)))
        yield Sleep(5.0)
        steps.append(me.clock.monotonic_s())

    house = house_of(procedure, on_brake=lambda me, m: me.clock.sleep(0.5))
    house.tell("a", RUN)
    house.clock.call_later(0.8, lambda: house.tell("a", Brake(cause="both come while it is busy")))
    house.clock.call_later(0.9, lambda: house.tell("early", Brake(cause="publish")))
    house.run(20)
    assert steps == [started(7), 6.3]


def test_a_procedure_is_resumed_with_what_it_waited_for():
    got = []

    def procedure(me, m):
        got.append((yield Ask("early", GetState(), 5.0)))
        got.append((yield Until((SequenceStarted, LibrarianState), lambda event: True, 5.0)))
        got.append((yield Until(SequenceStarted, lambda event: event.sequence_id == 8, 5.0)))
        work = Future()
        work.set_result(42)
        got.append((yield Outside(work, 2.0)))
        got.append((yield Sleep(1.0)))
        return LibrarianState(queries=9)

    house = house_of(procedure)
    answer = house.question("a", RUN, 50)
    house.run(1)
    house.tell("early", Brake(cause="publish"))
    house.run(20)
    assert got == [LibrarianState(queries=1), started(7), None, 42, None]
    assert answer == [LibrarianState(queries=9)]


@pytest.mark.parametrize(("to", "reason"), [("early", "expired Execute: early has not"), ("nobody", "no actor nobody")])
def test_a_failed_ask_raises_in_the_procedure_and_unless_caught_answers_refused(to, reason):
    def procedure(me, m):
        yield Ask(to, RUN, 2.0)

    answer = house_of(procedure).ask("a", RUN, 50)
    assert isinstance(answer, Refused)
    assert reason in answer.reason


def test_a_procedure_can_take_a_refusal_and_go_on():
    replies = []

    def procedure(me, m):
        try:
            yield Ask("nobody", RUN, 2.0)
        except AskFailedError as error:
            replies.append(type(error.reply))
        yield Sleep(1.0)

    assert house_of(procedure).ask("a", RUN, 50) == Done()
    assert replies == [Refused]


def test_a_procedure_that_asks_upward_breaks_at_its_yield_and_its_finally_runs():
    cleaned = []

    def procedure(me, m):
        try:
            yield Ask("a", RUN, 2.0)
        finally:
            cleaned.append(me.epoch)

    house = house_of(procedure)
    assert "a may not ask a" in house.ask("a", RUN).reason
    assert cleaned == [1]
    assert house.ask("a") == LibrarianState(queries=2)


def test_a_second_procedure_is_refused_by_the_name_of_the_first():
    def procedure(me, m):
        yield Sleep(5.0)

    house = house_of(procedure)
    first = house.question("a", RUN, 50)
    assert house.ask("a", RUN) == Refused(reason="a is busy with Execute")
    house.run(10)
    assert first == [Done()]


def test_a_handler_may_abort_and_begin_another_procedure():
    def procedure(me, m):
        yield Sleep(5.0)

    def on_brake(me, m):
        me.abort("braking")
        return procedure(me, m)

    house = house_of(procedure, on_brake=on_brake)
    first = house.question("a", RUN, 50)
    house.run(1)
    assert house.ask("a", Brake(cause="x"), 50) == Done()
    assert first == [Refused(reason="aborted: braking")]


@pytest.mark.parametrize("wrong", ["yields", "raises"])
def test_a_clean_up_that_waits_or_breaks_is_a_failure_told_to_both_who_ask(wrong):
    def procedure(me, m):
        try:
            yield Sleep(50.0)
        except AbortedError:
            if wrong == "raises":
                raise ValueError("clean-up broke") from None
            yield Sleep(1.0)

    house = house_of(procedure)
    running = house.question("a", RUN, 100)
    house.run(1)
    halted = house.question("a", Halt(cause="rain"))
    house.run(1)
    assert [type(answers[0]) for answers in (running, halted)] == [Failed, Failed]
    assert ("clean-up only tells" if wrong == "yields" else "clean-up broke") in halted[0].reason
    assert house.ask("a") == LibrarianState(queries=2)


@pytest.mark.parametrize("nonsense", [None, 3.0, Done()])
def test_a_procedure_that_yields_nonsense_breaks_instead_of_waiting_for_ever(nonsense):
    def procedure(me, m):
        yield nonsense

    assert "a procedure yields Ask" in house_of(procedure).ask("a", RUN).reason


def test_a_crash_beside_a_running_procedure_closes_it_in_the_actors_own_thread():
    closed = []

    def procedure(me, m):
        try:
            yield Sleep(50.0)
        finally:
            closed.append(threading.current_thread().name)
            me.show()

    house = house_of(procedure)
    running = house.question("a", RUN, 100)
    house.tell("a", Crash())
    house.run(1)
    assert closed == ["a#1"]
    assert isinstance(running[0], Failed)


def test_an_ordered_stop_aborts_the_procedure_first_and_then_calls_on_stop():
    order = []

    def procedure(me, m):
        try:
            yield Sleep(50.0)
        except AbortedError as error:
            order.append(str(error))

    house = house_of(procedure, on_stop=lambda me: order.append("on_stop"))
    running = house.question("a", RUN, 100)
    house.shut_down()
    assert order == ["a is being stopped", "on_stop"]
    assert running == [Done()]


@pytest.mark.parametrize("cancelled", [True, False])
def test_the_failure_of_outside_work_is_raised_in_the_procedure(cancelled):
    def procedure(me, m):
        work = Future()
        if cancelled:
            work.cancel()
        else:
            work.set_exception(OSError("no room for the frame"))
        try:
            yield Outside(work, 1.0)
        except BaseException as error:
            return Refused(reason=f"{type(error).__name__}")

    assert house_of(procedure).ask("a", RUN) == Refused(reason="CancelledError" if cancelled else "OSError")


def test_on_the_wall_clock_outside_work_and_sleeps_resume_the_procedure_too():
    with ThreadPoolExecutor(1) as pool:

        def procedure(me, m):
            yield Sleep(0.01)
            done = yield Outside(pool.submit(lambda: "frame"))
            assert done == "frame"
            yield Until(SequenceStarted, lambda event: True, 0.01)

        house = House(spec("a", actor(on_execute=procedure)), clock=WallClock())
        assert eventually(lambda: house.row("a").status == "up")
        assert house.ask("a", RUN) == Done()
        house.shut_down()
