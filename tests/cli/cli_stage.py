"""What the tests of the commands share: a simulated observatory on the wall clock, its file, and real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pyros.clock import WallClock
from simulators.observatory import Observatory

TOML = """
mode = "simulation"
[devices.telescope]
url = "{telescope}"
[devices.plc]
url = "{plc}"
[devices.camera.vis]
url = "{camera}"
filter_wheel = "vis"
pixels = {pixels}
[devices.filter_wheel.vis]
url = "{wheel}"
[[alerts.source]]
kind = "vtp"
url = "{vtp}"
[web]
port = {port}
"""
SILENT = "lx200+tcp://127.0.0.1:9"


@contextlib.contextmanager
def observatory():
    with Observatory(WallClock(), image_px=128) as stage:
        stage.world.pointing(stage.world.clock.now())
        yield stage


def write_config(folder: Path, stage: Observatory, **changes) -> Path:
    urls = stage.urls
    values = {"telescope": urls["telescope"], "plc": urls["plc"], "camera": urls["camera:vis"], "vtp": urls["vtp"]}
    values |= {"wheel": urls["filter_wheel:vis"], "pixels": 128, "port": 0}
    file = folder / "observatory.toml"
    file.write_text(TOML.format(**values | changes))
    return file


@contextlib.contextmanager
def pyros(*arguments, folder: Path):
    """Run a command in a process; its words are in `folder/words`. Killed if it outlives the test."""
    words = folder / "words"
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "home"), "PYTHONUNBUFFERED": "1"}
    environment.pop("PYROS_GATEWAY", None)
    with (
        words.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "pyros", *map(str, arguments)], stdout=out, stderr=out, env=environment
        ) as process,
    ):
        try:
            yield process, words
        finally:
            process.kill()


def wait_for(what, *, within_s=30.0, why=lambda: ""):
    """Poll until `what()` is true and return it."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not seen within {within_s} s; {why()}")


def children_of(pid: int) -> set[int]:
    """Return the living processes whose parent is `pid` (Linux)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == pid and state != "Z":
                found.add(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end(process, number=signal.SIGTERM, within_s=15.0) -> int:
    process.send_signal(number)
    return process.wait(timeout=within_s)
