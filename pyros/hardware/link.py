"""Requests and replies over a byte stream, one at a time, always in step.

The danger of such a protocol is to be one reply late for good: after a timeout or a surplus byte the next reply read
belongs to the last request, and every value is wrong while nothing looks broken. So any timeout, any reply of the wrong
form and any surplus byte puts the link out of step, and the next request first starts afresh: a new connection over
TCP, silence awaited on a serial line.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Literal, TypeAlias

from pyros.clock import Clock
from pyros.hardware.errors import Braked, DeviceError, GarbledReply, LinkClosed, LinkTimeout, NotConnected
from pyros.hardware.ports import Port, SerialPort

Reply: TypeAlias = "Literal['none', 'one byte'] | bytes | Callable[[bytes], bool]"
"""How a reply ends: there is none, it is one byte, it ends in these bytes, or a function of what has come says so."""
Journal: TypeAlias = Callable[[str, bytes, bytes], None]
"""Sees every transaction: the device's name, the request, the reply (empty if none came or none belongs to it)."""

REPLY_LIMIT = 4096
"""No reply of such a protocol is longer, in bytes; what is longer is noise."""
SILENCE_S = 0.1
"""A serial line silent for this long has nothing more to say to an old request."""
VIRTUAL_TIMEOUT_S = 5.0
"""Real seconds on the virtual clock, where a mute device hangs up by itself and load must not look like one."""


def real_timeout_s(clock: Clock, timeout_s: float) -> float:
    """Return how many real seconds to wait for `timeout_s`; a scaled clock does not make devices faster."""
    return VIRTUAL_TIMEOUT_S if clock.virtual else timeout_s


