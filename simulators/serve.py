"""Byte-stream servers: one protocol session for each client, over TCP on the loopback or over a pseudo terminal.

A session cuts what it is fed into requests and answers each one at once; faults of the link are played here, so that
every device has them alike.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import sys
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pyros.clock import Clock
from simulators.faults import SILENT, Faults

READ_BYTES = 4096
MAX_PENDING_BYTES = 4096
"""A client that sends this much without ending a request is hung up on."""


class Session(Protocol):
    """The protocol's side of one client's link."""

    ending: bytes
    """How every answer ends that has an end."""

    def split(self, pending: bytes) -> tuple[list[bytes], bytes]:
        """Cut complete requests off what has been received; return them and the rest."""
        ...

    def expects_answer(self, request: bytes) -> bool:
        """Whether the protocol answers this request at all."""
        ...

    def answer(self, request: bytes) -> bytes:
        """Carry out a request and return its answer, which may be empty."""
        ...

    def refuse(self, request: bytes) -> bytes:
        """Return the protocol's refusal of a command; a question is answered as ever."""
        ...


class Link(Protocol):
    """One client's end, for answers that come later than their request."""

    def send(self, payload: bytes) -> None:
        """Send bytes; a client that is gone is no error."""
        ...


MakeSession = Callable[[Link], Session]


class HungUpError(Exception):
    """The link is closed by the simulated device."""


class _Conversation:
    """One client's bytes in, answers out."""

    def __init__(self, server: StreamServer, link: Link) -> None:
        self._server = server
        self._link = link
        self._session = server.make_session(link)
        self._pending = b""

    def feed(self, received: bytes) -> None:
        """Take what the client sent and answer it; raises `HungUpError` where a fault closes the link."""
        requests, self._pending = self._session.split(self._pending + received)
        for request in requests:
            self._serve(request)
        if len(self._pending) > MAX_PENDING_BYTES:
            raise HungUpError

    def _serve(self, request: bytes) -> None:
        server, session = self._server, self._session
        fault = server.faults.active(server.device)
        if fault == "disconnect":
            raise HungUpError
        if fault in SILENT:
            if fault == "hang":
                session.answer(request)
            if session.expects_answer(request) and server.clock.virtual:
                server.clock.hush(server.channel)
                raise HungUpError
            return
        answer = session.refuse(request) if fault == "refuse" else session.answer(request)
        if answer and fault == "garbage":
            answer = server.faults.garble(answer, session.ending)
        if answer:
            self._link.send(answer)


class StreamServer:
    """What a TCP and a pseudo-terminal server have in common.

    Parameters
    ----------
    clock, faults : Clock, Faults
    device : str
        The name under which faults are looked up.
    make_session : callable
        Gives a new `Session` for a client's `Link`.
    """

    def __init__(self, clock: Clock, faults: Faults, device: str, make_session: MakeSession) -> None:
        self.clock = clock
        self.faults = faults
        self.device = device
        self.make_session = make_session
        self.channel = ""
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def _run(self, target: Callable[[], None], what: str) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, name=f"simulated {self.device} {what}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=2.0)


class _SocketLink:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def send(self, payload: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            self.connection.sendall(payload)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class TcpServer(StreamServer):
    """A server on a TCP port; every client has its own session."""

    def start(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> str:
        """Listen and return "host:port".

        Raises
        ------
        OSError
            If the port is taken or the host is not ours.
        """
        self._listener = socket.create_server(address)
        host, port = self._listener.getsockname()[:2]
        self.channel = f"{host}:{port}"
        self._links: list[_SocketLink] = []
        self._run(self._accept, "listener")
        return self.channel

    def stop(self) -> None:
        """Close every link and end all threads."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()
        self._join()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _SocketLink(connection)
            self._links = [other for other in self._links if other.connection.fileno() >= 0]
            self._links.append(link)
            self._run(lambda link=link: self._converse(link), "client")

    def _converse(self, link: _SocketLink) -> None:
        conversation = _Conversation(self, link)
        try:
            while received := link.connection.recv(READ_BYTES):
                conversation.feed(received)
        except (OSError, HungUpError):
            pass
        finally:
            link.close()


class _PtyLink:
    def __init__(self, path: str) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        """Make a new pair for the symbolic link to point to; the slave stays open, else reads fail between clients."""
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        temporary = Path(f"{self.path}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(self.path)

    def send(self, payload: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self.master, payload)

    def close(self) -> None:
        os.close(self._slave)
        os.close(self.master)


class PtyServer(StreamServer):
    """A server on a pseudo terminal behind a symbolic link: one session, as on a serial line."""

    def start(self, path: str) -> str:
        """Make the pseudo terminal and return the path of its symbolic link.

        Raises
        ------
        FileExistsError
            If something other than a symbolic link stands at the path.
        OSError
            If the link cannot be made there.
        """
        if Path(path).exists() and not Path(path).is_symlink():
            raise FileExistsError(f"{path} exists and is not a symbolic link; choose another name for the serial line")
        self._link = _PtyLink(path)
        self.channel = path
        self._wake_read, self._wake_write = os.pipe()
        self._run(self._converse, "line")
        return path

    def stop(self) -> None:
        """End the line and remove the symbolic link."""
        self._stopping.set()
        os.write(self._wake_write, b"x")
        self._join()
        self._link.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        Path(self.channel).unlink(missing_ok=True)

    def _converse(self) -> None:
        conversation = _Conversation(self, self._link)
        while not self._stopping.is_set():
            readable, _, _ = select.select([self._link.master, self._wake_read], [], [])
            if self._link.master not in readable:
                continue
            try:
                conversation.feed(os.read(self._link.master, READ_BYTES))
            except (OSError, HungUpError):
                self._link.close()
                self._link.open()
                conversation = _Conversation(self, self._link)


def parse_address(text: str) -> tuple[str, int]:
    """Read "host:port".

    Raises
    ------
    ValueError
        If it is anything else, or the port is not 0 to 65535.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"address {text!r} is not HOST:PORT with a port from 0 to 65535, for example 127.0.0.1:4030")
    return host, int(port)


def complain(text: str, status: int) -> int:
    """Print one line to standard error and return the exit status."""
    sys.stderr.write(text.rstrip() + "\n")
    return status
