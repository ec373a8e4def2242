"""`pyros close-dome`: closes without the daemon, on a connection of its own, even when the configuration is broken.

A roof that would touch the telescope is closed only after that has been parked: `pyros.actors.make_safe` does it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pyros.actors.make_safe import make_safe
from pyros.cli.daemon_state import holder
from pyros.cli.last_good import LastGood, candidates
from pyros.cli.run import state_option
from pyros.clock import Clock, WallClock


@click.command("close-dome")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="An observatory.toml, for the addresses."
)
@state_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to watch for the closed switch; 0: until the PLC has taken the order.",
)
def close_dome(config: Path | None, state: Path, wait_s: float) -> None:
    """Have the PLC close the dome and the mount park, and watch until the closed switch makes."""
    known = candidates(config, state, _complain)
    if not known:
        _complain(
            f"no PLC address: none is remembered in {state}, and no usable --config names one; close the dome by hand"
        )
        sys.exit(1)
    clock = WallClock()
    _warn_of_daemon(state)
    if not any(_closed(one, clock, wait_s) for one in known):
        _complain("THE DOME WAS NOT SEEN CLOSED; go there, and close it by hand")
        sys.exit(1)


def _closed(known: LastGood, clock: Clock, wait_s: float) -> bool:
    """Close by one set of addresses; tell whether it worked."""
    first = f"parking the telescope at {known.telescope_url}, then " if known.parks_first else ""
    click.echo(f"{first}closing the dome by the PLC at {known.plc_url} …")
    try:
        problem = make_safe(known.closing, clock, "close-dome", closed_within_s=wait_s)
    except ValueError as error:  # an address that no driver takes
        problem = str(error)
    if problem:
        _complain(problem)
        return False
    click.echo("the dome is closed: its closed switch says so" if wait_s else "the PLC has taken the order")
    return True


def _warn_of_daemon(state: Path) -> None:
    pid = holder(state)
    if pid is not None:
        click.echo(
            f"a daemon runs (pid {pid}) and may open again; to keep it closed: "
            "pyros send majordome Lockdown operator=NAME reason=WHY"
        )


def _complain(words: str) -> None:
    click.echo(f"pyros: {words}", err=True)
