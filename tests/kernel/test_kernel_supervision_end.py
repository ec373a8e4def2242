"""Shutdown, from whatever state: the dome first, then the children in reverse, and nobody is left without an answer."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_stage import MAJORDOME, RUN, House, actor, eventually, fails_until, hangs, plc, spec

from pyros.actors.kernel.ending import wait_s
from pyros.clock import WallClock
from pyros.messages.base import Done, Failed, GetState, Refused
from pyros.messages.devices import Park, PlcState
from pyros.messages.system import ActorStopped, Crash, Shutdown


def stopped(house):
    return [event.actor for event in house.events(ActorStopped)]


def test_shutdown_closes_the_dome_through_majordome_then_stops_in_reverse_order():
    house = House(spec("plc", plc()), spec("a"), spec("majordome", MAJORDOME))
    house.shut_down()
    assert 5.0 <= house.clock.monotonic_s() <= 7.0
    assert stopped(house) == ["majordome", "a", "plc"]
    assert house.supervisor.exit_status == 0
    assert {row.status for row in house.supervisor.state().children} == {"stopped"}
    assert house.ask("a") == Refused(reason="a has stopped")


def test_shutdown_closes_the_dome_without_majordome_when_that_is_not_up():
    house = House(spec("plc", plc()), spec("majordome", fails_until(10_000)))
    house.shut_down()
    assert house.supervisor.exit_status == 0
    assert house.clock.monotonic_s() <= 7.0


@pytest.mark.parametrize("dead", ["plc is not up", "the dome does not move", "the link is down"])
def test_shutdown_makes_safe_by_its_own_connection_when_the_dome_is_not_seen_closed(dead):
    safe = []
    makers = {
        "plc is not up": fails_until(10_000),
        "the dome does not move": plc(closes_in_s=9999),
        "the link is down": actor(on_start=lambda me: me.publish(PlcState(link="down"))),
    }
    house = House(spec("plc", makers[dead]), make_safe=safe.append, closes_within_s=100)
    house.shut_down()
    assert safe == ["the end; the dome was not seen closed"]
    assert house.supervisor.exit_status == 1
    assert house.clock.monotonic_s() <= 101


def test_a_plc_that_breaks_while_the_dome_closes_is_restarted_and_told_again():
    house = House(spec("plc", plc()), spec("majordome", MAJORDOME))
    house.clock.call_later(2.0, lambda: house.tell("plc", Crash()))
    house.shut_down()
    assert house.supervisor.exit_status == 0
    assert 7.0 <= house.clock.monotonic_s() <= 9.0
    assert house.row("majordome").epoch == 1


def test_a_majordome_that_breaks_during_shutdown_is_not_started_again_to_open_the_dome():
    house = House(spec("plc", plc()), spec("majordome", MAJORDOME))
    house.clock.call_later(2.0, lambda: house.tell("majordome", Crash()))
    house.shut_down()
    assert house.row("majordome").epoch == 1
    assert house.supervisor.exit_status == 0


def test_shutdown_ends_in_time_with_a_child_that_hangs_one_that_breaks_in_on_stop_and_one_in_backoff():
    def on_stop(me):
        raise RuntimeError("disk full")

    house = House(
        spec("bad", actor(on_stop=on_stop)),
        spec("hung", actor(on_execute=hangs), stop_within_s=3),
        spec("down", fails_until(10_000)),
    )
    house.tell("hung", RUN)
    house.shut_down()
    assert house.clock.monotonic_s() == 3.0
    assert house.row("hung").last_fault == "it has not stopped within 3 s"
    assert ("bad", "on_stop") in house.letters()
    assert house.supervisor.finished.is_set()


def test_shutdown_during_the_boot_starts_nobody_else():
    house = House(spec("slow", actor(on_start=lambda me: me.clock.sleep(2.0))), spec("never"))
    house.shut_down()
    house.run(30)
    assert house.starts() == [("slow", 1)]
    assert house.row("never").status == "stopped"


def test_a_second_shutdown_is_refused_while_one_runs_and_done_afterwards():
    house = House(spec("plc", plc()), spec("majordome", MAJORDOME))
    house.tell("supervisor", Shutdown(cause="one"))
    assert "busy with Shutdown" in house.ask("supervisor", Shutdown(cause="two")).reason
    house.run(10)
    assert house.ask("supervisor", Shutdown(cause="three")) == Done()


def test_a_majordome_that_never_comes_to_the_order_is_gone_round_when_it_goes_down():
    """It hangs as the shutdown begins: the plc is told directly as soon as that is seen, not at the last deadline."""
    parked = []
    house = House(
        spec("plc", plc()),
        spec("telescope", actor(on_park=lambda me, m: parked.append(m))),
        spec("majordome", actor(on_stop_observing=hangs)),
    )
    house.shut_down()
    assert house.clock.monotonic_s() <= 12.0
    assert house.supervisor.exit_status == 0
    assert [type(order) for order in parked] == [Park]


def test_a_majordome_that_was_still_starting_is_told_to_stop_when_it_is_up():
    told = []
    starts = {"on_start": lambda me: me.clock.sleep(2.0), "on_stop_observing": lambda me, m: told.append(m.cause)}
    house = House(spec("plc", plc(closes_in_s=20.0)), spec("majordome", actor(**starts)))
    house.shut_down()
    assert told == ["shutting down"]
    assert house.row("majordome").epoch == 1


def test_however_many_children_hang_all_of_them_together_have_one_deadline_and_the_archivist_has_its_time():
    stops = []
    hooks = {"on_stop": lambda me: (me.clock.sleep(0.1), stops.append(me.name))}
    house = House(
        spec("archivist_", actor(**hooks)), *(spec(f"hung{number}", actor(on_execute=hangs)) for number in range(20))
    )
    for number in range(20):
        house.tell(f"hung{number}", RUN)
    house.shut_down()
    assert house.clock.monotonic_s() <= 20.0
    assert stops == ["archivist_"]
    assert house.supervisor.exit_status == 0


@given(st.lists(st.floats(0, 60), max_size=30), st.floats(0, 60))
def test_the_waits_for_all_children_never_add_up_to_more_than_their_common_deadline(each_s, deadline_s):
    left_s = deadline_s
    for others, stop_within_s in reversed(list(enumerate(each_s))):
        within_s = wait_s(stop_within_s, left_s, others, 0.25)
        assert 0.0 <= within_s <= stop_within_s
        assert within_s >= min(stop_within_s, 0.25, deadline_s / len(each_s)) - 1e-6
        left_s -= within_s
        assert left_s >= -1e-9


def test_whoever_waits_for_a_child_that_is_left_behind_hears_failed_and_whoever_comes_later_refused():
    house = House(spec("hung", actor(on_execute=hangs)))
    asked, behind = house.question("hung", RUN, 900), house.question("hung", GetState(), 900)
    house.shut_down()
    house.run(0)
    assert [type(answer) for answer in (*asked, *behind)] == [Failed, Refused]
    assert house.ask("hung") == Refused(reason="hung has stopped")
    assert ("hung", "GetState") in house.letters()


def test_a_shutdown_reaches_a_supervisor_whose_mailbox_is_full():
    house = House(spec("a"))
    house.system.mailbox("supervisor")._limit = 0
    house.shut_down()
    assert {row.status for row in house.supervisor.state().children} == {"stopped"}


def test_a_plc_that_cannot_be_kept_up_while_the_dome_closes_makes_safe_at_once():
    safe = []

    def on_close_dome(me, m):
        raise RuntimeError("no such register")

    broken = type("Broken", (plc(),), {"on_close_dome": on_close_dome})
    house = House(spec("plc", broken, critical=True), spec("majordome", MAJORDOME), make_safe=safe.append)
    house.shut_down()
    assert len(safe) == 1
    assert "plc has failed 7 times in a row" in safe[0]
    assert house.supervisor.exit_status == 1


# -- the wall clock --------------------------------------------------------------------------------------------------


def test_on_the_wall_clock_every_ask_that_races_a_shutdown_or_a_crash_is_answered_exactly_once():
    house = House(spec("early"), spec("late", needs=("early",)), clock=WallClock())
    asked = []

    def ask_on(name):
        while not house.supervisor.finished.is_set():
            message = Crash(how="exit") if len(asked) % 40 == 7 else GetState()
            asked.append(house.question(name, message, 3.0))

    askers = [threading.Thread(target=ask_on, args=(name,), daemon=True) for name in ("early", "late")]
    for asker in askers:
        asker.start()
    assert eventually(lambda: len(asked) > 300)
    house.shut_down()
    for asker in askers:
        asker.join(5)
    assert eventually(lambda: all(asked))
    assert {len(answers) for answers in asked} == {1}


def test_on_the_wall_clock_a_shutdown_leaves_a_real_hang_behind_and_ends_in_time():
    house = House(spec("a"), spec("hung", stop_within_s=0.3), clock=WallClock())
    asked = house.question("hung", Crash(how="hang"), 60)
    assert eventually(lambda: house.system.mailbox("hung").busy() is not None)
    house.shut_down()
    assert [type(answer) for answer in asked] == [Failed]
    assert house.row("hung").last_fault == "it has not stopped within 0.3 s"
    assert [event.actor for event in house.events(ActorStopped)] == ["a"]
