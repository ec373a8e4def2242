"""The whole simulated observatory: world, mount, wheels, PLC, cameras and broker, each behind its real protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from pyros.clock import Clock
from simulators.camera import CameraServer
from simulators.lx200_server import Lx200Session
from simulators.mount import SimulatedMount
from simulators.observer import Observer
from simulators.plc import PlcServer, SimulatedPlc
from simulators.serve import TcpServer
from simulators.vtp_broker import VtpBroker
from simulators.wheel import IfwSession, SimulatedWheel
from simulators.world import Site, World


class Observatory:
    """Starts everything on free loopback ports; `urls` is what a configuration needs.

    Parameters
    ----------
    clock : Clock
    seed : int
        Of weather, stars and noise.
    site : Site, optional
    night_start : datetime, optional
        When the evening ends.
    image_px : int
        Pixels along a side of the cameras.
    catalogue_dir : Path, optional
        Where cameras write the catalogue of the stars they render.
    cameras, wheels : sequence of str
        Names of cameras, and of those that have a filter wheel.

    Attributes
    ----------
    urls : dict
        By configuration name: "telescope", "plc", "vtp", "camera:vis", "filter_wheel:vis" ...
    """

    def __init__(
        self,
        clock: Clock,
        seed: int = 1,
        site: Site | None = None,
        night_start: datetime | None = None,
        *,
        image_px: int = 512,
        catalogue_dir: Path | None = None,
        cameras: Sequence[str] = ("vis",),
        wheels: Sequence[str] = ("vis",),
    ) -> None:
        self.world = World(clock, site, seed, night_start)
        self.mount = SimulatedMount(self.world)
        self.plc = SimulatedPlc(self.world)
        self.wheels = {name: SimulatedWheel(self.world, f"filter_wheel:{name}") for name in wheels}
        self.broker = VtpBroker(self.world)
        self.observer = Observer(self.world, self.mount, self.plc)
        self.urls: dict[str, str] = {}
        self._stops: list[Callable[[], None]] = []
        try:
            self._start(clock, seed, image_px, catalogue_dir, cameras)
        except BaseException:
            self.stop()
            raise

    def _start(
        self, clock: Clock, seed: int, image_px: int, catalogue_dir: Path | None, cameras: Sequence[str]
    ) -> None:
        faults = self.world.faults
        mount = TcpServer(clock, faults, self.mount.name, lambda link: Lx200Session(self.mount, link))
        self._open("telescope", f"lx200+tcp://{mount.start()}", mount.stop)
        plc = PlcServer(self.plc)
        self._open("plc", f"modbus://{plc.start()}?unit=1", plc.stop)
        for wheel in self.wheels.values():
            server = TcpServer(clock, faults, wheel.name, lambda link, wheel=wheel: IfwSession(wheel, link))
            self._open(wheel.name, f"ifw+tcp://{server.start()}", server.stop)
        for name in cameras:
            camera = CameraServer(
                self.world, name, clock=clock, seed=seed, pixels=image_px, catalogue_dir=catalogue_dir
            )
            self._open(f"camera:{name}", f"alpaca://{camera.start()}/camera/0", camera.stop)
        self._open("vtp", f"vtp://{self.broker.start()}", self.broker.stop)
        self.observer.start()
        self._stops.append(self.observer.stop)

    @property
    def roof_needs_park(self) -> bool:
        """Whether the dome is a roll-off roof: the PLC's interlock and the observer's rule; to be set at the start."""
        return self.plc.needs_park

    @roof_needs_park.setter
    def roof_needs_park(self, needs_park: bool) -> None:
        self.plc.needs_park = self.observer.roof_needs_park = needs_park

    def _open(self, name: str, url: str, stop: Callable[[], None]) -> None:
        self.urls[name] = url
        self._stops.append(stop)

    def stop(self) -> None:
        """End all servers and their threads."""
        stops, self._stops = self._stops, []
        for stop in reversed(stops):
            with contextlib.suppress(OSError):
                stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
