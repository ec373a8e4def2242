"""The filter wheel: what it says over a socket, when it turns, and what breaks it."""

import socket
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import VirtualClock, WallClock
from simulators.serve import TcpServer
from simulators.wheel import IfwSession, SimulatedWheel
from simulators.world import World

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


class Talk:
    def __init__(self, clock):
        self.clock = clock
        self.world = World(clock, seed=3)
        self.wheel = SimulatedWheel(self.world)
        self.server = TcpServer(clock, self.world.faults, self.wheel.name, lambda link: IfwSession(self.wheel, link))
        host, _, port = self.server.start().rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=3)

    def ask(self, command):
        self.socket.sendall(command + b"\n\r")
        reply = b""
        while not reply.endswith(b"\n\r"):
            part = self.socket.recv(64)
            if not part:
                raise EOFError(reply)
            reply += part
        return reply[:-2].decode("latin-1")

    def ahead(self, seconds):
        self.clock.run(self.clock.now() + timedelta(seconds=seconds))

    def close(self):
        self.socket.close()
        self.server.stop()


@pytest.fixture
def talk():
    talk = Talk(VirtualClock(EVENING))
    yield talk
    talk.close()


def test_the_wheel_introduces_itself_as_an_ifw(talk):
    said = [talk.ask(command) for command in (b"WSMODE", b"WHOME", b"WIDENT", b"WFILTR", b"WREAD", b"WEXITS", b"WHAT")]
    assert said == ["!", "A", "A", "1", "g       r       i       z       CLEAR   ", "END", "ER=0"]


def test_the_wheel_takes_two_seconds_a_step_and_the_shorter_way(talk):
    assert talk.ask(b"WGOTO3") == "*"
    talk.ahead(3.9)
    assert talk.ask(b"WFILTR") == "1"
    talk.ahead(0.2)
    assert talk.ask(b"WFILTR") == "3"
    talk.ask(b"WGOTO1")
    talk.ahead(10)
    talk.ask(b"WGOTO5")
    talk.ahead(2.1)
    assert talk.ask(b"WFILTR") == "5"


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 6)), min_size=1, max_size=8))
def test_wherever_it_is_sent_the_wheel_is_at_its_last_goal_in_the_end(moves):
    clock = VirtualClock(EVENING)
    wheel = SimulatedWheel(World(clock))
    for goal, wait_s in moves:
        wheel.go_to(goal)
        clock.run(clock.now() + timedelta(seconds=wait_s))
    clock.run(clock.now() + timedelta(seconds=wheel.moving_s()))
    assert wheel.position() == moves[-1][0]


def test_a_position_that_does_not_exist_is_refused(talk):
    assert talk.ask(b"WGOTO6") == "ER=5"
    assert talk.ask(b"WGOTO0") == "ER=5"


def test_filters_can_be_renamed_but_not_with_too_long_a_text(talk):
    assert talk.ask(b"WLOADA*" + b"".join(name.ljust(8) for name in (b"B", b"V", b"R", b"I", b"OPEN"))) == "!"
    assert talk.ask(b"WREAD").split() == ["B", "V", "R", "I", "OPEN"]
    assert talk.ask(b"WLOADA*" + b"x" * 41) == "ER=0"


def test_a_wheel_that_jams_half_way_says_where_it_got_to_and_recovers(talk):
    talk.ask(b"WGOTO3")
    talk.ahead(2.5)
    talk.world.faults.start(talk.wheel.name, "stuck", 60)
    talk.ahead(10)
    assert talk.ask(b"WFILTR") == "2"
    assert talk.ask(b"WGOTO3") == "ER=4"
    talk.ahead(60)
    assert talk.ask(b"WGOTO3") == "*"
    talk.ahead(2.1)
    assert talk.ask(b"WFILTR") == "3"


def test_a_lying_wheel_says_it_moved_and_a_slow_one_takes_four_times_as_long(talk):
    talk.world.faults.start(talk.wheel.name, "lie")
    assert talk.ask(b"WGOTO2") == "*"
    talk.ahead(10)
    assert talk.ask(b"WFILTR") == "1"
    talk.world.faults.start(talk.wheel.name, "slow")
    talk.ask(b"WGOTO2")
    talk.ahead(7.9)
    assert talk.ask(b"WFILTR") == "1"
    talk.ahead(0.2)
    assert talk.ask(b"WFILTR") == "2"


def test_on_a_clock_that_runs_the_star_comes_after_the_motion_as_from_the_real_wheel():
    talk = Talk(WallClock(speed=100, start=EVENING))
    before = talk.clock.now()
    assert talk.ask(b"WGOTO3") == "*"
    assert talk.clock.now() - before >= timedelta(seconds=4)
    assert talk.ask(b"WFILTR") == "3"
    talk.close()


def test_a_wheel_with_a_number_of_positions_that_no_ifw_has_is_refused():
    with pytest.raises(ValueError, match="5, 6, 8 or 9 positions"):
        SimulatedWheel(World(VirtualClock(EVENING)), names=("a", "b"))
