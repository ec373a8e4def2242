"""The one clock: wall, scaled and virtual.

Everything that waits, waits here, and everything that asks the time asks here; lint forbids the rest of the code to
read the machine's clock. The virtual clock is a discrete-event clock: actors take turns, one at a time, in the order
in which they were woken, and time jumps to the next timer when none of them has anything left to do. That makes a
whole night run in seconds and gives the same log for the same seed.

Four ways in which something other than an actor's turn may matter, and their rules:

- `call_later`: a timer. Its callback only puts a message (or changes the simulated world).
- `collect`: the result of work done outside (a frame transfer, an analysis in a process); delivered `modelled_s` after
  it was asked for on the virtual clock, when it is ready on the others.
- `expect` / `arrive`: something from a socket. Whoever causes it in the simulated world says `expect(channel)`; the
  listener's reader thread hands it over with `arrive(channel, deliver)`.
- `hush` / `charge`: a simulated device that does not answer says `hush(channel)` and hangs up; the driver then charges
  itself its whole timeout in virtual time instead of waiting for it in real time.
"""

from __future__ import annotations

import faulthandler
import math
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from pyros.timers import Timer, TimerQueue, checked_delay_s

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STALL_S = 60.0
"""Real seconds without progress after which the virtual clock gives up, unless it was told otherwise."""


class ClockStalledError(RuntimeError):
    """Something held the virtual clock for longer than its `stall_s` real seconds."""


class Turn:
    """How one thread sleeps until it is woken: a binary semaphore. `wake()` before `rest()` is not lost."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()

    def wake(self) -> None:
        """Let the owner's present or next `rest()` return. Wakes do not add up."""
        try:
            self._gate.release()
        except RuntimeError:  # already open: the wake is remembered once
            return

    def begin(self) -> None:
        """Block until woken for the first time; a new thread holds no turn that it could give up."""
        self._gate.acquire()

    def rest(self) -> None:
        """Give up the turn and block until woken."""
        self._gate.acquire()

    def leave(self) -> None:
        """Give up the turn for good: the owner's thread ends."""


