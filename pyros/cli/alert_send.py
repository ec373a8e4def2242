"""`pyros alert send`: gives a notice to a VTP broker, as its author would."""

from __future__ import annotations

import socket
import struct
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import click

from pyros.actors.alert_manager import vtp
from pyros.actors.alert_manager.voevent import MAX_BYTES, NoticeError, parse_xml, read, shift
from pyros.cli.door import connect_option
from pyros.client import Client, GatewayError
from pyros.clock import WallClock
from pyros.config import AlertSource
from pyros.messages.system import GetSnapshot, Snapshot

ANSWERS_WITHIN_S = 1.0
BROKER_FILE = "broker"
"""A demo writes its broker's address into this file beside the gateway's sockets."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "broker", metavar="vtp://HOST:PORT", help="The broker. Default: that of the running demo.")
@click.option("--now", "moved", is_flag=True, help="Move its times: it happened --delay ago and is sent now.")
@click.option(
    "--delay", "delay_s", type=click.FloatRange(0, 86_400), default=30.0, show_default=True, metavar="SECONDS"
)
@connect_option
def send(file: Path, broker: str | None, moved: bool, delay_s: float, connect: str) -> None:
    """Send FILE, a VOEvent, to the broker of a running demo, which passes it on to the observatory."""
    raw = _read(file)
    try:
        if moved:
            now = _observatory_time(connect)
            raw = shift(raw, now - timedelta(seconds=delay_s), now)
        ivorn = read(raw).ivorn
    except NoticeError as error:
        raise click.ClickException(f"{file}: {error}") from error
    host, port = _address(broker or _broker_of(connect))
    role, reason = submit(raw, host, port)
    if role != "ack":
        raise click.ClickException(f"the broker at {host}:{port} refused {ivorn}: {reason or 'without a reason'}")
    click.echo(f"{ivorn} taken by the broker at {host}:{port}")


def submit(raw: bytes, host: str, port: int) -> tuple[str, str]:
    """Send one event to a broker as its author; return its answer's role (ack or nak) and reason.

    Raises
    ------
    click.ClickException
        With one line, if the broker cannot be reached or does not answer.
    """
    try:
        with socket.create_connection((host, port), ANSWERS_WITHIN_S) as link:
            link.sendall(vtp.frame(raw))
            while True:
                answer = vtp.read_transport(_frame(link))
                if answer.role in {"ack", "nak"}:
                    return answer.role, answer.result
    except (OSError, EOFError, NoticeError, vtp.FrameError) as error:
        raise click.ClickException(f"the broker at {host}:{port} does not take it: {error or 'it hung up'}") from error


def _frame(link: socket.socket) -> bytes:
    (length,) = struct.unpack("!I", _exactly(link, 4))
    if not 0 < length <= MAX_BYTES:
        raise vtp.FrameError(f"it answers with a frame of {length} bytes")
    return _exactly(link, length)


def _exactly(link: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = link.recv(count - len(received))
        if not part:
            raise EOFError("it hung up")
        received += part
    return received


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
        parse_xml(raw)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror or error}") from error
    except NoticeError as error:
        raise click.ClickException(f"{file}: {error}") from error
    return raw


def _observatory_time(connect: str) -> datetime:
    """Return what time it is at the daemon, whose clock may be simulated; without a daemon, here."""
    try:
        client = Client(connect)
        snapshot = client.ask("gateway", GetSnapshot())
        client.close()
    except (GatewayError, ValueError):
        return WallClock().now()
    return snapshot.now if isinstance(snapshot, Snapshot) else WallClock().now()


def _broker_of(connect: str) -> str:
    file = Path(connect.removeprefix("ipc://")) / BROKER_FILE
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        raise click.ClickException(
            f"no demo runs at {connect}; start `pyros demo`, or name a broker with --to vtp://HOST:PORT"
        ) from None


def _address(url: str) -> tuple[str, int]:
    try:
        address = urlsplit(AlertSource(kind="vtp", url=url).url)
        host, port = address.hostname or "", address.port or 0
    except ValueError:
        raise click.BadParameter(f"{url!r} is not vtp://HOST:PORT", param_hint="--to") from None
    return host, port
