"""The command line's way to a running daemon: the options that name it, and its errors as one line."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click

from pyros.client import Client, GatewayError, default_endpoint
from pyros.messages import Expired, Failed, Message, Refused

connect_option = click.option(
    "--connect", metavar="FOLDER", default=default_endpoint, help="The daemon's gateway (PYROS_GATEWAY)."
)
user_option = click.option(
    "--user", default="", envvar="PYROS_USER", metavar="NAME", help="On whose behalf (PYROS_USER)."
)


def within_option(default_s: float) -> Callable[[Any], Any]:
    """Return the option that bounds the wait for an answer."""
    seconds = click.FloatRange(0, 3600, min_open=True)
    return click.option("--within", "within_s", type=seconds, default=default_s, show_default=True, metavar="SECONDS")


class MistakeError(click.ClickException):
    """Something was asked wrongly; one line, exit status 2."""

    exit_code = 2


@contextmanager
def connected(connect: str, user: str = "") -> Generator[Client]:
    """Yield a client; what keeps it from the daemon becomes one line and exit status 1."""
    try:
        client = Client(connect, user)
    except ValueError as error:
        raise MistakeError(str(error)) from error
    try:
        yield client
    except GatewayError as error:
        raise click.ClickException(str(error)) from error
    finally:
        client.close()


def good(reply: Message) -> Message:
    """Return the reply, unless it is a refusal, a failure or silence: those end the command with status 1."""
    if isinstance(reply, Refused | Failed | Expired):
        raise click.ClickException(f"{type(reply).__name__.lower()}: {' '.join(reply.reason.split())}")
    return reply
