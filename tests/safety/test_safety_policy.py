"""Majordome's decisions as pure functions: modes, orders, what is next, and what an interruption costs."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import DARK, NIGHT
from test_safety_guards import MONITOR, PLC, of

from pyros.actors.majordome.agenda import TRIES, Agenda
from pyros.actors.majordome.orders import Orders, obey, orders_from
from pyros.actors.majordome.policy import View, may_start, next_mode, should_ask_again, should_park
from pyros.actors.majordome.replanning import Replanning
from pyros.actors.majordome.turn import Turn
from pyros.messages.devices import TelescopeState
from pyros.messages.night import (
    DeviceHealth,
    Lockdown,
    ObserveAlert,
    Pause,
    PlannedSequence,
    Release,
    Resume,
    StartObserving,
    StopObserving,
)

PARKED, TRACKING = (TelescopeState(link="up", parked=parked) for parked in (True, False))
DOWN = TelescopeState(link="down")
EARLY, OVER = NIGHT.begins - timedelta(hours=2), NIGHT.ends


def view(mode, dome, **changes):
    plain = {
        "now": DARK, "mode": mode, "since": DARK - timedelta(seconds=60), "level": "SAFE", "reasons": "because",
        "monitor": MONITOR, "plc": of(PLC, dome=dome), "telescope": TRACKING, "ordered": "run",
    }  # fmt: skip
    return View(**plain | changes)


LATE = {"since": DARK - timedelta(seconds=181)}
STEPS = [
    ("opening", "closed", "closed", {}),
    (None, "closed", "closed", {"level": "WARN"}),
    (None, "closed", "closed", {"level": "UNSAFE"}),
    (None, "closed", "closed", {"now": EARLY}),
    (None, "closed", "closed", {"now": OVER}),
    (None, "closed", "closed", {"monitor": None}),
    (None, "closed", "closed", {"monitor": of(MONITOR, begins=None, ends=None, opens=None)}),
    (None, "closed", "closed", {"hold": "refused a moment ago"}),
    ("observing", "closed", "open", {}),
    ("observing", "closed", "open", {"level": "WARN"}),
    ("closing", "closed", "open", {"level": "UNSAFE"}),
    ("closing", "closed", "open", {"now": OVER}),
    ("closing", "closed", "between", {"level": "WARN"}),
    ("opening", "closed", "between", {}),
    (None, "closed", "unknown", {"level": "UNSAFE"}),
    ("paused", "closed", "closed", {"ordered": "pause"}),
    ("stopped", "closed", "closed", {"ordered": "stop"}),
    ("stopped", "paused", "closed", {"ordered": "lockdown"}),
    ("closed", "paused", "closed", {"ordered": "run"}),
    ("closed", "stopped", "closed", {"ordered": "run"}),
    (None, "paused", "closed", {"ordered": "pause"}),
    ("closing", "stopped", "open", {"ordered": "stop"}),
    (None, "opening", "opening", {}),
    (None, "opening", "opening", {"level": "WARN"}),
    ("observing", "opening", "open", {}),
    ("closing", "opening", "opening", {"level": "UNSAFE"}),
    ("closing", "opening", "opening", {"ordered": "lockdown"}),
    ("closing", "opening", "closed", LATE),
    (None, "observing", "open", {}),
    (None, "observing", "open", {"level": "WARN"}),
    ("closing", "observing", "open", {"level": "UNSAFE"}),
    ("closing", "observing", "open", {"ordered": "pause"}),
    ("closing", "observing", "open", {"ordered": "stop"}),
    ("closing", "observing", "open", {"ordered": "lockdown"}),
    ("closing", "observing", "open", {"now": OVER}),
    ("closing", "observing", "closing", {}),
    ("closing", "observing", "open", {"plc": of(PLC, dome="open", desired="closed")}),
    ("closing", "closed", "open", {"plc": of(PLC, dome="open", desired="closed")}),
    ("opening", "closed", "closed", {"plc": of(PLC, dome="closed", desired="closed")}),
    ("opening", "closed", "closed", {"telescope": PARKED, "parks_first": True}),
    (None, "closed", "closed", {"parks_first": True}),
    (None, "closed", "closed", {"parks_first": True, "telescope": None}),
    ("opening", "closed", "closed", {"parks_first": True, "plc": of(PLC, dome="closed", park_switch=True)}),
    (
        None,
        "closed",
        "closed",
        {"parks_first": True, "telescope": PARKED, "plc": of(PLC, dome="closed", park_switch=False)},
    ),
    ("closing", "observing", "unknown", {}),
    ("closing", "observing", "open", {"plc": None}),
    ("closing", "observing", "open", {"plc": of(PLC, link="down")}),
    (None, "closing", "closing", {}),
    (None, "closing", "open", LATE),
    (None, "closing", "closed", {}),
    ("closed", "closing", "closed", {"telescope": PARKED}),
    ("closed", "closing", "closed", {"telescope": DOWN}),
    ("closed", "closing", "closed", {"telescope": None}),
    ("closed", "closing", "closed", LATE),
    ("paused", "closing", "closed", {"telescope": PARKED, "ordered": "pause"}),
    ("stopped", "closing", "closed", {"telescope": PARKED, "ordered": "lockdown"}),
]


@pytest.mark.parametrize(("after", "mode", "dome", "changes"), STEPS)
def test_the_transition_that_is_due(after, mode, dome, changes):
    """MJ-P2, MJ-P3: start and stop as a state machine."""
    step = next_mode(view(mode, dome, **changes))
    assert (step.mode if step else None) == after


@given(
    mode=st.sampled_from(["closed", "opening", "observing", "paused", "closing", "stopped"]),
    dome=st.sampled_from(["open", "closed", "opening", "closing", "between", "unknown"]),
    level=st.sampled_from(["SAFE", "WARN", "UNSAFE"]),
    ordered=st.sampled_from(["run", "pause", "stop", "lockdown"]),
    hours=st.floats(-14, 14),
)
def test_the_observatory_goes_to_opening_only_when_it_is_safe_dark_enough_and_ordered(
    mode, dome, level, ordered, hours
):
    now = DARK + timedelta(hours=hours)
    step = next_mode(view(mode, dome, level=level, ordered=ordered, now=now))
    if step is not None and step.mode in {"opening", "observing"}:
        assert level != "UNSAFE"
        assert ordered == "run"
        assert MONITOR.opens <= now < MONITOR.ends
    if step is not None and step.mode == "opening":
        assert level == "SAFE"


def test_nothing_starts_unless_open_safe_dark_and_with_every_blocking_device_answering():
    """SC-T8: nothing points before the night's start less its margin."""
    sick = DeviceHealth(device="camera:vis", link="down", blocking=True, problem="mute")
    cases = {
        "the observatory is closing": {"mode": "closing"},
        "WARN": {"level": "WARN"},
        "the night begins": {"now": NIGHT.begins - timedelta(seconds=46)},
        "the night is over": {"now": OVER},
        "the telescope does not answer": {"telescope": DOWN},
        "no answer from camera:vis": {"monitor": of(MONITOR, devices=[sick])},
        "times are unknown": {"monitor": None},
    }
    for reason, changes in cases.items():
        assert reason in may_start(view(**{"mode": "observing", "dome": "open"} | changes), 45.0)
    assert may_start(view("observing", "open", now=NIGHT.begins - timedelta(seconds=45)), 45.0) is None
    lame = of(MONITOR, devices=[of(sick, blocking=False)])
    assert may_start(view("observing", "open", monitor=lame), 45.0) is None, "a device that is not blocking may lag"


