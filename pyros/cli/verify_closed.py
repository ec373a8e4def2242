"""`pyros verify-closed`: is the dome closed by day? Asks the PLC alone, independently of the daemon.

A timer calls it; its exit status and its line are the alarm. Whatever is not certainly closed is not closed: a PLC that
cannot be asked, limit switches that contradict each other, a dome that is still closing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pyros.actors.devices.dome import dome_position
from pyros.cli.last_good import LastGood, candidates
from pyros.cli.run import clock_of, state_option
from pyros.clock import Clock, WallClock
from pyros.config import ConfigError, load
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import Plc, StandingLease
from pyros.hardware.urls import open_plc
from pyros.sky.night import sun_altitude_deg

LOOKS = 4
"""One lost reply is no alarm; and a PLC that works has counted its life on between two looks."""
BETWEEN_S = 2.0


@click.command("verify-closed")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="An observatory.toml, for address and site."
)
@state_option
@click.option("--anytime", is_flag=True, help="Ask by night as well.")
def verify_closed(config: Path | None, state: Path, *, anytime: bool) -> None:
    """Ask the PLC whether the dome is closed while the Sun is up; exit status 1 unless it certainly is."""
    known = candidates(config, state, lambda words: click.echo(f"pyros: {words}", err=True))
    if not known:
        _alarm(f"no PLC address is remembered in {state}, and no usable --config names one")
    clock = _clock(config)
    altitude_deg = sun_altitude_deg(known[0].site, clock.now())
    if altitude_deg <= 0.0 and not anytime:
        click.echo(
            f"the Sun is {-altitude_deg:.0f}° below the horizon: the dome may be open (--anytime asks all the same)"
        )
        return
    problem = _problem(known[0], clock)
    if problem:
        _alarm(problem)
    click.echo(f"the dome is closed (the Sun is at {altitude_deg:+.0f}°)")


def _clock(config: Path | None) -> WallClock:
    """Return the clock of the observatory: a simulated one may have its own."""
    try:
        return WallClock() if config is None else clock_of(load(config))
    except ConfigError:  # that has been said
        return WallClock()


def _problem(known: LastGood, clock: Clock) -> str:
    """Return why this PLC does not say that the dome is closed, or "" if it does."""
    try:
        plc = open_plc(known.plc_url, clock, StandingLease(), device="plc (verify-closed)")
    except ValueError as error:
        return str(error)
    problem = ""
    try:
        for look in range(LOOKS):
            if look:
                clock.sleep(clock.at_least_real(BETWEEN_S, BETWEEN_S))
            problem = _look(plc)
            if look and not problem:
                return ""
    finally:
        plc.disconnect()
    return problem


def _look(plc: Plc) -> str:
    try:
        plc.connect()
        reading = plc.poll()
    except DeviceError as error:
        return f"it cannot be asked: {error}"
    if reading.life_age_s > 0.0:
        return f"the PLC answers, but does not work: its life counter stands at {reading.life_counter}"
    position = dome_position(reading)
    if position == "closed":
        return ""
    return f"the PLC says that it is {position}" + "".join(f"; {words}" for words in reading.problems)


def _alarm(words: str) -> None:
    click.echo(f"pyros: THE DOME IS NOT KNOWN TO BE CLOSED: {words}; go and look", err=True)
    sys.exit(1)
