"""Archivist, monitor and courier on the virtual clock, and a real HTTP receiver on loopback that records all."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyros.actors.archivist import Archivist
from pyros.actors.courier.actor import Courier
from pyros.actors.courier.news import news
from pyros.actors.environment import Environment
from pyros.actors.kernel import ChildSpec, Supervisor, System, start_supervisor
from pyros.actors.kernel.envelope import StopOrder
from pyros.actors.monitor.actor import Monitor
from pyros.clock import VirtualClock
from pyros.config import parse
from pyros.messages.base import GetState
from pyros.messages.store import Commit, Committed, GetRows
from pyros.messages.system import Crash
from pyros.store.database import open_reader
from pyros.store.history import rows
from pyros.store.repositories import settings

NOON = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
DEVICES = {"telescope": {"url": "lx200+tcp://127.0.0.1:9"}, "plc": {"url": "modbus://127.0.0.1:9"}}


class Receiver:
    """Takes posts; `behave(number)` says what the nth one (from 0) gets: a status, "hang up", "half" or "mute"."""

    def __init__(self, behave=lambda number: 200, port=0):
        self.behave, self.posts, self.mute = behave, [], threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append((self.path, dict(self.headers), json.loads(body)))
                receiver.answer(self, receiver.behave(len(receiver.posts) - 1))

            def log_message(self, *_):
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                """A courier that has hung up is no error."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler, what):
        if what == "mute":
            self.mute.wait(10.0)
        if what == "half":
            handler.wfile.write(b"HTTP/1.1 20")
        if isinstance(what, int):
            handler.send_response(what)
            handler.end_headers()
            return
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/news"

    @property
    def ids(self):
        return [headers["Idempotency-Key"] for _, headers, _ in self.posts]

    @property
    def subjects(self):
        """What a receiver that drops the ids it has seen makes of it."""
        return list({body["id"]: body["subject"] for _, _, body in self.posts}.values())

    def wait_for(self, posts, real_s=10.0):
        """Wait in real time until so many posts have come."""
        until_s = time.monotonic() + real_s
        while len(self.posts) < posts and time.monotonic() < until_s:
            time.sleep(0.005)

    def close(self):
        self.mute.set()
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def settings_with(**destinations):
    """Settings with these destinations: name=url, or name=(url, topics)."""
    told = [
        {"name": name, "url": where} if isinstance(where, str) else {"name": name, "url": where[0], "topics": where[1]}
        for name, where in destinations.items()
    ]
    tables = {"mode": "simulation", "devices": DEVICES, "store": {"synchronous": "off"}}
    return parse({**tables, "courier": {"destination": told}}, "stage")


class Stage:
    """Use as a context manager."""

    def __init__(self, folder, settings, *, start=NOON, boot=1, archivist=Archivist, monitor=False, clock=None):
        self.folder, self.settings = folder, settings
        self.clock = clock or VirtualClock(start, stall_s=20.0)
        self.system = System(self.clock, boot)
        self.log = []
        self.system.events.tap(lambda sender, message: self.log.append((self.clock.now(), message)))
        self.environment = Environment.of(settings, folder, ThreadPoolExecutor(1), boot=boot)
        actors = {"archivist": archivist, "courier": Courier, **({"monitor": Monitor} if monitor else {})}
        specs = [ChildSpec(name, lambda c, actor=actor: actor(c, self.environment)) for name, actor in actors.items()]
        self.supervisor = start_supervisor(self.system, lambda context: Supervisor(context, specs))
        self.run(0.0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in ("supervisor", *self.system.names()):
            mailbox = self.system.mailbox(name)
            mailbox.put(StopOrder(mailbox.owner), first=True)
        self.run(0.0)
        self.environment.pool.shutdown(wait=False)

    def run(self, seconds):
        if self.clock.virtual:
            self.clock.run(self.clock.now() + timedelta(seconds=seconds))
        else:
            self.clock.sleep(seconds)

    def until(self, done, most_s):
        """Let time pass until it is done; return how many seconds that took."""
        began = self.clock.now()
        if self.clock.virtual:
            self.clock.run(began + timedelta(seconds=most_s), done=done)
        while not done() and (self.clock.now() - began).total_seconds() < most_s:
            self.clock.sleep(0.05)
        assert done(), f"not within {most_s} s: {self.state}"
        return (self.clock.now() - began).total_seconds()

    def tell_of(self, *subjects, topic="alert"):
        """Have facts recorded with their news, each in a commit of its own."""
        for subject in subjects:
            writes = news(self.settings, topic, subject, {"what": subject}, self.clock.now())
            self.system.tell("archivist", Commit(writes=writes, reason=subject), sender="monitor")

    def commit(self, *writes):
        return self.system.ask("archivist", Commit(writes=list(writes), reason="stage"), 30.0)

    def stored(self, *writes):
        reply = self.commit(*writes)
        assert isinstance(reply, Committed), reply
        return reply.ids

    def crash(self, actor="courier", how="raise"):
        self.system.tell(actor, Crash(how=how))

    @property
    def state(self):
        return self.system.ask("courier", GetState(), 30.0)

    def row(self, name):
        return next(row for row in self.state.destinations if row.name == name)

    def rows(self, table, **where):
        with open_reader(self.folder) as reader:
            return rows(reader, GetRows(table=table, where=where, ascending=True, limit=1000)).rows

    def setting(self, key):
        with open_reader(self.folder) as reader:
            return settings(reader).get(key)

    def outbox(self, *columns, **where):
        return [tuple(row[name] for name in columns) for row in self.rows("outbox", **where)]

    def events(self, kind):
        return [message for _, message in self.log if isinstance(message, kind)]


class Dripping:
    """Answers one letter of a header each tenth of a second, for ever; then, to the second caller, properly."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/"

    def _serve(self):
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            self.calls += 1
            line.recv(65_536)
            threading.Thread(target=self._answer, args=(line, self.calls), daemon=True).start()

    @staticmethod
    def _answer(line, call):
        with line:
            if call > 1:
                line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                return
            try:
                line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                pause = threading.Event()
                while not pause.wait(0.1):
                    line.sendall(b"x")
            except OSError:
                return

    def close(self):
        self.listener.close()
