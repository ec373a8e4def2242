"""Where the observatory's news go: an HTTP server that takes every post and drops the ids that it has seen."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Listens on a free port of the loopback; `news` has each id once, in the order of coming, `posts` every post."""

    def __init__(self):
        self.news: dict[str, dict] = {}
        self.posts: Counter[str] = Counter()
        self.conflicts: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/news"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="news receiver", daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def take(self, key: str, body: bytes) -> None:
        """Note a post; the same id with other content is a conflict."""
        news = json.loads(body)
        with self._lock:
            self.posts[key] += 1
            if self.news.setdefault(key, news) != news or str(news["id"]) != key:
                self.conflicts.append(key)

    def _handler(receiver):  # noqa: N805 - the handler's own self is the request
        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.headers["Idempotency-Key"], body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                return

        return Handler
