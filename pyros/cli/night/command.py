"""`pyros night`: whole nights on the virtual clock, each with its report."""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.live import Live

MOST_NIGHTS = 366


@click.command()
@click.option(
    "--date",
    "first",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-11-22",
    show_default="2026-11-22",
    help="Local date at the preceding noon.",
)
@click.option(
    "--seed", type=click.IntRange(0), help="Of weather, stars, bursts and noise. Default: the scenario's, or 1."
)
@click.option(
    "--nights", type=click.IntRange(1, MOST_NIGHTS), default=1, show_default=True, help="How many, one by one."
)
@click.option(
    "--scenario", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="What happens (TOML)."
)
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where report, images and store go; several nights go to DIR/DATE.",
)
def night(first: datetime, seed: int | None, nights: int, scenario: Path | None, folder: Path) -> None:
    """Run a simulated night as fast as the machine can, and write what happened to DIR/report.html and report.json."""
    from pyros.cli.night.runner import NightError, Order
    from pyros.config import ConfigError
    from pyros.sky import configure_iers
    from pyros.store.database import StoreError
    from simulators.scenario import Scenario, ScenarioError

    configure_iers()
    try:
        drawn = seed if seed is not None else (Scenario.load(scenario).seed if scenario is not None else None)
        for number in range(nights):
            on = first.date() + timedelta(days=number)
            place = folder if nights == 1 else folder / str(on)
            _run(Order(on, 1 if drawn is None else drawn, place, scenario))
    except (NightError, ScenarioError, ConfigError, StoreError, ValueError, OSError) as error:
        for line in str(error).splitlines():
            click.echo(f"pyros: {line}", err=True)
        sys.exit(1)


def _run(order: Any) -> None:
    from rich.console import Console
    from rich.live import Live

    from pyros.cli.night.report import write_report
    from pyros.cli.night.runner import run_night

    console = Console(highlight=False, stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        record = run_night(order, lambda now: _show(live, order.on, order.folder, now))
        if console.is_terminal:
            live.update(f"night {order.on}: writing the report …", refresh=True)
        report = write_report(record, order.folder)
    for line in summary(report):
        click.echo(line)
    click.echo(f"  {order.folder / 'report.html'}")


def _show(live: Live, on: date, folder: Path, now: datetime) -> None:
    """Draw the progress line; on what is no terminal nothing is drawn."""
    if live.console.is_terminal:
        frames = sum(1 for _ in (folder / "images").rglob("*.fits"))
        live.update(f"night {on}: {now:%H:%M} UTC, {frames} frames", refresh=True)


def summary(report: dict[str, Any]) -> list[str]:
    """Return the report of a night in a few lines."""
    lost = [f"{name} {seconds / 60:.0f} min" for name, seconds in report["lost_s"].items() if seconds >= 30]
    broken = [f"{one['t']} {one['rule']}" for one in report["violations"]]
    hours = f"{report['exposing_s'] / 3600:.1f} h of {report['dark_s'] / 3600:.1f} h of dark time"
    share = f"{100 * report['utilisation']:.0f} %"
    return [
        f"night {report['night']}, seed {report['seed']}: {len(report['images'])} exposures, {hours} ({share})",
        *(_alert(alert) for alert in report["alerts"]),
        f"  lost: {', '.join(lost) or 'nothing'}",
        f"  violations: {'; '.join(broken) or 'none'}",
        f"  {report['wall_s']:.0f} s of wall time, {report['cpu_s']:.0f} s of CPU",
    ]


def _alert(alert: dict[str, Any]) -> str:
    times = alert["times"]
    opened, received = times.get("first_shutter"), times.get("received")
    if opened is None or received is None:
        seen = "not observed"
    else:
        seen = f"shutter open {_seconds(received, opened):.1f} s after reception"
    found = len(alert["candidates"])
    return f"  alert {alert['id']} ({', '.join(map(str, alert['triggers']))}): {seen}, {found or 'no'} candidates"


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
