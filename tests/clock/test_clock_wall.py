"""The machine's clock and the scaled one."""

import threading
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from pyros.clock import WallClock

START = datetime(2026, 11, 22, 3, tzinfo=UTC)


def test_timers_fire_in_the_order_of_their_times_and_cancelled_ones_do_not():
    clock, fired, last = WallClock(100.0), [], threading.Event()
    clock.call_later(6.0, lambda: (fired.append("third"), last.set()))
    clock.call_later(4.0, lambda: fired.append("second"))
    clock.call_later(5.0, lambda: fired.append("cancelled")).cancel()
    clock.call_later(2.0, lambda: fired.append("first"))
    assert last.wait(10)
    assert fired == ["first", "second", "third"]


def test_a_timer_that_raises_is_printed_and_stops_no_other(capsys):
    clock, last = WallClock(), threading.Event()
    clock.call_later(0.0, lambda: 1 / 0)
    clock.call_later(0.01, last.set)
    assert last.wait(10)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_timer_set_for_earlier_than_all_others_does_not_wait_for_them():
    clock, fired = WallClock(), threading.Event()
    clock.call_later(3600.0, print)
    clock.call_later(0.01, fired.set)
    assert fired.wait(10)


def test_a_scaled_clock_starts_where_it_is_told_and_runs_at_its_speed():
    clock = WallClock(1000.0, START)
    before_s = clock.monotonic_s()
    clock.sleep(20.0)
    assert clock.monotonic_s() - before_s >= 20.0
    assert (clock.now() - START).total_seconds() == pytest.approx(clock.monotonic_s(), abs=60)


def test_the_plain_clock_is_the_machines_utc():
    assert abs((WallClock().now() - datetime.now(UTC)).total_seconds()) < 5


@pytest.mark.parametrize("speed", [0, -1, 1001, float("nan")])
def test_a_speed_out_of_range_is_refused(speed):
    with pytest.raises(ValueError, match="must be above 0 and at most 1000"):
        WallClock(speed)


@pytest.mark.parametrize("delay_s", [float("nan"), float("inf")])
def test_a_delay_without_an_end_is_refused(delay_s):
    with pytest.raises(ValueError, match="every wait has a deadline"):
        WallClock().call_later(delay_s, print)


def test_safety_times_last_real_seconds_on_a_scaled_clock():
    assert WallClock(60.0).at_least_real(10.0, 5.0) == 300.0
    assert WallClock().at_least_real(10.0, 5.0) == 10.0


def test_a_wake_before_the_rest_is_not_lost():
    turn = WallClock().turn()
    turn.wake()
    turn.wake()
    turn.rest()
    woken = threading.Thread(target=turn.rest, daemon=True)
    woken.start()
    assert woken.is_alive()
    turn.wake()
    woken.join(5)
    assert not woken.is_alive()


def test_outside_results_and_arrivals_are_delivered_as_they_come():
    clock, got, work = WallClock(), [], Future()
    clock.collect(work, lambda future: got.append(future.result()), 1000.0)
    work.set_result("frame")
    clock.expect("vtp")
    clock.arrive("vtp", lambda: got.append("notice"))
    clock.hush("mount")
    assert got == ["frame", "notice"]
    assert not clock.charge("mount", 1.0)


def test_deadlines_that_were_answered_in_time_do_not_pile_up_until_they_would_have_been_due():
    clock = WallClock()
    for _ in range(5000):
        clock.call_later(3600.0, print).cancel()
    assert len(clock._timers) < 1000


def test_a_timer_behind_a_cancelled_one_fires_at_its_own_time():
    clock, fired = WallClock(), threading.Event()
    clock.call_later(0.01, print).cancel()
    clock.call_later(0.05, fired.set)
    assert fired.wait(10)
    clock.call_later(3600.0, print)
    fired.clear()
    clock.call_later(0.01, fired.set)
    assert fired.wait(10)
