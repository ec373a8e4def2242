"""Column types, named checks and the base of every table.

Models are bound to no database: the archivist writes through one connection while others read through theirs, and
two stores may be open in one process. A query therefore names its database, `Sequence.select().bind(reader.main)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from peewee import Check, Field, Model

_JSON = msgspec.json.Encoder(order="sorted")


class UtcDateTimeField(Field):
    """An instant: an aware datetime in Python, ISO-8601 text with microseconds and `Z` in the store.

    The text has a fixed width, so that the order of the texts is the order of the instants.
    """

    field_type = "TEXT"

    def db_value(self, value: Any) -> str | None:
        """Return the stored text of an aware datetime, or of ISO-8601 text as it comes over the wire.

        Raises
        ------
        ValueError
            If the value has no time zone or is no instant.
        """
        if value is None:
            return None
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(instant, datetime) or instant.tzinfo is None:
            raise ValueError(f"{value!r} is not an instant with a time zone; write 2026-11-22T03:04:05Z")
        return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def python_value(self, value: str | None) -> datetime | None:
        """Return the instant as an aware UTC datetime."""
        return None if value is None else datetime.fromisoformat(value)


class JsonField(Field):
    """Lists and dicts of what JSON knows; instants inside become ISO-8601 text. Keys are stored sorted."""

    field_type = "TEXT"

    def db_value(self, value: Any) -> str | None:
        """Return the JSON text."""
        return None if value is None else _JSON.encode(value).decode()

    def python_value(self, value: str | None) -> Any:
        """Return the lists and dicts."""
        return None if value is None else msgspec.json.decode(value)


class Row(Model):
    """Base of all tables."""

    private: ClassVar[tuple[str, ...]] = ()
    """Columns that history queries neither show nor filter by."""
    life: ClassVar[str] = ""
    """The life (see `pyros.store.lives`) that rules the column `status`, if any."""

    Meta: ClassVar[Any] = type("Meta", (), {"legacy_table_names": False})
    """What no row may break; subclasses list their unique columns and checks here."""


def one_of(table: str, column: str, values: Iterable[str]) -> Any:
    """Return the check that a text column holds one of the values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return Check(f"{column} IN ({listed})", f"{table}_{column}_known")


def within(table: str, column: str, rule: str) -> Any:
    """Return the check of a number's range; `rule` speaks of the column by its name."""
    return Check(rule, f"{table}_{column}_range")


def position(table: str) -> list[Any]:
    """Return the checks of an ICRS position in the columns `ra_deg` and `dec_deg`."""
    return [
        within(table, "ra_deg", "ra_deg >= 0 AND ra_deg < 360"),
        within(table, "dec_deg", "dec_deg BETWEEN -90 AND 90"),
        Check("(ra_deg IS NULL) = (dec_deg IS NULL)", f"{table}_position_whole"),
    ]