class Link:
    """The one link to a device.

    Parameters
    ----------
    port : Port
        The stream; this link owns it.
    clock : Clock
        Charges the timeouts of simulated mute devices.
    device : str
        The device's name in errors and in the journal.
    journal : Journal, optional
        Called after every transaction, in the thread that made it.
    """

    def __init__(self, port: Port, clock: Clock, device: str, journal: Journal | None = None) -> None:
        self.device = f"{device} {port.channel}"
        self.generation = 0
        """How often the link has started afresh: a driver that set something up looks whether it must do so again."""
        self.brakes = 0
        """How often `brake` was called."""
        self._name = device
        self._port = port
        self._clock = clock
        self._journal = journal
        self._transaction = threading.Lock()
        self._writing = threading.Lock()
        self._wanted = False
        self._in_step = True

    @property
    def connected(self) -> bool:
        """Whether the stream is open."""
        return self._port.is_open

    def connect(self, timeout_s: float = 1.0) -> None:
        """Open the stream if it is not; raises `LinkTimeout` or `LinkClosed`."""
        self._wanted = True
        if not self._port.is_open:
            self._charging(b"connect", timeout_s, lambda: self._open("connect", timeout_s), silent=True)

    def disconnect(self) -> None:
        """Close the stream. From any thread: a read in progress is woken and fails with `LinkClosed`."""
        self._wanted = False
        with self._writing:
            self._port.interrupt()
        with self._transaction:
            self._shut()

    def transact(
        self, request: bytes, *, reply: Reply, timeout_s: float = 1.0, unless_braked_since: int | None = None
    ) -> bytes:
        """Write `request` and return its reply, terminator included.

        Parameters
        ----------
        unless_braked_since : int, optional
            A value of `brakes`; if `brake` was called since, nothing is written and `Braked` is raised.

        Raises
        ------
        NotConnected, Braked
            Nothing was written.
        LinkTimeout, LinkClosed, GarbledReply
            The request may or may not have taken effect.
        """

        def exchange() -> bytes:
            self._get_in_step(request)
            self._write(request, timeout_s, unless_braked_since)
            return b"" if reply == "none" else self._read_reply(request, reply, timeout_s)

        return self._charging(request, timeout_s, exchange)

    def heal(self) -> int:
        """Start afresh if the link is closed or out of step, and return `generation`; raises as `transact` does."""
        if not (self._wanted and self._in_step and self._port.is_open):
            self._charging(b"connect", 1.0, lambda: self._get_in_step(b"connect"), silent=True)
        return self.generation

    def listen(self, request: bytes, *, reply: Reply, timeout_s: float) -> bytes | None:
        """Return the late reply to a `request` that was written with reply "none", or `None` if it is not there yet."""

        def exchange() -> bytes:
            self._require(request)
            received = self._gather(request, reply, timeout_s)
            if received and not _is_complete(received, reply):
                received += self._read_reply(request, lambda rest: _is_complete(received + rest, reply), 1.0)
            return received

        return self._charging(request, 1.0, exchange, silent=True) or None

    def garbled(self, request: bytes, reply: bytes, expected: str) -> GarbledReply:
        """Return the error for a reply of the wrong form; the next request starts afresh."""
        self._in_step = False
        return GarbledReply(self.device, _show(request), f"expected {expected}, got {_show(reply)}")

    def brake(self, request: bytes) -> None:
        """Write `request` now, whatever read is in progress; on a closed link over a connection of its own.

        From any thread. Waits only for another write, at most 1 s.
        """
        with self._writing:
            self.brakes += 1
            try:
                self._write_past(self._port, request)
            except OSError:
                self._write_apart(request)
        if self._journal is not None:
            self._journal(self._name, request, b"")

    def _write_past(self, port: Port, request: bytes) -> None:
        port.write(request, real_timeout_s(self._clock, 1.0))

    def _write_apart(self, request: bytes) -> None:
        port = self._port.twin()
        try:
            port.open(real_timeout_s(self._clock, 1.0))
            self._write_past(port, request)
        except OSError as error:
            raise LinkClosed(self.device, _show(request), f"the brake could not be written: {error}") from None
        finally:
            port.close()

    # -- opening and getting in step ---------------------------------------------------------------------------------

    def _charging(
        self, request: bytes, timeout_s: float, exchange: Callable[[], bytes], *, silent: bool = False
    ) -> bytes:
        """Do `exchange` alone. A far end that was mute in the simulation costs the timeout, without the lock held."""
        received = b""
        try:
            with self._transaction:
                received = exchange()
        except (LinkTimeout, LinkClosed):
            if self._clock.charge(self._port.channel, timeout_s):
                raise LinkTimeout(self.device, _show(request), f"no reply within {timeout_s:g} s") from None
            raise
        finally:
            if self._journal is not None and (received or not silent):
                self._journal(self._name, request, received)
        return received

    def _open(self, command: str, timeout_s: float) -> bytes:
        try:
            self._port.open(real_timeout_s(self._clock, timeout_s))
        except OSError as error:
            raise self._failed(command, error, timeout_s) from None
        self._in_step = True
        self.generation += 1
        return b""

    def _shut(self) -> None:
        with self._writing:
            self._port.close()

    def _require(self, request: bytes) -> None:
        if not self._wanted:
            raise NotConnected(self.device, _show(request), "not connected; call connect() first")

    def _get_in_step(self, request: bytes) -> bytes:
        self._require(request)
        if not self._in_step and not self._falls_silent():
            self._shut()
        if not self._port.is_open:
            self._open(_show(request), 1.0)
        self._drop_stale(request)
        return b""

    def _falls_silent(self) -> bool:
        """Wait, at most 1 s, until a serial line has nothing more to say; only a new connection mends a socket."""
        if not isinstance(self._port, SerialPort):
            return False
        with contextlib.suppress(OSError):
            for _ in range(10):
                if not self._port.read(REPLY_LIMIT, SILENCE_S):
                    self._in_step = True
                    self.generation += 1
                    return True
        return False

    def _drop_stale(self, request: bytes) -> None:
        """Forget bytes that no request asked for: the tail of a reply that came too late."""
        try:
            for _ in range(10):
                if not self._port.read(REPLY_LIMIT, 0.0):
                    return
        except OSError as error:
            raise self._failed(_show(request), error) from None
        raise self.garbled(request, b"", "silence before the request")

    # -- the transaction ---------------------------------------------------------------------------------------------

    def _write(self, request: bytes, timeout_s: float, unless_braked_since: int | None) -> None:
        try:
            with self._writing:
                if unless_braked_since not in {None, self.brakes}:
                    raise Braked(self.device, _show(request), "not sent, for the brake was pulled meanwhile")
                self._port.write(request, real_timeout_s(self._clock, timeout_s))
        except OSError as error:
            raise self._failed(_show(request), error, timeout_s) from None

    def _read_reply(self, request: bytes, reply: Reply, timeout_s: float) -> bytes:
        received = self._gather(request, reply, real_timeout_s(self._clock, timeout_s))
        if not _is_complete(received, reply):
            got = f"only {_show(received)} came" if received else "nothing came"
            raise self._failed(_show(request), TimeoutError(f"expected {_name(reply)}; {got}"), timeout_s)
        return received

    def _gather(self, request: bytes, reply: Reply, real_s: float) -> bytes:
        """Return what comes until the reply is complete or the real seconds are over."""
        received = b""
        started_s = self._clock.monotonic_s()
        left_s = real_s
        while not _is_complete(received, reply):
            try:
                chunk = self._port.read(REPLY_LIMIT, left_s)
            except OSError as error:
                raise self._failed(_show(request), error) from None
            received += chunk
            if len(received) > REPLY_LIMIT or _has_surplus(received, reply):
                raise self.garbled(request, received[:40], f"{_name(reply)} and no more")
            left_s = real_s
            if not self._clock.virtual:
                left_s -= (self._clock.monotonic_s() - started_s) / self._clock.speed
            if not chunk or left_s <= 0:
                break
        return received

    def _failed(self, command: str, error: OSError, timeout_s: float = 1.0) -> DeviceError:
        """Return what a failure of the stream means, and put the link out of step."""
        self._in_step = False
        if isinstance(error, TimeoutError):
            return LinkTimeout(self.device, command, f"no reply within {timeout_s:g} s: {error}")
        self._shut()
        return LinkClosed(self.device, command, f"the link is closed: {error}")


def _is_complete(received: bytes, reply: Reply) -> bool:
    if callable(reply):
        return reply(received)
    if isinstance(reply, bytes):
        return received.endswith(reply)
    return len(received) >= 1


def _has_surplus(received: bytes, reply: Reply) -> bool:
    """Tell whether more has come than the reply: then some of it answers something else."""
    if isinstance(reply, bytes):
        return 0 <= received.find(reply) < len(received) - len(reply)
    return any(_is_complete(received[:end], reply) for end in range(1, len(received)))


def _show(some: bytes) -> str:
    return ascii(some.decode("latin-1"))[1:-1] or "nothing"


def _name(reply: Reply) -> str:
    if callable(reply):
        return "a complete reply"
    return f"a reply ending in {_show(reply)}" if isinstance(reply, bytes) else "one byte"
