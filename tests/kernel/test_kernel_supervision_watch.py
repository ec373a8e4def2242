"""What the supervisor watches: hangs, signs of life, threads left behind, the watchdog; and when it gives up."""

import threading

import pytest
from kernel_stage import RUN, House, actor, eventually, fails_until, hangs, plc, spec

from pyros.actors.kernel import Deferred, Sleep
from pyros.actors.kernel.service import status_line
from pyros.clock import WallClock
from pyros.messages.base import Failed, GetState
from pyros.messages.devices import CloseDome, PlcState
from pyros.messages.night import MajordomeState, SafetyVerdict
from pyros.messages.people import CancelSequence
from pyros.messages.system import ActorFailed, ChildRow, Crash, LibrarianState, Shutdown, SupervisorState

# -- hangs -----------------------------------------------------------------------------------------------------------


def test_everybody_who_waits_for_an_incarnation_that_hangs_hears_failed_its_message_its_procedure_its_promises():
    def on_cancel_sequence(me, m):
        yield Sleep(500.0)

    hooks = {"on_execute": lambda me, m: Deferred(), "on_cancel_sequence": on_cancel_sequence}
    house = House(spec("a", actor(**hooks)))
    waiting = [house.question("a", RUN, 900), house.question("a", CancelSequence(sequence_id=1, by="eve"), 900)]
    waiting.append(house.question("a", Crash(how="hang"), 900))
    house.run(11)
    assert [[type(answer) for answer in answers] for answers in waiting] == [[Failed]] * 3
    assert "over its budget" in waiting[0][0].reason
    assert house.events(ActorFailed)[0].message == "Crash"
    assert ("a", "Crash") in house.letters()


def test_nobody_is_judged_before_its_budget_is_over_nor_much_later():
    """A budget is a second; the looks are at 5, 10, 15 …"""
    house = House(spec("a", actor(on_execute=lambda me, m: me.clock.sleep(0.9))), spec("b", actor(on_execute=hangs)))
    house.clock.call_later(4.2, lambda: house.tell("a", RUN))
    house.clock.call_later(4.2, lambda: house.tell("b", RUN))
    house.run(9.9)
    assert [house.row(name).epoch for name in "ab"] == [1, 1]
    house.run(0.2)
    assert [house.row(name).epoch for name in "ab"] == [1, 2]


def test_a_thread_that_comes_back_ends_without_a_word_and_is_forgiven():
    safe = []
    house = House(*(spec(name) for name in "abcde"), make_safe=safe.append)
    for name in "abcde":
        house.tell(name, Crash(how="hang", for_s=100))
        house.run(120)
    assert safe == []
    assert [house.row(name).epoch for name in "abcde"] == [2] * 5
    assert len(house.events(ActorFailed)) == 5, "what it raised when it came back interests nobody"


def test_threads_that_hang_in_their_start_or_in_their_end_are_counted_as_well():
    safe = []
    house = House(
        spec("plc_", strategy="rest_for_one"),
        spec("slow", actor(on_start=lambda me: me.clock.sleep(1e6) if me.epoch == 1 else None)),
        *(spec(name, actor(on_stop=lambda me: me.clock.sleep(1e6)), needs=("plc_",)) for name in "abc"),
        make_safe=safe.append,
    )
    house.run(60)
    house.tell("plc_", Crash())
    house.run(60)
    assert safe == ["4 threads hang; last: c: it has not stopped within 5 s"]


def test_a_supervisor_that_was_held_up_judges_nobody_in_that_round():
    held = []

    def notify(state):
        if "WATCHDOG" in state and house.clock.monotonic_s() >= 60 and not held:
            held.append(state)
            house.clock.sleep(30)

    house = House(
        spec("a", actor(on_execute=lambda me, m: me.clock.sleep(33))), spec("b", critical=True), notify=notify
    )
    house.run(58)
    house.clock.call_later(2.5, lambda: house.tell("a", RUN))
    house.run(60)  # the look that comes at 90 instead of 65 finds it busy for 29.5 s, the next one idle
    assert held
    assert house.row("a").epoch == 1


