"""The web app's process: it serves the page until it is told to end, and asks the daemon through the gateway."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from flask import Flask
from waitress.server import create_server

from pyros.client import Client
from pyros.clock import WallClock
from pyros.web.app import STREAMS, Options, create_app

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="web: %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a stream holds a thread by intent
    try:
        secret_key = read_secret(given.secret_file)
        clock = WallClock()
        options = Options(
            secret_key=secret_key,
            token_file=given.one_time_token_file,
            behind_proxy=given.behind_proxy,
            trusted_hosts=tuple(given.trusted_host) or (_LOOPBACK if given.host in _LOOPBACK else ()),
        )
        app = create_app(Client(given.connect, user="web"), options, clock)
        server = make_server(app, given.host, given.port)
    except (OSError, ValueError) as error:
        print(f"pyros web: {error}", file=sys.stderr)  # noqa: T201 - the one clear line of a failed start
        return 1
    serve(app, server, clock)
    return 0


def make_server(app: Flask, host: str, port: int) -> Any:
    """Return waitress listening; port 0 takes a free one, told by `effective_port`."""
    return create_server(
        app,
        host=host,
        port=port,
        threads=STREAMS + 8,
        connection_limit=200,
        channel_request_lookahead=5,  # lets a stream notice that its browser has gone
        outbuf_high_watermark=256 << 10,  # a slow browser waits in our bounded queue, not in a buffer
        channel_timeout=60,
        ident=None,
    )


def run_server(server: Any, ending: threading.Event) -> None:
    """Serve until the server is closed; closing it under its own select is how it ends, and no error then."""
    try:
        server.run()
    except OSError:
        if not ending.is_set():
            raise


def serve(app: Flask, server: Any, clock: WallClock) -> None:
    """Run feed and server until a signal asks to stop, then end the streams first and the threads after them."""
    stop = clock.turn()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.wake())
    feed = app.extensions["feed"]
    feed.start()
    ending = threading.Event()
    threading.Thread(target=run_server, args=(server, ending), name="waitress", daemon=True).start()
    print(f"page: http://{server.effective_host}:{server.effective_port}/", flush=True)  # noqa: T201 - for who started it
    stop.rest()
    ending.set()
    feed.stop()
    server.task_dispatcher.shutdown(timeout=1)
    server.close()


def read_secret(file: Path) -> str:
    """Return the key that signs sessions; make the file if there is none.

    Raises
    ------
    ValueError
        If the key is shorter than 32 characters or others may read the file.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as new:
            new.write(secrets.token_hex(32))
    secret_key = file.read_text(encoding="utf-8").strip()
    if len(secret_key) < 32:
        raise ValueError(
            f"secret file {file} holds {len(secret_key)} characters; it needs 32, or remove it for a new one"
        )
    if file.stat().st_mode & 0o007:
        raise ValueError(f"secret file {file} is open to everyone; chmod 600 it")
    return secret_key


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pyros.web", description="The observatory's page.")
    parser.add_argument("--connect", required=True, metavar="GATEWAY", help="folder of the gateway's sockets")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", default=8080, type=_port, help="port to listen on (8080; 0: any free one)")
    parser.add_argument("--secret-file", required=True, type=Path, metavar="FILE", help="key that signs sessions")
    parser.add_argument("--one-time-token-file", type=Path, metavar="FILE", help="one line, NAME TOKEN: logs in once")
    parser.add_argument("--behind-proxy", action="store_true", help="one TLS proxy stands before: secure cookies")
    parser.add_argument(
        "--trusted-host", action="append", default=[], metavar="NAME", help="name the page is reached by"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"port is {text}; it must be from 0 to 65535")
    return int(text)
