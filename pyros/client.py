"""The gateway's client: how the command line, the web app and strangers talk to a daemon.

The gateway is a folder with two sockets. At `requests` a request is one frame, `pyros.messages.codec.pack(Frame)`, and
its reply `msgpack [1, id, body]`. At `events` everything published comes as two frames: the message's tag, and
`msgpack [1, sequence, boot, sent_at, sender, body]`. Numbers rise by one, so that a jump tells of loss; once a second,
and whenever somebody begins to listen, a body of None (the heartbeat, with an empty tag) repeats the last number.

With `pyros.actors.gateway` the only place that knows ZeroMQ.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import zmq

from pyros.messages.base import Message
from pyros.messages.codec import VERSION, BadMessageError, Frame, from_builtins, pack

REQUESTS = "requests"
EVENTS = "events"
MAX_REQUEST_BYTES = 2 << 20
"""A notice has at most 1 MiB; nothing larger goes in."""
MAX_REPLY_BYTES = 64 << 20
HEARTBEAT_S = 1.0
SILENCE_S = 5.0
"""Without a heartbeat for so long the daemon is gone."""
CONNECT_S = 1.0
GREETED_S = 2.0
"""Who begins to listen is greeted at once."""
GRACE_S = 0.5
"""The daemon answers `Expired` at the deadline; that answer's own way takes a moment."""
MOST_UNREAD = 20_000
"""Events that wait for a slow reader; beyond, it loses some and is told."""
_SLICE_MS = 250
_IPC_PATH_MAX_BYTES = 103 if sys.platform == "darwin" else 107


class GatewayError(Exception):
    """The daemon cannot be reached; one line says what, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One published message."""

    sequence: int
    boot: int
    sent_at: str
    """ISO-8601 UTC, by the daemon's clock."""
    sender: str
    message: Message
    lost: int = 0
    """How many messages were lost just before this one."""


def default_endpoint() -> str:
    """Return the folder in `PYROS_GATEWAY`, or the one of a daemon with the default state folder."""
    named = os.environ.get("PYROS_GATEWAY")
    if named:
        return named
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(state) / "pyros" / "gateway")


def socket_address(folder: Path, name: str) -> str:
    """Return ZeroMQ's address of one of a gateway's sockets.

    Raises
    ------
    ValueError
        When the path is longer than the system allows for a socket (107 bytes on Linux, 103 on macOS).
    """
    path = str(folder.absolute() / name)
    if len(os.fsencode(path)) > _IPC_PATH_MAX_BYTES:
        raise ValueError(
            f"gateway folder {folder} is too long: {path} has {len(os.fsencode(path))} bytes and a socket's path at "
            f"most {_IPC_PATH_MAX_BYTES}; name a shorter folder, such as /run/pyros, as [gateway] folder"
        )
    return f"ipc://{path}"


