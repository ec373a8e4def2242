"""`pyros user`: accounts, by way of the running daemon. A password is hashed here and never travels."""

from __future__ import annotations

import sys
from typing import Any, get_args

import click
import msgspec

from pyros.cli.door import MistakeError, connect_option, connected, good, user_option, within_option
from pyros.cli.typed import one_line
from pyros.messages.codec import BadMessageError, validated
from pyros.messages.people import AddUser, Role
from pyros.messages.store import GetRows, Rows

SHORTEST = 12
LONGEST = 1000
"""Characters of a password; `Authenticate` takes no more."""


@click.group()
def user() -> None:
    """Accounts of people."""


@user.command()
@click.argument("name")
@click.option("--email", required=True)
@click.option("--role", required=True, type=click.Choice(get_args(Role)))
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input: its first line.")
@connect_option
@user_option
@within_option(10.0)
def add(name: str, email: str, role: Role, connect: str, user: str, within_s: float, *, password_stdin: bool) -> None:
    """Make an account for NAME; the password is asked for twice."""
    password = _password_from_stdin() if password_stdin else _password_from_terminal()
    if not SHORTEST <= len(password) <= LONGEST:
        raise MistakeError(f"the password has {len(password)} characters; it needs {SHORTEST} to {LONGEST}")
    try:
        message = validated(AddUser(name=name, email=email, role=role, password_hash=password_hash(password)))
    except BadMessageError as error:
        raise MistakeError(str(error)) from error
    with connected(connect, user) as client:
        reply = good(client.ask("user_manager", message, within_s))
    click.echo(one_line(reply))


@user.command(name="list")
@connect_option
@within_option(5.0)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def list_users(connect: str, within_s: float, *, as_json: bool) -> None:
    """List all accounts."""
    found: list[dict[str, Any]] = []
    with connected(connect) as client:
        page = None
        while page is None or (page.more and page.rows):
            query = GetRows(table="user", limit=1000, ascending=True, before_id=found[-1]["id"] if found else None)
            reply = good(client.ask("librarian", query, within_s))
            if not isinstance(reply, Rows):
                raise click.ClickException(f"librarian answered {one_line(reply)} instead of rows")
            page = reply
            found += page.rows
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
        return
    for row in found:
        click.echo(f"{row['name']:24} {row['role']:12} {row['status']:12} {row['email']}")


def password_hash(password: str) -> str:
    """Return the argon2id hash, with the parameters of OWASP's password storage cheat sheet: 19 MiB, t = 2, p = 1."""
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(password)


def _password_from_stdin() -> str:
    return sys.stdin.readline(LONGEST + 2).removesuffix("\n").removesuffix("\r")


def _password_from_terminal() -> str:
    if not sys.stdin.isatty():
        raise MistakeError("there is no terminal to ask for a password at; give it with --password-stdin")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password
