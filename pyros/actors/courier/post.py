"""One POST of a piece of news, in a thread of its own: a receiver, or a name server, that is slow holds nobody up.

Why not an executor: its threads are waited for when the process ends, and a daemon must be able to end at once.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from concurrent.futures import Future
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

import pyros

ANSWER_S = 5.0
"""Real seconds for the connection, and again for each word of the answer."""


class Post:
    """Posts a payload once; `hang_up` ends it from any thread."""

    def __init__(self, url: str, payload: dict[str, Any]) -> None:
        self._url = url
        self._payload = payload
        self._connection: http.client.HTTPConnection | None = None

    def begin(self) -> Future[tuple[int, str]]:
        """Start, and return what will be the answer's status and phrase; or any exception."""
        answer: Future[tuple[int, str]] = Future()
        threading.Thread(target=self._run, args=(answer,), name="courier post", daemon=True).start()
        return answer

    def hang_up(self) -> None:
        """Cut the connection; what waits for it fails."""
        line = None if self._connection is None else cast("socket.socket | None", self._connection.sock)
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _run(self, answer: Future[tuple[int, str]]) -> None:
        try:
            answer.set_result(self._exchange())
        except BaseException as error:  # noqa: BLE001 - whatever it was, the courier decides what it means
            answer.set_exception(error)

    def _exchange(self) -> tuple[int, str]:
        parts = urlsplit(self._url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = self._connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_S)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", target, msgspec.json.encode(self._payload), self._headers())
            response = connection.getresponse()  # its status is the answer; nobody reads on
            return response.status, response.reason
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": str(self._payload["id"]),
            "User-Agent": f"pyros/{pyros.__version__}",
            "Connection": "close",
        }
