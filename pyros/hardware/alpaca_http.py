"""One keep-alive HTTP connection to an Alpaca server, with a deadline on every request.

Why not alpyca: it hides its timeout (5 s, 0 to 60 s for some calls) behind private methods, holds one lock for all
devices of the process while a request runs, so that an abort would wait behind a stuck read of any other device, and
unpacks frames into Python lists. The protocol needs little more than what stands here.

Source: ASCOM Alpaca API Reference, version 10.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from pyros.clock import Clock
from pyros.hardware.errors import DeviceError, DeviceFault, GarbledReply, LinkClosed, LinkTimeout, RefusedByDevice
from pyros.hardware.link import Journal, real_timeout_s

CLIENT_ID = 4711
TIMEOUT_S = 1.0
REPLY_LIMIT = 1 << 20
_REFUSALS = {
    0x400: "not implemented",
    0x401: "invalid value",
    0x402: "value not set",
    0x407: "not connected",
    0x408: "parked",
    0x409: "slaved",
    0x40B: "invalid operation",
    0x40C: "action not implemented",
    0x40E: "operation cancelled",
}
_T = TypeVar("_T")


class AlpacaConnection:
    """Requests to one Alpaca device, one at a time.

    Parameters
    ----------
    host, port
        The Alpaca server.
    path : str
        The device on it, e.g. ``"camera/0"``.
    clock : Clock
        Charges the timeouts of a simulated mute server.
    device : str
        The device's name in errors and in the journal.
    journal : Journal, optional
        Called after every control request.
    timeout_s : float
        How long the server may be silent.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        clock: Clock,
        *,
        device: str,
        journal: Journal | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.device = f"{device} {host}:{port}/{path}"
        self.clock = clock
        self._channel = f"{host}:{port}"
        self._base = f"/api/v1/{path}/"
        self._name = device
        self._journal = journal
        self._lock = threading.Lock()
        self._transaction = 0
        self._http = http.client.HTTPConnection(host, port, timeout=max(timeout_s, real_timeout_s(clock, timeout_s)))
        self.connected = False
        """Whether the last request was answered, in whatever way; a server may close the line after each."""

    def close(self) -> None:
        """Close the connection. From any thread: a request in progress fails at once."""
        self.connected = False
        line = self._line()
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._http.close()

    def get(self, name: str) -> Any:
        """Return the value of a property; a lost connection is opened once more, for reading harms nothing."""
        return self.control("GET", name, {}, again=True)

    def put(self, name: str, *, again: bool = False, **form: str) -> None:
        """Set a property or call a method; `again` if doing it twice harms nothing."""
        self.control("PUT", name, form, again=again)

    def control(self, method: str, name: str, form: dict[str, str], *, again: bool) -> Any:
        """Do one control request and return its ``Value``; see `request` for the errors."""
        body, transaction = self._exchange(method, name, form, again, _read_json)
        if body.get("ClientTransactionID", transaction) not in {transaction, 0}:
            self.close()
            raise GarbledReply(self.device, name, f"expected the reply to request {transaction}, got another's")
        self.judge(name, body.get("ErrorNumber"), str(body.get("ErrorMessage", "")))
        return body.get("Value")

    def fetch(self, name: str, accept: str, read: Callable[[http.client.HTTPResponse], _T]) -> _T:
        """Return what `read` makes of the reply to a GET; for transfer threads, which no virtual timeout is charged."""
        with self._lock:
            self._transaction += 1
            return self._once("GET", name, {"Accept": accept}, self._ids(), read)

    def judge(self, name: str, number: object, message: str) -> None:
        """Raise what an Alpaca error number means, if it is not 0."""
        if not isinstance(number, int):
            raise GarbledReply(self.device, name, f"expected an ErrorNumber, got {number!r}")
        if number == 0:
            return
        detail = f"{_REFUSALS.get(number, 'driver error')} (0x{number:x}): {message.strip()[:200] or 'no message'}"
        raise (RefusedByDevice if number in _REFUSALS else DeviceFault)(self.device, name, detail)

    # -- the exchange ------------------------------------------------------------------------------------------------

    def _exchange(
        self, method: str, name: str, form: dict[str, str], again: bool, read: Callable[[http.client.HTTPResponse], _T]
    ) -> tuple[_T, int]:
        request = urlencode(form)
        received: _T | None = None
        try:
            with self._lock:
                self._transaction += 1
                received = self._with_second_try(method, name, request, again, read)
                return received, self._transaction
        except (LinkTimeout, LinkClosed):
            if self.clock.charge(self._channel, TIMEOUT_S):
                raise LinkTimeout(self.device, name, f"no reply within {TIMEOUT_S:g} s") from None
            raise
        finally:
            if self._journal is not None:
                reply = b"" if received is None else json.dumps(received).encode("utf-8")
                self._journal(self._name, f"{method} {name} {request}".strip().encode("utf-8"), reply)

    def _with_second_try(
        self, method: str, name: str, request: str, again: bool, read: Callable[[http.client.HTTPResponse], _T]
    ) -> _T:
        """Ask again on a new connection if the server had closed an idle one; not in simulated time, for order."""
        reused = self._line() is not None
        query = f"{request}&{self._ids()}" if request else self._ids()
        try:
            return self._once(method, name, {}, query, read)
        except LinkClosed:
            if not (again and reused) or self.clock.virtual:
                raise
        return self._once(method, name, {}, query, read)

    def _ids(self) -> str:
        return urlencode({"ClientID": CLIENT_ID, "ClientTransactionID": self._transaction})

    def _once(
        self,
        method: str,
        name: str,
        headers: dict[str, str],
        query: str,
        read: Callable[[http.client.HTTPResponse], _T],
    ) -> _T:
        try:
            if method == "GET":
                self._http.request("GET", f"{self._base}{name}?{query}", headers=headers)
            else:
                form = {"Content-Type": "application/x-www-form-urlencoded"}
                self._http.request("PUT", self._base + name, query, form)
            response = self._http.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise self._http_refusal(name, response)
            self.connected = True
            return read(response)
        except DeviceError:
            self._http.close()
            raise
        except (OSError, http.client.HTTPException, ValueError, TypeError, RecursionError) as error:
            self._http.close()
            self.connected = False
            raise self._failure(name, error) from None

    def _http_refusal(self, name: str, response: http.client.HTTPResponse) -> DeviceError:
        text = " ".join(response.read(400).decode("utf-8", "replace").split())
        detail = f"HTTP {response.status} {response.reason}: {text}"
        return (RefusedByDevice if response.status < 500 else DeviceFault)(self.device, name, detail)

    def _failure(self, name: str, error: Exception) -> DeviceError:
        if isinstance(error, TimeoutError):
            return LinkTimeout(self.device, name, f"no reply within {TIMEOUT_S:g} s")
        if isinstance(error, OSError):  # http.client.RemoteDisconnected is one of them
            return LinkClosed(self.device, name, f"the link is closed: {error}")
        return GarbledReply(self.device, name, f"expected an Alpaca reply, got {error!r}"[:300])

    def _line(self) -> socket.socket | None:
        return cast("socket.socket | None", self._http.sock)


def _read_json(response: http.client.HTTPResponse) -> dict[str, Any]:
    text = response.read(REPLY_LIMIT)
    if response.read(1):
        raise ValueError(f"a reply longer than {REPLY_LIMIT} bytes")
    body = json.loads(text)
    if not isinstance(body, dict):
        raise TypeError(f"{text[:60]!r} instead of a JSON object")
    return cast("dict[str, Any]", body)
