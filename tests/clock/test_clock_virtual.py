"""The virtual clock's rules: turns, timers, arrivals, outside work, mute devices, and stalls that are found out."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import ClockStalledError, VirtualClock

START = datetime(2026, 11, 22, 3, tzinfo=UTC)


def seconds(count):
    return START + timedelta(seconds=count)


@pytest.fixture
def clock():
    return VirtualClock(START, stall_s=0.2)


def worker(clock, job):
    """Run `job` in a thread of its own that takes part in the clock's turns."""
    turn = clock.turn()

    def run():
        turn.begin()
        job()
        turn.leave()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    turn.wake()
    return thread


# -- time and timers -------------------------------------------------------------------------------------------------


def test_time_stands_until_somebody_lets_it_pass(clock):
    assert clock.now() == START
    assert clock.monotonic_s() == 0.0
    clock.run(seconds(90))
    assert (clock.now(), clock.monotonic_s()) == (seconds(90), 90.0)


def test_a_start_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        VirtualClock(datetime(2026, 11, 22))


@given(st.lists(st.floats(-5, 1000), min_size=1, max_size=30))
def test_timers_fire_in_the_order_of_their_times_and_of_their_setting(delays):
    clock, fired = VirtualClock(START), []
    for number, delay_s in enumerate(delays):
        clock.call_later(delay_s, lambda number=number: fired.append((clock.micros(), number)))
    clock.run()
    zero_us = VirtualClock(START).micros()
    assert fired == sorted((zero_us + max(0, round(delay_s * 1e6)), number) for number, delay_s in enumerate(delays))


def test_a_cancelled_timer_does_not_fire_and_can_be_cancelled_again(clock):
    fired = []
    timer = clock.call_later(1.0, lambda: fired.append("no"))
    clock.call_later(0.5, timer.cancel)
    clock.call_at(seconds(2), lambda: fired.append("yes"))
    clock.call_at(seconds(-99), lambda: fired.append("past"))
    clock.run()
    timer.cancel()
    assert fired == ["past", "yes"]


@pytest.mark.parametrize("delay_s", [float("nan"), float("inf")])
def test_a_delay_without_an_end_is_refused(clock, delay_s):
    with pytest.raises(ValueError, match="every wait has a deadline"):
        clock.call_later(delay_s, print)


def test_run_stops_at_its_limit_and_when_it_is_done(clock):
    fired = []
    for count in (1, 2, 3):
        clock.call_later(count, lambda count=count: fired.append(count))
    clock.run(seconds(1.5))
    assert (fired, clock.now()) == ([1], seconds(1.5))
    clock.run(done=lambda: 2 in fired)
    assert (fired, clock.now()) == ([1, 2], seconds(2))


def test_the_clock_cannot_be_run_twice_at_once(clock):
    errors = []

    def run_inside():
        try:
            clock.run()
        except RuntimeError as error:
            errors.append(str(error))

    clock.call_later(1.0, run_inside)
    clock.run()
    assert errors == ["the virtual clock is running already"]


