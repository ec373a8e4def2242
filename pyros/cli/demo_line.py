"""The line at the foot of `pyros demo`: the simulated time, tonight's alert, the mode, and what runs."""

from __future__ import annotations

from rich.text import Text

from pyros.actors.kernel import System
from pyros.messages.alerts import AlertManagerState, AlertRow
from pyros.messages.night import MajordomeState, MonitorState, ObservationManagerState


def progress(system: System) -> Text:
    """Return what goes on now, in one line."""
    parts = [f"{system.clock.now():%H:%M:%S} UTC", *_alert(system), *_mode(system), *_run(system)]
    return Text(" · ".join(parts), style="bold", overflow="ellipsis", no_wrap=True)


def _mode(system: System) -> list[str]:
    majordome, monitor = system.events.latest(MajordomeState), system.events.latest(MonitorState)
    said = [] if majordome is None else [majordome[0].mode]
    if monitor is not None:
        level = monitor[0].level
        said += [level if level == "SAFE" else f"{level} ({', '.join(monitor[0].reasons)})"]
    return said


def _run(system: System) -> list[str]:
    latest = system.events.latest(ObservationManagerState)
    if latest is None or latest[0].sequence_id is None:
        return []
    run = latest[0]
    frame = f" {run.frame}/{run.frames}" if run.frames else ""
    return [f"{run.name}: {run.step}{frame}"]


def _alert(system: System) -> list[str]:
    latest = system.events.latest(AlertManagerState)
    if latest is None or not latest[0].alerts:
        return []
    return [_in_words(latest[0].alerts[-1])]


def _in_words(alert: AlertRow) -> str:
    found = f", {alert.candidates} candidate{'s' if alert.candidates > 1 else ''}" if alert.candidates else ""
    return f"{alert.name} {alert.status.lower()}{found}"
