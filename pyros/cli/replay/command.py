"""`pyros replay`: what a flight recording holds, line by line, and what an actor makes of it now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import click
import msgspec

from pyros.cli.door import MistakeError
from pyros.cli.messages import in_words, json_option
from pyros.cli.replay.comparison import SAME, Line, compare, said_in
from pyros.cli.replay.words import (
    chosen,
    header_json,
    header_lines,
    instant_near,
    instant_of,
    record_json,
    record_line,
    stamp,
)
from pyros.cli.typed import WordsError, message_type_named
from pyros.config import ConfigError, Settings, load, parse
from pyros.flight import FlightError, Recorded, Recording, read_recording
from pyros.flight.record import PUBLISHED


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--actor", "actors", multiple=True, metavar="ACTOR", help="Only what this actor sends or gets.")
@click.option("--type", "types", multiple=True, metavar="MESSAGE", help="Only these messages.")
@click.option("--from", "since", metavar="TIME", help="Not before: 05:31:07, or with its date, UTC.")
@click.option("--to", "until", metavar="TIME", help="Not after.")
@json_option
@click.option("--feed", "fed", metavar="ACTOR", help="Feed it all to a fresh ACTOR; show what it says now.")
@click.option("--different", is_flag=True, help="With --feed: only where it differs from the recording.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --feed: settings of your own.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="With --feed: begin with a copy of the store in this state folder, not with an empty one.",
)
def replay(
    file: Path,
    actors: tuple[str, ...],
    types: tuple[str, ...],
    since: str | None,
    until: str | None,
    fed: str | None,
    config: Path | None,
    state: Path | None,
    *,
    as_json: bool,
    different: bool,
) -> None:
    """Show what the flight recorder has written to FILE, or feed it to an actor."""
    if fed is None and (different or config is not None or state is not None):
        raise MistakeError("--different, --config and --state go with --feed ACTOR")
    try:
        recording = read_recording(file)
    except FlightError as error:
        raise click.ClickException(str(error)) from error
    wanted = chosen(actors, _tags(types), *_bounds(recording, since, until))
    if fed is None:
        _show(file, recording, wanted, as_json=as_json)
    else:
        lines = _feed(recording, fed, _settings(recording, config), state)
        _show_fed(fed, [line for line in lines if wanted(_as_record(line, fed))], as_json, different)


def _tags(types: Iterable[str]) -> list[str]:
    try:
        return [message_type_named(name).__name__ for name in types]
    except WordsError as error:
        raise MistakeError(str(error)) from error


def _bounds(recording: Recording, since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    near = instant_of(recording.records[0].t_us) if recording.records else recording.header.at
    try:
        return instant_near(since, near) if since else None, instant_near(until, near) if until else None
    except WordsError as error:
        raise MistakeError(str(error)) from error


def _show(file: Path, recording: Recording, wanted: Callable[[Recorded], bool], *, as_json: bool) -> None:
    if as_json:
        click.echo(header_json(recording))
    else:
        for line in header_lines(file.name, recording):
            click.echo(line)
    for record in filter(wanted, [*recording.standing, *recording.records]):
        click.echo(record_json(record) if as_json else record_line(record))
    if recording.broken:
        click.echo(f"pyros: {file}: {recording.broken}", err=True)


def _settings(recording: Recording, config: Path | None) -> Settings:
    try:
        if config is not None:
            return load(config)
        return parse(recording.header.settings, "the recording's settings")
    except ConfigError as error:
        more = "" if config is not None else "\nname a configuration that this version reads, with --config"
        raise click.ClickException(f"{error}{more}") from error


def _feed(recording: Recording, actor: str, settings: Settings, state: Path | None) -> list[Line]:
    from pyros.cli.replay.feed import FeedError, feed

    try:
        outcome = feed(recording, actor, settings, state)
    except FeedError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{outcome.fed} messages fed to {actor}", err=True)
    for t_us, failure, trace in outcome.breaks:
        click.echo(f"{stamp(instant_of(t_us))} {actor} broke on {failure.message}: {failure.cause}\n{trace}", err=True)
    for question, count in outcome.unanswered.items():
        click.echo(f"{question}: {count} of these have no answer in the recording", err=True)
    if outcome.busy_with:
        click.echo(f"{actor} was still busy with {outcome.busy_with} in the end", err=True)
    return compare(said_in(recording.records, actor), outcome.said)


def _as_record(line: Line, actor: str) -> Recorded:
    t_us, to, body = line.said
    return Recorded(t_us, PUBLISHED, actor, to, "", "", body)


def _show_fed(actor: str, lines: list[Line], as_json: bool, different: bool) -> None:
    for line in lines:
        if not (different and line.mark == SAME):
            click.echo(_line_json(line) if as_json else f"{line.mark} {_line_words(line, actor)}")
    counts = {mark: sum(1 for line in lines if line.mark == mark) for mark in (" ", "+", "-")}
    click.echo(f"{counts[' ']} as recorded, {counts['+']} only now, {counts['-']} only then", err=True)


def _line_words(line: Line, actor: str) -> str:
    record = _as_record(line, actor)
    message = record.message()
    if message is None:
        return record_line(record)
    who = f"{actor} → {record.to}" if record.to else actor
    return in_words(stamp(instant_of(record.t_us)), who, message)


def _line_json(line: Line) -> bytes:
    row = {"t": stamp(instant_of(line.said.t_us)), "said": {" ": "same", "+": "now", "-": "then"}[line.mark]}
    return msgspec.json.encode({**row, "to": line.said.to, "message": line.said.body})
