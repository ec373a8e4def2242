"""The gateway's two sockets, the thread that alone touches them, and the numbers of what is published."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import msgpack
import zmq

from pyros.actors.kernel import Answer, System
from pyros.client import EVENTS, HEARTBEAT_S, MAX_REQUEST_BYTES, MOST_UNREAD, REQUESTS, socket_address
from pyros.clock import EPOCH, Clock
from pyros.messages.base import Event, Failed, State
from pyros.messages.codec import VERSION, to_builtins

REQUESTS_AT_A_TIME = 200
"""After so many the events get their turn."""
_CLOSE_WITHIN_S = 1.0
_LAST_WORDS_MS = 500
_HANG_UP_AFTER_S = 0.05
"""Real seconds between the last words and the hanging up: a client that learns of both at once may drop the words."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """Something published, in its place in the order of everything published."""

    sequence: int
    t_us: int
    sender: str
    message: Event | State


class EventLine:
    """Numbers what a system publishes, also while no gateway is there: it outlives the gateway's incarnations."""

    _of: ClassVar[WeakKeyDictionary[System, EventLine]] = WeakKeyDictionary()

    def __init__(self, clock: Clock) -> None:
        self.sequence = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._sink: Callable[[Numbered], None] | None = None

    @classmethod
    def of(cls, system: System) -> EventLine:
        """Return the system's line; the first call lays it."""
        line = cls._of.get(system)
        if line is None:
            line = cls._of[system] = cls(system.clock)
            system.events.tap(line.take)
        return line

    def flow_into(self, sink: Callable[[Numbered], None]) -> int:
        """Give what comes from now on to `sink`, and to nobody else; return the last number before."""
        with self._lock:
            self._sink = sink
            return self.sequence

    def take(self, sender: str, message: Event | State) -> None:
        """Give a publication its number; runs in the publisher's thread."""
        with self._lock:
            self.sequence += 1
            if self._sink is not None:
                self._sink(Numbered(self.sequence, self._clock.micros(), sender, message))


