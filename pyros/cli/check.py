"""`pyros check`: everything that is wrong with a configuration, and everything that it names and is not there."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pyros.cli.run import config_option, refuse, state_option
from pyros.clock import WallClock
from pyros.config import ConfigError, load


@click.command()
@config_option
@state_option
def check(config: Path, state: Path) -> None:
    """Name every fault of FILE; then try each device, source, port and folder that it names. Nothing is moved."""
    from pyros.cli.daemon_faults import findings, url_faults
    from pyros.sky import configure_iers

    try:
        settings = load(config)
    except ConfigError as error:
        refuse(*str(error).splitlines())
        return
    faults = [f"{config}: {fault}" for fault in url_faults(settings)]
    for fault in faults:
        click.echo(f"pyros: {fault}", err=True)
    configure_iers()
    for finding in findings(settings, state.absolute(), WallClock()):
        if finding.good:
            click.echo(f"ok       {finding.what}: {finding.word}")
        else:
            faults.append(finding.word)
            click.echo(f"MISSING  {finding.what}: {finding.word}", err=True)
    if faults:
        click.echo(f"pyros: {config}: {len(faults)} thing{'s' if len(faults) > 1 else ''} to put right", err=True)
        sys.exit(1)
    click.echo(f"{config} is good")
