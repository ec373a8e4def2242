"""Tables of telemetry.db: what devices and weather stations said. No foreign keys lead out of this file."""

from __future__ import annotations

from typing import ClassVar

from peewee import AutoField, BooleanField, CharField, FloatField

from pyros.store.models.columns import JsonField, Row, UtcDateTimeField, within


class DeviceSample(Row):
    """What a device said at an instant."""

    id = AutoField(help_text="row number")
    device = CharField(help_text="name of the device's actor, such as camera:vis")
    at = UtcDateTimeField(help_text="instant at which it said so")
    values = JsonField(help_text="its state: names with units and numbers, texts or booleans")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("device", "at"), False)]


class WeatherSample(Row):
    """What a weather station said at an instant, or the mean of a minute."""

    id = AutoField(help_text="row number")
    station = CharField(help_text="name of the station")
    at = UtcDateTimeField(help_text="the sensor's own instant; of a mean, the beginning")
    period_s = FloatField(default=0.0, help_text="0: one reading; else seconds that a mean covers")
    temperature_c = FloatField(null=True, help_text="air temperature, degrees Celsius")
    dew_point_c = FloatField(null=True, help_text="dew point, degrees Celsius")
    humidity_percent = FloatField(null=True, help_text="relative humidity, percent")
    pressure_hpa = FloatField(null=True, help_text="air pressure at the station, hectopascals")
    wind_m_s = FloatField(null=True, help_text="wind speed, metres per second")
    gust_m_s = FloatField(null=True, help_text="strongest gust, metres per second; of a mean, the strongest")
    rain = BooleanField(null=True, help_text="whether it rains; of a mean, whether it ever did")
    cloud_percent = FloatField(null=True, help_text="cloud cover, percent")
    sky_temperature_c = FloatField(null=True, help_text="infrared sky temperature, degrees Celsius")
    sky_brightness_mag = FloatField(null=True, help_text="sky brightness, magnitudes per square arcsecond")
    seeing_arcsec = FloatField(null=True, help_text="seeing, full width at half maximum, arcseconds")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("station", "at"), False)]
        constraints: ClassVar = [
            within("weather_sample", "period_s", "period_s >= 0"),
            within("weather_sample", "temperature_c", "temperature_c BETWEEN -90 AND 80"),
            within("weather_sample", "humidity_percent", "humidity_percent BETWEEN 0 AND 100"),
            within("weather_sample", "wind_m_s", "wind_m_s >= 0"),
            within("weather_sample", "gust_m_s", "gust_m_s >= 0"),
            within("weather_sample", "cloud_percent", "cloud_percent BETWEEN 0 AND 100"),
        ]
