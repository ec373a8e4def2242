"""A recording in words and as JSON lines. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, time, timedelta

import msgspec

from pyros.cli.messages import in_words
from pyros.cli.typed import WordsError
from pyros.clock import EPOCH
from pyros.flight import Recorded, Recording
from pyros.flight.record import LOST, PUBLISHED

HALF_A_DAY = timedelta(hours=12)
Wanted = Callable[[Recorded], bool]


def header_lines(name: str, recording: Recording) -> Iterator[str]:
    """Yield what stands above the records: why, when, where, and by what."""
    header, records = recording.header, recording.records
    yield f"recording  {name}"
    yield from (f"{'cause' if not number else '':10} {cause}" for number, cause in enumerate(header.causes))
    if records:
        first, last = instant_of(records[0].t_us), instant_of(records[-1].t_us)
        yield f"from       {stamp(first)}"
        yield f"to         {stamp(last)} ({(last - first).total_seconds():.0f} s, {len(records)} records)"
    else:
        yield "from       (no records)"
    yield f"written    {stamp(header.at)}"
    yield f"start      number {header.boot} at {header.site}"
    yield f"versions   {', '.join(f'{name} {version}' for name, version in header.versions.items())}"
    yield f"standing   {len(recording.standing)} states from before"
    if recording.broken:
        yield f"broken     {recording.broken}"


def record_line(record: Recorded) -> str:
    """Return a record as one line: when, whose, to whom, what; a publication is to everyone who subscribed."""
    who = record.sender if record.kind == PUBLISHED else f"{record.sender} → {record.to}"
    if record.kind == LOST:
        return f"{_time_of(record):23} {record.body.get('count')} records were lost here"
    message = record.message()
    if message is not None:
        return in_words(_time_of(record), who, message)
    return f"{_time_of(record):23} {who:20} {record.tag} {json.dumps(record.body, ensure_ascii=True, default=repr)}"


def record_json(record: Recorded) -> bytes:
    """Return a record as one line of JSON."""
    row = {"t": stamp(instant_of(record.t_us)), **record._asdict()}
    return msgspec.json.encode({key: value for key, value in row.items() if key != "t_us"})


def header_json(recording: Recording) -> bytes:
    """Return the header as one line of JSON."""
    return msgspec.json.encode({**msgspec.to_builtins(recording.header), "broken": recording.broken})


def chosen(
    actors: Collection[str], tags: Collection[str], since: datetime | None, until: datetime | None
) -> Callable[[Recorded], bool]:
    """Return whether a record is wanted: of or to one of these actors, of these types, between these instants."""

    def wanted(record: Recorded) -> bool:
        at = instant_of(record.t_us)
        return (
            (not actors or record.sender in actors or record.to in actors)
            and (not tags or record.tag in tags)
            and (since is None or at >= since)
            and (until is None or at <= until)
        )

    return wanted


def instant_of(t_us: int) -> datetime:
    """Return the aware UTC instant of a record."""
    return EPOCH + timedelta(microseconds=t_us)


def stamp(at: datetime) -> str:
    """Return an instant as it stands in every line: UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00")


def instant_near(text: str, near: datetime) -> datetime:
    """Return the instant that `text` means: ISO-8601, or a time of day (UTC) of the day that is nearest to `near`.

    Raises
    ------
    WordsError
        If it is neither.
    """
    try:
        at = datetime.combine(near.date(), time.fromisoformat(text), UTC)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise WordsError(f"{text!r} is no instant; write 05:31:07 or 2026-11-22T05:31:07Z") from None
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if at < near - HALF_A_DAY:
        return at + timedelta(days=1)
    return at - timedelta(days=1) if at > near + HALF_A_DAY else at


def _time_of(record: Recorded) -> str:
    return stamp(instant_of(record.t_us))
