"""What is published reaches whoever listens, in order and numbered; who loses some gets to know."""

from __future__ import annotations

import itertools
import time

import msgpack
import pytest
import zmq
from gateway_stage import Daemon, client, daemon, in_thread, take, until

from pyros.actors.gateway.sockets import EventLine
from pyros.actors.kernel import System
from pyros.client import MOST_UNREAD, Client, GatewayError
from pyros.clock import WallClock
from pyros.messages.devices import TelescopeState
from pyros.messages.night import NightEnded
from pyros.messages.people import Authenticate
from pyros.messages.system import DeadLetter, GetSnapshot


@pytest.fixture
def observatory():
    with daemon() as running:
        yield running


def test_ten_thousand_events_reach_a_reader_in_order_and_without_a_gap(observatory):
    with client(observatory.folder) as door:
        heard = door.listen()
        thread, _ = in_thread(lambda: observatory.publish(10_000))
        got = take(heard, 10_000)
        thread.join(10)
    assert [message.message.ra_deg for message in got] == [float(n % 360) for n in range(10_000)]
    assert {b.sequence - a.sequence for a, b in itertools.pairwise(got)} == {1}
    assert sum(message.lost for message in got) == 0
    assert {message.boot for message in got} == {7}


def test_an_event_tells_who_published_it_and_when(observatory):
    with client(observatory.folder) as door:
        heard = door.listen()
        observatory.publish(1)
        event = next(heard)
    assert (event.sender, type(event.message)) == ("telescope", TelescopeState)
    assert event.sent_at.endswith("Z")


def test_nothing_is_missed_after_listening_has_begun(observatory):
    """The first event after the call is heard, however soon it comes."""
    with client(observatory.folder) as door:
        for number in range(20):
            heard = door.events()
            observatory.publish(1, first=number)
            assert next(heard)[2].ra_deg == number
            heard.close()


def test_a_snapshot_taken_after_listening_has_begun_joins_on_without_a_gap(observatory):
    with client(observatory.folder) as door:
        heard = door.events()
        observatory.publish(3)
        snapshot = door.ask("gateway", GetSnapshot())
        observatory.publish(1, first=200)
        after = [event for event in take(heard, 5) if event[0] > snapshot.sequence]
    assert [sequence - snapshot.sequence for sequence, _, _ in after] == list(range(1, len(after) + 1))
    assert any(getattr(message, "ra_deg", None) == 200.0 for _, _, message in after)


def test_topics_leave_out_the_rest_and_are_no_gap(observatory):
    with client(observatory.folder) as door:
        heard = door.listen(["NightEnded"])
        observatory.publish(5)
        observatory.telescope.publish(NightEnded(night="2026-11-22"))
        event = next(heard)
    assert event.message == NightEnded(night="2026-11-22")
    assert event.lost == 0