def test_a_thread_that_dies_without_a_word_is_found_at_the_second_look():
    """A loop that is too broken even to report: out of memory in its last act."""

    def report_failure(me, failure):
        raise LookupError("no memory for a report")

    house = House(spec("a", actor(report_failure=report_failure)), spec("b"))
    fell = threading.excepthook
    threading.excepthook = lambda _: None
    try:
        house.tell("a", Crash(how="memory"))
        house.run(11)
    finally:
        threading.excepthook = fell
    assert house.row("a").last_fault == "its thread has ended without a word"
    assert (house.row("a").epoch, house.row("a").status) == (2, "up")


# -- signs of life ---------------------------------------------------------------------------------------------------


def busy_for_ever(me, m):
    """Takes less than its budget and gives itself more than it works off."""
    me.clock.sleep(0.9)
    for _ in range(100):
        me.tell(me.name, m)


def watchdogs(said):
    return sum("WATCHDOG=1" in state for state in said)


def test_the_watchdog_is_fed_at_every_look_while_every_critical_child_gives_signs_of_life():
    said = []
    house = House(spec("plc_", critical=True), spec("monitor_", critical=True), notify=said.append)
    house.run(100)
    assert watchdogs(said) == 20
    assert said[0].startswith("READY=1\nSTATUS=")


def test_a_critical_child_whose_mail_grows_faster_than_it_works_starves_the_watchdog_and_is_given_up():
    said, safe = [], []
    busy = spec("majordome_", actor(on_execute=busy_for_ever), critical=True)
    house = House(busy, notify=said.append, make_safe=safe.append)
    house.run(12)
    house.tell("majordome_", RUN)
    house.run(5)
    fed = watchdogs(said)
    house.run(55)
    assert watchdogs(said) == fed
    assert safe == []
    assert house.row("majordome_").epoch == 1, "no message of its is over its budget"
    house.run(15)
    assert len(safe) == 1
    assert "majordome_ has given no sign of life for 6" in safe[0]
    assert (house.supervisor.finished.is_set(), house.supervisor.exit_status) == (True, 1)


def test_a_child_that_is_not_critical_never_starves_the_watchdog():
    said = []
    busy, broken = spec("camera", actor(on_execute=busy_for_ever)), spec("wheel", fails_until(10_000))
    house = House(busy, broken, spec("plc_", critical=True), notify=said.append)
    house.tell("camera", RUN)
    house.run(100)
    assert watchdogs(said) >= 19


def test_a_critical_child_that_is_away_starves_the_watchdog_and_its_next_incarnation_has_no_debts():
    said = []
    house = House(spec("plc_", fails_until(4), critical=True), spec("camera", fails_until(99)), notify=said.append)
    house.run(2.9)
    assert watchdogs(said) == 0
    house.run(30)
    assert watchdogs(said) >= 5
    house.tell("plc_", Crash(how="hang"))
    house.run(9.9)
    fed = watchdogs(said)
    house.run(30)
    assert house.row("plc_").epoch == 5
    assert watchdogs(said) >= fed + 5


def test_a_sign_of_life_is_no_message_and_leaves_no_trace():
    journal = []
    house = House(spec("plc_", critical=True))
    house.system.keep_journal(journal.append)
    house.run(60)
    assert {(delivery.to, type(delivery.message).__name__) for delivery in journal} == {("supervisor", "Watch")}
    assert house.letters() == []


def test_on_a_fast_clock_the_supervisor_looks_every_real_second_and_as_often_as_the_service_manager_wants():
    rates = {
        rate: House(spec("a"), clock=WallClock(speed), **({"watch_every_s": rate[1]} if rate[1] else {}))
        for speed in (1.0, 5.0, 60.0)
        for rate in [(speed, None), (speed, 0.5)]
    }
    every_s = {rate: house.supervisor._watch_every_s / rate[0] for rate, house in rates.items()}
    assert every_s == {(1, None): 5, (1, 0.5): 0.5, (5, None): 1, (5, 0.5): 0.5, (60, None): 1, (60, 0.5): 0.5}
    for house in rates.values():
        house.shut_down()


# -- what the service manager hears ----------------------------------------------------------------------------------


