"""`pyros schedule`: plan a night from a file, without touching the live plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.group()
def schedule() -> None:
    """Plan nights."""


@schedule.command()
@click.argument("instance", type=click.Path(path_type=Path), metavar="IN.json")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.json")
def simulate(instance: Path, output: Path) -> None:
    """Plan the night that IN.json describes and write the answer to OUT.json (schedule exchange format)."""
    from pyros.actors.scheduler.exchange import InstanceError, read_instance, write_answer
    from pyros.actors.scheduler.placement import make_schedule

    try:
        problem = read_instance(instance.read_text(encoding="utf-8"))
    except InstanceError as error:
        _refuse(*(f"{instance}: {fault}" for fault in error.faults))
    except UnicodeDecodeError as error:
        _refuse(f"{instance}: not UTF-8 text: {error}")
    except OSError as error:
        _refuse(f"{instance}: cannot be read: {error.strerror}")
    else:
        planning = make_schedule(problem)
        text = json.dumps(write_answer(problem, planning), indent=1)
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            _refuse(f"{output}: cannot be written: {error.strerror}")
        click.echo(
            f"SIMULATION: {len(planning.placed)} of {len(problem.requests)} requests placed, "
            f"value {planning.value:.0f}; {output}"
        )


def _refuse(*lines: str) -> None:
    """Say what is wrong, a line each, and leave with status 1."""
    for line in lines:
        click.echo(line.replace("\n", " "), err=True)
    sys.exit(1)
