"""`pyros run`: the daemon, on real or simulated devices."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pyros.cli.daemon_state import StateError, claimed, default_state
from pyros.clock import WallClock
from pyros.config import ConfigError, Settings, load

config_option = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The observatory.toml."
)
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state,
    envvar="STATE_DIRECTORY",
    metavar="DIR",
    help="Where everything that lasts is kept. Default: $STATE_DIRECTORY, else ~/.local/state/pyros.",
)


@click.command()
@config_option
@state_option
def run(config: Path, state: Path) -> None:
    """Run the observatory until SIGTERM or ctrl-C; then close the dome, and end."""
    from pyros.cli.daemon_faults import url_faults
    from pyros.store.database import StoreError

    try:
        settings = load(config)
    except ConfigError as error:
        refuse(*str(error).splitlines())
    else:
        if faults := url_faults(settings):
            refuse(*(f"{config}: {fault}" for fault in faults))
        try:
            with claimed(state):
                status = _run(settings, state.absolute())
        except (StateError, StoreError) as error:
            refuse(str(error))
        else:
            sys.exit(status)


def _run(settings: Settings, state: Path) -> int:
    from pyros.cli.daemon import LOOK_S, Ending, Order, boot
    from pyros.cli.daemon_log import LogTo
    from pyros.cli.simulation.daemon import end_pool, start_pool
    from pyros.sky import configure_iers

    pool = start_pool(settings.analyzer.workers)
    try:
        configure_iers()
        clock = WallClock()
        with LogTo(_print_line), Ending(clock) as ending:
            daemon = boot(Order(settings, state), clock, pool)
            while not daemon.ended and not ending.cause:
                ending.rest(LOOK_S)
            return daemon.stop(ending)
    finally:
        end_pool(pool)


def _print_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def refuse(*lines: str) -> None:
    """Say what is wrong on standard error, a line each, and leave with status 1."""
    for line in lines:
        click.echo(f"pyros: {line}", err=True)
    sys.exit(1)