def test_the_status_line_says_mode_safety_dome_and_who_is_away():
    def tree(status, *rows):
        children = [ChildRow(actor=name, status=is_, epoch=1, restarts=0, mailbox=0) for name, is_ in rows]
        return SupervisorState(status=status, since=house.clock.now(), children=children)

    house = House(spec("a"))
    majordome = MajordomeState(mode="observing", why="", since=house.clock.now())
    verdict = SafetyVerdict(level="SAFE", reasons=[], at=house.clock.now())
    up = tree("up", ("plc", "up"), ("web", "backing off"))
    assert (
        status_line(up, majordome, verdict, PlcState(link="up", dome="open"))
        == "observing; SAFE; dome open; 1 of 2 actors up; web backing off"
    )
    assert status_line(up, majordome, None, PlcState(link="down")).startswith("observing; PLC silent; 1 of 2")
    assert status_line(tree("stopping", ("plc", "stopped")), majordome, None, None) == "stopping; 0 of 1 actors up"


def test_the_service_manager_hears_a_status_only_when_it_has_changed_and_stopping_at_the_end():
    said = []
    house = House(spec("plc", plc()), spec("camera"), notify=said.append)
    house.run(60)
    assert said[1] == "READY=1\nSTATUS=up; dome open; 2 of 2 actors up"
    house.tell("plc", CloseDome(cause="x"))
    house.run(60)
    assert [state for state in said if state.startswith("STATUS=")] == ["STATUS=up; dome closed; 2 of 2 actors up"]
    house.shut_down()
    assert "STOPPING=1\nSTATUS=stopping: the end" in said


def test_an_unreachable_service_manager_is_a_dead_letter_and_nothing_more():
    def break_(_):
        raise OSError("no such socket")

    house = House(spec("a"), notify=break_)
    house.run(20)
    assert house.ask("a") == LibrarianState(queries=1)
    assert ("systemd", "READY=1") in house.letters()


# -- giving up -------------------------------------------------------------------------------------------------------


def test_too_many_abandoned_threads_make_safe_once_and_end_with_status_one():
    safe = []
    house = House(*(spec(name, actor(on_execute=hangs)) for name in "abcde"), make_safe=safe.append)
    for name in "abcde":
        house.tell(name, RUN)
    house.run(60)
    assert len(safe) == 1
    assert "4 threads hang" in safe[0]
    assert (house.supervisor.finished.is_set(), house.supervisor.exit_status) == (True, 1)
    assert house.supervisor.state().status == "making safe"


def test_a_critical_child_that_cannot_be_kept_up_makes_safe_once_and_ends_with_status_one():
    safe = []
    house = House(spec("plc_", fails_until(99), critical=True), spec("a", fails_until(99)), make_safe=safe.append)
    house.run(1000)
    assert len(safe) == 1
    assert "plc_ has failed 7 times" in safe[0]
    assert house.supervisor.exit_status == 1


def test_a_child_that_is_not_critical_is_tried_for_ever():
    safe = []
    house = House(spec("camera", fails_until(10_000)), make_safe=safe.append)
    house.run(3600)
    assert safe == []
    assert house.row("camera").epoch > 40


def test_the_process_ends_with_status_one_even_if_making_safe_breaks():
    def break_(_):
        raise SystemExit

    house = House(spec("plc_", fails_until(99), critical=True), make_safe=break_)
    house.run(100)
    assert (house.supervisor.finished.is_set(), house.supervisor.exit_status) == (True, 1)
    assert ("supervisor", "make safe") in house.letters()


def test_a_supervisor_that_breaks_makes_safe_and_ends_the_process():
    safe = []
    house = House(spec("a"), make_safe=safe.append)
    house.tell("supervisor", Crash())
    house.run(1)
    assert (house.supervisor.finished.is_set(), house.supervisor.exit_status, len(safe)) == (True, 1, 1)


def test_the_service_manager_hears_of_the_end_before_making_safe_takes_its_time():
    heard = []
    house = House(spec("plc_", fails_until(99), critical=True), notify=heard.append, make_safe=heard.append)
    house.run(1000)
    assert heard[-2].startswith("STOPPING=1\nSTATUS=making safe: plc_ has failed 7 times in a row; last: on_start")
    assert heard[-1].startswith("plc_ has failed 7 times")


