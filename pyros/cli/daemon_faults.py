"""What would keep a daemon from working: addresses that no driver takes, what is not there or does not answer.

Everything is tried, whatever failed before it; each finding is one line that names the thing and what is wrong.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pyros.cli.daemon_state import StateError, claimed, holder
from pyros.client import EVENTS, socket_address
from pyros.clock import Clock
from pyros.config import Camera, FilterWheel, Settings
from pyros.hardware.errors import DeviceError
from pyros.hardware.interfaces import StandingLease
from pyros.hardware.urls import open_camera, open_filter_wheel, open_mount, open_plc, parse_device_url

CONNECT_S = 1.0


class Finding(NamedTuple):
    """The outcome of one check: of what, whether it is good, and a word about it."""

    what: str
    good: bool
    word: str


def url_faults(settings: Settings) -> list[str]:
    """Return a line for each device URL that no driver takes."""
    devices = settings.devices
    urls = {"telescope": devices.telescope.url, "plc": devices.plc.url}
    urls |= {f"camera.{name}": camera.url for name, camera in devices.camera.items()}
    urls |= {f"filter_wheel.{name}": wheel.url for name, wheel in devices.filter_wheel.items()}
    faults: list[str] = []
    for name, url in urls.items():
        try:
            parse_device_url(url)
        except ValueError as error:
            faults.append(f"devices.{name}.url: {error}")
    return faults


def findings(settings: Settings, state: Path, clock: Clock) -> Iterator[Finding]:
    """Try everything that a daemon with these settings needs; nothing is moved and nothing is kept open."""
    pid = holder(state) if state.exists() else None
    if pid is not None:
        yield Finding(
            "state directory", True, f"{state}: the daemon with pid {pid} runs on it; its devices are not tried"
        )
    else:
        yield _state(state)
        yield from _devices(settings, clock)
        yield _port(settings)
    yield from _sources(settings)
    yield from _files(settings)
    yield _gateway(settings, state)


# -- devices ---------------------------------------------------------------------------------------------------------


def _devices(settings: Settings, clock: Clock) -> Iterator[Finding]:
    devices = settings.devices
    yield _tried("telescope", devices.telescope.url, lambda: _telescope(settings, clock))
    yield _tried("plc", devices.plc.url, lambda: _plc(settings, clock))
    for name, camera in devices.camera.items():
        yield _tried(f"camera:{name}", camera.url, lambda name=name, camera=camera: _camera(name, camera, clock))
    for name, wheel in devices.filter_wheel.items():
        yield _tried(f"filter_wheel:{name}", wheel.url, lambda name=name, wheel=wheel: _wheel(name, wheel, clock))


def _tried(name: str, url: str, look: Callable[[], str]) -> Finding:
    try:
        problem = look()
    except (DeviceError, OSError, ValueError) as error:
        problem = str(error)
    return Finding(name, not problem, f"{url}: {problem}" if problem else url)


def _telescope(settings: Settings, clock: Clock) -> str:
    from pyros.sky import coordinates

    mount = open_mount(
        settings.devices.telescope.url,
        clock,
        StandingLease(),
        device="telescope",
        to_apparent=coordinates.to_apparent,
        to_icrs=coordinates.to_icrs,
    )
    try:
        mount.connect()
        return mount.state().problem or ""
    finally:
        mount.disconnect()


def _plc(settings: Settings, clock: Clock) -> str:
    plc = open_plc(settings.devices.plc.url, clock, StandingLease(), device="plc")
    try:
        plc.connect()
        return "; ".join(plc.poll().problems)
    finally:
        plc.disconnect()


def _camera(name: str, settings: Camera, clock: Clock) -> str:
    camera = open_camera(settings.url, clock, StandingLease(), device=f"camera:{name}")
    try:
        camera.connect()
        height, width = camera.shape
    finally:
        camera.disconnect()
    if (height, width) == (settings.pixels, settings.pixels):
        return ""
    return f"it has {width}×{height} pixels, but devices.camera.{name}.pixels is {settings.pixels}"


def _wheel(name: str, settings: FilterWheel, clock: Clock) -> str:
    wheel = open_filter_wheel(settings.url, clock, StandingLease(), device=f"filter_wheel:{name}")
    try:
        wheel.connect()
        there = len(wheel.names)
    finally:
        wheel.disconnect()
    if len(settings.filters) <= there:
        return ""
    return f"it has {there} positions, but devices.filter_wheel.{name}.filters names {len(settings.filters)}"


# -- the rest --------------------------------------------------------------------------------------------------------


def _state(state: Path) -> Finding:
    try:
        with claimed(state):
            free_gb = os.statvfs(state).f_bavail * os.statvfs(state).f_frsize / 1e9
    except StateError as error:
        return Finding("state directory", False, str(error))
    if free_gb < 1.0:
        return Finding("state directory", False, f"{state}: {free_gb:.2f} GB are free; a night needs at least 1 GB")
    return Finding("state directory", True, f"{state}: {free_gb:.0f} GB free")


def _port(settings: Settings) -> Finding:
    if not settings.web.enabled:
        return Finding("page", True, "not wanted (web.enabled = false)")
    problem = port_problem(settings.web.host, settings.web.port)
    return Finding("page", not problem, problem or f"{settings.web.host}:{settings.web.port} is free")


def port_problem(host: str, port: int) -> str:
    """Return why nobody can listen there, or ''."""
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"{host}:{port} cannot be listened on: {reason}; choose another port"
    return ""


def _sources(settings: Settings) -> Iterator[Finding]:
    for source in settings.alerts.source:
        address = urlsplit(source.url)
        problem = ""
        try:
            socket.create_connection((address.hostname or "", address.port or 0), CONNECT_S).close()
        except OSError as error:
            problem = f"{source.url} does not answer: {error.strerror or error}"
        yield Finding(f"alert source {source.name}", not problem, problem or source.url)


def _files(settings: Settings) -> Iterator[Finding]:
    for key, path in (
        ("analyzer.masters", settings.analyzer.masters),
        ("analyzer.catalogue", settings.analyzer.catalogue),
        ("alerts.strategies", settings.alerts.strategies),
    ):
        if path is not None:
            there = False
            with suppress(OSError):
                there = path.exists()
            yield Finding(key, there, str(path) if there else f"{path} does not exist")


def _gateway(settings: Settings, state: Path) -> Finding:
    folder = settings.gateway.folder or state / "gateway"
    try:
        socket_address(folder, EVENTS)
    except ValueError as error:
        return Finding("gateway", False, str(error))
    return Finding("gateway", True, str(folder))
