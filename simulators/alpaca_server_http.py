"""HTTP/1.1 as Alpaca needs it, read by hand: a request then costs a third of what `http.server` takes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

MAX_REQUEST_BYTES = 65536
REQUEST_DEADLINE_S = 1.0
"""A request that has begun must be complete within this real time, or the connection is closed."""


class AlpacaError(Exception):
    """A device's refusal, by ASCOM error number."""

    NOT_IMPLEMENTED = 0x400
    INVALID_VALUE = 0x401
    VALUE_NOT_SET = 0x402
    NOT_CONNECTED = 0x407
    INVALID_OPERATION = 0x40B
    ACTION_NOT_IMPLEMENTED = 0x40C
    DRIVER = 0x500

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class BadRequestError(Exception):
    """The request makes no sense: HTTP 400."""


class Request(NamedTuple):
    """An HTTP request; header names are lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]


def read_request(connection: socket.socket, buffer: bytearray) -> Request | BadRequestError | None:
    """Take the next request off a connection; None when the client has hung up.

    Idle connections are kept for ever. What is left in `buffer` belongs to the request after.
    """
    connection.settimeout(None)
    if not buffer and not _more(connection, buffer):
        return None
    connection.settimeout(REQUEST_DEADLINE_S)
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if len(buffer) > MAX_REQUEST_BYTES:
            return BadRequestError(f"the header is longer than {MAX_REQUEST_BYTES} bytes")
        if not _more(connection, buffer):
            return None
    head = bytes(buffer[:end]).decode("latin-1")
    request = _parse_head(head)
    if isinstance(request, BadRequestError):
        return request
    length = request.headers.get("content-length", "0")
    if not is_whole(length, MAX_REQUEST_BYTES) or "transfer-encoding" in request.headers:
        return BadRequestError(
            f"content length {length[:40]!r} must be a number up to {MAX_REQUEST_BYTES}, sent in one piece"
        )
    if "expect" in request.headers:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(buffer) < end + 4 + int(length):
        if not _more(connection, buffer):
            return None
    body = bytes(buffer[end + 4 : end + 4 + int(length)])
    del buffer[: end + 4 + int(length)]
    if request.method == "GET":
        return request
    return request._replace(parameters=dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))


def _more(connection: socket.socket, buffer: bytearray) -> bool:
    piece = connection.recv(65536)
    buffer += piece
    return bool(piece)


def _parse_head(head: str) -> Request | BadRequestError:
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        return BadRequestError(f"{first[:80]!r} is not an HTTP/1 request line")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    path, _, query = parts[1].partition("?")
    # The names of a query are case-insensitive in Alpaca; those of a form are not.
    parameters = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    return Request(parts[0], unquote(path), parameters, headers)


def is_whole(text: str, most: int) -> bool:
    """Return whether a text is a whole number from 0 to `most`."""
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= most


def http_answer(status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    """Return a complete HTTP answer."""
    reason = "OK" if status == 200 else "Bad Request"
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body
