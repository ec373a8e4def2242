"""The simulated CCD camera behind an ASCOM Alpaca server.

`python -m simulators.camera --tcp HOST:PORT` runs one alone on the wall clock.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from pyros.clock import Clock, WallClock
from simulators.alpaca_server import AlpacaServer
from simulators.alpaca_server_camera import CameraDevice
from simulators.frame import FrameRenderer
from simulators.frame_camera import CameraModel
from simulators.frame_scene import PlainWorld, World
from simulators.sky import SyntheticSky


class CameraServer:
    """A camera with its Alpaca server.

    Parameters
    ----------
    world, name : World, str
        See `CameraModel`.
    clock : Clock
    seed : int
        Of the detector, the noise and the mount's pointing error.
    sky : SyntheticSky, optional
        The stars; by default those of the same seed.
    pixels, field_arcmin : int, float
        Along a side.
    catalogue_dir : Path, optional
        Where the rendered stars are written; it must exist.
    """

    def __init__(
        self,
        world: World,
        name: str,
        *,
        clock: Clock,
        seed: int = 0,
        sky: SyntheticSky | None = None,
        pixels: int = 512,
        field_arcmin: float = 26.0,
        catalogue_dir: Path | None = None,
    ) -> None:
        renderer = FrameRenderer(
            name, seed=seed, sky=sky or SyntheticSky(seed), pixels=pixels, field_arcmin=field_arcmin
        )
        self.model = CameraModel(world, name, renderer, clock, catalogue_dir)
        self._server = AlpacaServer([CameraDevice(self.model, name)], clock)

    def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return "host:port"."""
        return self._server.start(host, port)

    def stop(self) -> None:
        """Hang up and stop listening."""
        self._server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one camera alone on the wall clock until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m simulators.camera", description="A simulated Alpaca camera.")
    parser.add_argument("--tcp", required=True, metavar="HOST:PORT", help="address to listen on; port 0 chooses one")
    parser.add_argument("--pixels", type=int, default=512, help="along a side, 64 to 4096 (default 512)")
    parser.add_argument("--seed", type=int, default=0, help="of sky, detector and noise (default 0)")
    parser.add_argument("--pointing", default="120.5,22.1", metavar="RA,DEC", help="ICRS degrees (default 120.5,22.1)")
    options = parser.parse_args(arguments)
    try:
        host, port = _address(options.tcp)
        world = PlainWorld(*_pointing(options.pointing))
        server = CameraServer(world, "vis", clock=WallClock(), seed=options.seed, pixels=options.pixels)
        sys.stdout.write(f"camera at {server.start(host, port)}\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"simulators.camera: {error}\n")
        return 1
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.stop()
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"--tcp is {text!r}; it must be HOST:PORT with a port from 0 to 65535")
    return host, int(port)


def _pointing(text: str) -> tuple[float, float]:
    try:
        ra_deg, dec_deg = (float(part) for part in text.split(","))
    except ValueError:
        ra_deg = dec_deg = math.nan
    if not (0.0 <= ra_deg < 360.0 and -90.0 <= dec_deg <= 90.0):
        raise ValueError(f"--pointing is {text!r}; it must be RA,DEC with 0 <= RA < 360 and -90 <= DEC <= 90 degrees")
    return ra_deg, dec_deg


if __name__ == "__main__":
    sys.exit(main())
