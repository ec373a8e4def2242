# ruff: noqa: N999 - the number orders the steps
"""Samples of devices and weather stations.

Frozen copies of the models as they were; `pyros.store.models` may go on, this file may not.
"""

from __future__ import annotations

from typing import Any, ClassVar

from peewee import AutoField, BooleanField, CharField, Check, FloatField, Model, SchemaManager, TextField


class _Frozen(Model):
    Meta: ClassVar[Any] = type("Meta", (), {"legacy_table_names": False})


class _DeviceSample(_Frozen):
    id = AutoField()
    device = CharField()
    at = TextField()
    values = TextField()

    class Meta:
        table_name = "device_sample"
        indexes: ClassVar = [(("device", "at"), False)]


class _WeatherSample(_Frozen):
    id = AutoField()
    station = CharField()
    at = TextField()
    period_s = FloatField()
    temperature_c = FloatField(null=True)
    dew_point_c = FloatField(null=True)
    humidity_percent = FloatField(null=True)
    pressure_hpa = FloatField(null=True)
    wind_m_s = FloatField(null=True)
    gust_m_s = FloatField(null=True)
    rain = BooleanField(null=True)
    cloud_percent = FloatField(null=True)
    sky_temperature_c = FloatField(null=True)
    sky_brightness_mag = FloatField(null=True)
    seeing_arcsec = FloatField(null=True)

    class Meta:
        table_name = "weather_sample"
        indexes: ClassVar = [(("station", "at"), False)]
        constraints: ClassVar = [
            Check("period_s >= 0", "weather_sample_period_s_range"),
            Check("temperature_c BETWEEN -90 AND 80", "weather_sample_temperature_c_range"),
            Check("humidity_percent BETWEEN 0 AND 100", "weather_sample_humidity_percent_range"),
            Check("wind_m_s >= 0", "weather_sample_wind_m_s_range"),
            Check("gust_m_s >= 0", "weather_sample_gust_m_s_range"),
            Check("cloud_percent BETWEEN 0 AND 100", "weather_sample_cloud_percent_range"),
        ]


def up(_migrator: Any, db: Any) -> None:
    """Make the tables."""
    for model in (_DeviceSample, _WeatherSample):
        SchemaManager(model, database=db).create_all(safe=False)


def down(_migrator: Any, db: Any) -> None:
    """Drop the tables, and with them what they hold."""
    for model in (_WeatherSample, _DeviceSample):
        SchemaManager(model, database=db).drop_table()
