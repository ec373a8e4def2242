"""Byte streams to devices: a TCP socket or a serial line, opened, read and written with real deadlines.

Reads wait in `poll` beside a pipe, so that `interrupt()` from another thread wakes them (`select` would take no
descriptor above 1023). A port knows nothing of requests and replies; that is `pyros.hardware.link`.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
from abc import ABC, abstractmethod

import serial


class PortClosedError(OSError):
    """The far end hung up, or this end was interrupted."""


class Port(ABC):
    """One byte stream. All methods but `interrupt` and `write` belong to the thread that owns the link."""

    channel: str
    """Its name for people, for the journal and for the virtual clock."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._wake: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a stream."""
        return self._fd is not None

    @abstractmethod
    def twin(self) -> Port:
        """Return another, closed port to the same place."""

    @abstractmethod
    def _open(self, timeout_s: float) -> int: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _recv(self, size: int) -> bytes: ...

    @abstractmethod
    def _send(self, chunk: bytes) -> int: ...

    def open(self, timeout_s: float) -> None:
        """Open the stream; raises `OSError` (`TimeoutError` after `timeout_s` real seconds)."""
        self.close()
        self._fd = self._open(timeout_s)
        self._wake = os.pipe()

    def close(self) -> None:
        """Close the stream, if open."""
        self._fd, wake, self._wake = None, self._wake, None
        for end in wake or ():
            os.close(end)
        self._close()

    def interrupt(self) -> None:
        """Make a read in progress, or the next one, raise `PortClosedError`. From any thread."""
        wake = self._wake
        if wake is not None:
            with contextlib.suppress(OSError):
                os.write(wake[1], b"x")

    def read(self, size: int, timeout_s: float) -> bytes:
        """Return what is there, at most `size` bytes, waiting up to `timeout_s` real seconds; empty if nothing came."""
        fd, wake = self._fd, self._wake
        if fd is None or wake is None:
            raise PortClosedError("the port is closed")
        ready = _wait_for(select.POLLIN, timeout_s, fd, wake[0])
        if wake[0] in ready:
            raise PortClosedError("the link was closed from this side")
        if not ready:
            return b""
        chunk = self._recv(size)
        if not chunk:
            raise PortClosedError("the far end hung up")
        return chunk

    def write(self, request: bytes, timeout_s: float) -> None:
        """Write all of `request`; raises `TimeoutError` if the stream takes nothing for `timeout_s` real seconds."""
        fd = self._fd
        if fd is None:
            raise PortClosedError("the port is closed")
        rest = request
        while rest:
            try:
                rest = rest[self._send(rest) :]
            except BlockingIOError:
                if not _wait_for(select.POLLOUT, timeout_s, fd):
                    raise TimeoutError("the far end takes nothing") from None


def _wait_for(event: int, timeout_s: float, *descriptors: int) -> list[int]:
    """Return those that are ready, or broken, which the next read or write will say; none after `timeout_s`."""
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, event)
    found = waiting.poll(math.ceil(1000 * max(0.0, timeout_s)))
    if any(what & select.POLLNVAL for _, what in found):
        raise PortClosedError("the port is closed")
    return [descriptor for descriptor, _ in found]


class TcpPort(Port):
    """A TCP connection, without Nagle's delay.

    Parameters
    ----------
    host, port
        Where the device, its simulator or a serial-to-network converter listens.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self.channel = f"{host}:{port}"

    def twin(self) -> TcpPort:
        """See `Port.twin`."""
        return TcpPort(*self._address)

    def _open(self, timeout_s: float) -> int:
        self._socket = socket.create_connection(self._address, timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        return self._socket.fileno()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _recv(self, size: int) -> bytes:
        return b"" if self._socket is None else self._socket.recv(size)

    def _send(self, chunk: bytes) -> int:
        if self._socket is None:
            raise PortClosedError("the port is closed")
        return self._socket.send(chunk)


class SerialPort(Port):
    """A serial line 8N1, or a pseudo-terminal standing for one; locked against other programs.

    DTR is never set: pseudo-terminals have none, and real mounts may reset on it.
    """

    def __init__(self, path: str, baud: int) -> None:
        super().__init__()
        self._baud = baud
        self._line: serial.Serial | None = None
        self.channel = path

    def twin(self) -> SerialPort:
        """See `Port.twin`."""
        return SerialPort(self.channel, self._baud)

    def _open(self, timeout_s: float) -> int:
        del timeout_s
        self._line = serial.Serial(self.channel, self._baud, timeout=0, write_timeout=0, exclusive=True)
        self._line.reset_input_buffer()
        return int(self._line.fileno())

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _recv(self, size: int) -> bytes:
        return b"" if self._line is None else os.read(self._line.fileno(), size)

    def _send(self, chunk: bytes) -> int:
        if self._line is None:
            raise PortClosedError("the port is closed")
        return os.write(self._line.fileno(), chunk)
