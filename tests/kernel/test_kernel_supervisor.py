"""The supervisor's contract: boot, restarts, dependants, hangs, giving up, and the end."""

from itertools import pairwise

import pytest
from kernel_stage import START, House, Probe, actor, eventually, spec

from pyros.actors.kernel import Supervisor
from pyros.actors.kernel.child import BACKOFF_S, JITTER
from pyros.clock import WallClock
from pyros.messages.base import Done, Failed, GetState, Refused
from pyros.messages.devices import Brake, CloseDome, PlcState
from pyros.messages.night import Execute, StopObserving
from pyros.messages.system import (
    ActorFailed,
    ActorRestarted,
    ActorStarted,
    ActorStopped,
    Crash,
    LibrarianState,
    Restart,
    Shutdown,
)

RUN = Execute(sequence_id=1)


def starts(house):
    return [(event.actor, event.epoch) for event in house.events(ActorStarted) if event.actor != "supervisor"]


def fails_until(epoch, how="on_start"):
    """An actor (or a maker of one) that breaks in its first incarnations."""

    def break_(me):
        if me.epoch < epoch:
            raise RuntimeError(f"{how} broke")

    def make(context):
        if context.lease.epoch < epoch:
            raise RuntimeError(f"{how} broke")
        return Probe(context)

    return make if how == "__init__" else actor(on_start=break_)


# -- boot ------------------------------------------------------------------------------------------------------------


def test_children_start_in_order_each_after_the_one_before_is_up():
    seen = []

    def on_start(me):
        me.clock.sleep(1.0)
        seen.append((me.name, me.clock.monotonic_s()))

    house = House(*(spec(name, actor(on_start=on_start)) for name in "abc"))
    assert house.supervisor.state().status == "starting"
    house.run(10)
    assert seen == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert house.supervisor.state().status == "up"


@pytest.mark.parametrize("how", ["on_start", "__init__"])
def test_a_child_that_never_starts_delays_nobody_and_is_tried_again(how):
    house = House(spec("bad", fails_until(5, how)), spec("good"))
    assert house.ask("good") == LibrarianState(queries=1)
    assert house.supervisor.state().status == "up"
    assert house.row("bad").status == "backing off"
    assert f"{how} broke" in house.row("bad").last_fault
    house.run(30)
    assert (house.row("bad").status, house.row("bad").epoch) == ("up", 5)


def test_a_child_that_never_says_started_is_abandoned_at_its_deadline():
    def on_start(me):
        if me.epoch == 1:
            me.clock.sleep(10_000)

    house = House(spec("mute", actor(on_start=on_start), start_within_s=7), spec("good"))
    house.run(11)
    assert starts(house) == [("mute", 2), ("good", 1)]
    assert "has not started within 7 s" in house.row("mute").last_fault


def test_a_child_must_not_need_a_later_one():
    with pytest.raises(ValueError, match="a needs b, which must stand earlier"):
        House(spec("a", needs=("b",)), spec("b"))


# -- restarts --------------------------------------------------------------------------------------------------------


def test_the_first_restart_is_immediate_and_the_next_ones_back_off_with_jitter_up_to_a_minute():
    house = House(spec("a", fails_until(12)), seed=3)
    house.run(600)
    assert len(house.events(ActorFailed)) == 11
    failed_at = _failure_times(spec("a", fails_until(12)), 600)
    gaps = [after - before for before, after in pairwise(failed_at)]
    assert gaps[0] == 0.0
    for gap, base in zip(gaps[1:], [*BACKOFF_S, *[BACKOFF_S[-1]] * 9], strict=False):
        assert base * (1 - JITTER) <= gap <= base * (1 + JITTER)
    assert gaps[1] != BACKOFF_S[0]


def _failure_times(child, seconds, **rules):
    times = []
    house = House(child, **rules)
    house.system.events.tap(
        lambda sender, event: times.append(house.clock.monotonic_s()) if isinstance(event, ActorFailed) else None
    )
    house.run(seconds)
    return [0.0, 0.0, *times][-11:]