def test_a_reader_that_sleeps_through_a_storm_loses_events_and_is_told_how_many(observatory):
    line, state = EventLine.of(observatory.system), TelescopeState(link="up")
    with client(observatory.folder) as door:
        heard = door.listen()
        before = line.sequence
        for _ in range(4 * MOST_UNREAD):
            observatory.system.events.retain("telescope", state, 0.0)
        until(lambda: not observatory.gateway._doors._events)
        got = take(heard, MOST_UNREAD * 3 // 4)
        observatory.telescope.publish(NightEnded(night="2026-11-22"))
        while not isinstance(got[-1].message, NightEnded):
            got.append(next(heard))
    lost = sum(event.lost for event in got)
    assert lost > 0
    assert lost + len(got) == got[-1].sequence - before == 4 * MOST_UNREAD + 1


def test_a_listener_that_never_reads_holds_nobody_up(observatory):
    stuck = zmq.Context.instance().socket(zmq.SUB)
    stuck.linger, stuck.rcvhwm = 0, 1
    stuck.setsockopt(zmq.SUBSCRIBE, b"")
    stuck.connect(f"ipc://{observatory.folder}/events")
    try:
        with client(observatory.folder) as door:
            heard = door.listen()
            in_thread(lambda: observatory.publish(5000))
            assert sum(event.lost for event in take(heard, 5000)) == 0
    finally:
        stuck.close()


def test_a_stranger_may_subscribe_to_one_topic_and_read_plain_msgpack(observatory):
    stranger = zmq.Context.instance().socket(zmq.SUB)
    stranger.linger = 0
    stranger.setsockopt(zmq.SUBSCRIBE, b"NightEnded")
    stranger.connect(f"ipc://{observatory.folder}/events")
    try:
        deadline = time.monotonic() + 5
        while not stranger.poll(50):
            assert time.monotonic() < deadline
            observatory.telescope.publish(NightEnded(night="2026-11-22"))
        topic, raw = stranger.recv_multipart()
    finally:
        stranger.close()
    version, sequence, boot, sent_at, sender, body = msgpack.unpackb(raw)
    assert (topic, version, boot, sender) == (b"NightEnded", 1, 7, "telescope")
    assert body == {"type": "NightEnded", "night": "2026-11-22"}
    assert sequence > 0
    assert sent_at.endswith("Z")


def test_what_no_wire_can_carry_is_counted_as_lost_and_becomes_a_dead_letter(observatory):
    with client(observatory.folder) as door:
        heard = door.listen()
        observatory.telescope.publish(NightEnded(night="\ud800"))
        letter = next(heard)
    assert isinstance(letter.message, DeadLetter)
    assert letter.lost == 1
    assert "NightEnded" in letter.message.reason


def test_a_password_that_is_checked_is_heard_by_nobody(observatory):
    with client(observatory.folder) as door:
        heard = door.listen()
        door.ask("telescope", Authenticate(name="ada", password="correct horse battery"))
        door.ask("nobody", Authenticate(name="ada", password="correct horse battery"))
        observatory.publish(1)
        told = take(heard, 3)
    assert "correct horse" not in repr(told)


def test_a_listener_hears_that_the_daemon_was_started_anew():
    with daemon() as first, client(first.folder) as door:
        heard = door.events()
        first.publish(1)
        next(heard)
        first.stop()
        second = Daemon(first.folder, boot=8)
        with pytest.raises(GatewayError, match="started anew"):
            next(heard)
        second.stop()


def test_a_listener_hears_that_the_daemon_has_gone(monkeypatch):
    monkeypatch.setattr("pyros.client.SILENCE_S", 1.5)
    with daemon() as running, client(running.folder) as door:
        heard = door.events()
        running.stop()
        with pytest.raises(GatewayError, match="no PyROS daemon answers"):
            next(heard)


def test_silence_of_the_observatory_is_not_the_silence_of_the_daemon(observatory, monkeypatch):
    monkeypatch.setattr("pyros.client.SILENCE_S", 2.0)
    with client(observatory.folder) as door:
        heard = door.events()
        thread, got = in_thread(lambda: next(heard))
        thread.join(3.0)
        assert thread.is_alive(), "heartbeats keep it waiting"
        observatory.publish(1)
        thread.join(5.0)
    assert got[0][1] == "telescope"


def test_closing_the_client_ends_its_listening_and_refuses_its_questions(observatory):
    door = Client(str(observatory.folder))
    heard = door.events()
    thread, got = in_thread(lambda: list(heard))
    door.close()
    thread.join(5.0)
    assert got == [[]]
    with pytest.raises(GatewayError, match="closed"):
        door.ask("telescope", GetSnapshot())


def test_events_are_numbered_also_while_no_gateway_is_there():
    system = System(WallClock())
    line = EventLine.of(system)
    system.bury(DeadLetter(to="x", message="x", reason="x"))
    heard = []
    assert line.flow_into(heard.append) == 1
    system.bury(DeadLetter(to="x", message="x", reason="x"))
    assert [numbered.sequence for numbered in heard] == [2]
    assert EventLine.of(system) is line
