"""A dome on a hill without anybody, for the tests of those who judge it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyros.clock import VirtualClock
from simulators.mount import SimulatedMount
from simulators.observer import Observer
from simulators.plc import SimulatedPlc
from simulators.world import World

NIGHT = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


class Hill:
    """A dome on a hill without anybody: it is opened by hand of the test, and beats as long as wanted."""

    def __init__(self, at=NIGHT):
        self.clock = VirtualClock(at)
        self.world = World(self.clock, seed=1, night_start=at)
        self.world.set_weather(rain=False, wind_m_s=3.0, gust_m_s=4.0, humidity_percent=30.0)
        self.mount = SimulatedMount(self.world)
        self.world.mount = self.mount
        self.plc = SimulatedPlc(self.world)
        self.observer = Observer(self.world, self.mount, self.plc)
        self.beats = True
        self._beat(1)
        self.observer.start()
        self.plc.pulse(0)
        self.run(70)
        assert self.plc.open_fraction(self.world.unix_s()) == 1.0

    def _beat(self, count):
        if self.beats:
            self.plc.write_holding(0, [count % 65536])
        self.clock.call_later(1.0, lambda: self._beat(count + 1))

    def run(self, seconds):
        self.clock.run(until=self.clock.now() + timedelta(seconds=seconds))

    def rules(self):
        return [one.rule for one in self.observer.violations]
