"""What the tests of the flight recorder share: records, a header, a kernel that only listens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from pyros.actors.kernel import Delivery, System
from pyros.clock import EPOCH, VirtualClock
from pyros.flight import Header, Publication, flight_recorder, read_recording
from pyros.messages.devices import Beat, DomeMoved, PlcState
from pyros.messages.night import SafetyVerdict
from pyros.messages.system import FlightRecorded, LibrarianState

patient = settings(deadline=None)
"""A shared machine may be slow; no test is about that."""
START = datetime(2026, 11, 22, 3, tzinfo=UTC)
START_US = (START - EPOCH) // timedelta(microseconds=1)
HEADER = Header(at=START, boot=7, site="somewhere", versions={"pyros": "1"}, settings={"mode": "simulation"})
CLOSING = DomeMoved(before="open", after="closing", cause="rain contact")
OPEN = DomeMoved(before="opening", after="open", cause="night")


def beat(number, at_s=0.0):
    """A delivery that can be told from others."""
    message = Beat(verdict_at=START, count=number)
    return Delivery(START_US + round(at_s * 1e6), "majordome", "plc", f"7-{number}", "7-0", message)


def shown(number, at_s=0.0, actor="librarian"):
    return Publication(START_US + round(at_s * 1e6), actor, LibrarianState(queries=number))


def verdict(level, at_s=0.0):
    return Publication(START_US + round(at_s * 1e6), "monitor", SafetyVerdict(level=level, reasons=[], at=START))


steps = st.lists(
    st.tuples(
        st.floats(0, 400),
        st.one_of(
            st.just(("delivery", "")),
            st.tuples(st.just("state"), st.sampled_from(["plc", "monitor", "telescope"])),
        ),
    ),
    max_size=60,
)
"""A history: seconds since the record before, and whose state or whose delivery it is."""


def history(steps):
    """Return a history's records, each with a number of its own."""
    records, at_s = [], 0.0
    for number, (gap_s, (kind, actor)) in enumerate(steps):
        at_s += gap_s
        records.append(beat(number, at_s) if kind == "delivery" else shown(number, at_s, actor))
    return records


def last_states(records):
    return {(one.sender, type(one.message)): one for one in records if isinstance(one, Publication)}


class Listening:
    """A post office with nobody in it, and a recorder on the virtual clock."""

    def __init__(self, folder):
        self.clock = VirtualClock(START)
        self.system = System(self.clock)
        self.folder = folder / "flight"
        self.recorder = flight_recorder(self.clock, self.folder, HEADER)
        self.announced = []
        self.system.events.tap(self.recorder.hear)
        self.system.events.tap(lambda _, event: isinstance(event, FlightRecorded) and self.announced.append(event))
        self.recorder.attach(self.system)

    def say(self, *messages, sender="plc"):
        for message in messages:
            self.system.events.retain(sender, message, self.clock.monotonic_s())

    def run(self, seconds):
        self.clock.run(self.clock.now() + timedelta(seconds=seconds))

    @property
    def files(self):
        return files_in(self.folder)

    def recordings(self):
        return [read_recording(file) for file in self.files]


def files_in(folder):
    return sorted(folder.glob("*.msgpack"))


def plc(dome):
    return PlcState(link="up", dome=dome, read_at=START)
