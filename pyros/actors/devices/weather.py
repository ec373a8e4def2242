"""A weather station: what it measures, with the sensor's own time. Decides nothing.

Takes its own `Poll`; emits `WeatherState`. The station of kind `plc://` reads the PLC's sensors from the PLC actor's
last state; when that is gone it says nothing, and its silence makes the night unsafe.
"""

from __future__ import annotations

from datetime import timedelta

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context
from pyros.messages.base import Refused
from pyros.messages.devices import PlcState, Poll, WeatherState

SAMPLE_EVERY_S = 10.0


class PlcWeather(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        del environment
        self._last: WeatherState | None = None

    def on_start(self) -> None:
        """Begin to sample."""
        self.after(0.0, Poll())

    def on_poll(self, _: Poll) -> None:
        """Take a sample if the PLC has given one; arm the next."""
        self.after(self.clock.at_least_real(SAMPLE_EVERY_S, 0.5), Poll())
        latest = self.latest(PlcState)
        if latest is None or latest[0].link == "down" or latest[0].read_at is None or latest[0].sensor_age_s is None:
            return
        plc = latest[0]
        assert plc.read_at is not None and plc.sensor_age_s is not None  # noqa: S101, PT018 - checked above
        self._last = WeatherState(
            station=self.name.removeprefix("weather:"),
            rain=plc.rain,
            wind_m_s=plc.wind_m_s,
            gust_m_s=plc.gust_m_s,
            humidity_percent=plc.humidity_percent,
            temperature_c=plc.temperature_c,
            dew_point_c=plc.dew_point_c,
            pressure_hpa=plc.pressure_hpa,
            sky_minus_ambient_c=plc.sky_minus_ambient_c,
            sampled_at=plc.read_at - timedelta(seconds=plc.sensor_age_s),
        )
        self.publish(self._last)

    def state(self) -> WeatherState | Refused:  # type: ignore[override]
        """Return the last sample."""
        return self._last or Refused(reason=f"{self.name} has no sample yet")