class Doors:
    """The two sockets and the one thread that touches them; others leave it notes and wake it.

    Parameters
    ----------
    folder
        Where the sockets are; made with mode 0700.
    boot
        The daemon's boot number, which stands beside each event's own.
    take
        Called with the route back and the frames of a request, in this thread.
    unrenderable
        Called with what was published and cannot be put on the wire, and why.
    broken
        Called with the exception if the thread ends by one.

    Raises
    ------
    ValueError, OSError
        When the sockets cannot be: the path is too long, the folder not ours or in use by another daemon.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        boot: int,
        *,
        take: Callable[[list[bytes], list[bytes]], None],
        unrenderable: Callable[[Numbered, Exception], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self.undeliverable = 0
        self._clock, self._boot, self._take = clock, boot, take
        self._unrenderable, self._broken = unrenderable, broken
        self._outbox: deque[tuple[list[bytes], str, Answer]] = deque()
        self._events: deque[Numbered] = deque(maxlen=MOST_UNREAD)
        self._last = 0
        self._lock = threading.Lock()
        self._closing = self._woken = self._released = False
        addresses = [socket_address(folder, name) for name in (REQUESTS, EVENTS)]
        self._folder_lock = _lock_folder(folder)
        self._bell, self._ear = socket.socketpair()
        self._context = zmq.Context()
        try:
            self._router = self._bound(zmq.ROUTER, addresses[0])
            self._publisher = self._bound(zmq.XPUB, addresses[1])
        except zmq.ZMQError as error:
            self._release()
            raise OSError(f"gateway folder {folder}: {error.strerror}; name another as [gateway] folder") from None
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)  # every newcomer is greeted, not only the first
        self._thread = threading.Thread(target=self._run, name="gateway sockets", daemon=True)

    def open(self, line: EventLine) -> None:
        """Begin to serve."""
        self._last = line.flow_into(self._publish)
        self._thread.start()

    def reply(self, route: list[bytes], identifier: str, answer: Answer) -> None:
        """Send a reply; any thread."""
        self._outbox.append((route, identifier, answer))
        self._wake()

    def close(self) -> None:
        """End the thread and wait until the sockets' files are gone, so that another may bind them; any thread."""
        self._closing = True
        self._wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_WITHIN_S)

    def _publish(self, numbered: Numbered) -> None:
        """Queue an event, in its publisher's thread. When ours cannot keep up the oldest are lost, and are missed."""
        if not self._closing:
            self._events.append(numbered)
            self._wake()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
            self._send_replies()  # the news that the gateway itself broke, for one
            self._send_events()
            self._clock.sleep(_HANG_UP_AFTER_S * self._clock.speed)
        except Exception as error:  # noqa: BLE001 - whatever ends this thread is the actor's failure
            self._broken(error)
        finally:
            self._release()

    def _serve(self) -> None:
        poller = zmq.Poller()
        for ear in (self._router, self._publisher, self._ear):
            poller.register(ear, zmq.POLLIN)
        beaten_s = self._clock.monotonic_s()
        while not self._closing:
            heard = dict(poller.poll(int(1000 * HEARTBEAT_S)))
            self._hush()
            if self._router in heard:
                self._take_requests()
            newcomers = self._publisher in heard and self._meet_listeners()
            self._send_replies()
            self._send_events()
            now_s = self._clock.monotonic_s()
            if newcomers or now_s - beaten_s >= HEARTBEAT_S * self._clock.speed:
                beaten_s = now_s
                self._send_event(b"", _packed(self._event_fields(self._last, self._clock.micros(), "gateway", None)))

    def _take_requests(self) -> None:
        for _ in range(REQUESTS_AT_A_TIME):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            delimited = len(frames) == 3 and not frames[1]  # REQ sends an empty frame first, and wants it back
            cut = 2 if delimited else 1
            self._take(frames[:cut], frames[cut:])

    def _meet_listeners(self) -> bool:
        newcomers = False
        for _ in range(REQUESTS_AT_A_TIME):
            try:
                newcomers |= self._publisher.recv(zmq.NOBLOCK).startswith(b"\x01")
            except zmq.Again:
                break
        return newcomers

    def _send_replies(self) -> None:
        for _ in range(len(self._outbox)):
            route, identifier, answer = self._outbox.popleft()
            try:
                self._router.send_multipart([*route, reply_frame(identifier, answer)], zmq.NOBLOCK)
            except zmq.ZMQError:  # who asked has gone, or does not read its answers
                self.undeliverable += 1

    def _send_events(self) -> None:
        for _ in range(len(self._events)):
            numbered = self._events.popleft()
            self._last = numbered.sequence
            try:
                body = to_builtins(numbered.message)
                rendered = _packed(self._event_fields(numbered.sequence, numbered.t_us, numbered.sender, body))
            except (ValueError, TypeError, OverflowError) as error:
                self._unrenderable(numbered, error)
            else:
                self._send_event(type(numbered.message).__name__.encode(), rendered)

    def _event_fields(self, sequence: int, t_us: int, sender: str, body: Any) -> list[Any]:
        sent_at = (EPOCH + timedelta(microseconds=t_us)).isoformat().replace("+00:00", "Z")
        return [VERSION, sequence, self._boot, sent_at, sender, body]

    def _send_event(self, topic: bytes, rendered: bytes) -> None:
        self._publisher.send_multipart([topic, rendered], zmq.NOBLOCK)

    # -- sockets -----------------------------------------------------------------------------------------------------

    def _bound(self, kind: int, address: str) -> zmq.Socket[bytes]:
        bound = self._context.socket(kind)
        bound.setsockopt(zmq.LINGER, 0)
        bound.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        bound.setsockopt(zmq.RCVHWM, 1000)
        bound.setsockopt(zmq.SNDHWM, MOST_UNREAD if kind == zmq.XPUB else 1000)
        bound.bind(address)
        return bound

    def _wake(self) -> None:
        with self._lock:
            if not self._woken and not self._released:
                self._woken = True
                self._bell.send(b"\0")

    def _hush(self) -> None:
        with self._lock:
            if self._woken:
                self._woken = False
                self._ear.recv(1)

    def _release(self) -> None:
        with self._lock:
            self._released = True
            self._bell.close()
            self._ear.close()
        self._context.destroy(linger=_LAST_WORDS_MS)  # returns when the sockets' files are gone
        os.close(self._folder_lock)


def reply_frame(identifier: str, answer: Answer) -> bytes:
    """Return the reply on the wire; one that cannot be packed becomes `Failed`."""
    try:
        return _packed([VERSION, identifier, to_builtins(answer)])
    except (ValueError, TypeError, OverflowError) as error:
        failed = Failed(reason=f"the answer, a {type(answer).__name__}, cannot be put on the wire: {error}"[:500])
        return _packed([VERSION, identifier, to_builtins(failed)])


def _packed(fields: list[Any]) -> bytes:
    packed = msgpack.packb(fields)
    assert isinstance(packed, bytes)  # noqa: S101 - without an autoreset packer packb always returns bytes
    return packed


def _lock_folder(folder: Path) -> int:
    """Make the folder ours alone and return the open lock: ZeroMQ would take another daemon's sockets away."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OSError(
            f"gateway folder {folder} is in use by another daemon; name another as [gateway] folder"
        ) from None
    return lock
