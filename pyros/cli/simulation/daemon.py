"""A daemon on a simulated observatory: settings that point to its sockets, the kernel, and every actor."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import ChildSpec, Supervisor, System, start_supervisor
from pyros.actors.make_safe import CLOSED_WITHIN_S, Closing, make_safe
from pyros.actors.workers import Workers
from pyros.clock import Clock
from pyros.config import Settings, parse
from pyros.messages.base import Event, State
from pyros.messages.system import DeadLetter
from pyros.orphans import die_with_parent
from pyros.sky import configure_iers

Tap = Callable[[str, Event | State], None]
CAMERA = {"pixels": 512, "field_arcmin": 26.0, "gain_e_per_adu": 1.5, "read_noise_e": 8.0, "cooler_c": -20.0}
POOL_ENDS_WITHIN_S = 3.0
ANALYZER = {"workers": 2, "modelled_s": 2.0, "modelled_routine_s": 45.0}
FILTERS = ["g", "r", "i", "z", "clear"]


def simulated_settings(
    urls: Mapping[str, str], overrides: Mapping[str, Mapping[str, Any]], folder: Path, **top: Any
) -> Settings:
    """Return the settings of an observatory whose devices stand at these addresses.

    Raises
    ------
    ConfigError
        If an override (of a scenario) names what does not exist or is out of its range.
    """
    tables: dict[str, Any] = {
        "mode": "simulation",
        "devices": {
            "telescope": {"url": urls["telescope"]},
            "plc": {"url": urls["plc"]},
            "camera": {
                name.removeprefix("camera:"): {"url": url, "filter_wheel": "vis", **CAMERA}
                for name, url in urls.items()
                if name.startswith("camera:")
            },
            "filter_wheel": {
                name.removeprefix("filter_wheel:"): {"url": url, "filters": FILTERS}
                for name, url in urls.items()
                if name.startswith("filter_wheel:")
            },
        },
        "alerts": {"source": [{"kind": "vtp", "url": urls["vtp"], "name": "vtp"}]},
        "analyzer": {"masters": str(folder / "masters"), "catalogue": str(folder / "catalogue"), **ANALYZER},
        **top,
    }
    for section, keys in overrides.items():
        tables[section] = {**tables.get(section, {}), **keys}
    return parse(tables, "simulated observatory")


def start_pool(workers: int) -> Executor:
    """Start the processes that analyse images, before any thread of ours exists that a fork could harm.

    What they need is imported before they fork, so that it is loaded once and is there at once.
    """
    import pyros.actors.analyzer.analysis  # noqa: F401 # pyright: ignore[reportUnusedImport] - the import is the work

    configure_iers()
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(os.getpid(),))
    for future in [pool.submit(os.getpid) for _ in range(workers)]:
        future.result(timeout=60)
    return Workers(pool, workers)


def _begin_worker(parent: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):  # ctrl-C and a closed terminal are the daemon's business
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent:  # it died in the meantime
        os._exit(1)


def end_pool(pool: Executor) -> None:
    """End the processes of `start_pool`: what waits is dropped, and who works on is ended after a while."""
    ending = threading.Thread(target=lambda: pool.shutdown(cancel_futures=True), name="end of the pool", daemon=True)
    ending.start()
    ending.join(POOL_ENDS_WITHIN_S)
    if ending.is_alive():
        for process in multiprocessing.active_children():
            process.terminate()
        ending.join(POOL_ENDS_WITHIN_S)


def start_daemon(
    environment: Environment, clock: Clock, specs: list[ChildSpec], taps: Iterable[Tap] = (), **rules: Any
) -> tuple[System, Supervisor]:
    """Start the supervisor, which starts everything in order.

    Parameters
    ----------
    taps
        Hear everything that is published, from the first word on.
    rules
        Of the `Supervisor`: `closes_within_s`, `notify`.
    """
    system = System(clock, environment.boot)
    for tap in taps:
        system.events.tap(tap)

    def still_at_work() -> None:
        with contextlib.suppress(OSError):  # closing goes on without systemd
            if (notify := rules.get("notify")) is not None:
                notify("WATCHDOG=1")

    def close_and_park(cause: str) -> None:
        closing = Closing.of(environment.settings)
        problem = make_safe(closing, clock, cause, closed_within_s=CLOSED_WITHIN_S, meanwhile=still_at_work)
        if problem:
            system.bury(DeadLetter(to="plc", message="make safe", reason=f"THE DOME MAY BE OPEN: {problem}"))

    supervisor = start_supervisor(
        system,
        lambda context: Supervisor(
            context,
            specs,
            seed=environment.settings.seed,
            make_safe=close_and_park,
            **rules,
        ),
    )
    return system, supervisor
