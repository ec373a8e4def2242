"""The parts of the page, rendered one by one: the same templates serve the first load and every update after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from jinja2 import Environment
from markupsafe import escape

from pyros.web import cards, panels
from pyros.web.board import AWAY_S, Board
from pyros.web.timeline import night_timeline
from pyros.web.wording import ago_text

_log = logging.getLogger(__name__)

PARTS: dict[str, tuple[str, ...]] = {
    "verdict": ("SafetyVerdict",),
    "now": ("MajordomeState", "ObservationManagerState"),
    "alert": ("AlertManagerState",),
    "timeline": ("SchedulerState", "MonitorState", "MajordomeState"),
    "plan": ("SchedulerState", "MajordomeState"),
    "devices": ("PlcState", "TelescopeState", "CameraState", "FilterWheelState", "MonitorState"),
    "weather": ("WeatherState", "PlcState"),
    "image": ("ImageTaken", "Analysed"),
    "system": ("SupervisorState", "ListenerState", "AnalyzerState"),
    "log": ("Event",),
    "night": ("MonitorState",),
}
"""Every part by its element's id, with the messages that change it."""
TAGS: tuple[str, ...] = tuple(dict.fromkeys(tag for tags in PARTS.values() for tag in tags))

_PANELS: dict[str, Callable[[Board], Any]] = {
    "verdict": panels.verdict,
    "now": panels.running,
    "alert": lambda board: (panels.alerts_in_progress(board), panels.notice_counts(board)),
    "timeline": lambda board: [night_timeline(board, width) for width in (360.0, 1200.0)],
    "plan": panels.plan,
    "devices": cards.device_cards,
    "weather": cards.weather_stations,
    "image": lambda board: board.image,
    "system": panels.system,
    "log": lambda board: board.log,
    "night": panels.night_name,
}


def add_filters(app: Flask) -> None:
    """Give the templates their words for instants."""
    app.add_template_filter(_iso, "iso")
    app.add_template_filter(lambda at: f"{at.astimezone(UTC):%H:%M:%S}", "clock")
    app.add_template_filter(ago_text, "ago")
    app.add_template_test(_is_stale, "stale")


def render_part(environment: Environment, name: str, board: Board) -> str:
    """Return a part's inner HTML; a part that cannot be drawn says so and leaves the others alone."""
    try:
        panel = _PANELS[name](board)
        return environment.get_template(f"parts/{name}.html").render(panel=panel, now=board.now, board=board)
    except Exception as error:  # noqa: BLE001 - one bad value must not take the page with it
        _log.exception("the part %s of the page cannot be drawn", name)
        return f'<p class="problem">This part cannot be drawn: {escape(type(error).__name__)}: {escape(str(error))}</p>'


def payload(environment: Environment, board: Board, names: Iterable[str] = PARTS) -> dict[str, Any]:
    """Return what the page's script needs to bring the named parts up to date."""
    return heartbeat(board) | {
        "title": panels.title(board),
        "critical": panels.criticals(board),
        "parts": {name: render_part(environment, name, board) for name in names},
    }


def heartbeat(board: Board) -> dict[str, Any]:
    """Return the daemon's clock and how long it has been silent."""
    return {
        "now": _iso(board.now),
        "speed": board.speed,
        "quiet_s": board.quiet_s,
        "away_s": AWAY_S,
    }


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_stale(at: datetime | None, now: datetime, stale_s: float) -> bool:
    return at is None or (now - at).total_seconds() > stale_s