def test_the_same_seed_backs_off_alike_and_another_one_otherwise():
    one, same, other = (_failure_times(spec("a", fails_until(9)), 300, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_health_for_a_period_makes_the_next_failure_a_first_one():
    house = House(spec("a", period_s=60))
    for _ in range(6):
        house.tell("a", Crash())
        house.run(61)
    assert all(event.away_s == 0.0 for event in house.events(ActorRestarted))
    assert house.row("a").restarts == 6


def test_an_actor_that_stops_itself_is_started_again():
    house = House(spec("a", actor(on_execute=lambda me, m: me.stop())))
    house.tell("a", RUN)
    house.run(1)
    assert house.row("a").last_fault == "it ended without being told to"
    assert house.ask("a") == LibrarianState(queries=2)


def test_a_restart_that_is_forged_or_late_does_nothing():
    house = House(spec("a"))
    house.tell("supervisor", Restart(actor="a", epoch=1, cause="x", failed_at_s=0.0))
    house.tell("supervisor", Restart(actor="nobody", epoch=1, cause="x", failed_at_s=0.0))
    house.tell("supervisor", ActorFailed(actor="a", epoch=9, cause="x", message="x"))
    house.run(1)
    assert house.ask("a") == LibrarianState(queries=1)


def test_the_state_of_the_tree_shows_status_epoch_restarts_fault_and_waiting_mail():
    house = House(spec("a", actor(on_execute=lambda me, m: me.clock.sleep(0.5))), spec("b", fails_until(9)))
    for _ in range(4):
        house.tell("a", RUN)
    house.run(0.1)
    a, b = house.row("a"), house.row("b")
    assert (a.status, a.epoch, a.restarts, a.mailbox) == ("up", 1, 0, 3)
    assert (b.status, b.restarts, b.last_fault) == ("backing off", 1, "on_start: RuntimeError: on_start broke")
    assert house.supervisor.state().since == START


# -- dependants ------------------------------------------------------------------------------------------------------


def chain(**rules):
    stops = []
    hooks = {"on_stop": lambda me: stops.append(me.name)}
    house = House(
        spec("plc_", actor(**hooks), **rules),
        spec("bystander", actor(**hooks)),
        spec("weather", actor(**hooks), needs=("plc_",)),
        spec("monitor", actor(**hooks), needs=("weather",)),
    )
    return house, stops


def test_rest_for_one_stops_those_that_need_it_in_reverse_and_starts_them_in_order_after_it():
    house, stops = chain(strategy="rest_for_one")
    house.tell("plc_", Crash())
    house.run(1)
    assert stops == ["monitor", "weather"]
    assert starts(house)[4:] == [("plc_", 2), ("weather", 2), ("monitor", 2)]
    assert house.row("monitor").last_fault.startswith("with plc_: Crash")
    assert house.row("bystander").epoch == 1


def test_dependants_wait_until_the_failed_one_is_up_again_also_when_others_come_up_meanwhile():
    house, _ = chain(strategy="rest_for_one")
    for _ in range(4):
        house.tell("plc_", Crash())
        house.run(0)
    house.run(0.1)
    house.tell("bystander", Crash())
    house.run(0.1)
    assert [house.row(name).status for name in ("plc_", "bystander", "weather")] == ["backing off", "up", "waiting"]
    house.run(20)
    assert [house.row(name).status for name in ("plc_", "weather", "monitor")] == ["up"] * 3
    order = [name for name, _ in starts(house)]
    assert order.index("monitor", -3) > order.index("weather", -3) > order.index("plc_", -3)


def test_a_one_for_one_child_takes_its_dependants_along_only_above_its_intensity():
    house, stops = chain(intensity=2)
    for restarts in (1, 2):
        house.tell("plc_", Crash())
        house.run(5)
        assert (house.row("plc_").restarts, stops) == (restarts, [])
    house.tell("plc_", Crash())
    house.run(5)
    assert stops == ["monitor", "weather"]


def test_a_dependant_that_does_not_stop_is_abandoned_and_replaced_all_the_same():
    house = House(
        spec("plc_", strategy="rest_for_one"),
        spec("weather", actor(on_execute=lambda me, m: me.clock.sleep(500)), needs=("plc_",), stop_within_s=3),
    )
    house.tell("weather", RUN)
    house.tell("plc_", Crash())
    house.run(4)
    assert house.row("weather").epoch == 2
    assert house.ask("weather") == LibrarianState(queries=2)


# -- hangs and giving up ---------------------------------------------------------------------------------------------


def hangs(me, m):
    me.clock.sleep(10_000)


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


def test_systemd_hears_ready_and_is_fed_only_while_every_critical_child_is_up():
    said = []
    house = House(spec("plc_", fails_until(4), critical=True), spec("camera", fails_until(99)), notify=said.append)
    house.run(2.9)
    assert said == ["READY=1"]
    house.run(30)
    assert said.count("WATCHDOG=1") >= 5
    house.shut_down()
    assert "STOPPING=1" in said


def test_an_unreachable_systemd_is_a_dead_letter_and_nothing_more():
    def break_(_):
        raise OSError("no such socket")

    house = House(spec("a"), notify=break_)
    house.run(20)
    assert house.ask("a") == LibrarianState(queries=1)
    assert ("systemd", "READY=1") in house.letters()


# -- shutdown --------------------------------------------------------------------------------------------------------


def plc(closes_in_s=5.0, dome="open"):
    """A PLC actor whose dome closes some time after it is told to."""

    def on_start(me):
        me.dome = dome
        me.on_restart(Restart(actor="plc", epoch=0, cause="", failed_at_s=0.0))

    def on_restart(me, m):
        me.publish(PlcState(link="up", dome=me.dome))
        me.after(1.0, m)

    def on_close_dome(me, m):
        me.after(closes_in_s, Brake(cause="closed"))

    def on_brake(me, m):
        me.dome = "closed"

    return actor(on_start=on_start, on_restart=on_restart, on_close_dome=on_close_dome, on_brake=on_brake)


MAJORDOME = actor(on_stop_observing=lambda me, m: me.tell("plc", CloseDome(cause=m.cause)))


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
    assert house.row("hung").last_fault == "did not stop in time"
    assert ("bad", "on_stop") in house.letters()
    assert house.supervisor.finished.is_set()


def test_shutdown_during_the_boot_starts_nobody_else():
    house = House(spec("slow", actor(on_start=lambda me: me.clock.sleep(2.0))), spec("never"))
    house.shut_down()
    house.run(30)
    assert starts(house) == [("slow", 1)]
    assert house.row("never").status == "stopped"


def test_a_second_shutdown_is_refused_while_one_runs_and_done_afterwards():
    house = House(spec("plc", plc()), spec("majordome", MAJORDOME))
    house.tell("supervisor", Shutdown(cause="one"))
    assert "busy with Shutdown" in house.ask("supervisor", Shutdown(cause="two")).reason
    house.run(10)
    assert house.ask("supervisor", Shutdown(cause="three")) == Done()


# -- the wall clock --------------------------------------------------------------------------------------------------


def test_on_the_wall_clock_crashes_under_load_lose_no_good_message_and_keep_the_order():
    taken = []
    house = House(spec("a", actor(on_execute=lambda me, m: taken.append(m.sequence_id))), clock=WallClock(200.0))
    for number in range(2000):
        house.tell("a", Crash() if number % 200 == 50 else Execute(sequence_id=number))
    assert eventually(lambda: taken and taken[-1] == 1999, 20)
    assert taken == [number for number in range(2000) if number % 200 != 50]
    house.shut_down()


def test_on_the_wall_clock_a_hung_actor_is_replaced_and_its_asker_hears_failed():
    house = House(spec("a", actor(on_execute=lambda me, m: me.clock.sleep(3000))), clock=WallClock(20.0))
    hung = house.question("a", RUN, 2000)
    assert eventually(lambda: hung, 20)
    assert isinstance(hung[0], Failed)
    assert eventually(lambda: house.row("a").epoch == 2)
    assert house.ask("a", GetState(), 100) == LibrarianState(queries=2)
    house.shut_down()


def test_the_supervisor_takes_stop_observing_from_nobody():
    house = House(spec("a"))
    assert isinstance(house.ask("supervisor", StopObserving()), Refused)
    assert isinstance(house.supervisor, Supervisor)
