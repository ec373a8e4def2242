"""A broker of the VOEvent Transport Protocol (IVOA note 2017-03-20) for the simulated world.

Frames are a 4-byte big-endian length and XML. The broker sends events and an `iamalive` each minute, records what
subscribers answer, and drops one that left the last `iamalive` unanswered. While the network is down it has hung up on
all and refuses new links. Its reading threads only record.

Who sends an event is an author (such as `pyros alert send`): the event goes to all subscribers, and the author gets an
ack, or a nak when it has no name or nobody is there to take it.

Before anything that a subscriber's reader will see it says so to the clock (`expect`), once for each subscriber and
frame or hang-up; the subscribers' channel is this server's "host:port".
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from pyros.clock import Timer
from simulators.world import World

IAMALIVE_S = 60.0
MAX_FRAME_BYTES = 1_000_000
REAL_PATIENCE_S = 2.0
"""How long, in real seconds, an answer that must come may take over the loopback."""
_ROLE = re.compile(rb'role\s*=\s*["\'](\w+)["\']')
_ORIGIN = re.compile(rb"<Origin>\s*([^<]*?)\s*</Origin>")
_RESULT = re.compile(rb"<Result>\s*([^<]*?)\s*</Result>")
_EVENT = re.compile(rb"<(?:[\w.-]+:)?VOEvent\b[^>]*>")
_IVORN = re.compile(rb'\bivorn\s*=\s*["\']([^"\'<]+)["\']')
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


@dataclass(frozen=True)
class Answer:
    """What a subscriber answered: `role` is ack or nak; `ivorn` that of the event."""

    t: datetime
    ivorn: str
    role: str
    reason: str = ""


class _Subscriber:
    """One link. `alive_owed` counts iamalives sent and not yet answered."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.alive_owed = 0

    def gone(self) -> bool:
        """Whether the far end has hung up, so that nothing sent will be read."""
        try:
            poll = select.poll()
            poll.register(self.connection, _PEER_CLOSED)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def send(self, payload: bytes) -> bool:
        try:
            self.connection.sendall(struct.pack(">I", len(payload)) + payload)
        except OSError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class VtpBroker:
    """The broker; `start()` to listen, `send(xml)` to publish, `answers` and `answered(ivorn)` to judge."""

    def __init__(self, world: World, ivorn: str = "ivo://org.pyros/simulated-broker") -> None:
        self.world = world
        self.clock = world.clock
        self.ivorn = ivorn
        self.channel = ""
        self.answers: list[Answer] = []
        self.dropped = 0
        self._subscribers: list[_Subscriber] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._recorded = threading.Condition(self._lock)
        self._listener: socket.socket | None = None
        self._timer: Timer | None = None
        self._stopped = False
        world.listen("network", self._network_changed)

    def start(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> str:
        """Listen and return "host:port"."""
        self._listen(address)
        self._timer = self.clock.call_later(IAMALIVE_S, self._keep_alive)
        return self.channel

    def stop(self) -> None:
        """Hang up on everyone and end all threads; nobody is warned, as in a power cut."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._close_listener()
        with self._lock:
            subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            subscriber.close()
        for thread in self._threads:
            thread.join(timeout=REAL_PATIENCE_S)

    def subscribers(self) -> int:
        """Return how many are connected."""
        return len(self._present())

    def send(self, xml: bytes) -> int:
        """Send an event to every subscriber; return to how many. While the network is down, to none."""
        return sum(self._send_to(subscriber, xml) for subscriber in self._present())

    def answered(self, ivorn: str, real_s: float = REAL_PATIENCE_S) -> str | None:
        """Return "ack" or "nak" of an event, waiting up to `real_s` real seconds; None if none came."""
        with self._recorded:
            self._recorded.wait_for(lambda: self._verdict(ivorn) is not None, real_s)
            return self._verdict(ivorn)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _verdict(self, ivorn: str) -> str | None:
        return next((answer.role for answer in self.answers if answer.ivorn == ivorn), None)

    def _listen(self, address: tuple[str, int]) -> None:
        listener = socket.create_server(address)
        host, port = listener.getsockname()[:2]
        self.channel = f"{host}:{port}"
        self._listener = listener
        self._start_thread(lambda: self._watch(listener), "listener")

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _start_thread(self, target: Callable[[], None], what: str) -> None:
        thread = threading.Thread(target=target, name=f"simulated VTP {what}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self, listener: socket.socket) -> None:
        """Welcome subscribers as they come."""
        while True:
            try:
                if not select.select([listener], [], [])[0]:
                    continue
            except (OSError, ValueError):
                return
            if not self._welcome(listener):
                return

    def _welcome(self, listener: socket.socket) -> bool:
        """Take every link that waits; False once the listener is closed."""
        with self._lock:
            try:
                while select.select([listener], [], [], 0)[0]:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    subscriber = _Subscriber(connection)
                    self._subscribers.append(subscriber)
                    self._start_thread(lambda subscriber=subscriber: self._read(subscriber), "reader")
            except (OSError, ValueError):
                return False
        return True

    def _present(self) -> list[_Subscriber]:
        """Return the subscribers as of this instant: those who just came included, those who left not."""
        with self._lock:
            if self._listener is not None:
                self._welcome(self._listener)
            for subscriber in [subscriber for subscriber in self._subscribers if subscriber.gone()]:
                self._subscribers.remove(subscriber)
                subscriber.close()
            return list(self._subscribers)

    def _send_to(self, subscriber: _Subscriber, payload: bytes) -> bool:
        self.clock.expect(self.channel)
        return subscriber.send(payload)

    def _read(self, subscriber: _Subscriber) -> None:
        try:
            while True:
                head = _receive(subscriber.connection, 4)
                length = struct.unpack(">I", head)[0]
                if not 0 < length <= MAX_FRAME_BYTES:
                    break
                self._record(subscriber, _receive(subscriber.connection, length))
        except (OSError, EOFError):
            pass
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
        subscriber.close()

    def _record(self, subscriber: _Subscriber, frame: bytes) -> None:
        event = _EVENT.search(frame)
        if event is not None:
            self._take_from_author(subscriber, frame, _text(_IVORN, event[0]))
            return
        found = _ROLE.search(frame)
        role = found[1].decode() if found else ""
        with self._recorded:
            if role == "iamalive":
                subscriber.alive_owed = 0
            elif role in {"ack", "nak"}:
                self.answers.append(Answer(self.clock.now(), _text(_ORIGIN, frame), role, _text(_RESULT, frame)))
            self._recorded.notify_all()

    def _take_from_author(self, author: _Subscriber, event: bytes, ivorn: str) -> None:
        with self._lock:
            if author in self._subscribers:
                self._subscribers.remove(author)
        reason = "" if ivorn else "the event has no ivorn"
        if ivorn and not self.send(event):
            reason = "no subscriber is connected"
        author.send(self._transport("nak" if reason else "ack", ivorn, reason))

    def _keep_alive(self) -> None:
        """Drop who left the last iamalive unanswered, send the next one to the others."""
        for subscriber in self._present():
            with self._recorded:
                patience_s = REAL_PATIENCE_S if self.clock.virtual else 0.0
                answered = self._recorded.wait_for(lambda s=subscriber: s.alive_owed == 0, patience_s)
            if answered:
                subscriber.alive_owed += 1
                self._send_to(subscriber, self._iamalive())
            else:
                self.dropped += 1
                self._hang_up(subscriber)
        if not self._stopped:
            self._timer = self.clock.call_later(IAMALIVE_S, self._keep_alive)

    def _iamalive(self) -> bytes:
        return self._transport("iamalive", escape(self.ivorn))

    def _transport(self, role: str, origin: str, result: str = "") -> bytes:
        """Return a Transport message; `origin` is XML already, as it stood in the event."""
        meta = f"<Meta><Result>{escape(result)}</Result></Meta>" if result else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<trn:Transport xmlns:trn="http://www.telescope-networks.org/xml/Transport/v1.1" version="1.0" '
            f'role="{role}"><Origin>{origin}</Origin>'
            f"<TimeStamp>{self.clock.now():%Y-%m-%dT%H:%M:%SZ}</TimeStamp>{meta}</trn:Transport>"
        ).encode()

    def _hang_up(self, subscriber: _Subscriber) -> None:
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
        self.clock.expect(self.channel)
        subscriber.close()

    def _network_changed(self) -> None:
        up = self.world.network.at(self.world.unix_s())
        if up and self._listener is None and self.channel:
            host, _, port = self.channel.rpartition(":")
            self._listen((host, int(port)))
        elif not up:
            present = self._present()
            self._close_listener()
            for subscriber in present:
                self._hang_up(subscriber)


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        if not part:
            raise EOFError
        received += part
    return received


def _text(pattern: re.Pattern[bytes], frame: bytes) -> str:
    found = pattern.search(frame)
    return found[1].decode("utf-8", "replace") if found else ""
