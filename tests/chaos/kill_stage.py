"""A simulated observatory in this process, and real daemons beside it that are started, killed and started again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kill_receiver import Receiver

from pyros.client import Client, GatewayError
from pyros.clock import WallClock
from pyros.messages.base import Message
from pyros.sky.night import night_of
from pyros.sky.site import Site
from simulators.observatory import Observatory
from simulators.physics_dome import Status

ON = date(2026, 11, 22)
MARK = "PYROS_KILL_MARK"
DOME_TRAVEL_S = 20.0
"""A small dome: at five times life it moves in four real seconds, so that a night sees many openings."""
PIXELS = 128
IDLE, EXPOSING = 0, 2
CONFIG = """
mode = "simulation"
seed = {seed}
[simulation]
speed = {speed}
start = {start}
since = {since}
[safety]
hold_off_s = 1.0
rain_hold_off_s = 1.0
[scheduler]
overhead_s = 2.0
replan_after_s = 5.0
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
[alerts]
strategies = "strategies.toml"
[[alerts.source]]
kind = "vtp"
url = "{vtp}"
[[courier.destination]]
name = "centre"
url = "{news}"
[web]
port = 0
"""
STRATEGIES = """
[[strategy]]
name = "short"
version = 1
missions = ["Swift"]
instruments = ["BAT"]
max_error_deg = 0.25
max_field_fraction = 0.5
valid_hours = 1
priority = 100
may_interrupt = true
min_altitude_deg = 20
moon_separation_deg = 0
max_duration_s = 90
[[strategy.exposures]]
until_s = 3600
exposure_s = 8
max_count = 4
[[strategy.albums]]
camera = "vis"
filters = ["r"]
"""


@dataclass
class Start:
    """One start of the daemon, in real seconds of this process' monotonic clock."""

    process: subprocess.Popen
    at_s: float
    at: datetime
    """By the observatory's clock."""
    ready_s: float | None = None
    """How long it took until READY=1."""
    ready_cpu_s: float = 0.0
    """Processor seconds of the daemon itself until then: what does not depend on who else uses the machine."""