class Clock(ABC):
    """What all clocks have in common. Instants are aware UTC datetimes; inside, integer microseconds since 1970."""

    speed: float = 1.0
    """Clock seconds per real second (`inf` on the virtual clock)."""
    virtual: bool = False

    @abstractmethod
    def micros(self) -> int:
        """Microseconds of UTC since 1970-01-01."""

    @abstractmethod
    def monotonic_s(self) -> float:
        """Seconds that never jump."""

    @abstractmethod
    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay_s` clock seconds from now, in the clock's thread; it must return at once."""

    def turn(self) -> Turn:
        """Return a new sleeper for one thread."""
        return Turn()

    def now(self) -> datetime:
        """Aware UTC datetime."""
        return EPOCH + timedelta(microseconds=self.micros())

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Timer:
        """Call `callback` at the instant `when`, or at once if that is past."""
        return self.call_later(max(0.0, (when - self.now()).total_seconds()), callback)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for clock seconds. For simulators' threads and for waits that block by intent."""
        turn = self.turn()
        self.call_later(seconds, turn.wake)
        turn.rest()

    def at_least_real(self, seconds: float, real_s: float) -> float:
        """Clock seconds, not fewer than `real_s` real seconds take: safety times and poll periods on a scaled clock."""
        return seconds if self.virtual else max(seconds, real_s * self.speed)

    def collect(self, future: Future[Any], deliver: Callable[[Future[Any]], None], modelled_s: float = 0.0) -> None:
        """Call `deliver(future)` once the work behind `future` is done."""
        del modelled_s
        future.add_done_callback(deliver)

    def expect(self, channel: str) -> None:
        """Announce that one `arrive(channel, …)` is on its way."""

    def arrive(self, channel: str, deliver: Callable[[], None]) -> None:
        """Hand over what a reader thread got from `channel`; `deliver` puts exactly one message."""
        del channel
        deliver()

    def hush(self, channel: str) -> None:
        """Note that the simulated far end of `channel` swallowed a request."""

    def charge(self, channel: str, timeout_s: float) -> bool:
        """Spend `timeout_s` if the far end of `channel` was hushed; tell whether it was."""
        del channel, timeout_s
        return False


class WallClock(Clock):
    """The machine's clock, or a scaled one: `speed` clock seconds pass in a real second, from `start` on.

    Parameters
    ----------
    speed
        Clock seconds in a real second.
    start
        What it shows when it is made, or at the real instant `since`, so that several processes show the same. The
        machine's UTC is read once; from then on the count is monotonic.
    """

    def __init__(self, speed: float = 1.0, start: datetime | None = None, since: datetime | None = None) -> None:
        if not 0 < speed <= 1000:
            raise ValueError(f"clock speed is {speed}; it must be above 0 and at most 1000")
        if since is not None:
            if start is None:
                raise ValueError(f"since is {since}, without a start; the clock shows `start` at the instant `since`")
            start += (datetime.now(UTC) - since) * speed
        self.speed = speed
        self._real_zero_s = time.monotonic()
        self._zero_us = None if start is None and speed == 1.0 else _to_micros(start or datetime.now(UTC))
        self._timers = TimerQueue()
        self._looks_at_us = 0.0
        """When the clock's thread looks again by itself; only an earlier timer has to wake it."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        threading.Thread(target=self._run_timers, name="clock", daemon=True).start()

    def micros(self) -> int:
        """See `Clock.micros`. At speed 1 without a start this is the machine's UTC, else a scaled monotonic count."""
        if self._zero_us is None:
            return time.time_ns() // 1000
        return self._zero_us + int(self.monotonic_s() * 1e6)

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return (time.monotonic() - self._real_zero_s) * self.speed

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """See `Clock.call_later`."""
        due_s = self.monotonic_s() + checked_delay_s(delay_s)
        timer = Timer(math.ceil(due_s * 1e6), callback)
        with self._lock:
            self._timers.push(timer)
            if timer.due_us < self._looks_at_us:
                self._looks_at_us = timer.due_us
                self._changed.notify()
        return timer

    def _run_timers(self) -> None:
        while True:
            with self._lock:
                while (wait_s := self._wait_s()) > 0.0:
                    self._changed.wait(wait_s)
                callback = self._timers.pop().callback
            if callback is not None:
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - one bad callback must not stop every timer
                    sys.excepthook(type(error), error, error.__traceback__)

    def _wait_s(self) -> float:
        """Real seconds until the next timer is due, at most an hour; the lock is held."""
        now_us = self.monotonic_s() * 1e6
        hour_us = now_us + 3600e6 * self.speed
        due_us = self._timers.next_due_us()
        self._looks_at_us = hour_us if due_us is None else min(due_us, hour_us)
        return (self._looks_at_us - now_us) / 1e6 / self.speed


class _VirtualTurn(Turn):
    """A turn that goes through the virtual clock's queue."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._queued = False
        self._left = False

    def wake(self) -> None:
        with self._clock.lock:
            if not self._queued and not self._left:
                self._queued = True
                self._clock.make_ready(self)

    def rest(self) -> None:
        with self._clock.lock:
            self._clock.give_up_turn()
        self._gate.acquire()

    def grant(self) -> None:
        """Let the owner run; the clock's lock is held."""
        self._queued = False
        self._gate.release()

    def leave(self) -> None:
        with self._clock.lock:
            self._left = True
            if self._queued:
                self._clock.forget(self)
            self._clock.give_up_turn()


class VirtualClock(Clock):
    """Discrete-event time. `run()` is the only thing that lets time pass; everything in between happens at an instant.

    Threads that take part hold the turn one at a time: a new thread waits for its first one with `begin()`. A thread
    without one (a test) puts messages only while `run()` is not running, or through `arrive` and `collect`, and never
    sleeps here. `stall_s` real seconds without progress, and it shows every thread's stack and gives up for good.
    """

    speed = float("inf")
    virtual = True

    def __init__(self, start: datetime, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self.lock = threading.Lock()
        self._zero_us = self._now_us = _to_micros(start)
        self._timers = TimerQueue()
        self._ready: deque[_VirtualTurn] = deque()
        self._all_idle = threading.Semaphore(0)
        self._expected: deque[str] = deque()
        self._arrived: dict[str, deque[Callable[[], None]]] = {}
        self._arrival = threading.Condition()
        self._hushed: Counter[str] = Counter()
        self._running = False
        self._stalled = ""

    def micros(self) -> int:
        """See `Clock.micros`."""
        return self._now_us

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return (self._now_us - self._zero_us) / 1e6

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """See `Clock.call_later`. Timers due at the same microsecond fire in the order in which they were set."""
        timer = Timer(self._now_us + round(checked_delay_s(delay_s) * 1e6), callback)
        with self.lock:
            self._timers.push(timer)
        return timer

    def turn(self) -> Turn:
        """See `Clock.turn`."""
        return _VirtualTurn(self)

    def collect(self, future: Future[Any], deliver: Callable[[Future[Any]], None], modelled_s: float = 0.0) -> None:
        """See `Clock.collect`: the delivery is a timer; should the work not be done by then, time waits for it."""

        def deliver_when_done() -> None:
            if not future.done() and not wait([future], timeout=self.stall_s).done:
                self._give_up(f"work asked for {modelled_s} s ago has not ended")
            deliver(future)

        self.call_later(modelled_s, deliver_when_done)

    def expect(self, channel: str) -> None:
        """See `Clock.expect`: time stands until it has arrived."""
        with self.lock:
            self._expected.append(channel)

    def arrive(self, channel: str, deliver: Callable[[], None]) -> None:
        """See `Clock.arrive`: `deliver` is called when every actor is idle, in the order of the expectations."""
        with self._arrival:
            self._arrived.setdefault(channel, deque()).append(deliver)
            self._arrival.notify_all()

    def hush(self, channel: str) -> None:
        """See `Clock.hush`."""
        with self.lock:
            self._hushed[channel] += 1

    def charge(self, channel: str, timeout_s: float) -> bool:
        """See `Clock.charge`: the caller gives up its turn, stays busy, and goes on `timeout_s` later."""
        with self.lock:
            if not self._hushed[channel]:
                return False
            self._hushed[channel] -= 1
        self.sleep(timeout_s)
        return True

    # -- used by turns, with the lock held ---------------------------------------------------------------------------

    def make_ready(self, turn: _VirtualTurn) -> None:
        """Queue a turn that was woken."""
        self._ready.append(turn)

    def forget(self, turn: _VirtualTurn) -> None:
        """Take a turn whose thread ends out of the queue."""
        self._ready.remove(turn)

    def give_up_turn(self) -> None:
        """Pass the turn on to the next in the queue, or back to `run()`."""
        if self._ready:
            self._ready.popleft().grant()
        else:
            self._all_idle.release()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, until: datetime | None = None, *, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until`, until `done()` holds with everyone idle, or until nothing is left to happen.

        Raises `ClockStalledError` if a thread keeps its turn, or an arrival stays away, for `stall_s` real seconds.
        """
        if self._running:
            raise RuntimeError("the virtual clock is running already")
        if self._stalled:
            raise ClockStalledError(self._stalled)
        self._running = True
        try:
            self._run(0 if until is None else _to_micros(until), done)
        finally:
            self._running = False

    def _run(self, limit_us: int, done: Callable[[], bool]) -> None:
        while True:
            self._let_actors_run()
            if self._take_arrival():
                continue
            if done():
                return
            timer = self._next_timer(limit_us)
            if timer is None:
                self._now_us = max(self._now_us, limit_us)
                return
            if timer.callback is not None:
                timer.callback()

    def _let_actors_run(self) -> None:
        with self.lock:
            if not self._ready:
                return
            self._ready.popleft().grant()
        if not self._all_idle.acquire(timeout=self.stall_s):
            self._give_up("a thread has kept its turn")

    def _take_arrival(self) -> bool:
        if not self._expected:
            return False
        channel = self._expected.popleft()  # only the running clock takes from it, and a deque is thread-safe
        with self._arrival:
            if not self._arrival.wait_for(lambda: bool(self._arrived.get(channel)), self.stall_s):
                self._give_up(f"nothing has arrived from {channel}")
            deliver = self._arrived[channel].popleft()
        deliver()
        return True

    def _give_up(self, what: str) -> NoReturn:
        self._stalled = f"{what} for {self.stall_s:g} real seconds at {self.now()}"
        faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
        raise ClockStalledError(self._stalled)

    def _next_timer(self, limit_us: int) -> Timer | None:
        with self.lock:
            due_us = self._timers.next_due_us()
            if due_us is None or 0 < limit_us < due_us:
                return None
            self._now_us = max(self._now_us, due_us)
            return self._timers.pop()


def _to_micros(when: datetime) -> int:
    if when.tzinfo is None:
        raise ValueError(f"instant {when} has no time zone; instants are aware UTC datetimes")
    return (when - EPOCH) // timedelta(microseconds=1)
