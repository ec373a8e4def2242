import socket
from datetime import UTC, datetime

import pytest
from hardware_peers import PtyPeer, Revocable, TcpPeer

from pyros.clock import VirtualClock, WallClock
from pyros.hardware.errors import DeviceFault, GarbledReply, LeaseRevoked, LinkClosed, LinkTimeout, RefusedByDevice
from pyros.hardware.urls import open_device

CLOCK = WallClock()
FRAME = rb"[A-Z0-9]+\n\r"
NAMES = "LUM     RED     GREEN   BLUE    H-ALPHA "


class FakeWheel:
    """An IFW that answers a move when the test says so, as a real one does when it has arrived."""

    def __init__(self):
        self.position = 1
        self.replies = {"WSMODE": "!", "WIDENT": "A", "WREAD": NAMES, "WEXITS": "END"}

    def __call__(self, request):
        text = request.decode().strip()
        if text in self.replies:
            reply = self.replies[text]
            return reply and (reply + "\n\r").encode()
        return f"{self.position}\n\r".encode() if text == "WFILTR" else None


def wheel_at(peer, lease=None, clock=CLOCK):
    url = f"ifw+tcp://{peer.url}" if isinstance(peer, TcpPeer) else f"ifw+serial://{peer.path}?baud=19200"
    wheel = open_device(url, clock, lease or Revocable(), device="filter_wheel:vis")
    wheel.connect()
    return wheel


def arrive(peer, reply=b"*\n\r"):
    peer.lines[-1].sendall(reply)


def settle(wheel):
    for _ in range(100_000):
        if not wheel.moving:
            return
    raise AssertionError("the wheel never arrived")


@pytest.mark.parametrize("peer_type", [TcpPeer, PtyPeer])
def test_the_wheel_knows_its_filters_and_where_it_stands(peer_type):
    with peer_type(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer)
        assert wheel.names == ("LUM", "RED", "GREEN", "BLUE", "H-ALPHA")
        assert (wheel.identity, wheel.position, wheel.state().moving) == ("A", 1, False)
        wheel.disconnect()


def test_a_move_starts_at_once_and_is_over_when_the_wheel_says_so():
    fake = FakeWheel()
    with TcpPeer(fake, FRAME) as peer:
        wheel = wheel_at(peer)
        wheel.set_position(3)
        peer.wait_for(b"WGOTO3\n\r")
        assert wheel.moving
        assert wheel.position is None
        with pytest.raises(RefusedByDevice, match="WGOTO4: the wheel is moving"):
            wheel.set_position(4)
        assert b"WFILTR\n\r" not in peer.requests
        fake.position = 3
        arrive(peer)
        settle(wheel)
        assert wheel.state().position == 3


def test_an_answer_to_a_move_that_comes_in_two_parts_is_one_answer():
    fake = FakeWheel()
    with TcpPeer(fake, FRAME) as peer:
        wheel = wheel_at(peer)
        wheel.set_position(2)
        fake.position = 2
        arrive(peer, b"*")
        arrive(peer, b"\n\r")
        settle(wheel)
        assert wheel.position == 2


@pytest.mark.parametrize(
    ("code", "error"), [(4, DeviceFault), (6, DeviceFault), (5, RefusedByDevice), (9, DeviceFault)]
)
def test_a_wheel_that_sticks_or_slips_says_which(code, error):
    with TcpPeer(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer)
        wheel.set_position(2)
        arrive(peer, f"ER={code}\n\r".encode())
        with pytest.raises(error, match=rf"WGOTO2: ER={code}: "):
            settle(wheel)
        assert wheel.position == 1


def test_noise_at_the_end_of_a_move_is_no_arrival():
    with TcpPeer(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer)
        wheel.set_position(2)
        arrive(peer, b"\xff\n\r")
        with pytest.raises(GarbledReply, match=r"expected \* or ER=n"):
            settle(wheel)
        assert wheel.position == 1


def test_a_wheel_that_says_it_turned_but_did_not_is_given_up_after_ten_seconds():
    clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
    fake = FakeWheel()
    fake.replies["WGOTO2"] = "*"
    with TcpPeer(fake, FRAME) as peer:
        wheel = wheel_at(peer, clock=clock)
        wheel.set_position(2)
        clock.run(datetime(2026, 11, 22, 0, 0, 10, tzinfo=UTC))
        assert wheel.moving
        clock.run(datetime(2026, 11, 22, 0, 0, 11, tzinfo=UTC))
        with pytest.raises(DeviceFault, match=r"WGOTO2: the wheel stands at 1, not at 2 within 10 s"):
            _ = wheel.moving
        assert wheel.position == 1


def test_a_wheel_that_never_answers_a_move_is_given_up_after_ten_seconds():
    clock = WallClock(speed=1000)
    with TcpPeer(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer, clock=clock)
        wheel.set_position(2)
        with pytest.raises(DeviceFault, match=r"WGOTO2: the wheel has not answered within 10 s"):
            settle(wheel)
        assert wheel.position == 1


def test_a_link_lost_in_a_move_is_reported_once_and_then_the_wheel_is_asked_where_it_is():
    fake = FakeWheel()
    with TcpPeer(fake, FRAME) as peer:
        wheel = wheel_at(peer)
        wheel.set_position(2)
        peer.wait_for(b"WGOTO2\n\r")
        peer.lines[-1].shutdown(socket.SHUT_RDWR)
        with pytest.raises(LinkClosed):
            settle(wheel)
        fake.position = 2
        assert wheel.position == 2


@pytest.mark.parametrize("position", [0, 6, -1])
def test_a_position_the_wheel_does_not_have_never_reaches_it(position):
    with TcpPeer(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer)
        with pytest.raises(ValueError, match="must be from 1 to 5"):
            wheel.set_position(position)
        assert not any(b"GOTO" in request for request in peer.requests)


@pytest.mark.parametrize(("command", "reply"), [("WSMODE", "?"), ("WREAD", "LUM"), ("WIDENT", "ER=3")])
def test_something_else_than_a_wheel_is_found_out_at_connect(command, reply):
    fake = FakeWheel()
    fake.replies[command] = reply
    with TcpPeer(fake, FRAME) as peer, pytest.raises((GarbledReply, DeviceFault), match=command):
        wheel_at(peer)


def test_a_wheel_without_an_answer_times_out_and_is_asked_again_from_the_start():
    fake = FakeWheel()
    with TcpPeer(fake, FRAME) as peer:
        wheel = wheel_at(peer)
        fake.replies["WFILTR"] = ""
        with pytest.raises(LinkTimeout):
            _ = wheel.position
        del fake.replies["WFILTR"]
        assert wheel.position == 1
        assert peer.requests.count(b"WSMODE\n\r") == 2


def test_a_replaced_actor_cannot_turn_the_wheel():
    lease = Revocable()
    with TcpPeer(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer, lease)
        lease.revoked = True
        for write in (lambda: wheel.set_position(2), wheel.home, lambda: wheel.position):
            with pytest.raises(LeaseRevoked):
                write()
        assert not any(b"GOTO" in request or b"HOME" in request for request in peer.requests)


def test_homing_is_a_move_that_may_take_longer():
    with TcpPeer(FakeWheel(), FRAME) as peer:
        wheel = wheel_at(peer)
        wheel.home()
        assert wheel.moving
        arrive(peer, b"A\n\r")
        settle(wheel)
