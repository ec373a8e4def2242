"""Which frames are taken of which notice: the site's strategies, for the cameras that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pyros.actors.alert_manager import rows
from pyros.actors.alert_manager.notice import Notice
from pyros.actors.alert_manager.strategy import Strategy, StrategyRequest, choose, request_for
from pyros.config import Camera
from pyros.store.builder import BuildError, build_request

FIELD_ARCMIN = 26.0


class Tactics:
    """Knows the strategies and the cameras."""

    def __init__(self, strategies: Sequence[Strategy], cameras: Mapping[str, Camera]) -> None:
        self._strategies = strategies
        self._cameras = list(cameras)
        self.field_deg = min((camera.field_arcmin for camera in cameras.values()), default=FIELD_ARCMIN) / 60
        """The smallest camera's field of view, degrees."""

    def choose(self, notice: Notice) -> Strategy | None:
        """Return the first strategy that takes a notice."""
        return choose(self._strategies, notice, self.field_deg)

    def request(self, strategy: Strategy | None, notice: Notice, now: datetime, **known: Any) -> StrategyRequest | None:
        """Return the strategy's request if it can be stored: its window has to hold it."""
        if strategy is None:
            return None
        request = request_for(strategy, notice, now, cameras=self._cameras, **known)
        try:
            if request is not None:
                build_request(rows.draft_of(request, 1), now)
        except BuildError:
            return None
        return request

    def may_interrupt(self, strategy: str) -> bool:
        """Tell whether a strategy, by name and version, lets an alert interrupt others; one that is gone does."""
        known = {f"{one.name} {one.version}": one.may_interrupt for one in self._strategies}
        return known.get(strategy, True)