def test_a_timer_that_raises_raises_in_run_and_the_clock_goes_on_afterwards(clock):
    clock.call_later(1.0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        clock.run()
    clock.run(seconds(5))
    assert clock.now() == seconds(5)


# -- turns -----------------------------------------------------------------------------------------------------------


def test_threads_take_turns_one_at_a_time_in_the_order_of_their_waking(clock):
    log, inside = [], []

    def job(name):
        for _ in range(20):
            inside.append(name)
            log.append((name, len(inside)))
            inside.remove(name)
            clock.sleep(1.0)

    threads = [worker(clock, lambda name=name: job(name)) for name in "abc"]
    clock.run()
    for thread in threads:
        thread.join(5)
    assert log == [(name, 1) for _ in range(20) for name in "abc"]
    assert clock.monotonic_s() == 20.0


def test_a_wake_before_the_rest_is_not_lost_and_wakes_do_not_add_up(clock):
    woken = []

    def job():
        turn.wake()
        turn.wake()
        turn.rest()
        woken.append(clock.monotonic_s())
        clock.call_later(3.0, turn.wake)
        turn.rest()
        woken.append(clock.monotonic_s())

    turn = clock.turn()
    worker(clock, job)
    clock.run()
    assert woken == [0.0, 3.0]


def test_a_thread_that_keeps_its_turn_stalls_the_clock_and_every_stack_is_shown(clock, capfd):
    stuck = threading.Event()
    worker(clock, lambda: stuck.wait(10))
    with pytest.raises(ClockStalledError, match=r"a thread has kept its turn for 0\.2 real seconds at 2026-11-22"):
        clock.run()
    with pytest.raises(ClockStalledError, match="kept its turn"):
        clock.run()
    stuck.set()


# -- outside work ----------------------------------------------------------------------------------------------------


def test_a_result_is_delivered_at_its_modelled_time_however_soon_it_is_ready(clock):
    delivered = []
    ready: Future[int] = Future()
    ready.set_result(1)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: threading.Event().wait(0.05))
        clock.collect(slow, lambda _: delivered.append(("slow", clock.monotonic_s())), 2.0)
        clock.collect(ready, lambda future: delivered.append((future.result(), clock.monotonic_s())), 5.0)
        clock.run()
    assert delivered == [("slow", 2.0), (1, 5.0)]


def test_work_that_never_ends_stalls_the_clock(clock):
    clock.collect(Future(), print, 1.0)
    with pytest.raises(ClockStalledError, match=r"work asked for 1\.0 s ago has not ended"):
        clock.run()


def test_work_that_was_cancelled_is_delivered_too(clock):
    work, delivered = Future(), []
    work.cancel()
    clock.collect(work, delivered.append, 1.0)
    clock.run()
    assert delivered == [work]


# -- arrivals --------------------------------------------------------------------------------------------------------


def test_time_waits_for_what_is_expected_and_takes_it_in_the_order_of_expectation(clock):
    log = []

    def send_both():
        clock.expect("vtp")
        clock.expect("kafka")
        readers = [threading.Thread(target=reader, args=(name, pause)) for name, pause in (("kafka", 0), ("vtp", 0.05))]
        for thread in readers:
            thread.start()

    def reader(channel, pause):
        threading.Event().wait(pause)
        clock.arrive(channel, lambda: log.append((channel, clock.monotonic_s())))

    clock.call_later(10.0, send_both)
    clock.call_later(10.001, lambda: log.append("later"))
    clock.run()
    assert log == [("vtp", 10.0), ("kafka", 10.0), "later"]


def test_what_arrives_before_it_is_expected_is_kept(clock):
    log = []
    clock.arrive("vtp", lambda: log.append(1))
    clock.run(seconds(5))
    assert log == []
    clock.expect("vtp")
    clock.run(seconds(6))
    assert log == [1]


def test_an_arrival_that_stays_away_stalls_the_clock_by_name(clock):
    clock.expect("vtp")
    with pytest.raises(ClockStalledError, match="nothing has arrived from vtp"):
        clock.run()


# -- mute devices ----------------------------------------------------------------------------------------------------


def test_a_mute_device_costs_its_timeout_in_virtual_time_while_others_go_on(clock):
    log = []

    def driver():
        clock.hush("mount")
        log.append((clock.charge("mount", 1.0), clock.monotonic_s()))
        log.append((clock.charge("mount", 1.0), clock.monotonic_s()))

    worker(clock, driver)
    clock.call_later(0.5, lambda: log.append("tick"))
    clock.run()
    assert log == ["tick", (True, 1.0), (False, 1.0)]


def test_the_virtual_clock_needs_no_real_seconds_for_safety_times(clock):
    assert clock.at_least_real(1.0, 5.0) == 1.0
