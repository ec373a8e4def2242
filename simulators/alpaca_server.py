"""An ASCOM Alpaca server: HTTP/1.1 with keep-alive in front of simulated devices.

Speaks the Alpaca device and management API (ASCOM Alpaca API Reference): every device answer is HTTP 200 with an
ErrorNumber; HTTP 400 means that the request itself makes no sense. The injected faults of a device act here, where
they would act in reality: on the wire.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from pyros.clock import Clock
from simulators.alpaca_server_http import AlpacaError, BadRequestError, Request, http_answer, is_whole, read_request
from simulators.alpaca_server_image import NdArray, image_bytes, image_json
from simulators.faults import SILENT

SLOW_ANSWER_S = 0.5
GARBAGE = b"\x00\xff{'Value': tru\xfe"
JSON = "application/json; charset=utf-8"


class AlpacaDevice(Protocol):
    """What the server needs of a device. Method names are lower case; a NumPy value is sent as an image."""

    device_type: str
    number: int
    name: str
    unique_id: str

    def fault(self) -> str | None:
        """Return the kind of fault injected now."""
        ...

    def get(self, method: str) -> Any:
        """Return a property; raises AlpacaError, or BadRequestError for an unknown one."""
        ...

    def put(self, method: str, form: Mapping[str, str]) -> Any:
        """Set a property or call a method; raises as `get` does."""
        ...


class AlpacaServer:
    """Serves devices on one address.

    Parameters
    ----------
    devices : sequence of AlpacaDevice
    clock : Clock
        Mute devices are hushed on a virtual clock.
    """

    def __init__(self, devices: Sequence[AlpacaDevice], clock: Clock, description: str = "PyROS simulators") -> None:
        self._devices = {(each.device_type, str(each.number)): each for each in devices}
        self._clock = clock
        self._description = description
        self._transactions = itertools.count(1)
        self._listener: _Listener | None = None
        self.address = ""

    def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return "host:port"; port 0 lets the system choose.

        Raises
        ------
        OSError
            If the address cannot be had.
        """
        self._listener = _Listener((host, port), self.converse)
        self.address = f"{host}:{self._listener.server_address[1]}"
        threading.Thread(
            target=self._listener.serve_forever, args=(0.1,), name=f"alpaca {self.address}", daemon=True
        ).start()
        return self.address

    def stop(self) -> None:
        """Stop listening and hang up on every client."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.hang_up()
            self._listener = None

    def converse(self, connection: socket.socket) -> None:
        """Answer one client's requests until one side hangs up (in that connection's thread)."""
        buffer = bytearray()
        while (request := read_request(connection, buffer)) is not None:
            if not self._answer(request, connection):
                return

    def _answer(self, request: Request | BadRequestError, connection: socket.socket) -> bool:
        if isinstance(request, BadRequestError):
            connection.sendall(http_answer(400, str(request).encode()))
            return False
        device = self._device_of(request.path)
        fault = None if device is None else device.fault()
        if fault in SILENT:
            self._swallow(request, connection, carry_out=fault == "hang")
            return False
        if fault == "disconnect":
            return False
        if fault == "slow" and not self._clock.virtual:
            self._clock.sleep(self._clock.at_least_real(0.0, SLOW_ANSWER_S))
        answer = (
            http_answer(200, GARBAGE, JSON) if fault == "garbage" else self._reply(request, refuse=fault == "refuse")
        )
        connection.sendall(answer)
        return request.headers.get("connection", "").lower() != "close"

    def _swallow(self, request: Request, connection: socket.socket, *, carry_out: bool) -> None:
        """Leave a request unanswered: until the client hangs up, or in virtual time by telling the clock."""
        if carry_out:
            self._reply(request, refuse=False)
        if self._clock.virtual:
            self._clock.hush(self.address)
            return
        while connection.recv(4096):
            pass

    def _reply(self, request: Request, *, refuse: bool) -> bytes:
        try:
            if request.path.startswith("/management/"):
                return self._envelope(request, lambda: self._management(request))
            return self._envelope(request, lambda: self._call(request, refuse=refuse))
        except BadRequestError as error:
            return http_answer(400, str(error).encode())

    def _envelope(self, request: Request, ask: Callable[[], Any]) -> bytes:
        client = _transaction(request)
        server = next(self._transactions)
        number, message, value = 0, "", None
        try:
            value = ask()
        except AlpacaError as error:
            number, message = error.number, str(error)
        if isinstance(value, NdArray):
            pixels = cast("NdArray", value)
            if "application/imagebytes" in request.headers.get("accept", "").lower():
                return http_answer(200, image_bytes(pixels, client, server), "application/imagebytes")
            return http_answer(200, image_json(pixels, client, server), JSON)
        body: dict[str, Any] = {} if value is None else {"Value": value}
        body |= {
            "ClientTransactionID": client,
            "ServerTransactionID": server,
            "ErrorNumber": number,
            "ErrorMessage": message,
        }
        return http_answer(200, json.dumps(body).encode(), JSON)

    def _management(self, request: Request) -> Any:
        if request.method == "GET" and request.path == "/management/apiversions":
            return [1]
        if request.method == "GET" and request.path == "/management/v1/description":
            return {
                "ServerName": self._description,
                "Manufacturer": "PyROS",
                "ManufacturerVersion": "1",
                "Location": "simulated",
            }
        if request.method == "GET" and request.path == "/management/v1/configureddevices":
            return [_configured(device) for device in self._devices.values()]
        raise BadRequestError(f"{request.method} {request.path} is not a management request")

    def _device_of(self, path: str) -> AlpacaDevice | None:
        parts = path.split("/")
        return self._devices.get((parts[3], parts[4])) if len(parts) == 6 else None

    def _call(self, request: Request, *, refuse: bool) -> Any:
        device = self._device_of(request.path)
        if device is None or not request.path.startswith("/api/v1/"):
            known = ", ".join(f"/api/v1/{kind}/{number}" for kind, number in self._devices)
            raise BadRequestError(f"{request.path} is no device of this server; it serves {known}")
        if refuse:
            raise AlpacaError(AlpacaError.DRIVER, f"{device.name} refuses every command")
        method = request.path.rsplit("/", 1)[1]
        if request.method == "GET":
            return device.get(method)
        if request.method == "PUT":
            return device.put(method, request.parameters)
        raise BadRequestError(f"HTTP method {request.method} is not used by Alpaca; use GET or PUT")


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        listener = cast("_Listener", self.server)
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.open_connections[connection.fileno()] = connection
        try:
            with contextlib.suppress(OSError):  # the client went away: nothing is left to tell it
                listener.converse(connection)
        finally:
            listener.open_connections.pop(connection.fileno(), None)


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], converse: Callable[[socket.socket], None]) -> None:
        self.converse = converse
        self.open_connections: dict[int, socket.socket] = {}
        super().__init__(address, _Connection)

    def hang_up(self) -> None:
        for connection in list(self.open_connections.values()):
            with contextlib.suppress(OSError):  # already closed by the client
                connection.shutdown(socket.SHUT_RDWR)


def _transaction(request: Request) -> int:
    spelled = ("clientid", "clienttransactionid") if request.method == "GET" else ("ClientID", "ClientTransactionID")
    numbers = [request.parameters.get(name) or "0" for name in spelled]
    for name, text in zip(spelled, numbers, strict=True):
        if not is_whole(text, 2**32 - 1):
            raise BadRequestError(f"{name} is {text[:40]!r}; it must be a whole number from 0 to 4294967295")
    return int(numbers[1])


def _configured(device: AlpacaDevice) -> dict[str, Any]:
    return {
        "DeviceName": device.name,
        "DeviceType": device.device_type.capitalize(),
        "DeviceNumber": device.number,
        "UniqueID": device.unique_id,
    }
