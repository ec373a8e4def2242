"""The supervisor's tree: boot, restarts with their backoff, and those that need each other."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_stage import RUN, START, House, actor, fails_until, spec

from pyros.actors.kernel import Backoff, Supervisor
from pyros.actors.kernel.backoff import BACKOFF_S, JITTER
from pyros.actors.kernel.children import dependants_of
from pyros.messages.base import Refused
from pyros.messages.night import StopObserving
from pyros.messages.system import ActorFailed, ActorRestarted, Crash, LibrarianState, Restart

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
    assert house.starts() == [("mute", 2), ("good", 1)]
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
    assert house.starts()[4:] == [("plc_", 2), ("weather", 2), ("monitor", 2)]
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
    order = [name for name, _ in house.starts()]
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
    assert ("weather", "Execute") in house.letters(), "the message that it hung on is what is set aside"
    assert house.ask("weather") == LibrarianState(queries=2)


def test_the_supervisor_takes_stop_observing_from_nobody():
    house = House(spec("a"))
    assert isinstance(house.ask("supervisor", StopObserving()), Refused)
    assert isinstance(house.supervisor, Supervisor)


def test_a_dependant_waits_for_every_one_that_has_taken_it_along():
    """The plc is away for a second (± 20 %) from 0 on, the mount from 0.5 on."""
    strict = {"strategy": "rest_for_one", "intensity": 9}
    house = House(spec("plc_", **strict), spec("mount", **strict), spec("camera", needs=("plc_", "mount")))
    for name, at_s in [("plc_", 0.0), ("plc_", 0.1), ("mount", 0.6), ("mount", 0.7)]:
        house.clock.call_later(at_s, lambda name=name: house.tell(name, Crash()))
    house.run(1.4)
    assert [row.status for row in house.supervisor.state().children] == ["up", "backing off", "waiting"]
    house.run(1)
    assert {row.status for row in house.supervisor.state().children} == {"up"}
    assert house.starts()[-1][0] == "camera"


def test_a_failing_plc_takes_telescope_and_what_observes_along_and_they_come_back_in_order():
    """The chain of an observatory: PLC, telescope, camera and wheel, majordome."""
    chain = {"plc_": (), "telescope_": ("plc_",), "camera": ("telescope_",), "wheel": ("telescope_",)}
    chain |= {"majordome_": ("camera", "wheel"), "web": ()}
    stops = []
    hooks = {"on_stop": lambda me: stops.append(me.name)}
    house = House(*(spec(name, actor(**hooks), needs=needs, intensity=1) for name, needs in chain.items()))
    for _ in range(2):
        house.tell("plc_", Crash())
        house.run(0)
    assert stops == ["majordome_", "wheel", "camera", "telescope_"]
    assert [house.row(name).status for name in chain] == ["backing off", *["waiting"] * 4, "up"]
    house.tell("wheel", RUN)  # mail for one that is away waits, or is refused by the one that comes
    assert house.ask("telescope_", within_s=5) == LibrarianState(queries=2)
    house.run(5)
    assert [name for name, _ in house.starts()][-5:] == ["plc_", "telescope_", "camera", "wheel", "majordome_"]
    assert house.row("web").epoch == 1


def test_a_dependant_that_is_backing_off_waits_until_the_one_it_needs_is_up():
    house = House(spec("plc_", strategy="rest_for_one", intensity=9), spec("weather", needs=("plc_",)))
    for _ in range(2):
        house.tell("weather", Crash())
        house.run(0)
    for _ in range(4):
        house.tell("plc_", Crash())
        house.run(0)
    house.run(1.5)
    assert [house.row(name).status for name in ("plc_", "weather")] == ["backing off", "waiting"]
    house.run(10)
    assert [house.row(name).status for name in ("plc_", "weather")] == ["up", "up"]


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=12))
def test_whoever_needs_the_failed_one_through_any_number_of_others_goes_with_it_and_nobody_else(needs):
    names = [f"n{place}" for place in range(len(needs))]
    specs = [
        spec(names[place], needs=tuple(names[need % place] for need in wanted) if place else ())
        for place, wanted in enumerate(needs)
    ]

    def reaches(one, other):
        return other in one.needs or any(reaches(specs[names.index(need)], other) for need in one.needs)

    for name in names:
        assert dependants_of(specs, name) == [one.name for one in specs if reaches(one, name)]


@given(st.lists(st.floats(0, 100), max_size=40), st.integers(0, 9))
def test_a_backoff_never_waits_longer_than_a_minute_and_a_fifth_and_not_at_all_after_a_first_failure(lives, seed):
    backoff, now_s = Backoff(random.Random(seed), period_s=60.0), 0.0
    for life_s in lives:
        failures = backoff.failures
        backoff.up(now_s)
        now_s += life_s
        wait_s = backoff.failed(now_s)
        assert backoff.failures == (1 if life_s >= 60.0 else failures + 1) or abs(life_s - 60.0) < 1e-6
        assert (wait_s == 0.0) == (backoff.failures == 1)
        assert wait_s <= 72.0
        now_s += wait_s


def test_a_scenario_can_have_a_child_break_in_its_start_for_as_long_as_it_likes():
    why = [""]
    house = House(spec("a").breaking(lambda: why[0]))
    assert house.row("a").status == "up"
    why[0] = "the disk is full"
    house.tell("a", Crash())
    house.run(20)
    assert house.row("a").last_fault == "on_start: RuntimeError: the disk is full"
    why[0] = ""
    house.run(120)
    assert house.row("a").status == "up"
