"""`pyros alert`: look at notices from the command line."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pyros.actors.alert_manager.notice import Notice
from pyros.actors.alert_manager.strategy import Strategy, choose, defaults, parse
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.tables import TableError
from pyros.actors.alert_manager.verdict import AlertPolicy, Verdict, judge, policy_from
from pyros.actors.alert_manager.voevent import MAX_BYTES, NoticeError, instant, read
from pyros.cli.alert_send import send

MAX_CONFIG_BYTES = 1 << 20


@click.group()
def alert() -> None:
    """Notices of bursts, and what PyROS makes of them."""


@alert.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--at", metavar="INSTANT", help="When it is received (ISO-8601, UTC). Default: when it was sent.")
@click.option("--config", type=click.Path(path_type=Path), help="An observatory.toml, for its [alerts] and strategies.")
def check(file: Path, at: str | None, config: Path | None) -> None:
    """Say what FILE, a VOEvent, is and whether it would be acted upon. JSON on standard output."""
    received = None if at is None else instant(at)
    if at is not None and received is None:
        raise click.BadParameter(f"{at!r} is not an ISO-8601 instant, such as 2026-11-22T21:04:05Z", param_hint="--at")
    policy, strategies = (AlertPolicy(), defaults()) if config is None else _configured(config)
    try:
        notice = interpret(read(_bytes(file, MAX_BYTES)))
    except NoticeError as error:
        raise click.ClickException(f"{file}: {error}") from error
    now = received or notice.sent or notice.reference or datetime.fromtimestamp(0, UTC)
    verdict = judge(notice, policy, now)
    if verdict.accepted:
        chosen = choose(strategies, notice)
        what = f"strategy {chosen.name} {chosen.version}" if chosen else "no strategy takes it: recorded only"
        verdict = Verdict(accepted=True, reason=f"{verdict.reason}; {what}")
    click.echo(json.dumps(report(notice, verdict), ensure_ascii=False, indent=2))


def report(notice: Notice, verdict: Verdict) -> dict[str, Any]:
    """Return what `check` prints."""
    return {
        "ivorn": notice.ivorn,
        "stream": notice.stream,
        "role": notice.role,
        "kind": notice.kind,
        "trigger": notice.trigger,
        "t0": None if notice.t0 is None else notice.t0.isoformat().replace("+00:00", "Z"),
        "ra_deg": notice.ra_deg,
        "dec_deg": notice.dec_deg,
        "error_deg": notice.error_deg,
        "error_meaning": notice.error_meaning,
        "significance": notice.significance,
        "retraction": notice.retraction,
        "test": notice.test,
        "verdict": "ACCEPTED" if verdict.accepted else "REJECTED",
        "reason": verdict.reason,
    }


def _bytes(file: Path, limit: int) -> bytes:
    """Read a file, one byte more than allowed at most: enough to see that it is too large."""
    try:
        with file.open("rb") as opened:
            return opened.read(limit + 1)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror or error}") from error


def _configured(config: Path) -> tuple[AlertPolicy, list[Strategy]]:
    try:
        table = tomllib.loads(_bytes(config, MAX_CONFIG_BYTES).decode()).get("alerts", {})
        policy, file = policy_from(table), table.get("strategies")
        if file is None:
            return policy, defaults()
        return policy, parse(_bytes(config.parent / str(file), MAX_CONFIG_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TableError) as error:
        raise click.ClickException(f"{config}: {'; '.join(str(error).splitlines())}") from error


alert.add_command(send)
