"""How long the safety chain stalls beside what holds the interpreter: `python -m benchmarks.stalls`, one JSON line.

plc → monitor → majordome → plc, the real actors on the machine's clock with a simulated PLC over Modbus on loopback,
while a thread of the same process does something that it should not. Told of each load: the longest time between two
heartbeats written to the PLC, between two readings of it, and between two verdicts. The PLC's dead-man, 30 s as a rule,
is by default the shortest that there is here, 5 s, for which a heartbeat is written every 1.25 s instead of 5 s.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pyros.actors.environment import Environment
from pyros.actors.kernel import Supervisor, System, start_supervisor
from pyros.actors.tree import specs
from pyros.clock import Clock, WallClock
from pyros.config import parse
from pyros.messages.devices import PlcState
from pyros.messages.night import SafetyVerdict
from simulators.observatory import Observatory
from simulators.world import Site

CHAIN = ("archivist", "plc", "weather:mast", "monitor", "majordome")
SITE = Site(-115.4637, 31.0442, 2830.0)
REGEX_MOST_S = 3.0


class Marks:
    """When something happened, by what it was; written from many threads."""

    def __init__(self) -> None:
        self._times_s: dict[str, list[float]] = defaultdict(list)

    def mark(self, what: str) -> None:
        self._times_s[what].append(time.monotonic())

    def worst_gaps_s(self, since_s: float, until_s: float) -> dict[str, float]:
        """The longest time in which nothing of a kind happened, a gap that began before or ends after included."""
        report: dict[str, float] = {}
        for what, times_s in self._times_s.items():
            gaps = [later - earlier for earlier, later in pairwise(times_s) if later > since_s and earlier < until_s]
            report[what] = round(max(gaps), 2)
        return report


# -- the chain -------------------------------------------------------------------------------------------------------


@contextmanager
def chain(folder: Path, marks: Marks, deadman_s: float) -> Generator[None]:
    """Run the safety chain; what it does is marked."""
    clock = WallClock()
    observatory = Observatory(clock, 1, SITE, clock.now(), image_px=64)
    write_holding = observatory.plc.write_holding

    def write_and_mark(address: int, values: list[int]) -> bool:
        if address == 0:
            marks.mark("heartbeat")
        return write_holding(address, values)

    observatory.plc.write_holding = write_and_mark
    with ThreadPoolExecutor(1) as pool:
        supervisor = start_chain(clock, environment(observatory, folder, pool, deadman_s), marks)
        try:
            time.sleep(10.0)
            yield
        finally:
            supervisor.stop()
            observatory.stop()


def environment(observatory: Observatory, folder: Path, pool: Executor, deadman_s: float) -> Environment:
    tables = {
        "mode": "simulation",
        "site": {"name": "San Pedro Martir", "longitude_deg": -115.4637, "latitude_deg": 31.0442, "height_m": 2830.0},
        "safety": {"deadman_s": deadman_s},
        "devices": {name: {"url": observatory.urls[name]} for name in ("plc", "telescope")},
    }
    return Environment.of(parse(tables, "benchmark"), folder, pool)


def start_chain(clock: Clock, shared: Environment, marks: Marks) -> Supervisor:
    system = System(clock)

    def listen(_: str, message: object) -> None:
        if isinstance(message, PlcState):
            marks.mark("reading")
        elif isinstance(message, SafetyVerdict):
            marks.mark("verdict")

    system.events.tap(listen)
    wanted = [spec for spec in specs(shared, gateway=False) if spec.name in CHAIN]
    return start_supervisor(system, lambda context: Supervisor(context, wanted))


# -- loads, each until it is told to stop ----------------------------------------------------------------------------


def nothing(stop: threading.Event, _: list[float]) -> None:
    stop.wait()


def small_numpy(stop: threading.Event, _: list[float]) -> None:
    cutout = np.random.default_rng(1).normal(size=(16, 16))
    while not stop.is_set():
        np.median(cutout - cutout.mean())


def python_loops(stop: threading.Event, _: list[float]) -> None:
    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    threads = [threading.Thread(target=count, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def catastrophic_length() -> int:
    """How many letters keep the expression busy for at most three seconds of CPU time; each doubles it."""
    for length in range(18, 40):
        began_s = time.thread_time()
        search(length)
        if (taken_s := time.thread_time() - began_s) > REGEX_MOST_S / 4:
            return length + (1 if 2 * taken_s <= REGEX_MOST_S else 0)
    raise RuntimeError("no length takes long enough")


def search(length: int) -> None:
    """Never lets the interpreter go until it is done."""
    re.match(r"(a+)+$", "a" * length + "b")


def catastrophic_expression(stop: threading.Event, holds_s: list[float]) -> None:
    length = catastrophic_length()
    while not stop.wait(4.0):
        with timed(holds_s):
            search(length)


def collection_of_a_big_heap(stop: threading.Event, holds_s: list[float]) -> None:
    heap: list[list[Any]] = [[number] for number in range(2_000_000)]
    while not stop.wait(0.5):
        with timed(holds_s):
            gc.collect()
    heap.clear()


@contextmanager
def timed(holds_s: list[float]) -> Generator[None]:
    began_s = time.monotonic()
    yield
    holds_s.append(time.monotonic() - began_s)


Load = Callable[[threading.Event, list[float]], None]
LOADS: tuple[Load, ...] = (
    nothing,
    small_numpy,
    python_loops,
    catastrophic_expression,
    collection_of_a_big_heap,
)


def beside(load: Load, marks: Marks, seconds: float) -> dict[str, float]:
    """The worst gaps while `load` runs, and until the first heartbeat after it; its longest single hold."""
    stop, holds_s = threading.Event(), [0.0]
    thread = threading.Thread(target=load, args=(stop, holds_s), daemon=True)
    since_s = time.monotonic()
    thread.start()
    time.sleep(seconds)
    stop.set()
    thread.join()
    until_s = time.monotonic()
    time.sleep(8.0)
    return marks.worst_gaps_s(since_s, until_s) | {"longest_hold": round(max(holds_s), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each load")
    parser.add_argument("--deadman", type=float, default=5.0, help="the PLC's, in seconds: 5 to 120")
    options = parser.parse_args()
    marks = Marks()
    with tempfile.TemporaryDirectory() as folder, chain(Path(folder), marks, options.deadman):
        gaps = {load.__name__: beside(load, marks, options.seconds) for load in LOADS}
    pressure = Path("/proc/pressure/cpu")
    report = {
        "benchmark": "stalls",
        "seconds_each": options.seconds,
        "deadman_s": options.deadman,
        "worst_gap_s": gaps,
        "worst_heartbeat_gap_s": max(gap["heartbeat"] for gap in gaps.values()),
        "cpu_pressure": pressure.read_text().splitlines()[0] if pressure.exists() else None,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
