"""A recording as a file: a header, what held before the first record, and the records. Segments of the spool are alike.

MessagePack, one object after the other, so that a file that breaks off is read up to there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgpack
import msgspec

from pyros.flight.record import Record, Recorded, recorded, row_of

FORMAT = 1
LARGEST_BYTES = 1 << 30
BLOCK_BYTES = 1 << 20
_UNREADABLE = (ValueError, TypeError, msgpack.UnpackException)


class FlightError(ValueError):
    """A file that is no recording, or cannot be read; one line says which and why."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording is about. `settings` are the daemon's, as observatory.toml would have them."""

    pyros_flight: int = FORMAT
    causes: list[str] = []
    at: datetime
    """When it was written, by the observatory's clock."""
    boot: int
    """Number of the daemon's start."""
    site: str
    versions: dict[str, str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """What a file holds. `broken` says where and why it was not read to its end, or ''."""

    header: Header
    standing: list[Recorded]
    """The last state of each kind from before the first record."""
    records: list[Recorded]
    broken: str = ""


# -- writing ---------------------------------------------------------------------------------------------------------


def opening(header: Header, standing: Iterable[Record]) -> bytes:
    """Return what a file begins with."""
    return _packed(msgspec.to_builtins(header)) + _packed([row_of(record) for record in standing])


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file whole or not at all, and durably.

    Raises
    ------
    OSError
        If the disk is full, or the folder cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def assembled(header: Header, segments: Sequence[Path]) -> Iterator[bytes]:
    """Yield a recording made of segments, oldest first; the first one's standing states are the recording's."""
    yield _packed(msgspec.to_builtins(header))
    first = True
    for segment in segments:
        ends = _ends_of_opening(segment)
        if ends is not None:
            yield from _rest_of(segment, ends[0] if first else ends[1])
            first = False
    if first:
        yield _packed([])


def _ends_of_opening(segment: Path) -> tuple[int, int] | None:
    """Return where a segment's header and its standing states end, or None for one that was killed before that."""
    with segment.open("rb") as file:
        unpacker = _unpacker(file)
        try:
            unpacker.skip()
            header_end = unpacker.tell()
            unpacker.skip()
        except _UNREADABLE:
            return None
        return header_end, unpacker.tell()


def _rest_of(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(BLOCK_BYTES):
            yield block


def _packed(value: Any) -> bytes:
    raw = msgpack.packb(value)
    assert isinstance(raw, bytes)  # noqa: S101 - without an autoreset packer packb always returns bytes
    return raw


# -- reading ---------------------------------------------------------------------------------------------------------


def read_header(path: Path) -> Header | None:
    """Return the header of a segment, or None for one that was killed before it was written."""
    with path.open("rb") as file:
        try:
            return _header(path, _unpacker(file))
        except FlightError:
            return None


def read_recording(path: Path) -> Recording:
    """Read a recording, or a segment, up to where it breaks off.

    Raises
    ------
    FlightError
        If it cannot be read, or is no recording.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise FlightError(f"{path} has {size} bytes; a recording has at most {LARGEST_BYTES}")
        with path.open("rb") as file:
            return _read(path, _unpacker(file), size)
    except OSError as error:
        raise FlightError(f"{path} cannot be read: {error.strerror}") from None


def _read(path: Path, unpacker: Any, size: int) -> Recording:
    header = _header(path, unpacker)
    try:
        rows = unpacker.unpack()
    except _UNREADABLE:
        return Recording(header, [], [], "it breaks off after its header")
    standing = [row for row in map(recorded, rows if isinstance(rows, list) else []) if row is not None]
    records: list[Recorded] = []
    broken, end = _read_records(unpacker, records)
    if not broken and end < size:
        broken = "a record is incomplete"
    if broken:
        broken = f"{broken} at byte {end} of {size}, after {len(records)} records"
    return Recording(header, standing, records, broken)


def _read_records(unpacker: Any, records: list[Recorded]) -> tuple[str, int]:
    """Fill `records`; return why that ended before the file did, or '', and where the last one ends."""
    end = unpacker.tell()
    try:
        for row in unpacker:
            record = recorded(row)
            if record is None:
                return "what follows is no record", end
            records.append(record)
            end = unpacker.tell()
    except _UNREADABLE as error:
        return f"it cannot be read ({str(error) or type(error).__name__})", end
    return "", end


def _header(path: Path, unpacker: Any) -> Header:
    try:
        fields = unpacker.unpack()
    except _UNREADABLE:
        fields = None
    if not isinstance(fields, dict) or "pyros_flight" not in fields:
        raise FlightError(f"{path} is no recording of the flight recorder; those stand in the state folder's flight/")
    if fields["pyros_flight"] != FORMAT:
        raise FlightError(
            f"{path} has format {fields['pyros_flight']!r}; this version of PyROS reads format {FORMAT}: use the "
            "version that wrote it"
        )
    try:
        return msgspec.convert(fields, Header)
    except msgspec.ValidationError as error:
        raise FlightError(f"{path} has a damaged header: {error}") from None


def _unpacker(file: Any) -> Any:
    return msgpack.Unpacker(file, max_buffer_size=LARGEST_BYTES, strict_map_key=False)
