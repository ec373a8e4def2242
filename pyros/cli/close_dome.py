"""`pyros close-dome`: closes without the daemon, on a connection of its own, even when the configuration is broken."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pyros.actors.make_safe import make_safe
from pyros.cli.daemon_state import holder, last_plc
from pyros.cli.run import state_option
from pyros.clock import Clock, WallClock
from pyros.config import ConfigError, load
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import StandingLease
from pyros.hardware.urls import open_plc

LOOK_S = 1.0


@click.command("close-dome")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="An observatory.toml, for the address.")
@state_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to watch for the closed switch.",
)
def close_dome(config: Path | None, state: Path, wait_s: float) -> None:
    """Order the PLC to close the dome, and watch until the closed switch says so."""
    clock = WallClock()
    urls = _addresses(config, state)
    if not urls:
        click.echo(
            f"pyros: no PLC address: none is remembered in {state}, and no usable --config names one; "
            "close the dome by hand",
            err=True,
        )
        sys.exit(1)
    url = next((url for url in urls if _ordered(url, clock)), None)
    if url is None:
        click.echo("pyros: THE DOME WAS NOT TOLD TO CLOSE; close it by hand", err=True)
        sys.exit(1)
    _warn_of_daemon(state)
    if wait_s and not _closed(url, clock, wait_s):
        click.echo(f"pyros: the closed switch has not made within {wait_s:g} s; go and look", err=True)
        sys.exit(1)


def _addresses(config: Path | None, state: Path) -> list[str]:
    """Return where to try, in order: the configuration's address, if it can be read, and the last that answered."""
    urls: list[str] = []
    if config is not None:
        try:
            urls.append(load(config).devices.plc.url)
        except ConfigError as error:
            click.echo(f"pyros: {str(error).splitlines()[0]}; using the last address that answered", err=True)
    last = last_plc(state)
    return urls if last is None or last in urls else [*urls, last]


def _ordered(url: str, clock: Clock) -> bool:
    click.echo(f"closing the dome by the PLC at {url} …")
    try:
        problem = make_safe(url, clock, "close-dome")
    except ValueError as error:  # an address that no driver takes
        problem = str(error)
    if problem:
        click.echo(f"pyros: {problem}", err=True)
        return False
    click.echo("the PLC has taken the order")
    return True


def _warn_of_daemon(state: Path) -> None:
    pid = holder(state)
    if pid is not None:
        click.echo(
            f"a daemon runs (pid {pid}) and may open again; to keep it closed: "
            "pyros send majordome Lockdown operator=NAME reason=WHY"
        )


def _closed(url: str, clock: Clock, wait_s: float) -> bool:
    plc = open_plc(url, clock, StandingLease(), device="plc (close-dome)")
    due_s = clock.monotonic_s() + wait_s
    try:
        while clock.monotonic_s() < due_s:
            try:
                if not plc.connected:
                    plc.connect()
                if plc.poll().closed_switch:
                    click.echo("the dome is closed: its closed switch says so")
                    return True
            except DeviceError as error:
                click.echo(f"pyros: {error}", err=True)
            clock.sleep(LOOK_S)
        return False
    finally:
        plc.disconnect()
