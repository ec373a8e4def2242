"""Runs one night on the virtual clock: real actors, real drivers, real loopback sockets, simulated devices.

Gateway and web take no part; people's commands are timers. The night begins at sunset and is over half an hour after
the dark time, when the dome has to be closed and the telescope parked. The daemon runs under a simulated service
manager: whenever it ends, or is killed, the next one goes on with the same night.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from pyros.cli.night.process import Machine
from pyros.cli.night.record import NightRecord
from pyros.cli.night.stage import NightError, Order, Stage
from pyros.cli.simulation.daemon import simulated_settings, start_pool
from pyros.cli.simulation.default_scenario import default_scenario
from pyros.clock import VirtualClock
from pyros.config import Settings
from pyros.sky.night import crossing, night_of
from pyros.sky.site import Site
from simulators.observatory import Observatory
from simulators.receiver import Receiver
from simulators.scenario import Scenario
from simulators.world import Site as SimulatedSite

__all__ = ["NightError", "Order", "run_night"]

BEFORE = timedelta(minutes=10)
CENTRES = ("ic", "fsc")


def run_night(
    order: Order,
    progress: Callable[[datetime], None] = lambda now: None,  # noqa: ARG005 - nobody looks by default
    pool: Executor | None = None,
) -> NightRecord:
    """Run a night and return its record.

    Parameters
    ----------
    pool
        Where images are analysed; by default a process of its own.

    Raises
    ------
    NightError, ScenarioError, ConfigError
        With one line per fault.
    """
    _check_folder(order.folder)
    started_s, cpu_s = time.perf_counter(), _cpu_s()
    analysts = pool or start_pool(1)
    try:
        record = _run(order, analysts, progress)
    finally:
        if pool is None:
            analysts.shutdown(cancel_futures=True)
    record.wall_s, record.cpu_s = time.perf_counter() - started_s, _cpu_s() - cpu_s
    return record


def _check_folder(folder: Path) -> None:
    if (folder / "pyros.db").exists():
        raise NightError(f"{folder} holds a night already; name another folder with --report, or remove it")
    for part in ("images", "catalogue", "masters"):
        (folder / part).mkdir(parents=True, exist_ok=True)


def _cpu_s() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def _run(order: Order, pool: Executor, progress: Callable[[datetime], None]) -> NightRecord:
    scenario = Scenario.load(order.scenario) if order.scenario is not None else None
    place = (scenario.overrides.get("site", {}) if scenario else {}) or {}
    site = Site(**{key: value for key, value in place.items() if key in Site.__dataclass_fields__})
    limit_deg = float((scenario.overrides.get("night", {}) if scenario else {}).get("sun_altitude_max_deg", -12.0))
    night = night_of(site, order.on, limit_deg)
    if night.begins is None or night.ends is None:
        raise NightError(
            f"there is no dark time at {site.name} in the night of {order.on}: the Sun stays above {limit_deg:g}°"
        )
    if scenario is None:
        text = "" if order.quiet else default_scenario(order.seed, site, night.begins, night.ends)
        scenario = Scenario.parse(text)
    start = (crossing(site, order.on, 0.0)[0] or night.begins) - BEFORE
    clock = VirtualClock(start.replace(microsecond=0))
    with ExitStack() as stack:
        observatory = stack.enter_context(_observatory(order, site, night.begins, clock))
        receivers = _receivers(scenario, observatory, stack)
        settings = _settings(order, scenario, observatory, receivers)
        stage = Stage(order, scenario, settings, night, Machine(clock), observatory, receivers, pool)
        return stage.play(progress)


def _observatory(order: Order, site: Site, begins: datetime, clock: VirtualClock) -> Observatory:
    return Observatory(
        clock,
        order.seed,
        SimulatedSite(site.longitude_deg, site.latitude_deg, site.height_m),
        begins,
        image_px=order.pixels,
        catalogue_dir=order.folder / "catalogue",
    )


def _receivers(scenario: Scenario, observatory: Observatory, stack: ExitStack) -> dict[str, Receiver]:
    """Open the centres, if the scenario does anything to one."""
    if not any("centre" in event.keys for event in scenario.events):
        return {}
    receivers = {name: Receiver(observatory.world, name) for name in CENTRES}
    for receiver in receivers.values():
        observatory.urls[f"centre:{receiver.name}"] = receiver.start()
        stack.callback(receiver.stop)
    return receivers


def _settings(order: Order, scenario: Scenario, observatory: Observatory, receivers: dict[str, Receiver]) -> Settings:
    news = [{"name": name, "url": observatory.urls[f"centre:{name}"]} for name in receivers]
    settings = simulated_settings(
        observatory.urls,
        {"courier": {"destination": news}, **scenario.overrides},
        order.folder,
        seed=order.seed,
        store={"synchronous": "off"},
    )
    smaller = {
        name: camera.model_copy(update={"pixels": order.pixels}) for name, camera in settings.devices.camera.items()
    }
    return settings.model_copy(update={"devices": settings.devices.model_copy(update={"camera": smaller})})