class Stage:
    """Everything that outlives a daemon. Use as a context manager: nothing is left running."""

    def __init__(self, folder: Path, seed: int, speed: float, before: timedelta = timedelta(minutes=2)):
        self.folder, self.state, self.seed = folder, folder / "state", seed
        self.words = folder / "words"
        self.mark = uuid.uuid4().hex
        self.night = night_of(Site(), ON, -12.0)
        since, start = datetime.now(UTC), self.night.begins - before
        self.clock = WallClock(speed, start, since)
        self.receiver = Receiver()
        self.observatory = Observatory(self.clock, seed, image_px=PIXELS)
        self.world, self.mount, self.plc = self.observatory.world, self.observatory.mount, self.observatory.plc
        self.plc.logic.travel_s = DOME_TRAVEL_S
        self.broker, self.observer = self.observatory.broker, self.observatory.observer
        self.world.pointing(self.clock.now())  # loads astropy, so that the first client is answered in time
        self._hold_weather_fine()
        self.config = folder / "observatory.toml"
        urls = self.observatory.urls
        places = {name: urls[name] for name in ("telescope", "plc", "vtp")}
        places |= {"camera": urls["camera:vis"], "wheel": urls["filter_wheel:vis"], "news": self.receiver.url}
        times = {name: at.isoformat().replace("+00:00", "Z") for name, at in (("start", start), ("since", since))}
        self.command = [sys.executable, "-m", "pyros", "run", "--config", str(self.config), "--state", str(self.state)]
        self.config.write_text(CONFIG.format(seed=seed, speed=speed, pixels=PIXELS, **places, **times))
        (folder / "strategies.toml").write_text(STRATEGIES)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(folder / "notify"))
        self._camera = urls["camera:vis"].removeprefix("alpaca://").partition("/")[0]
        self.starts: list[Start] = []
        self.client: Client | None = None

    def _hold_weather_fine(self):
        self.world.set_weather(
            rain=False, wind_m_s=3.0, gust_m_s=5.0, humidity_percent=40.0, temperature_c=8.0, cloud_percent=0.0
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._hang_up()
        for start in self.starts[-1:]:
            start.process.kill()
            start.process.wait()
        self.observatory.stop()
        self.receiver.stop()
        self._notices.close()

    # -- the daemon --------------------------------------------------------------------------------------------------

    def start(self) -> Start:
        """Start a daemon; returns at once."""
        self.notifications()
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "XDG_STATE_HOME": str(self.folder / "home"),
            "PYTHONUNBUFFERED": "1",
            MARK: self.mark,
        }
        with self.words.open("a") as words:
            words.write(f"--- start {len(self.starts) + 1}\n")
            words.flush()
            process = subprocess.Popen(self.command, stdout=words, stderr=words, env=environment, cwd=self.folder)
        self.starts.append(Start(process, time.monotonic(), self.clock.now()))
        return self.starts[-1]

    def wait_ready(self, start: Start, within_s: float = 30.0) -> float:
        """Wait for READY=1 and return how many real seconds it took from the start of the process."""
        while "READY=1" not in self.notifications(0.2, start):
            if start.process.poll() is not None or time.monotonic() > start.at_s + within_s:
                raise AssertionError(f"the daemon was not ready within {within_s} s: {self.last_words()}")
        self._hang_up()
        self.client = Client(str(self.state / "gateway"), "operator")
        assert start.ready_s is not None
        return start.ready_s

    def notifications(self, within_s: float = 0.0, start: Start | None = None) -> list[str]:
        """Return what the daemon has told systemd since the last look; wait for the first word if there is none."""
        heard: list[str] = []
        while select.select([self._notices], [], [], max(0.0, 0.0 if heard else within_s))[0]:
            heard += self._notices.recv(4096).decode().splitlines()
        if start is not None and "READY=1" in heard:
            start.ready_s = time.monotonic() - start.at_s
            start.ready_cpu_s = cpu_s(start.process.pid)
        return heard

    def kill(self, start: Start) -> datetime:
        """Kill the daemon, and nothing else; return when, by the observatory's clock."""
        os.kill(start.process.pid, signal.SIGKILL)
        at = self.clock.now()
        start.process.wait()
        self._hang_up()
        return at

    def end(self, start: Start, within_s: float = 60.0) -> int:
        """Ask the daemon to end and return its status."""
        self._hang_up()
        start.process.send_signal(signal.SIGTERM)
        return start.process.wait(timeout=within_s)

    def survivors(self, within_s: float = 3.0) -> list[int]:
        """Return the processes of ours that live on after the daemon's death; they have a moment to end."""
        due_s = time.monotonic() + within_s
        while (found := processes_marked(self.mark)) and time.monotonic() < due_s:
            time.sleep(0.02)
        return found

    def last_words(self, lines: int = 30) -> str:
        return "\n".join(self.words.read_text().splitlines()[-lines:])

    # -- people ------------------------------------------------------------------------------------------------------

    def ask(self, actor: str, message: Message, within_s: float = 3.0) -> Message | None:
        """Ask as a client does; None if the daemon does not answer."""
        if self.client is None:
            return None
        try:
            return self.client.ask(actor, message, within_s)
        except GatewayError:
            return None

    def _hang_up(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    # -- what is, by the simulated world alone -----------------------------------------------------------------------

    def is_exposing(self) -> bool:
        return self._camera_state() == EXPOSING

    def _camera_state(self) -> int:
        connection = http.client.HTTPConnection(self._camera, timeout=1.0)
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/camera/0/camerastate?clientid=7&clienttransactionid=1")
            return json.loads(connection.getresponse().read()).get("Value", IDLE)  # none before it is connected

    def is_slewing(self) -> bool:
        """Whether the mount is on its way to a target, not to its park position."""
        now_s = self.world.unix_s()
        return self.mount.slewing(now_s) and not self.mount.parking(now_s)

    def dome(self) -> str:
        bits = Status(self.plc.status_word())
        for bit in (Status.OPENING, Status.CLOSING, Status.CLOSED, Status.OPEN):
            if bits & bit:
                return bit.name.lower()
        return "between"

    def latched(self) -> bool:
        return bool(self.plc.latch_word())


def processes_marked(mark: str) -> list[int]:
    """Return the living processes that carry a mark in their environment (Linux)."""
    found = []
    wanted = f"{MARK}={mark}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environ.read_bytes().split(b"\0") and not _is_zombie(environ.parent):
                found.append(int(environ.parent.name))
    return found


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_zombie(process: Path) -> bool:
    return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def wait_for(what, within_s: float, step_s: float = 0.02) -> bool:
    """Poll until `what()` is true; tell whether it became so."""
    due_s = time.monotonic() + within_s
    while not what():
        if time.monotonic() > due_s:
            return False
        time.sleep(step_s)
    return True


def middle(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0
