"""The temperature of a camera's chip as a function of the clock."""

from __future__ import annotations

import math
from collections.abc import Callable

from pyros.clock import Clock
from simulators.alpaca_server_http import AlpacaError

AMBIENT_C, COOLER_REACH_C = 10.0, 50.0
COOLING_TIME_S = 40.0
"""Time constant of the exponential approach to the set point."""
SET_TEMPERATURE_C = (-60.0, 30.0)


class Cooler:
    """A thermoelectric cooler that reaches 50 C below ambient; off at first.

    Parameters
    ----------
    clock : Clock
    idle : callable
        While it returns True, changes are accepted and not carried out (a lying device).
    """

    def __init__(self, clock: Clock, idle: Callable[[], bool]) -> None:
        self.on = False
        self.set_temperature_c = -20.0
        self._clock = clock
        self._idle = idle
        self._since, self._from_c = clock.now(), AMBIENT_C

    def switch(self, on: bool) -> None:
        """Turn the cooler on or off."""
        if not self._idle():
            self._since, self._from_c = self._clock.now(), self.temperature_c()
            self.on = on

    def aim(self, set_temperature_c: float) -> None:
        """Change the set point, -60 to 30 C."""
        low, high = SET_TEMPERATURE_C
        if not low <= set_temperature_c <= high:
            raise AlpacaError(
                AlpacaError.INVALID_VALUE,
                f"SetCCDTemperature is {set_temperature_c} C; it must be {low:g} to {high:g} C",
            )
        if not self._idle():
            self._since, self._from_c = self._clock.now(), self.temperature_c()
            self.set_temperature_c = set_temperature_c

    def temperature_c(self) -> float:
        """Return the chip's temperature in C."""
        reachable_c = max(AMBIENT_C - COOLER_REACH_C, min(AMBIENT_C, self.set_temperature_c))
        target_c = reachable_c if self.on else AMBIENT_C
        elapsed_s = (self._clock.now() - self._since).total_seconds()
        return target_c + (self._from_c - target_c) * math.exp(-elapsed_s / COOLING_TIME_S)

    def power_percent(self) -> float:
        """Return the power drawn, proportional to the step below ambient that it holds."""
        return 100.0 * min(1.0, (AMBIENT_C - self.temperature_c()) / COOLER_REACH_C) if self.on else 0.0
