"""The interlock of a roll-off roof's own controller: its motor runs only while the park switch is made."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.clock import VirtualClock
from simulators.mount import SimulatedMount
from simulators.physics_dome import Latch, Status
from simulators.plc import SimulatedPlc
from simulators.world import World

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
OPEN, CLOSE, STOP, RESET = range(4)


class Roof:
    """A roll-off roof over a mount, and a master that feeds the dead-man or does not."""

    def __init__(self, *, needs_park=True):
        self.clock = VirtualClock(EVENING)
        self.world = World(self.clock, seed=3)
        self.mount = SimulatedMount(self.world)
        self.plc = SimulatedPlc(self.world)
        self.plc.needs_park = needs_park
        self.beats = 0

    def ahead(self, seconds, *, beating=True):
        for _ in range(round(seconds)):
            if beating:
                self.beats += 1
                self.plc.write_holding(0, [self.beats])
            self.clock.run(self.clock.now() + timedelta(seconds=1))

    @property
    def parked(self):
        return self.mount.parked(self.world.unix_s())

    @property
    def status(self):
        return Status(self.plc.status_word())

    def opened(self):
        self.ahead(1)
        self.plc.pulse(OPEN)
        self.ahead(61)
        assert Status.OPEN in self.status
        return self


@pytest.fixture
def roof():
    return Roof()


def test_the_status_word_shows_the_park_switch_of_a_roof_and_none_of_a_clamshell(roof):
    assert Status.PARKED in roof.status
    roof.mount.unpark()
    assert Status.PARKED not in roof.status
    assert Status.PARKED not in Roof(needs_park=False).status


def test_neither_opening_nor_closing_moves_the_motor_over_an_unparked_tube(roof):
    roof.ahead(1)
    roof.mount.unpark()
    roof.plc.pulse(OPEN)
    assert Status.OPENING not in roof.status
    roof.mount.park()
    roof.ahead(10)
    assert Status.OPENING not in roof.status, "a pulse is lost, not remembered"
    roof.opened()
    roof.mount.unpark()
    roof.plc.pulse(CLOSE)
    assert Status.CLOSING not in roof.status


def test_a_roof_on_its_way_stops_at_the_instant_at_which_the_switch_opens(roof):
    roof.opened()
    roof.plc.pulse(CLOSE)
    roof.ahead(30)
    roof.mount.unpark()
    assert roof.plc.last_cause() == "park switch"
    roof.ahead(20)
    assert roof.plc.open_fraction(roof.world.unix_s()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("reflex", ["dead-man", "rain"])
def test_the_reflexes_wait_for_the_switch_and_close_at_the_instant_at_which_it_makes(roof, reflex):
    roof.opened()
    roof.mount.unpark()
    roof.ahead(20)  # it tracks, away from its park position
    if reflex == "rain":
        roof.world.set_weather(rain=True)
    roof.ahead(40, beating=reflex == "rain")
    assert (Latch.DEADMAN if reflex == "dead-man" else Latch.RAIN) & roof.plc.latch_word()
    assert Status.CLOSING not in roof.status
    roof.mount.park()
    parks_s = roof.mount.parks_at_s(roof.world.unix_s())
    roof.ahead(80, beating=False)
    closing = next(move for move in roof.plc.moves() if move.direction < 0)
    assert closing.start_s == pytest.approx(parks_s, abs=1e-3)
    assert closing.cause == reflex
    assert Status.CLOSED in roof.status


STEPS = st.lists(
    st.sampled_from(
        ["open", "close", "stop", "reset", "park", "unpark", "rain", "dry", "stuck", "free", "key", "no key"]
    )
    | st.integers(1, 50),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_whatever_is_done_the_motor_never_runs_while_the_tube_is_out(steps):
    roof = Roof()
    pulses = {"open": OPEN, "close": CLOSE, "stop": STOP, "reset": RESET}
    acts = {
        **{name: lambda coil=coil: roof.plc.pulse(coil) for name, coil in pulses.items()},
        "park": roof.mount.park, "unpark": roof.mount.unpark,
        "rain": lambda: roof.world.set_weather(rain=True), "dry": lambda: roof.world.set_weather(rain=False),
        "stuck": lambda: roof.world.faults.start("telescope", "stuck", None),
        "free": lambda: roof.world.faults.start("telescope", "stuck", 0.1),
        "key": lambda: roof.world.set_switch("local_key", True),
        "no key": lambda: roof.world.set_switch("local_key", False),
    }  # fmt: skip
    for step in steps:
        if isinstance(step, int):
            roof.ahead(step, beating=step % 2 == 0)
        else:
            acts[step]()
        runs = roof.status & (Status.OPENING | Status.CLOSING)
        assert roof.parked or not runs
