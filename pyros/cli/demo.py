"""`pyros demo`: simulators, daemon and page in one command, on a clock that runs faster than life."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pyros.cli.ending import Ending


@click.command()
@click.option(
    "--speed", type=click.FloatRange(1, 60), default=60.0, show_default=True, help="Clock seconds per second."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="Of the page; 0: any free."
)
@click.option(
    "--scenario", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="What happens (TOML)."
)
@click.option("--only", metavar="DEVICES", default="", help="Start only these devices, such as telescope,plc.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Keep everything there.")
@click.option(
    "--seed", type=click.IntRange(0), help="Of weather, stars, burst and noise. Default: the scenario's, or 1."
)
def demo(speed: float, port: int, scenario: Path | None, only: str, state: Path | None, seed: int | None) -> None:
    """Run a whole observatory, simulated, from dusk on; a burst comes within the first minute. Ctrl-C ends it."""
    with Ending() as ending:  # before anything is imported that takes a while
        from pyros.cli.demo_play import run_demo

        status = 0 if ending.cause else run_demo(speed, port, scenario, only, state, seed, ending)
    sys.exit(status)
