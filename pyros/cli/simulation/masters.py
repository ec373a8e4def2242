"""The afternoon before a simulated night: bias, dark and flat frames, and the masters made of them.

The frames are taken with the real camera driver from a camera server of the same seed, which therefore has the same
detector as the night's; its own virtual clock makes the afternoon short.
"""

from __future__ import annotations

import http.client
import urllib.parse
from datetime import datetime, timedelta
from pathlib import Path

from pyros.actors.analyzer.frame import FrameHeader, write_frame
from pyros.actors.analyzer.masters import make_masters
from pyros.clock import VirtualClock
from pyros.config import Camera as CameraSettings
from pyros.hardware.interfaces import Camera, StandingLease
from pyros.hardware.urls import open_camera
from simulators.camera import CameraServer
from simulators.frame_scene import PlainWorld

COOLING = timedelta(minutes=30)
DARK_S = 60.0
FLAT_S = 4.0
FRAMES = 5


def prepare_masters(
    folder: Path, name: str, settings: CameraSettings, start: datetime, seed: int, filters: list[str]
) -> list[str]:
    """Take the calibration frames of one camera and make its masters in `folder`; return what went wrong, in words."""
    clock = VirtualClock(start)
    server = CameraServer(
        PlainWorld(0.0, 90.0), name, clock=clock, seed=seed, pixels=settings.pixels, field_arcmin=settings.field_arcmin
    )
    address = server.start()
    camera = open_camera(f"alpaca://{address}/camera/0", clock, StandingLease(), device=f"camera:{name}")
    try:
        camera.connect()
        if settings.cooler_c is not None:
            camera.set_cooler(True, settings.cooler_c)
            clock.run(until=start + COOLING)
        raw = folder / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        frames = [_take(clock, camera, name, settings, raw, "bias", 0.0, None, n) for n in range(FRAMES)]
        frames += [_take(clock, camera, name, settings, raw, "dark", DARK_S, None, n) for n in range(FRAMES)]
        _switch_lamp(address, on=True)
        for band in filters:
            frames += [_take(clock, camera, name, settings, raw, "flat", FLAT_S, band, n) for n in range(FRAMES)]
        return list(make_masters(frames, folder).problems)
    finally:
        camera.disconnect()
        server.stop()


def _take(
    clock: VirtualClock,
    camera: Camera,
    name: str,
    settings: CameraSettings,
    folder: Path,
    kind: str,
    exposure_s: float,
    band: str | None,
    number: int,
) -> Path:
    start = clock.now()
    camera.start_exposure(exposure_s, kind == "flat")
    clock.run(until=start + timedelta(seconds=exposure_s + settings.readout_s + 1.0))
    header = FrameHeader(
        started_at=start,
        exposure_s=exposure_s,
        image_type=kind,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        camera=f"camera:{name}",
        filter=band,
        gain_e_adu=settings.gain_e_per_adu,
        read_noise_e=settings.read_noise_e,
        ccd_temperature_c=camera.state().ccd_temperature_c,
    )
    path = folder / f"{name}_{kind}_{band or 'none'}_{number}.fits"
    write_frame(path, camera.download(), header)
    return path


def _switch_lamp(address: str, *, on: bool) -> None:
    connection = http.client.HTTPConnection(address, timeout=1.0)
    form = {"Action": "lamp", "Parameters": "on" if on else "off", "ClientID": "1", "ClientTransactionID": "1"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("PUT", "/api/v1/camera/0/action", urllib.parse.urlencode(form), headers)
    connection.getresponse().read()
    connection.close()