def test_the_telescope_is_parked_whenever_the_observatory_is_not_open_and_nobody_is_in_the_way():
    assert should_park(view("closing", "closing"), running=False)
    assert not should_park(view("closing", "closing"), running=True)
    assert not should_park(view("observing", "open"), running=False)
    assert not should_park(view("closed", "closed", telescope=PARKED), running=False)
    assert not should_park(view("closed", "closed", telescope=DOWN), running=False)
    assert not should_park(view("closed", "closed", plc=of(PLC, local_key=True)), running=False)


def test_under_a_closed_roof_that_would_touch_it_the_telescope_is_not_moved():
    def parks(dome, **switch):
        return should_park(view("closed", dome, parks_first=True, plc=of(PLC, dome=dome, **switch)), running=False)

    assert parks("open")
    assert parks("between")
    assert not parks("closed")
    assert not parks("closing", park_switch=True), "its switch says that it is parked, whatever the mount says"


def test_a_plc_actor_that_does_not_know_of_the_order_is_told_again():
    assert should_ask_again(view("closing", "open", plc=of(PLC, dome="open", desired="as is")))
    assert not should_ask_again(view("closing", "open", plc=of(PLC, dome="open", desired="closed")))
    assert not should_ask_again(view("closing", "closed", plc=of(PLC, dome="closed", desired="as is")))
    assert not should_ask_again(view("observing", "open", plc=of(PLC, dome="open", desired="open")))


LOCK = Lockdown(operator="eve", reason="lightning")


def test_orders_overrule_each_other_as_people_expect():
    run, paused, stopped = (Orders(wish=wish) for wish in ("run", "pause", "stop"))
    assert obey(run, Pause()) == paused
    assert obey(paused, Resume()) == run
    assert obey(stopped, Pause()) == stopped, "a pause does not weaken a stop"
    assert "only StartObserving" in obey(stopped, Resume())
    assert obey(stopped, StartObserving()) == run
    assert obey(paused, StopObserving()) == stopped


