"""How telemetry stays small: fine readings for some days, minutes for as long as wanted.

A station at 1 Hz gives 86,400 rows a day; after thinning, 1,440. Run by the archivist, outside the night, one day's
worth at a time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pyros.store.database import Store
from pyros.store.models import DeviceSample, UtcDateTimeField

_AT = UtcDateTimeField()
_MEANS = (
    "temperature_c",
    "dew_point_c",
    "humidity_percent",
    "pressure_hpa",
    "wind_m_s",
    "cloud_percent",
    "sky_temperature_c",
    "sky_brightness_mag",
    "seeing_arcsec",
)
_MOSTS = ("gust_m_s", "rain")
MINUTE_S = 60.0


def thin(store: Store, before: datetime) -> int:
    """Reduce what is older than `before` to one row a minute and return how many rows went.

    Weather readings become their minute's mean (gust and rain: its worst), which the minute's first row keeps; of
    device states the minute's first stays.
    """
    limit = _AT.db_value(before.replace(second=0, microsecond=0))
    with store.telemetry.atomic():
        return _thin_weather(store.telemetry, limit) + _thin_devices(store.telemetry, limit)


def forget(store: Store, before: datetime) -> int:
    """Delete all telemetry older than `before` and return how many rows went."""
    limit = _AT.db_value(before)
    with store.telemetry.atomic():
        return sum(
            store.telemetry.execute_sql(f"DELETE FROM {table} WHERE at < ?", [limit]).rowcount  # noqa: S608 - no input
            for table in ("weather_sample", "device_sample")
        )


def _thin_weather(database: Any, limit: str | None) -> int:
    chosen = ", ".join([f"AVG({name}) AS {name}" for name in _MEANS] + [f"MAX({name}) AS {name}" for name in _MOSTS])
    changes = ", ".join(f"{name} = minute.{name}" for name in (*_MEANS, *_MOSTS))
    parameters = [MINUTE_S, limit]
    database.execute_sql(
        f"UPDATE weather_sample SET period_s = ?, at = SUBSTR(at, 1, 16) || ':00.000000Z', {changes} "  # noqa: S608 - no input
        f"FROM (SELECT MIN(id) AS first, {chosen} FROM weather_sample WHERE period_s = 0 AND at < ? "
        "GROUP BY station, SUBSTR(at, 1, 16)) AS minute WHERE weather_sample.id = minute.first",
        parameters,
    )
    return database.execute_sql("DELETE FROM weather_sample WHERE period_s = 0 AND at < ?", [limit]).rowcount


def _thin_devices(database: Any, limit: str | None) -> int:
    table = DeviceSample._meta.table_name  # noqa: SLF001 - peewee's documented place for a model's description
    return database.execute_sql(
        f"DELETE FROM {table} WHERE at < ? AND id NOT IN "  # noqa: S608 - no input
        f"(SELECT MIN(id) FROM {table} WHERE at < ? GROUP BY device, SUBSTR(at, 1, 16))",
        [limit, limit],
    ).rowcount
