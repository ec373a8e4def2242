"""`pyros send`, `ask`, `tail` and `messages`: everything that the actors say and understand."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator

import click
import msgspec

from pyros.cli.door import MistakeError, connect_option, connected, good, user_option, within_option
from pyros.cli.typed import WordsError, message_from, message_type_named, one_line
from pyros.client import Heard
from pyros.messages import Message, Query
from pyros.messages.codec import to_builtins

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of words.")


@click.command()
@click.argument("actor")
@click.argument("message")
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@connect_option
@user_option
@within_option(10.0)
@json_option
def send(
    actor: str, message: str, fields: tuple[str, ...], connect: str, user: str, within_s: float, *, as_json: bool
) -> None:
    """Send MESSAGE to ACTOR and print its reply on one line. Values may be JSON."""
    made = _message(message, fields)
    with connected(connect, user) as client:
        reply = good(client.ask(actor, made, within_s))
    click.echo(msgspec.json.encode(reply) if as_json else one_line(reply))


@click.command()
@click.argument("actor")
@click.argument("query", default="GetState")
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@connect_option
@user_option
@within_option(5.0)
def ask(actor: str, query: str, fields: tuple[str, ...], connect: str, user: str, within_s: float) -> None:
    """Ask ACTOR the QUERY (GetState unless said) and print the answer as JSON."""
    made = _message(query, fields)
    if not isinstance(made, Query):
        raise MistakeError(f"{query} is a {made.kind} and changes things; use `pyros send {actor} {query} …`")
    with connected(connect, user) as client:
        reply = good(client.ask(actor, made, within_s))
    print_json(reply)


@click.command()
@click.option("--actor", "actors", multiple=True, metavar="ACTOR", help="Only what this actor publishes.")
@click.option("--type", "types", multiple=True, metavar="MESSAGE", help="Only this event or state.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after so many.")
@connect_option
@json_option
def tail(actors: tuple[str, ...], types: tuple[str, ...], limit: int | None, connect: str, *, as_json: bool) -> None:
    """Show every event and every change of state on a line of its own, as they come."""
    try:
        topics = [message_type_named(name).__name__ for name in types]
    except WordsError as error:
        raise MistakeError(str(error)) from error
    with connected(connect) as client, contextlib.suppress(KeyboardInterrupt):
        wanted = (heard for heard in _complete(client.listen(topics)) if not actors or heard.sender in actors)
        for heard in itertools.islice(wanted, limit):
            click.echo(_as_json(heard) if as_json else in_words(heard.sent_at, heard.sender, heard.message))


@click.command()
@click.argument("name", required=False)
def messages(name: str | None) -> None:
    """Describe the message NAME: fields, types, limits and units; or list all."""
    from pyros.cli.reference import listing, reference

    try:
        click.echo(listing() if name is None else reference(message_type_named(name)))
    except WordsError as error:
        raise MistakeError(str(error)) from error


def print_json(message: Message) -> None:
    """Print a message as JSON, in colours where somebody watches."""
    raw = msgspec.json.encode(message)
    if sys.stdout.isatty():
        from rich import print_json as print_in_colours

        print_in_colours(raw.decode())
    else:
        click.echo(msgspec.json.format(raw, indent=2))


def _complete(events: Iterator[Heard]) -> Iterator[Heard]:
    """Pass events on, and say on standard error where some are missing."""
    for heard in events:
        if heard.lost:
            click.echo(f"{heard.lost} events were lost here: this reader was too slow", err=True)
        yield heard


def _message(name: str, fields: tuple[str, ...]) -> Message:
    try:
        return message_from(name, fields)
    except WordsError as error:
        raise MistakeError(str(error)) from error


def in_words(at: str, who: str, message: Message) -> str:
    """Return what happened as a line: the instant (ISO-8601, to the millisecond), whose word it is, the message."""
    return f"{at[:23].removesuffix('Z'):23} {who:20} {one_line(message)}"


def _as_json(heard: Heard) -> bytes:
    row = {"sequence": heard.sequence, "sent_at": heard.sent_at, "sender": heard.sender}
    return msgspec.json.encode({**row, "message": to_builtins(heard.message)})
