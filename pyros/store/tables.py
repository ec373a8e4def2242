"""What the writing and reading paths know of each table, derived once from the models: columns, types, defaults.

Values come from messages, that is from anybody: each is checked against its column's type before SQL sees it, because
SQLite would store a text in a number's column and turn NaN into NULL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from peewee import AutoField, BlobField, BooleanField, CharField, Field, FloatField, TextField

from pyros.store.models import MAIN_MODELS, TELEMETRY_MODELS, JsonField, Row, UtcDateTimeField


class RefusedWriteError(ValueError):
    """A write that the store will not make; its text is the one-line reason."""


class Column(msgspec.Struct, frozen=True):
    """One column: how a value goes in, and what it refers to."""

    name: str
    field: Any
    to_db: Callable[[Any], Any]
    refers_to: str | None
    """Table that a foreign key leads to."""


class Table(msgspec.Struct, frozen=True):
    """One table as the writing and reading paths see it."""

    name: str
    model: type[Row]
    key: str
    """Column of the primary key."""
    numbered: bool
    """Whether the archivist gives the key."""
    columns: dict[str, Column]
    public: tuple[str, ...]
    """Columns that history queries show."""
    defaults: dict[str, Any]
    """Values of the columns that an insert leaves out, as a call or a plain value."""
    life: str

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises
        ------
        RefusedWriteError
            Naming the table and what it has.
        """
        column = self.columns.get(name)
        if column is None:
            raise RefusedWriteError(f"table {self.name} has no column {name}; it has {', '.join(self.columns)}")
        return column

    def to_db(self, name: str, value: Any) -> Any:
        """Return a value as the database takes it.

        Raises
        ------
        RefusedWriteError
            Naming table, column, value and rule.
        """
        column = self.column(name)
        if value is None:
            return None
        try:
            return column.to_db(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            shown = repr(value)
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            raise RefusedWriteError(f"{self.name}.{name} is {shown}; {error}") from None


def table_named(name: str) -> Table:
    """Return the table of that name.

    Raises
    ------
    RefusedWriteError
        If there is none.
    """
    table = TABLES.get(name)
    if table is None:
        raise RefusedWriteError(f"there is no table {name}; there are {', '.join(TABLES)}")
    return table


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ValueError("it must be a whole number of 64 bits")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("it must be a finite number")
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it must be true or false")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("it must be bytes")
    return bytes(value)


def _text_up_to(limit: int) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError("it must be text")
        if len(value) > limit:
            raise ValueError(f"it has {len(value)} characters; at most {limit} fit")
        value.encode()  # half a surrogate pair is no text
        return value

    return text


def _instant(field: UtcDateTimeField) -> Callable[[Any], str | None]:
    def instant(value: Any) -> str | None:
        if not isinstance(value, (str, datetime)):
            raise TypeError("it must be an instant with a time zone")
        return field.db_value(value)

    return instant


_TEXT_LIMIT = 1_000_000


def _writer(field: Field) -> Callable[[Any], Any]:
    if isinstance(field, UtcDateTimeField):
        return _instant(field)
    if isinstance(field, JsonField):
        return field.db_value
    if isinstance(field, BooleanField):
        return _boolean
    if isinstance(field, FloatField):
        return _number
    if isinstance(field, BlobField):
        return _bytes
    if isinstance(field, CharField):
        return _text_up_to(field.max_length)
    if isinstance(field, TextField):
        return _text_up_to(_TEXT_LIMIT)
    return _integer  # numbers, keys and foreign keys


def _describe(model: type[Row]) -> Table:
    meta: Any = model._meta  # noqa: SLF001 - peewee's documented place for a model's description
    columns = {
        field.column_name: Column(
            name=field.column_name,
            field=field,
            to_db=_writer(field),
            refers_to=field.rel_model._meta.table_name if hasattr(field, "rel_model") else None,  # noqa: SLF001 - as above
        )
        for field in meta.sorted_fields
    }
    return Table(
        name=meta.table_name,
        model=model,
        key=meta.primary_key.column_name,
        numbered=isinstance(meta.primary_key, AutoField),
        columns=columns,
        public=tuple(name for name in columns if name not in model.private),
        defaults={field.column_name: default for field, default in meta.defaults.items()},
        life=model.life,
    )


TABLES: dict[str, Table] = {
    table.name: table for table in (_describe(model) for model in [*MAIN_MODELS, *TELEMETRY_MODELS])
}
"""Every table by its name."""
