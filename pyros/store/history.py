"""History: pages of any table, and trends of the weather, read through a `Reader`.

Pure functions of what the store holds; the librarian answers queries with them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from peewee import fn

from pyros.messages.base import Refused
from pyros.messages.store import GetRows, Rows
from pyros.store.database import Reader
from pyros.store.models import WeatherSample
from pyros.store.tables import RefusedWriteError, Table, table_named


def rows(reader: Reader, query: GetRows) -> Rows | Refused:
    """Return one page of a table, newest first unless `ascending`; columns by their names, private ones left out.

    `before_id` continues after the last row of the page before, in either direction. A None in `where` means: the
    column is empty.
    """
    try:
        return _rows(reader, query)
    except RefusedWriteError as error:
        return Refused(reason=str(error))


def _rows(reader: Reader, query: GetRows) -> Rows:
    table = table_named(query.table)
    key = table.column(table.key).field
    select = table.model.select(*(table.columns[name].field for name in table.public))
    conditions = [_equals(table, name, value) for name, value in query.where.items()]
    matching = select.where(*conditions) if conditions else select
    page = matching
    if query.before_id is not None:
        if not table.numbered:
            raise RefusedWriteError(f"table {table.name} has no row numbers; ask it without before_id")
        page = page.where(key > query.before_id if query.ascending else key < query.before_id)
    page = page.order_by(key.asc() if query.ascending else key.desc()).limit(query.limit + 1)
    database = reader.database_of(table.name)
    with database.atomic():  # the page and the total of one instant
        found = dicts(page.bind(database), table.public)
        total = matching.bind(database).count()
    return Rows(table=table.name, rows=found[: query.limit], more=len(found) > query.limit, total=total)


def tuples(query: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a bound query."""
    return list(query.tuples())


def dicts(query: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the rows of a bound query that selects these columns, as dicts by the columns' names."""
    return [dict(zip(columns, row, strict=True)) for row in tuples(query)]


def _equals(table: Table, name: str, value: Any) -> Any:
    if name not in table.public:
        raise RefusedWriteError(f"table {table.name} has no column {name}; it has {', '.join(table.public)}")
    column = table.columns[name]
    table.to_db(name, value)  # refuses what is not of the column's type
    return column.field.is_null() if value is None else column.field == value


class TrendPoint(msgspec.Struct, frozen=True):
    """A quantity's mean and extremes since `at`, over the trend's step."""

    at: datetime
    mean: float
    least: float
    most: float


_FINE = timedelta(hours=2)
_COARSE = timedelta(days=3)


def trend(reader: Reader, station: str, quantity: str, begin: datetime, end: datetime) -> list[TrendPoint]:
    """Return how a weather quantity went: every reading up to 2 hours, by the minute up to 3 days, else by the hour.

    Parameters
    ----------
    quantity : str
        Column of `weather_sample` that holds numbers, such as ``wind_m_s``.

    Raises
    ------
    RefusedWriteError
        If there is no such column.
    """
    field = table_named("weather_sample").column(quantity).field
    at: Any = WeatherSample.at
    span = end - begin
    instant = at if span <= _FINE else fn.SUBSTR(at, 1, 16 if span <= _COARSE else 13)
    query = (
        WeatherSample.select(fn.MIN(at), fn.AVG(field), fn.MIN(field), fn.MAX(field))
        .where(WeatherSample.station == station, at >= begin, at < end, field.is_null(False))
        .group_by(instant)
        .order_by(instant)
        .bind(reader.telemetry)
    )
    return [TrendPoint(*row) for row in tuples(query)]
