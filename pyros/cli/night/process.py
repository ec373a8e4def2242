"""A simulated machine and the processes on it: what makes the daemon of a virtual night mortal.

The virtual clock is the world's. A machine's UTC may step away from it; a process sees time through a clock of its own
(`ProcessClock`), and when that ends nothing of the process ever happens again, as after `kill -9`: its threads are not
woken, its timers do not fire, and what it waited for is not delivered. Nothing is cleaned up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pyros.actors.kernel.lease import Lease
from pyros.clock import Clock, Timer, Turn, VirtualClock

HANG_UP_REAL_S = 0.5
"""How long the closing of a dead process's link is waited for: one that its own frozen thread holds stays open."""


class Machine:
    """The computer that the daemon runs on. `clock` is the true time, the simulated world's."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.offset_us = 0

    def step_utc(self, seconds: float) -> None:
        """Let the machine's UTC jump; what counts monotonically does not, nor does the world."""
        self.offset_us += round(seconds * 1e6)


class ProcessClock(Clock):
    """What one process sees of the virtual clock, until `end()`."""

    speed = float("inf")
    virtual = True

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.alive = True

    def end(self) -> None:
        """Let nothing of this process happen any more. Called while all its threads rest."""
        self.alive = False

    def micros(self) -> int:
        """See `Clock.micros`: the machine's UTC."""
        return self.machine.clock.micros() + self.machine.offset_us

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return self.machine.clock.monotonic_s()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """See `Clock.call_later`."""
        return self.machine.clock.call_later(delay_s, lambda: callback() if self.alive else None)

    def turn(self) -> Turn:
        """See `Clock.turn`."""
        return _ProcessTurn(self)

    def collect(self, future: Future[Any], deliver: Callable[[Future[Any]], None], modelled_s: float = 0.0) -> None:
        """See `Clock.collect`."""

        def deliver_if_alive(done: Future[Any]) -> None:
            if self.alive:
                deliver(done)

        self.machine.clock.collect(future, deliver_if_alive, modelled_s)

    def expect(self, channel: str) -> None:
        """See `Clock.expect`."""
        self.machine.clock.expect(channel)

    def arrive(self, channel: str, deliver: Callable[[], None]) -> None:
        """See `Clock.arrive`."""
        self.machine.clock.arrive(channel, lambda: deliver() if self.alive else None)

    def hush(self, channel: str) -> None:
        """See `Clock.hush`."""
        self.machine.clock.hush(channel)

    def charge(self, channel: str, timeout_s: float) -> bool:
        """See `Clock.charge`; the sleep is this process's own, so that it may die in it."""
        if not self.machine.clock.charge(channel, 0.0):
            return False
        self.sleep(timeout_s)
        return True


class _ProcessTurn(Turn):
    """A turn of the virtual clock that is not given to a process that has ended."""

    def __init__(self, process: ProcessClock) -> None:
        self._process = process
        self._turn = process.machine.clock.turn()

    def wake(self) -> None:
        if self._process.alive:
            self._turn.wake()

    def begin(self) -> None:
        self._turn.begin()

    def rest(self) -> None:
        self._turn.rest()

    def leave(self) -> None:
        self._turn.leave()


def start_thread(clock: ProcessClock, name: str, work: Callable[[], object]) -> None:
    """Do `work` in a thread of the process that takes turns, so that it may sleep on the clock."""
    turn = clock.turn()

    def body() -> None:
        turn.begin()
        try:
            work()
        finally:
            turn.leave()

    threading.Thread(target=body, name=name, daemon=True).start()
    turn.wake()


def hang_up(leases: list[Lease]) -> None:
    """Close the links of a process that has ended, as the operating system does."""
    for lease in leases:
        closing = threading.Thread(target=lease.revoke, name=f"end of {lease.holder}", daemon=True)
        closing.start()
        closing.join(HANG_UP_REAL_S)
