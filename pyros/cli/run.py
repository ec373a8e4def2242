"""`pyros run`: the daemon, on real or simulated devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pyros.cli.ending import Ending

if TYPE_CHECKING:
    from pyros.clock import WallClock
    from pyros.config import Settings


def _default_state() -> Path:
    from pyros.cli.daemon_state import default_state

    return default_state()


config_option = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The observatory.toml."
)
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=_default_state,
    envvar="STATE_DIRECTORY",
    metavar="DIR",
    help="Where everything that lasts is kept. Default: $STATE_DIRECTORY, else ~/.local/state/pyros.",
)


@click.command()
@config_option
@state_option
def run(config: Path, state: Path) -> None:
    """Run the observatory until SIGTERM or ctrl-C; then close the dome, and end."""
    with Ending() as ending:  # before anything is imported that takes a while
        status = _run_checked(config, state, ending)
    sys.exit(status)


def _run_checked(config: Path, state: Path, ending: Ending) -> int:
    from pyros.cli.daemon_faults import url_faults
    from pyros.cli.daemon_state import StateError, claimed
    from pyros.config import ConfigError, load
    from pyros.store.database import StoreError

    try:
        settings = load(config)
    except ConfigError as error:
        refuse(*str(error).splitlines())
    if faults := url_faults(settings):
        refuse(*(f"{config}: {fault}" for fault in faults))
    try:
        with claimed(state):
            return _run(settings, state.absolute(), ending)
    except (StateError, StoreError) as error:
        refuse(str(error))


def _run(settings: Settings, state: Path, ending: Ending) -> int:
    from pyros.cli.daemon import LOOK_S, Order, boot
    from pyros.cli.daemon_log import LogTo
    from pyros.cli.simulation.daemon import end_pool, start_pool

    pool = start_pool(settings.analyzer.workers)
    try:
        if ending.cause:
            _print_line(f"pyros: {ending.cause} came before anything was started")
            return 0
        clock = clock_of(settings)
        with LogTo(_print_line):
            daemon = boot(Order(settings, state), clock, pool)
            while not daemon.ended and not ending.cause:
                ending.rest(clock, LOOK_S)
            return daemon.stop(ending)
    finally:
        end_pool(pool)


def clock_of(settings: Settings) -> WallClock:
    """Return the machine's clock, or the one that `[simulation]` describes, which all its processes share."""
    from pyros.clock import WallClock

    simulated = settings.simulation
    return WallClock(simulated.speed, simulated.start, simulated.since)


def _print_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def refuse(*lines: str) -> NoReturn:
    """Say what is wrong on standard error, a line each, and leave with status 1."""
    for line in lines:
        click.echo(f"pyros: {line}", err=True)
    sys.exit(1)
