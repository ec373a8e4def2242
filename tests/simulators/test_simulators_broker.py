"""The VTP broker: frames, answers, silence and a lost network, on loopback sockets."""

import socket
import struct
import threading
from datetime import UTC, datetime, timedelta

import pytest

from pyros.clock import VirtualClock
from simulators.vtp_broker import VtpBroker
from simulators.world import World

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
EVENT = b'<voe:VOEvent ivorn="ivo://org.svom/fsc#sb1" role="observation"/>'


class Subscriber:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=3)

    def frame(self):
        head = self.socket.recv(4, socket.MSG_WAITALL)
        return self.socket.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL) if head else b""

    def say(self, role, origin="ivo://x", extra=""):
        parts = f"<Origin>{origin}</Origin><Response>me</Response>{extra}"
        xml = f'<trn:Transport role="{role}">{parts}</trn:Transport>'.encode()
        self.socket.sendall(struct.pack(">I", len(xml)) + xml)


@pytest.fixture
def clock():
    return VirtualClock(EVENING)


@pytest.fixture
def broker(clock):
    broker = VtpBroker(World(clock))
    broker.start()
    yield broker
    broker.stop()


def pass_time(clock, broker, seconds):
    """Let time pass; what was expected of subscribers is taken as arrived (their readers are this test)."""
    end = clock.now() + timedelta(seconds=seconds)
    for _ in range(100):
        clock.arrive(broker.channel, lambda: None)
    clock.run(end)
    clock._arrived.clear()


def test_an_event_reaches_every_subscriber_and_the_clock_expects_each(clock, broker):
    subscribers = [Subscriber(broker.channel) for _ in range(3)]
    assert broker.send(EVENT) == 3
    assert list(clock._expected) == [broker.channel] * 3
    assert [one.frame() for one in subscribers] == [EVENT] * 3


def test_acks_and_naks_are_recorded_by_the_event_they_answer(broker):
    subscriber = Subscriber(broker.channel)
    broker.send(EVENT)
    subscriber.frame()
    subscriber.say("ack", "ivo://org.svom/fsc#sb1")
    assert broker.answered("ivo://org.svom/fsc#sb1") == "ack"
    subscriber.say("nak", "ivo://other#1", "<Meta><Result>too big</Result></Meta>")
    assert broker.answered("ivo://other#1") == "nak"
    assert [(answer.role, answer.reason) for answer in broker.answers] == [("ack", ""), ("nak", "too big")]
    assert broker.answered("ivo://never#1", real_s=0.01) is None


def test_a_subscriber_that_answers_stays_and_a_silent_one_is_dropped_after_two_minutes(clock, broker):
    alive, silent = Subscriber(broker.channel), Subscriber(broker.channel)
    pass_time(clock, broker, 61)
    assert b'role="iamalive"' in alive.frame()
    assert b'role="iamalive"' in silent.frame()
    alive.say("iamalive")
    pass_time(clock, broker, 60)
    assert broker.subscribers() == 1
    assert broker.dropped == 1
    assert silent.frame() == b""
    assert b"iamalive" in alive.frame()


def test_a_subscriber_that_left_is_not_waited_for(clock, broker):
    subscriber = Subscriber(broker.channel)
    assert broker.subscribers() == 1
    subscriber.socket.close()
    assert broker.send(EVENT) == 0
    assert not clock._expected


def test_a_frame_of_absurd_length_ends_the_link(broker):
    subscriber = Subscriber(broker.channel)
    subscriber.socket.sendall(b"\xff\xff\xff\xff")
    assert subscriber.frame() == b""


def test_time_stands_until_a_listeners_thread_has_handed_the_event_over(clock, broker):
    """AL-E7: the same night gives the same arrivals, though real sockets and threads stand between."""
    subscriber, heard = Subscriber(broker.channel), []

    def listen():
        while frame := subscriber.frame():
            clock.arrive(broker.channel, lambda frame=frame: heard.append((clock.now() - EVENING, frame)))

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    for minute in (1, 2, 3):
        clock.call_later(minute * 10.0, lambda minute=minute: broker.send(EVENT + bytes(minute)))
    clock.run(EVENING + timedelta(seconds=59))
    assert heard == [(timedelta(seconds=10 * minute), EVENT + bytes(minute)) for minute in (1, 2, 3)]
    broker.stop()
    reader.join(3)


def test_without_network_the_broker_hangs_up_and_refuses_until_it_is_back(clock, broker):
    subscriber = Subscriber(broker.channel)
    broker.world.set_switch("network", on=False)
    assert list(clock._expected) == [broker.channel]
    assert subscriber.frame() == b""
    with pytest.raises(ConnectionRefusedError):
        Subscriber(broker.channel)
    assert broker.send(EVENT) == 0
    broker.world.set_switch("network", on=True)
    again = Subscriber(broker.channel)
    assert broker.send(EVENT) == 1
    assert again.frame() == EVENT