class Client:
    """A connection to one daemon. Every method may be called from any thread; a lost reply harms nothing after it.

    Parameters
    ----------
    endpoint
        The gateway's folder, also as `ipc://folder`.
    user
        On whose behalf; travels with every request.

    Raises
    ------
    ValueError
        When the endpoint can never be one.
    """

    def __init__(self, endpoint: str, user: str = "") -> None:
        scheme, separator, rest = endpoint.partition("://")
        if (separator and scheme != "ipc") or not endpoint.removeprefix("ipc://"):
            raise ValueError(f"gateway {endpoint!r} is not a folder; name it as a path or as ipc://path")
        self.folder = Path(rest if separator else endpoint)
        self._requests = socket_address(self.folder, REQUESTS)
        self._events = socket_address(self.folder, EVENTS)
        self._user = user
        self._context = zmq.Context.instance()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._idle: list[zmq.Socket[bytes]] = []
        self._closed = False

    def ask(self, to: str, message: Message, within_s: float = 3.0) -> Message:
        """Send to an actor and return its answer, which may be `Refused`, `Failed` or `Expired`.

        Raises
        ------
        GatewayError
            When no daemon answers within `within_s` real seconds.
        """
        request = self._packed(to, message, within_s)
        with self._lock:
            if self._closed:
                raise GatewayError(f"the connection to the daemon at {self.folder} is closed")
            socket = self._idle.pop() if self._idle else None
        socket = socket or self._dealer()
        try:
            reply = self._exchange(socket, request, within_s)
        except BaseException:
            socket.close()  # a late reply dies with it
            raise
        with self._lock:
            if not self._closed:
                self._idle.append(socket)
                return reply
        socket.close()
        return reply

    def events(self, topics: Sequence[str] = ()) -> Iterator[tuple[int, str, Message]]:
        """Return what is published from now on as (sequence, sender, message); see `listen`. A jump is a loss."""
        return ((heard.sequence, heard.sender, heard.message) for heard in self.listen(topics))

    def listen(self, topics: Sequence[str] = ()) -> Iterator[Heard]:
        """Return what is published from now on: nothing after the call's return is missed unnoticed.

        Everything is heard and what is not of `topics` (tags) left out here: else a loss would look like an event of
        another topic. The iterator blocks, ends after `close()`, and raises when the daemon falls silent or another
        one takes its place: then ask for a snapshot and listen anew.

        Raises
        ------
        GatewayError
            When nothing can be heard, at once or later.
        """
        socket = self._subscriber()
        try:
            first = self._hear(socket, GREETED_S)
        except BaseException:
            socket.close()
            raise
        return self._heard(socket, first, frozenset(topics))

    def close(self) -> None:
        """End `events` and `listen`, and release the connections."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for socket in idle:
            socket.close()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _packed(self, to: str, message: Message, within_s: float) -> bytes:
        identifier = f"{os.getpid()}-{next(self._numbers)}"
        frame = Frame(id=identifier, cause=identifier, to=to, expires_in_s=within_s, user=self._user, body=message)
        try:
            request = pack(frame)
        except (ValueError, TypeError, OverflowError) as error:
            raise GatewayError(f"{type(message).__name__} cannot be sent: {error}") from None
        if len(request) > MAX_REQUEST_BYTES:
            raise GatewayError(
                f"{type(message).__name__} has {len(request)} bytes; the gateway takes at most {MAX_REQUEST_BYTES}"
            )
        return request

    def _dealer(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # a request waits here for the daemon, never in a queue to a dead one
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
        socket.connect(self._requests)
        return socket

    def _exchange(self, socket: zmq.Socket[bytes], request: bytes, within_s: float) -> Message:
        if not socket.poll(int(1000 * min(within_s, CONNECT_S)), zmq.POLLOUT):
            raise self._nobody()
        socket.send(request)
        if not socket.poll(int(1000 * (within_s + GRACE_S))):
            raise GatewayError(
                f"the PyROS daemon at {self.folder} has not answered in {within_s:g} s; is it still running?"
            )
        return self._body(socket.recv_multipart(), 3)[2]

    def _body(self, frames: list[bytes], fields: int) -> list[Any]:
        """Return the fields of a reply or an event, its body as a message (None for a heartbeat)."""
        try:
            parts: Any = msgpack.unpackb(frames[-1])
            if not isinstance(parts, list) or len(parts) != fields or parts[0] != VERSION:
                raise BadMessageError(f"it is not [{VERSION}, …] of {fields} fields")
            if parts[-1] is not None:
                parts[-1] = from_builtins(parts[-1])
        except (ValueError, msgpack.UnpackException) as error:
            raise GatewayError(
                f"the daemon at {self.folder} speaks another version of PyROS: {error}; use its own `pyros`"
            ) from None
        return parts

    def _nobody(self) -> GatewayError:
        return GatewayError(
            f"no PyROS daemon answers at {self.folder}; start one with `pyros run` or name it with --connect"
        )

    # -- events ------------------------------------------------------------------------------------------------------

    def _subscriber(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, MOST_UNREAD)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(self._events)
        return socket

    def _hear(self, socket: zmq.Socket[bytes], within_s: float) -> list[Any]:
        """Return the fields of the next frame; wait for it while the daemon's heart may still beat."""
        for _ in range(int(1000 * within_s / _SLICE_MS)):
            if self._closed:
                return []
            if socket.poll(_SLICE_MS):
                return self._body(socket.recv_multipart(), 6)
        raise self._nobody()

    def _heard(self, socket: zmq.Socket[bytes], first: list[Any], topics: frozenset[str]) -> Iterator[Heard]:
        lost, fields = 0, first
        last, first_boot = (fields[1] - (fields[5] is not None), fields[2]) if fields else (0, 0)
        try:
            while fields and not self._closed:
                _, sequence, boot, sent_at, sender, message = fields
                if boot != first_boot or sequence < last:
                    raise GatewayError(f"the daemon at {self.folder} was started anew; listen again")
                lost += sequence - last - (message is not None)
                last = sequence
                if message is not None and (not topics or type(message).__name__ in topics):
                    yield Heard(sequence, boot, sent_at, sender, message, lost)
                    lost = 0
                fields = self._hear(socket, SILENCE_S)
        finally:
            socket.close()
