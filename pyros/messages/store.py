"""Messages of the archivist (the one writer) and the librarian (the reader of history).

Values are what msgpack and SQL both know: None, bool, int, float, str, bytes, datetime, and for JSON columns lists and
dicts of those. Row ids come from the archivist; a later write of the same commit refers to an earlier one's id by
`{"$ref": index}` with the index of that write, also inside of a JSON column's lists and dicts.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from pyros.messages.base import Command, Count, Name, Part, Query, Reply, Text

TableName = Annotated[str, Meta(pattern="^[a-z_]{1,40}$")]


class Insert(Part):
    """One new row. Part of a `Commit`."""

    table: TableName
    values: dict[str, Any]


class Change(Part):
    """One row changed, if it is still as expected. Part of a `Commit`."""

    table: TableName
    key: Any
    """Primary key of the row, or `{"$ref": index}`."""
    values: dict[str, Any]
    expect: dict[str, Any] = {}
    """Column values that must hold before the change; else the whole commit is refused."""


class Commit(Command):
    """All writes or none; answered with `Committed` after the store has them for good, or `Refused`."""

    budget_s = 5.0
    writes: list[Insert | Change]
    reason: Name


class Committed(Reply):
    """The ids of the rows written, in the order of the writes."""

    ids: list[Any]


class GetRows(Query):
    """Rows of one table, newest first unless `ascending`; equality filters; paged."""

    table: TableName
    where: dict[str, Any] = {}
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before_id: int | None = None
    ascending: bool = False


class Rows(Reply):
    """One page of rows and whether more follow."""

    table: TableName
    rows: list[dict[str, Any]]
    more: bool
    total: Count


class GetFile(Query):
    """A chunk of an image's file (or of its preview), by the image's id."""

    image_id: int
    preview: bool = False
    offset: Count = 0


class FileChunk(Reply):
    """Up to 512 KiB of a file; `size` is the whole file's."""

    name: Text
    offset: Count
    size: Count
    content: bytes


class Flush(Command):
    """The archivist's word to itself: write all that waits."""

    budget_s = 10.0
