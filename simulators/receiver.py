"""A simulated centre that takes news by HTTP POST, drops what it has had already, and can be away.

While it is away its door is shut: connections are closed without an answer.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from simulators.world import World

KEY = "Idempotency-Key"
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Taken:
    """One piece of news as it came: its id, its content, and how often it has come before."""

    id: str
    content: Any
    repeated: int


class Receiver:
    """Listens on a free loopback port from `start()` to `stop()`; `taken` is everything that came, in order."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.up = True
        self.taken: list[Taken] = []
        self._world = world
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        """Return the URL to post to."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(min(length, MAX_BYTES))
                status = receiver.take(self.headers.get(KEY) or "", body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name=f"simulated centre {self.name}", daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/news"

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def switch(self, up: bool) -> None:
        """Let it take news, or be away."""
        self.up = up

    def ids(self) -> list[str]:
        """Return the ids that came, each once, in the order of their first coming."""
        with self._lock:
            return [one.id for one in self.taken if not one.repeated]

    def take(self, identifier: str, body: bytes) -> int | None:
        """Return the HTTP status for a piece of news; None where nobody answers."""
        if not self.up or not self._world.network.at(self._world.unix_s()):
            return None
        try:
            content = json.loads(body)
        except ValueError:
            return 400
        if not identifier:
            return 400
        with self._lock:
            repeated = sum(1 for one in self.taken if one.id == identifier)
            self.taken.append(Taken(identifier, content, repeated))
        return 200
