"""One simulated device alone, on the wall clock, until SIGTERM or ctrl-C: the command lines of the simulators."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pyros.clock import WallClock
from simulators.physics_frames import Site
from simulators.serve import PtyServer, TcpServer, complain, parse_address
from simulators.world import World

REFUSED, WRONG_USAGE = 1, 2


class _Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message}; see --help\n")


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _site(text: str) -> Site:
    try:
        longitude, latitude, height = (float(part) for part in text.split(","))
        return Site(longitude, latitude, height)
    except ValueError as error:
        reason = error if "must be" in str(error) else "use LON,LAT,HEIGHT, for example -115.4637,31.0442,2830"
        raise argparse.ArgumentTypeError(f"site {text!r}: {reason}") from None


def _parser(device: str, *, pty: bool) -> _Parser:
    parser = _Parser(
        prog=f"python -m simulators.{device}",
        description=f"A simulated {device} on the wall clock, until SIGTERM or ctrl-C.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", metavar="HOST:PORT", type=_address, help="listen there; port 0 takes a free one")
    if pty:
        where.add_argument("--pty", metavar="LINK", help="a serial line behind this symbolic link")
    parser.add_argument("--site", metavar="LON,LAT,HEIGHT", type=_site, default=Site(), help="degrees east, degrees, m")
    parser.add_argument("--seed", type=int, default=1, help="chooses weather and noise")
    return parser


def _serve(start: Callable[[], str], stop: Callable[[], None], what: str) -> int:
    """Start, print where, wait for a signal, stop."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        where = start()
    except OSError as error:
        return complain(f"{what}: {error}", REFUSED)
    print(where, flush=True)  # noqa: T201 - the command's result: where it listens
    over.wait()
    stop()
    return 0


def _stream(options: argparse.Namespace, world: World, device: str, make_session: Callable[[Any], Any]) -> int:
    clock, faults = world.clock, world.faults
    if options.pty is not None:
        line = PtyServer(clock, faults, device, make_session)
        return _serve(lambda: line.start(options.pty), line.stop, device)
    server = TcpServer(clock, faults, device, make_session)
    return _serve(lambda: server.start(options.tcp), server.stop, device)


def mount_main(arguments: Sequence[str]) -> int:
    """Run `python -m simulators.mount`; return the exit status."""
    from simulators.lx200_server import Lx200Session
    from simulators.mount import SimulatedMount

    options = _parser("mount", pty=True).parse_args(arguments)
    world = World(WallClock(), options.site, options.seed)
    mount = SimulatedMount(world)
    return _stream(options, world, mount.name, lambda link: Lx200Session(mount, link))


def wheel_main(arguments: Sequence[str]) -> int:
    """Run `python -m simulators.wheel`; return the exit status."""
    from simulators.wheel import IfwSession, SimulatedWheel

    parser = _parser("wheel", pty=True)
    parser.add_argument("--filters", default="g,r,i,z,CLEAR", help="5, 6, 8 or 9 names, separated by commas")
    options = parser.parse_args(arguments)
    world = World(WallClock(), options.site, options.seed)
    try:
        wheel = SimulatedWheel(world, names=tuple(options.filters.split(",")))
    except ValueError as error:
        parser.error(str(error))
    return _stream(options, world, wheel.name, lambda link: IfwSession(wheel, link))


def plc_main(arguments: Sequence[str]) -> int:
    """Run `python -m simulators.plc`; return the exit status."""
    from simulators.plc import PlcServer, SimulatedPlc

    options = _parser("plc", pty=False).parse_args(arguments)
    world = World(WallClock(), options.site, options.seed)
    server = PlcServer(SimulatedPlc(world))
    return _serve(lambda: server.start(options.tcp), server.stop, "plc")
