import threading
from datetime import UTC, datetime

import pytest
from hardware_peers import HANG_UP, SILENCE, PtyPeer, TcpPeer

from pyros.clock import VirtualClock, WallClock
from pyros.hardware.errors import Braked, GarbledReply, LinkClosed, LinkTimeout, NotConnected
from pyros.hardware.link import Link
from pyros.hardware.ports import SerialPort, TcpPort

CLOCK = WallClock()


def tcp_link(peer, clock=CLOCK, **more):
    link = Link(TcpPort("127.0.0.1", peer.port), clock, "mount", **more)
    link.connect()
    return link


def pty_link(peer):
    link = Link(SerialPort(peer.path, 9600), CLOCK, "mount")
    link.connect()
    return link


@pytest.mark.parametrize(("peer_type", "connect"), [(TcpPeer, tcp_link), (PtyPeer, pty_link)])
def test_a_mount_mute_for_one_request_is_in_step_again_at_the_next(peer_type, connect):
    late = []
    replies = {b":A#": SILENCE, b":B#": b"b#"}
    with peer_type(lambda request: late.append(request) or replies[request]) as peer:
        link = connect(peer)
        with pytest.raises(LinkTimeout, match=r":A#: no reply within 0.2 s: expected a reply ending in #; nothing"):
            link.transact(b":A#", reply=b"#", timeout_s=0.2)
        assert link.transact(b":B#", reply=b"#") == b"b#"
        link.disconnect()


@pytest.mark.parametrize(("peer_type", "connect"), [(TcpPeer, tcp_link), (PtyPeer, pty_link)])
def test_a_half_reply_is_not_completed_by_the_next_one(peer_type, connect):
    replies = {b":A#": b"12:3", b":B#": b"right#"}
    with peer_type(replies.get) as peer:
        link = connect(peer)
        with pytest.raises(LinkTimeout, match=r"only 12:3 came"):
            link.transact(b":A#", reply=b"#", timeout_s=0.2)
        assert link.transact(b":B#", reply=b"#") == b"right#"
        link.disconnect()


def test_a_reply_longer_than_the_protocol_allows_is_noise_and_not_read_on():
    replies = {b":A#": b"x" * 9000, b":B#": b"right#"}
    with TcpPeer(replies.get) as peer:
        link = tcp_link(peer)
        with pytest.raises(GarbledReply, match=r"expected a reply ending in #"):
            link.transact(b":A#", reply=b"#")
        assert link.transact(b":B#", reply=b"#") == b"right#"


def test_two_replies_to_one_request_put_the_link_out_of_step_and_it_starts_afresh():
    replies = {b":A#": b"one#two#", b":B#": b"right#"}
    with TcpPeer(replies.get) as peer:
        link = tcp_link(peer)
        with pytest.raises(GarbledReply, match="and no more"):
            link.transact(b":A#", reply=b"#")
        assert link.transact(b":B#", reply=b"#") == b"right#"
        assert peer.connections == 2
        assert link.generation == 2


def test_a_far_end_that_hangs_up_is_found_again_by_the_next_command():
    answers = iter([HANG_UP, b"back#"])
    with TcpPeer(lambda _: next(answers)) as peer:
        link = tcp_link(peer)
        with pytest.raises(LinkClosed, match="hung up"):
            link.transact(b":A#", reply=b"#")
        assert not link.connected
        assert link.transact(b":A#", reply=b"#") == b"back#"


def test_nobody_listening_is_one_clear_line():
    with TcpPeer(lambda _: b"") as peer:
        port = peer.port
    with pytest.raises(LinkClosed, match=rf"^mount 127.0.0.1:{port}: connect: the link is closed: .*refused"):
        Link(TcpPort("127.0.0.1", port), CLOCK, "mount").connect()
    with pytest.raises(LinkClosed, match="/dev/nonesuch: connect: the link is closed"):
        Link(SerialPort("/dev/nonesuch", 9600), CLOCK, "mount").connect()