BREAKS = {
    "in a look": ("_look_for_hangs", None),
    "while it asks for signs of life": ("_ask_for_signs", None),
    "in a restart": ("_incarnate", Crash()),
    "while it counts a failure": ("_replace", Crash()),
    "in showing the tree": ("state", Crash()),
}


@pytest.mark.parametrize("phase", BREAKS)
def test_a_supervisor_that_breaks_anywhere_makes_safe_once_and_ends_the_process(phase, capsys):
    safe = []
    method, message = BREAKS[phase]
    house = House(spec("a"), spec("b"), make_safe=safe.append)
    breaks(house, method)
    if message is not None:
        house.tell("a", message)
    house.run(30)
    ended_by(house, safe)


@pytest.mark.parametrize("when", ["closing the dome", "stopping a child", "the last one has stopped"])
def test_a_supervisor_that_breaks_in_a_shutdown_makes_safe_once_and_ends_the_process(when, capsys):
    safe = []
    house = House(spec("plc", plc()), spec("b"), make_safe=safe.append)
    house.tell("supervisor", Shutdown(cause="the end"))
    house.run(1.0)
    method = {
        "closing the dome": "_look_for_hangs",
        "stopping a child": "_order_stop",
        "the last one has stopped": "show",
    }
    breaks(house, method[when])
    house.run(30)
    ended_by(house, safe)


def test_a_supervisor_that_breaks_in_its_own_start_makes_safe_and_ends_the_process(monkeypatch):
    safe = []

    def subscribe(me, *events):
        if me.name == "supervisor":
            raise MemoryError

    monkeypatch.setattr("pyros.actors.kernel.supervisor.Supervisor.subscribe", subscribe)
    house = House(spec("a"), make_safe=safe.append)
    assert (house.supervisor.finished.is_set(), house.supervisor.exit_status, len(safe)) == (True, 1, 1)


def test_made_safe_is_once_also_when_the_supervisor_breaks_after_a_dome_that_did_not_close():
    safe = []
    house = House(spec("plc", plc(closes_in_s=9999)), spec("b"), make_safe=safe.append, closes_within_s=10)
    breaks(house, "_order_stop")
    house.shut_down()
    assert safe == ["the end; the dome was not seen closed"]
    assert house.supervisor.exit_status == 1


def breaks(house, method):
    """Have a method of the supervisor's raise from now on."""

    def break_(*_):
        raise MemoryError(method)

    setattr(house.supervisor, method, break_)


def ended_by(house, safe):
    assert (house.supervisor.finished.is_set(), house.supervisor.exit_status, len(safe)) == (True, 1, 1)
    assert "the supervisor broke on" in safe[0]


# -- the wall clock --------------------------------------------------------------------------------------------------


def test_on_the_wall_clock_a_hung_actor_is_replaced_and_its_asker_hears_failed():
    house = House(spec("a", actor(on_execute=lambda me, m: me.clock.sleep(3000))), clock=WallClock(20.0))
    hung = house.question("a", RUN, 2000)
    assert eventually(lambda: hung, 20)
    assert isinstance(hung[0], Failed)
    assert eventually(lambda: house.row("a").epoch == 2)
    assert house.ask("a", GetState(), 100) == LibrarianState(queries=2)
    house.shut_down()


def test_on_the_wall_clock_threads_that_hang_for_ever_end_the_process_by_way_of_make_safe():
    safe = []
    house = House(*(spec(name) for name in "abcd"), clock=WallClock(100.0), make_safe=safe.append)
    for name in "abcd":
        house.tell(name, Crash(how="hang"))
    assert house.supervisor.finished.wait(20)
    assert (house.supervisor.exit_status, len(safe)) == (1, 1)


def test_on_the_wall_clock_a_supervisor_that_is_told_to_exit_makes_safe_and_ends_the_process():
    safe = []
    house = House(spec("a"), clock=WallClock(), make_safe=safe.append)
    house.tell("supervisor", Crash(how="exit"))
    assert house.supervisor.finished.wait(5)
    assert (house.supervisor.exit_status, len(safe)) == (1, 1)
    assert isinstance(house.ask("a", GetState()), LibrarianState), "nobody else has ended by it"
