"""The gateway: the outside's door to the actors, over two ZeroMQ sockets in a folder that only its owner may enter.

Owns the sockets (a ROUTER for requests, an XPUB for everything published; the wire is described in `pyros.client`) and
the thread that alone touches them. Takes `GetSnapshot`; emits nothing of its own. Decides one thing: in robotic mode
the outside may not move a device directly, nor break an actor, nor write to the store, unless that makes safer.

When it dies its requests go unanswered and the observatory goes on; the next incarnation binds the same sockets, and
the events' numbers go on counting, so that a listener sees what it missed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import msgpack
import zmq

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, System
from pyros.client import EVENTS, HEARTBEAT_S, MAX_REQUEST_BYTES, MOST_UNREAD, REQUESTS, socket_address
from pyros.clock import EPOCH, Clock
from pyros.messages.base import Command, Event, Expired, Failed, GetState, Message, Query, Refused, State
from pyros.messages.codec import VERSION, BadMessageError, Frame, to_builtins, unpack
from pyros.messages.night import GetSnapshot, Snapshot, StateRow
from pyros.messages.store import Commit
from pyros.messages.system import Crash, DeadLetter, GatewayState

MOST_PENDING = 2000
"""Requests that may wait for their answers at once; what makes safer is always let in."""
REQUESTS_AT_A_TIME = 200
"""After so many the events get their turn."""
_DEVICES = ("telescope", "camera", "filter_wheel", "focuser", "plc")
_CLOSE_WITHIN_S = 1.0


def forbidden(to: str, message: Message, mode: str) -> str:
    """Return why the outside may not send `message` to the actor `to`, or '' if it may."""
    tag = type(message).__name__
    if message.kind in {"reply", "part"}:
        return f"{tag} is a {message.kind}; send a command or a query (`pyros messages` lists them)"
    if mode == "simulation" or isinstance(message, Query) or (isinstance(message, Command) and message.makes_safer):
        return ""
    if not isinstance(message, Command):
        return f"{tag} is {'an event' if message.kind == 'event' else 'a state'}; only actors publish those"
    if isinstance(message, Crash | Commit):
        return f"{tag} is not taken from outside in robotic mode"
    if to.removesuffix(".brake").partition(":")[0] in _DEVICES:
        return (
            f"{tag} to {to} is not taken from outside in robotic mode; only what makes safer is (Halt, Park, CloseDome)"
        )
    return ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """Something published, in its place in the order of everything published."""

    sequence: int
    t_us: int
    sender: str
    message: Event | State


class EventLine:
    """Numbers what a system publishes, also while no gateway is there: it outlives the gateway's incarnations."""

    _of: WeakKeyDictionary[System, EventLine] = WeakKeyDictionary()

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

    def flow_into(self, sink: Callable[[Numbered], None]) -> None:
        """Give what comes from now on to `sink`, and to nobody else."""
        with self._lock:
            self._sink = sink

    def take(self, sender: str, message: Event | State) -> None:
        """Number a publication; runs in the publisher's thread."""
        with self._lock:
            self.sequence += 1
            if self._sink is not None:
                self._sink(Numbered(self.sequence, self._clock.micros(), sender, message))


class Doors(threading.Thread):
    """The two sockets and the one thread that touches them; others leave it notes and wake it.

    Parameters
    ----------
    folder
        Where the sockets are; made with mode 0700.
    take
        Called with the route back and the raw request, in this thread.
    greet
        Returns the body of a heartbeat, packed.
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
        take: Callable[[list[bytes], bytes], None],
        greet: Callable[[], bytes],
        broken: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="gateway sockets", daemon=True)
        self._clock, self._take, self._greet, self._broken = clock, take, greet, broken
        self._outbox: deque[tuple[list[bytes], Callable[[], bytes]]] = deque()
        self._events: deque[tuple[bytes, Callable[[], bytes | None]]] = deque(maxlen=MOST_UNREAD)
        self._lock = threading.Lock()
        self._closing = self._woken = False
        self.undeliverable = 0
        addresses = [socket_address(folder, name) for name in (REQUESTS, EVENTS)]
        self._folder_lock = _lock_folder(folder)
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._context = zmq.Context()
        try:
            self._router = self._bound(zmq.ROUTER, addresses[0])
            self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._publisher = self._bound(zmq.XPUB, addresses[1])
            self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)  # every newcomer is greeted, not only the first
        except zmq.ZMQError as error:
            self._release()
            raise OSError(f"gateway folder {folder}: {error.strerror}; name another as [gateway] folder") from None

    def reply(self, route: list[bytes], render: Callable[[], bytes]) -> None:
        """Send a reply; any thread. `render` runs in the sockets' thread."""
        self._outbox.append((route, render))
        self._wake()

    def publish(self, topic: bytes, render: Callable[[], bytes | None]) -> None:
        """Send an event; any thread. When the thread cannot keep up the oldest are lost, and listeners notice."""
        self._events.append((topic, render))
        self._wake()

    def close(self) -> None:
        """End the thread and wait until the sockets' files are gone, so that another may bind them; any thread."""
        self._closing = True
        self._wake()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(_CLOSE_WITHIN_S)

    def run(self) -> None:
        """Serve until `close`."""
        try:
            self._serve()
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
            heard = dict(poller.poll(1000 * HEARTBEAT_S))
            self._hush()
            if self._router in heard:
                self._take_requests()
            newcomers = self._publisher in heard and self._meet_listeners()
            self._send_replies()
            self._send_events()
            now_s = self._clock.monotonic_s()
            if newcomers or now_s - beaten_s >= HEARTBEAT_S * self._clock.speed:
                beaten_s = now_s
                self._send_event(b"", self._greet())

    def _take_requests(self) -> None:
        for _ in range(REQUESTS_AT_A_TIME):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) == 2 or (len(frames) == 3 and frames[1] == b""):  # REQ sends an empty frame first
                self._take(frames[:-1], frames[-1])
            else:
                self._take(frames[:1], b"")

    def _meet_listeners(self) -> bool:
        newcomers = False
        for _ in range(REQUESTS_AT_A_TIME):
            try:
                newcomers |= self._publisher.recv(zmq.NOBLOCK).startswith(b"\x01")
            except zmq.Again:
                break
        return newcomers

    def _send_replies(self) -> None:
        while self._outbox:
            route, render = self._outbox.popleft()
            try:
                self._router.send_multipart([*route, render()], zmq.NOBLOCK)
            except zmq.ZMQError:  # who asked has gone, or does not read its answers
                self.undeliverable += 1

    def _send_events(self) -> None:
        for _ in range(len(self._events)):
            topic, render = self._events.popleft()
            rendered = render()
            if rendered is not None:
                self._send_event(topic, rendered)

    def _send_event(self, topic: bytes, rendered: bytes) -> None:
        self._publisher.send_multipart([topic, rendered], zmq.NOBLOCK)

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
            if not self._woken and not self._bell._closed:
                self._woken = True
                self._bell.send(b"\0")

    def _hush(self) -> None:
        with self._lock:
            if self._woken:
                self._woken = False
                self._ear.recv(16)

    def _release(self) -> None:
        with self._lock:
            self._bell.close()
            self._ear.close()
        self._context.destroy(linger=0)  # returns when the sockets' files are gone
        os.close(self._folder_lock)


def _lock_folder(folder: Path) -> int:
    """Make the folder ours alone and return the open lock: ZeroMQ would take another daemon's sockets away."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OSError(f"gateway folder {folder} is in use by another daemon; name another as [gateway] folder") from None
    return lock
