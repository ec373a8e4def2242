"""What pykka 4.5 does, each beside what PyROS's kernel does in the same place. A new pykka that differs fails here."""

import ctypes
import threading

import pykka
import pytest
from kernel_stage import House, Probe, actor, eventually, spec

from pyros.actors.kernel import System
from pyros.clock import WallClock
from pyros.messages.base import Done, Expired, Failed, GetState, Refused
from pyros.messages.devices import Brake
from pyros.messages.night import Execute
from pyros.messages.system import ActorFailed, Crash, LibrarianState

BREAK, EXIT = Crash(), Crash(how="exit")


@pytest.fixture(autouse=True)
def no_pykka_actor_is_left():
    yield
    pykka.ActorRegistry.stop_all(block=False)


class Plain(pykka.ThreadingActor):
    """A plain pykka actor: it does what the message, a function, says."""

    use_daemon_thread = True
    failures = ()

    def on_start(self):
        self.failures = []

    def on_failure(self, *error):
        self.failures.append(error)

    def on_receive(self, message):
        return message(self)


def raises(_):
    raise RuntimeError("broken")


def exits(_):
    raise SystemExit


class Gate:
    """Holds an actor in its handler until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, _):
        self.reached.set()
        self.opened.wait(10)


def behind_a_gate(ref):
    """Return a gate that holds `ref` now."""
    gate = Gate()
    ref.tell(gate)
    assert gate.reached.wait(5)
    return gate


# -- a failing handler ------------------------------------------------------------------------------------------------


def test_pykka_keeps_an_actor_alive_whose_ask_handler_failed_and_calls_no_hook():
    ref = Plain.start()
    with pytest.raises(RuntimeError):
        ref.ask(raises, timeout=5)
    assert ref.ask(lambda me: list(me.failures), timeout=5) == []


def test_ours_is_restarted_after_a_failing_ask_and_the_asker_hears_failed():
    house = House(spec("a"))
    assert isinstance(house.ask("a", BREAK), Failed)
    assert house.ask("a") == LibrarianState(queries=2)
    assert [event.actor for event in house.events(ActorFailed)][:1] == ["a"]


def test_pykka_drops_a_tell_queued_behind_a_crash():
    done = []
    ref = Plain.start()
    gate = behind_a_gate(ref)
    ref.tell(raises)
    ref.tell(lambda _: done.append(1))
    gate.opened.set()
    assert eventually(lambda: not ref.is_alive())
    assert done == []


def test_ours_keeps_a_tell_queued_behind_a_crash_for_the_next_incarnation():
    taken = []
    house = House(spec("a", actor(on_execute=lambda me, m: taken.append((me.epoch, m.sequence_id)))))
    house.tell("a", BREAK)
    house.tell("a", Execute(sequence_id=7))
    house.run(1)
    assert taken == [(2, 7)]


def test_pykka_loses_the_exception_of_a_proxy_call_whose_future_is_dropped():
    class Device(pykka.ThreadingActor):
        use_daemon_thread = True

        def expose(self):
            raise RuntimeError("no camera")

    ref = Device.start()
    ref.proxy().expose()
    assert ref.proxy().actor_urn.get(timeout=5)
    assert ref.is_alive()


def test_ours_makes_a_dead_letter_with_its_traceback_of_a_tell_that_nobody_waits_for():
    house = House(spec("a"))
    house.tell("a", BREAK)
    house.run(1)
    (letter,) = house.system.dead_letters
    assert (letter.to, letter.message) == ("a", "Crash")
    assert "Traceback" in letter.reason
    assert "a was told to break" in letter.reason


# -- starting ---------------------------------------------------------------------------------------------------------


def test_pykka_returns_a_ref_of_an_actor_whose_on_start_failed_without_calling_a_hook():
    called = []

    class Bad(Plain):
        def on_start(self):
            raise RuntimeError("no device")

        def on_failure(self, *error):
            called.append(error)

    ref = Bad.start()
    assert eventually(lambda: not ref.is_alive())
    assert called == []


def test_ours_tells_the_supervisor_that_on_start_failed_and_tries_again():
    def on_start(me):
        if me.epoch < 3:
            raise RuntimeError("no device")

    house = House(spec("a", actor(on_start=on_start)))
    house.run(10)
    assert [event.message for event in house.events(ActorFailed)] == ["on_start", "on_start"]
    assert house.ask("a") == LibrarianState(queries=3)


def test_pykka_raises_what_init_raises_in_the_starters_thread():
    class Bad(Plain):
        def __init__(self):
            raise SystemExit

    with pytest.raises(SystemExit):
        Bad.start()


def test_ours_survives_a_child_that_exits_in_its_constructor():
    def make(context):
        if context.lease.epoch == 1:
            raise SystemExit
        return Probe(context)

    house = House(spec("a", make), spec("b"))
    house.run(5)
    assert house.ask("a") == LibrarianState(queries=2)
    assert house.ask("b") == LibrarianState(queries=1)


# -- SystemExit -------------------------------------------------------------------------------------------------------


def test_pykka_stops_every_actor_and_leaves_the_caller_unanswered_on_system_exit():
    ref, bystander = Plain.start(), Plain.start()
    with pytest.raises(pykka.Timeout):
        ref.ask(exits, timeout=0.2)
    assert eventually(lambda: not bystander.is_alive())


def test_ours_takes_system_exit_as_the_failure_of_one_actor():
    house = House(spec("a"), spec("b"))
    assert isinstance(house.ask("a", EXIT), Failed)
    assert house.ask("b") == LibrarianState(queries=1)
    assert house.ask("a") == LibrarianState(queries=2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_pykka_makes_a_zombie_of_an_actor_that_exits_in_on_start():
    class Zombie(Plain):
        def on_start(self):
            raise SystemExit

    ref = Zombie.start()
    with pytest.raises(pykka.Timeout):
        ref.ask(lambda _: 1, timeout=0.2)
    assert ref.is_alive()


def test_ours_restarts_an_actor_that_exits_in_on_start():
    def on_start(me):
        if me.epoch == 1:
            raise SystemExit

    house = House(spec("a", actor(on_start=on_start)))
    assert house.ask("a") == LibrarianState(queries=2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_pykka_never_drains_the_inbox_of_an_actor_whose_on_failure_exits():
    class Bad(Plain):
        def on_failure(self, *error):
            raise SystemExit

    ref = Bad.start()
    gate = behind_a_gate(ref)
    ref.tell(raises)
    future = ref.ask(lambda _: 1, block=False)
    gate.opened.set()
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0.2)


def test_ours_hands_what_waits_to_the_next_incarnation_however_the_last_one_ended():
    def on_execute(me, _):
        raise BaseException("worse than an exit")  # noqa: TRY002 - the worst that a library could do

    house = House(spec("a", actor(on_execute=on_execute)))
    house.tell("a", Execute(sequence_id=1))
    assert house.ask("a") == LibrarianState(queries=2)


# -- stopping and waiting ---------------------------------------------------------------------------------------------


def test_pykka_never_answers_an_ask_that_slips_in_between_its_check_and_a_stop():
    ref = Plain.start()
    ref.stop()
    ref.is_alive = lambda: True  # what the caller saw an instant ago
    with pytest.raises(pykka.Timeout):
        ref.ask(lambda _: 1, timeout=0.2)


def test_ours_answers_every_ask_that_races_a_stop():
    house = House(spec("a"), clock=WallClock())
    answers, asked = [], []

    def ask_on():
        while not house.supervisor.finished.is_set():
            house.system.question("a", BREAK if len(answers) % 50 == 7 else GetState(), 2.0, answers.append)
            asked.append(1)

    askers = [threading.Thread(target=ask_on, daemon=True) for _ in range(3)]
    for asker in askers:
        asker.start()
    assert eventually(lambda: len(answers) > 200)
    house.shut_down()
    for asker in askers:
        asker.join(5)
    assert eventually(lambda: len(answers) == len(asked))


def test_pykka_runs_the_handler_of_an_ask_that_its_caller_has_given_up():
    ran = threading.Event()
    ref = Plain.start()
    gate = behind_a_gate(ref)
    with pytest.raises(pykka.Timeout):
        ref.ask(lambda _: ran.set(), timeout=0.05)
    gate.opened.set()
    assert ran.wait(5)


def test_ours_does_not_carry_out_a_command_after_its_deadline_unless_it_makes_safer():
    taken = []

    def on_execute(me, m):
        if m.sequence_id == 1:
            me.clock.sleep(0.9)
        taken.append(m.sequence_id)

    house = House(spec("a", actor(on_execute=on_execute, on_brake=lambda me, m: taken.append("brake"))))
    house.tell("a", Execute(sequence_id=1))
    late, brake = house.question("a", Execute(sequence_id=2), 0.5), house.question("a", Brake(cause="x"), 0.5)
    house.run(5)
    assert taken in ([1, "brake"], ["brake", 1])
    assert [type(late[0]), len(brake)] == [Expired, 1]
    assert ("a", "Execute") in house.letters()


def test_pykka_stops_an_actor_only_after_all_that_was_queued():
    done = []
    ref = Plain.start()
    gate = behind_a_gate(ref)
    ref.tell(lambda _: done.append(1))
    stopped = ref.stop(block=False)
    gate.opened.set()
    stopped.get(timeout=5)
    assert done == [1]


def test_ours_stops_before_what_is_queued_which_is_refused():
    taken = []

    def on_execute(me, m):
        me.clock.sleep(0.5)
        taken.append(m.sequence_id)

    house = House(spec("a", actor(on_execute=on_execute)))
    first, second = (house.question("a", Execute(sequence_id=number), 60) for number in (1, 2))
    house.shut_down()
    assert taken == [1]
    assert [first, second] == [[Done()], [Refused(reason="a has stopped")]]
    assert house.letters() == [("a", "Execute")]


def test_pykka_raises_in_the_sender_when_the_receiver_has_just_died():
    ref = Plain.start()
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(raises)


def test_ours_never_raises_in_the_sender_and_answers_refused_when_there_is_nobody():
    system = System(WallClock())
    system.tell("nobody", BREAK)
    answer = system.ask("nobody", BREAK)
    assert isinstance(answer, Refused)
    assert "there is no actor nobody" in answer.reason
    assert len(system.dead_letters) == 2


def test_pykka_passes_the_very_object_so_that_a_receiver_can_change_what_the_sender_holds():
    mine = {"exposure_s": 10}
    Plain.start().ask(lambda _: mine.update(exposure_s=0), timeout=5)
    assert mine == {"exposure_s": 0}


def test_our_messages_cannot_be_changed():
    message = Execute(sequence_id=1)
    with pytest.raises(AttributeError):
        message.sequence_id = 2


def test_a_hung_thread_cannot_be_killed():
    ref = Plain.start()
    gate = Gate()
    ended = threading.Event()
    thread = []

    def hang(me):
        thread.append(threading.get_ident())
        try:
            gate(me)
        finally:
            ended.set()

    ref.tell(hang)
    assert gate.reached.wait(5)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread[0]), ctypes.py_object(KeyboardInterrupt))
    assert not ended.wait(0.2)
    gate.opened.set()
    assert ended.wait(5)


def test_ours_abandons_and_replaces_a_hung_incarnation_and_its_late_words_are_not_heard():
    taken = []

    def on_execute(me, m):
        if m.sequence_id == 1:
            me.clock.sleep(60)
            me.tell("b", Execute(sequence_id=99))
        taken.append((me.name, me.epoch, m.sequence_id))

    house = House(*(spec(name, actor(on_execute=on_execute)) for name in "ba"))
    hung = house.question("a", Execute(sequence_id=1), 100)
    house.tell("a", Execute(sequence_id=2))
    house.run(200)
    assert taken == [("a", 2, 2)]
    assert isinstance(hung[0], Failed)
    assert "over its budget" in hung[0].reason


def test_our_threads_are_daemons_so_that_the_process_can_always_end():
    House(spec("a"))
    assert all(thread.daemon for thread in threading.enumerate() if "#" in thread.name)


def test_our_actor_answers_done_for_a_handler_that_returns_nothing():
    assert House(spec("a", actor(on_execute=lambda me, m: None))).ask("a", Execute(sequence_id=1)) == Done()