def test_nothing_is_sent_before_connect_or_after_disconnect():
    with TcpPeer(lambda _: b"x#") as peer:
        link = Link(TcpPort("127.0.0.1", peer.port), CLOCK, "mount")
        with pytest.raises(NotConnected, match="call connect"):
            link.transact(b":A#", reply=b"#")
        link.connect()
        link.disconnect()
        with pytest.raises(NotConnected):
            link.transact(b":A#", reply=b"#")
        assert peer.requests == []


def in_thread(action):
    raised = []

    def run():
        try:
            action()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, raised


@pytest.mark.parametrize(("peer_type", "connect"), [(TcpPeer, tcp_link), (PtyPeer, pty_link)])
def test_the_brake_goes_out_while_a_read_is_stuck(peer_type, connect):
    with peer_type(lambda _: SILENCE) as peer:
        link = connect(peer)
        stuck, raised = in_thread(lambda: link.transact(b":A#", reply=b"#", timeout_s=1.0))
        peer.wait_for(b":A#")
        link.brake(b":Q#")
        peer.wait_for(b":Q#")
        assert stuck.is_alive()
        stuck.join(5)
        assert isinstance(raised[0], LinkTimeout)
        link.disconnect()


@pytest.mark.parametrize(("peer_type", "connect"), [(TcpPeer, tcp_link), (PtyPeer, pty_link)])
def test_closing_the_link_of_a_replaced_actor_wakes_its_stuck_read(peer_type, connect):
    with peer_type(lambda _: SILENCE) as peer:
        link = connect(peer)
        stuck, raised = in_thread(lambda: link.transact(b":A#", reply=b"#", timeout_s=60.0))
        peer.wait_for(b":A#")
        link.disconnect()
        stuck.join(5)
        assert not stuck.is_alive()
        assert isinstance(raised[0], LinkClosed)


def test_the_brake_of_a_lost_link_takes_a_connection_of_its_own():
    with TcpPeer(lambda _: SILENCE) as peer:
        link = Link(TcpPort("127.0.0.1", peer.port), CLOCK, "mount")
        link.brake(b":Q#")
        peer.wait_for(b":Q#")
    with pytest.raises(LinkClosed, match="brake could not be written"):
        link.brake(b":Q#")


def test_a_command_that_was_being_prepared_when_the_brake_was_pulled_is_not_sent():
    with TcpPeer(lambda _: SILENCE) as peer:
        link = tcp_link(peer)
        brakes = link.brakes
        link.brake(b":Q#")
        with pytest.raises(Braked):
            link.transact(b":MS#", reply="none", unless_braked_since=brakes)
        peer.wait_for(b":Q#")
        assert b":MS#" not in peer.requests


def test_every_transaction_is_in_the_journal_also_the_failed_ones():
    seen = []
    replies = {b":A#": b"a#", b":B#": HANG_UP}
    with TcpPeer(replies.get) as peer:
        link = tcp_link(peer, journal=lambda *entry: seen.append(entry))
        link.transact(b":A#", reply=b"#")
        with pytest.raises(LinkClosed):
            link.transact(b":B#", reply=b"#")
        link.brake(b":Q#")
    assert seen == [("mount", b":A#", b"a#"), ("mount", b":B#", b""), ("mount", b":Q#", b"")]


def test_a_mute_mount_costs_its_timeout_in_simulated_time_and_no_more():
    clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
    happened = []
    with TcpPeer(lambda _: clock.hush(peer.url) or HANG_UP) as peer:
        link = tcp_link(peer, clock)
        turn = clock.turn()

        def actor():
            turn.begin()
            try:
                link.transact(b":A#", reply=b"#", timeout_s=0.7)
            except LinkTimeout as error:
                happened.append((str(error), clock.monotonic_s()))
            turn.leave()

        thread = threading.Thread(target=actor, daemon=True)
        thread.start()
        turn.wake()
        clock.run(datetime(2026, 11, 22, 1, tzinfo=UTC))
        thread.join(5)
        assert happened == [(f"mount {peer.url}: :A#: no reply within 0.7 s", 0.7)]


def test_a_mount_that_hangs_up_by_itself_costs_no_simulated_time():
    clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
    with TcpPeer(lambda _: HANG_UP) as peer:
        link = tcp_link(peer, clock)
        with pytest.raises(LinkClosed):
            link.transact(b":A#", reply=b"#")
    assert clock.monotonic_s() == 0
