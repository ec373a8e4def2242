"""`pyros simulators`: an observatory's devices, simulated, for a daemon in another terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import click

from pyros.cli.ending import Ending
from pyros.cli.run import clock_of, refuse
from pyros.clock import WallClock
from pyros.config import ConfigError, Settings, load

if TYPE_CHECKING:
    from simulators.world import World

HOSTS = ("127.0.0.1", "localhost", "::1")
EXAMPLE = """\
# Written by `pyros simulators`: the daemon's view of an observatory that is simulated on this machine.
mode = "simulation"
seed = {seed}

[site]
name = "San Pedro Mártir"
longitude_deg = -115.4637
latitude_deg = 31.0442
height_m = 2830.0

[safety]
hold_off_s = 60.0

[devices.telescope]
url = "lx200+tcp://127.0.0.1:{mount}"

[devices.plc]
url = "modbus://127.0.0.1:{plc}?unit=1"

[devices.camera.vis]
url = "alpaca://127.0.0.1:{camera}/camera/0"
filter_wheel = "vis"
pixels = 512
gain_e_per_adu = 1.5
cooler_c = -20.0

[devices.filter_wheel.vis]
url = "ifw+tcp://127.0.0.1:{wheel}"

[[alerts.source]]
kind = "vtp"
url = "vtp://127.0.0.1:{broker}"

[analyzer]
catalogue = "simulated_catalogue"
"""
CLOCK = """
# Simulators and daemon share a clock: it shows `start` at the real instant `since`, and runs at `speed` from there.
[simulation]
speed = {speed:g}
start = {start}
since = {since}
"""
LOOK_S = 0.5


class Instant(click.ParamType[datetime]):
    """An instant on the command line: ISO-8601, with its time zone."""

    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return it in UTC."""
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no instant; write it as 2026-11-22T01:30:00Z", param, ctx)
        if instant.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write it as 2026-11-22T01:30:00Z", param, ctx)
        return instant.astimezone(UTC)


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="An observatory.toml whose devices are on this machine; one is written if there is none.",
)
@click.option(
    "--first-port",
    type=click.IntRange(1024, 65_530),
    default=4030,
    show_default=True,
    help="Used when FILE is written.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of weather, stars and noise.")
@click.option("--speed", type=click.FloatRange(1, 60), help="Clock seconds per second, when FILE is written.")
@click.option("--start", type=Instant(), help="UTC that the clock shows now, when FILE is written.")
def simulators(config: Path, first_port: int, seed: int, speed: float | None, start: datetime | None) -> None:
    """Simulate the devices that FILE names, where it says that they are, until SIGTERM or ctrl-C."""
    with Ending() as ending:
        try:
            if not config.exists():
                _write(config, first_port, seed, _clock_section(speed, start))
            elif speed is not None or start is not None:
                click.echo(f"{config} exists: its [simulation] sets the clock; --speed and --start are not used")
            settings = load(config)
        except (OSError, ConfigError) as error:
            refuse(*str(error).splitlines())
        _run(config, settings, seed, ending)


def _run(config: Path, settings: Settings, seed: int, ending: Ending) -> None:
    clock = clock_of(settings)
    with contextlib.ExitStack() as running:
        try:
            for line in _start(settings, clock, seed, running):
                click.echo(line)
        except (OSError, ValueError) as error:
            refuse(str(error))
        click.echo(f"in another terminal: pyros run --config {config}")
        while not ending.cause:
            ending.rest(clock, LOOK_S)
        click.echo(f"{ending.cause}: the simulators end")


def _clock_section(speed: float | None, start: datetime | None) -> str:
    """Return the section of a clock that starts now; nothing where the machine's own will do."""
    if speed is None and start is None:
        return ""
    now = WallClock().now()
    return CLOCK.format(speed=speed or 1.0, start=_toml(start or now), since=_toml(now))


def _toml(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(config: Path, first_port: int, seed: int, clock: str) -> None:
    names = ("mount", "plc", "camera", "wheel", "broker")
    ports = {name: first_port + place for place, name in enumerate(names)}
    config.parent.mkdir(parents=True, exist_ok=True)
    (config.parent / "simulated_catalogue").mkdir(exist_ok=True)
    config.write_text(EXAMPLE.format(seed=seed, **ports) + clock, encoding="utf-8")
    click.echo(f"{config} was written")


class Served(NamedTuple):
    """A simulated device's server, not yet started: what it is called, where it shall be, how it starts and stops."""

    name: str
    url: str
    start: Callable[[tuple[str, int]], object]
    stop: Callable[[], None]


def _start(settings: Settings, clock: WallClock, seed: int, running: contextlib.ExitStack) -> list[str]:
    """Start a server for each device; return a line for each.

    Raises
    ------
    ValueError, OSError
        If an address is not on this machine, or is taken.
    """
    lines: list[str] = []
    for one in _observatory(settings, clock, seed):
        try:
            one.start(_here(one.name, one.url))
        except OSError as error:
            raise OSError(f"{one.name} cannot listen at {one.url}: {error.strerror or error}") from None
        running.callback(one.stop)
        lines.append(f"{one.name:20} {one.url}")
    return lines


def _observatory(settings: Settings, clock: WallClock, seed: int) -> Iterator[Served]:
    """Yield a server for each device and each source of notices, all of one simulated world."""
    from simulators.lx200_server import Lx200Session
    from simulators.mount import SimulatedMount
    from simulators.plc import PlcServer, SimulatedPlc
    from simulators.serve import TcpServer
    from simulators.vtp_broker import VtpBroker
    from simulators.world import Site, World

    place, devices = settings.site, settings.devices
    world = World(clock, Site(place.longitude_deg, place.latitude_deg, place.height_m), seed)
    mount, plc = SimulatedMount(world), PlcServer(SimulatedPlc(world))
    plc.plc.needs_park = settings.dome.parks_first
    session = TcpServer(clock, world.faults, mount.name, lambda link: Lx200Session(mount, link))
    world.pointing(clock.now())  # loads astropy, so that the first client is answered in time
    yield Served("telescope", devices.telescope.url, session.start, session.stop)
    yield Served("plc", devices.plc.url, plc.start, plc.stop)
    yield from _instruments(settings, clock, seed, world)
    for source in settings.alerts.source:
        broker = VtpBroker(world)
        yield Served(f"broker {source.name}", source.url, broker.start, broker.stop)


def _instruments(settings: Settings, clock: WallClock, seed: int, world: World) -> Iterator[Served]:
    from simulators.camera import CameraServer
    from simulators.serve import TcpServer
    from simulators.wheel import IfwSession, SimulatedWheel

    for name, wheel in settings.devices.filter_wheel.items():
        model = SimulatedWheel(world, f"filter_wheel:{name}")
        line = TcpServer(clock, world.faults, model.name, lambda link, model=model: IfwSession(model, link))
        yield Served(model.name, wheel.url, line.start, line.stop)
    for name, settings_of in settings.devices.camera.items():
        camera = CameraServer(
            world,
            name,
            clock=clock,
            seed=seed,
            pixels=settings_of.pixels,
            field_arcmin=settings_of.field_arcmin,
            catalogue_dir=settings.analyzer.catalogue,
        )
        yield Served(f"camera:{name}", settings_of.url, lambda at, camera=camera: camera.start(*at), camera.stop)


def _here(name: str, url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.hostname not in HOSTS or parts.port is None:
        raise ValueError(f"{name} is at {url}; only what is at 127.0.0.1:PORT can be simulated")
    return parts.hostname, parts.port