def test_a_lockdown_is_above_all_orders_and_leaves_them_as_they_were_when_it_is_lifted():
    locked = obey(Orders(wish="pause"), LOCK)
    assert locked.ordered == "lockdown"
    assert "locked down by eve" in obey(locked, StartObserving())
    assert "locked down by eve" in obey(locked, Resume())
    assert obey(locked, StopObserving()).ordered == "lockdown", "what makes safer is taken, and kept for later"
    assert obey(locked, Release(operator="eve")).ordered == "pause"
    assert "no lockdown" in obey(Orders(), Release(operator="eve"))


def test_orders_survive_the_store_and_what_it_cannot_explain_is_a_stop():
    for orders in (Orders(), Orders("pause"), Orders("stop", "eve")):
        assert orders_from(orders.settings()) == orders
    assert orders_from({}) == Orders()
    assert orders_from({"ordered": "dance"}).ordered == "stop"


def planned(sequence_id, after_s, right_s=60.0):
    start = DARK + timedelta(seconds=after_s)
    return PlannedSequence(
        sequence_id=sequence_id, name="x", start=start, end=start + timedelta(seconds=100), delta_tl_s=0.0,
        delta_tr_s=right_s, priority=50,
    )  # fmt: skip


def alert(sequence_id, for_s=600.0):
    until = DARK + timedelta(seconds=for_s)
    return ObserveAlert(sequence_id=sequence_id, alert_id=sequence_id, may_interrupt=True, until=until)


def test_the_youngest_alert_goes_before_anything_planned_and_none_after_its_time():
    agenda = Agenda(plan=[planned(1, 0.0)], alerts=[alert(8), alert(9)])
    assert agenda.next_item(DARK, 20.0).sequence_id == 9
    agenda.take(alert(9))
    assert agenda.next_item(DARK, 20.0).sequence_id == 8
    agenda.alerts = [alert(8, for_s=0.0)]
    assert agenda.next_item(DARK, 20.0).sequence_id == 1
    assert agenda.alerts == []


def test_a_planned_sequence_starts_from_its_lead_to_its_latest_start_and_is_dropped_after():
    agenda = Agenda(plan=[planned(1, 100.0)])
    at = {after_s: agenda.next_item(DARK + timedelta(seconds=after_s), 20.0) for after_s in (79, 80, 161, 162)}
    assert [item is not None for item in at.values()] == [False, True, True, False]
    assert not agenda.drop_missed(DARK + timedelta(seconds=161))
    assert agenda.drop_missed(DARK + timedelta(seconds=162))
    assert agenda.following() is None


def test_what_is_started_stands_nowhere_any_more_and_a_refused_alert_is_offered_again_for_a_while():
    agenda = Agenda(plan=[planned(8, 0.0), planned(2, 300.0)], alerts=[alert(8)])
    agenda.take(alert(8))
    assert (agenda.alerts, [one.sequence_id for one in agenda.plan]) == ([], [2])
    assert [agenda.offer_again(alert(8)) for _ in range(TRIES)] == [True] * (TRIES - 1) + [False]
    assert len(agenda.alerts) == 1, "told twice, it stands there once"


def test_interruptions_in_a_row_cost_longer_and_longer_waits_until_one_sequence_succeeds():
    turn, waits = Turn(), []
    for _ in range(7):
        turn.begin(planned(1, 0.0), 0.0)
        turn.end("INTERRUPTED", 0.0)
        waits.append(turn.waits_s(0.0))
    assert waits == [15.0, 30.0, 60.0, 120.0, 300.0, 300.0, 300.0]
    turn.end("ABORTED", 0.0)
    assert turn.waits_s(0.0) == 0.0


def test_a_sequence_that_the_observation_manager_does_not_name_for_long_is_lost():
    turn = Turn()
    assert not turn.is_lost(None, 100.0, 30.0)
    turn.begin(planned(1, 0.0), 0.0)
    assert not turn.is_lost(None, 30.0, 30.0)
    assert not turn.is_lost(1, 40.0, 30.0)
    assert not turn.is_lost(2, 70.0, 30.0)
    assert turn.is_lost(None, 71.0, 30.0)


def test_the_first_planning_brings_the_night_s_times_and_the_later_ones_start_now():
    """MJ-T5: later schedulings carry first_schedule=False."""
    replanning = Replanning()
    assert replanning.order(MONITOR, NIGHT.begins - timedelta(seconds=121), 120.0) is None
    first = replanning.order(MONITOR, NIGHT.begins - timedelta(seconds=120), 120.0)
    assert (first.first_schedule, first.night_start, first.night_end) == (True, NIGHT.begins, NIGHT.ends)
    replanning.want("clouds", DARK)
    assert replanning.order(MONITOR, DARK, 120.0) is None, "one at a time"
    replanning.under_way = False
    assert replanning.order(MONITOR, DARK - timedelta(seconds=1), 120.0) is None
    later = replanning.order(MONITOR, DARK, 120.0)
    assert (later.first_schedule, later.trigger) == (False, "clouds")


def test_a_first_planning_in_mid_night_begins_now_and_not_in_the_past():
    assert Replanning().order(MONITOR, DARK, 120.0).night_start == DARK
