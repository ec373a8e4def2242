"""Runs one night on the virtual clock: real actors, real drivers, real loopback sockets, simulated devices.

Gateway and web take no part; people's commands are timers. The night begins at sunset and is over half an hour after
the dark time, when the dome has to be closed and the telescope parked.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import Supervisor, System
from pyros.actors.tree import specs
from pyros.cli.night.journal import Journal
from pyros.cli.night.record import NightRecord
from pyros.cli.operators import operator_message
from pyros.cli.simulation.daemon import simulated_settings, start_daemon, start_pool
from pyros.cli.simulation.default_scenario import default_scenario
from pyros.cli.simulation.masters import prepare_masters
from pyros.cli.simulation.requests import USER, programme, routine_requests
from pyros.clock import VirtualClock
from pyros.config import Settings
from pyros.messages.base import Failed, Refused
from pyros.messages.people import AddUser
from pyros.messages.system import Crash, Shutdown
from pyros.sky.night import Night, crossing, night_of
from pyros.sky.site import Site
from simulators.observatory import Observatory
from simulators.scenario import Scenario
from simulators.world import Site as SimulatedSite

AFTER = timedelta(minutes=30)
MODELLED_BOOT_S = 5.0


class NightError(RuntimeError):
    """A night that cannot be run; one line says why."""


@dataclass(frozen=True)
class Order:
    """What `pyros night` was asked for."""

    on: date
    seed: int
    folder: Path
    scenario: Path | None = None
    requests: int = 60
    quiet: bool = False
    """No default scenario: nothing happens but the night."""


def run_night(order: Order, progress: Callable[[datetime], None] = lambda now: None) -> NightRecord:  # noqa: ARG005
    """Run a night and return its record.

    Raises
    ------
    NightError, ScenarioError, ConfigError
        With one line per fault.
    """
    _check_folder(order.folder)
    started_s, cpu_s = time.perf_counter(), _cpu_s()
    pool = start_pool(1)
    try:
        record = _run(order, pool, progress)
    finally:
        pool.shutdown(cancel_futures=True)
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
    start = (crossing(site, order.on, 0.0)[0] or night.begins) - timedelta(minutes=10)
    clock = VirtualClock(start.replace(microsecond=0))
    simulated_site = SimulatedSite(site.longitude_deg, site.latitude_deg, site.height_m)
    with Observatory(
        clock, order.seed, simulated_site, night.begins, catalogue_dir=order.folder / "catalogue"
    ) as observatory:
        settings = simulated_settings(
            observatory.urls, scenario.overrides, order.folder, seed=order.seed, store={"synchronous": "off"}
        )
        return _play(order, scenario, settings, night, clock, observatory, pool, progress)


def _play(
    order: Order,
    scenario: Scenario,
    settings: Settings,
    night: Night,
    clock: VirtualClock,
    observatory: Observatory,
    pool: Executor,
    progress: Callable[[datetime], None],
) -> NightRecord:
    assert night.begins is not None and night.ends is not None  # noqa: S101, PT018 - checked by the caller
    for name, camera in settings.devices.camera.items():
        filters = sorted({request.filter for request in routine_requests(order.seed, order.requests)} | {"g", "r", "i"})
        prepare_masters(order.folder / "masters", name, camera, clock.now() - timedelta(hours=3), order.seed, filters)
    journal = Journal(order.folder / "events.jsonl", clock, observatory.urls)
    environment = Environment.of(settings, order.folder, pool, device_journal=journal.transact)
    record = NightRecord(
        night=str(order.on),
        seed=order.seed,
        site=settings.site.model_dump(),
        begins=night.begins,
        ends=night.ends,
        state_folder=order.folder,
    )
    system, supervisor = start_daemon(environment, clock, specs(environment, gateway=False))
    system.keep_journal(journal.deliver)
    system.events.tap(lambda actor, message: record.hear(clock.now(), actor, message))
    try:
        clock.run(until=clock.now() + timedelta(seconds=MODELLED_BOOT_S))
        _submit_requests(system, order)
        for at, event in scenario.play(observatory.world, {"vtp": observatory.broker.send}):
            clock.call_at(at, _action(system, event))
        _run_until(clock, night.ends + AFTER, supervisor, progress)
        if supervisor.exit_status:
            raise NightError(f"the supervisor gave up at {clock.now():%H:%M:%S}: {_last_fault(system)}")
        system.tell("supervisor", Shutdown(cause="the night is over"))
        clock.run(until=clock.now() + timedelta(minutes=10), done=supervisor.finished.is_set)
    finally:
        journal.close()
    _observe(record, observatory)
    return record


def _submit_requests(system: System, order: Order) -> None:
    """Bring in the users' requests as users would: by messages."""
    account = AddUser(name=USER, email="astronomer@example.org", role="observer", password_hash="!")  # noqa: S106 - no login
    orders = [("user_manager", account), ("routine_manager", programme())]
    orders += [("routine_manager", request) for request in routine_requests(order.seed, order.requests)]
    for actor, message in orders if order.requests else []:
        reply = system.ask(actor, message, 30.0)
        if isinstance(reply, Refused | Failed):
            raise NightError(f"{actor} did not take {type(message).__name__}: {reply.reason}")


def _action(system: System, event: dict[str, Any]) -> Callable[[], None]:
    """Return what an event of the scenario does that is not the simulated world's business."""
    if event["kind"] == "actor":
        how = event["fault"]
        if how not in {"raise", "exit", "hang"}:
            raise NightError(f"scenario: actor fault {how!r} is not played yet; there are raise, exit and hang")
        return lambda: system.tell(event["actor"], Crash(how=how))
    if event["kind"] == "operator":
        actor, message = operator_message(event["command"])
        return lambda: system.tell(actor, message, user="operator")
    raise NightError(f"scenario: {', '.join(key for key in event if key != 'kind')} of environment is not played yet")


def _run_until(
    clock: VirtualClock, end: datetime, supervisor: Supervisor, progress: Callable[[datetime], None]
) -> None:
    while clock.now() < end and not supervisor.finished.is_set():
        clock.run(until=min(clock.now() + timedelta(minutes=10), end), done=supervisor.finished.is_set)
        progress(clock.now())


def _last_fault(system: System) -> str:
    return (
        f"{system.dead_letters[-1].to}: {system.dead_letters[-1].reason[-2000:]}" if system.dead_letters else "unknown"
    )


def _observe(record: NightRecord, observatory: Observatory) -> None:
    observer = observatory.observer
    occupied = {kind: [(one.start, one.end) for one in spans] for kind, spans in observer.occupancy().items()}
    record.exposures, record.slews, record.readouts = occupied["exposing"], occupied["slewing"], occupied["readout"]
    record.dome = observer.dome_history()
    record.violations = [{"t": one.t, "rule": one.rule, "detail": one.detail} for one in observer.violations]
    record.transients = [
        {"ra_deg": one.ra_deg, "dec_deg": one.dec_deg, "t0": one.t0, "mag_at_60s": one.mag_at_60s, "alpha": one.alpha}
        for one in observatory.world.transients
    ]
