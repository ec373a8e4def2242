"""A small daemon on the wall clock for the gateway's tests: a few actors that are easy to tell apart."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyros.actors.environment import Environment
from pyros.actors.gateway import Gateway
from pyros.actors.kernel import Actor, ChildSpec, Context, Deferred, Lease, Supervisor, System, start_supervisor
from pyros.client import Client
from pyros.clock import WallClock
from pyros.config import parse
from pyros.messages.devices import Slewed, TelescopeState
from pyros.messages.night import NightEnded
from pyros.messages.people import Account
from pyros.messages.system import ChildRow, GatewayState, Shutdown, SupervisorState

DEVICES = {"telescope": {"url": "lx200+tcp://localhost:1"}, "plc": {"url": "modbus://localhost:1"}}


class Mount(Actor):
    """Answers `Slew` at once, `Park` never, and counts what it is told."""

    def __init__(self, context):
        super().__init__(context)
        self.taken = []

    def on_start(self):
        self.show()

    def on_slew(self, message):
        self.taken.append((self.user, message))
        now = self.clock.now()
        return Slewed(ra_deg=message.ra_deg, dec_deg=message.dec_deg, commanded_at=now, settled_at=now)

    def on_park(self, message):
        self.taken.append((self.user, message))
        return Deferred()

    def on_halt(self, message):
        self.taken.append((self.user, message))

    def on_get_rows(self, message):
        """Answer with what no wire can carry."""
        return Account(user_id=1 << 80, name="huge", role="admin")

    def state(self):
        return TelescopeState(link="up", ra_deg=10.0)


def environment(folder: Path, mode: str = "simulation", boot: int = 7) -> Environment:
    tables = {"devices": DEVICES, "mode": mode, "gateway": {"folder": str(folder)}}
    return Environment.of(parse(tables, "test"), folder.parent, ThreadPoolExecutor(1), boot=boot)


def start(system: System, name: str, make) -> Actor:
    mailbox = system.open_mailbox(name)
    context = Context(name=name, system=system, lease=Lease(name, 1), view=mailbox.open_view(1))
    actor = make(context)
    actor.start_in(context)
    return actor


class Daemon:
    """A system with a telescope and a gateway; `more` are (name, make) of other actors."""

    def __init__(self, folder: Path, mode: str = "simulation", speed: float = 1.0, more=(), boot: int = 7) -> None:
        self.folder = folder
        self.system = System(WallClock(speed), boot)
        self.telescope = start(self.system, "telescope", Mount)
        self.others = [start(self.system, name, make) for name, make in more]
        self.gateway = start(self.system, "gateway", lambda c: Gateway(c, environment(folder, mode, boot)))
        until(lambda: self.system.events.latest(GatewayState) is not None)
        self._let_go_out()

    def _let_go_out(self) -> None:
        """Wait until the states of the start are on the wire, so that nobody who listens from now on hears them."""
        with client(self.folder) as door:
            heard = door.listen(["NightEnded"])
            self.telescope.publish(NightEnded(night="2026-11-21"))
            next(heard)

    def publish(self, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            self.telescope.publish(TelescopeState(link="up", ra_deg=float(number % 360)))

    def stop(self) -> None:
        self.gateway._doors.close()


@contextlib.contextmanager
def daemon(**more):
    """Run a daemon in a folder with a short name; a socket's path has little room."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        running = Daemon(Path(folder) / "g", **more)
        try:
            yield running
        finally:
            running.stop()


class Supervised:
    """Telescope and gateway under a Supervisor; `gateways` are the incarnations."""

    def __init__(self, folder: Path) -> None:
        self.gateways: list[Gateway] = []
        self.system = System(WallClock(), 7)
        specs = [ChildSpec("telescope", Mount), ChildSpec("gateway", lambda context: self._make(context, folder))]
        self.supervisor = start_supervisor(self.system, lambda context: Supervisor(context, specs))
        until(lambda: self.row().status == "up")

    def _make(self, context: Context, folder: Path) -> Gateway:
        self.gateways.append(Gateway(context, environment(folder)))
        return self.gateways[-1]

    def row(self):
        """The gateway's row of the supervisor's last published tree."""
        kept = self.system.events.latest(SupervisorState)
        rows = kept[0].children if kept else []
        return next((row for row in rows if row.actor == "gateway"), ChildRow(**NOBODY))


NOBODY = {"actor": "gateway", "status": "waiting", "epoch": 0, "restarts": 0, "mailbox": 0}


@contextlib.contextmanager
def supervised():
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        running = Supervised(Path(folder) / "g")
        try:
            yield running, Path(folder) / "g"
        finally:
            running.system.tell("supervisor", Shutdown(cause="the test is over"))
            assert running.supervisor.finished.wait(10.0)


@contextlib.contextmanager
def client(endpoint, user: str = ""):
    made = Client(str(endpoint), user=user)
    try:
        yield made
    finally:
        made.close()


def until(condition, within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, "it has not come about in time"
        time.sleep(0.005)


def in_thread(work):
    """Run `work` beside the test; return the thread and the list that its result goes to."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results


def take(iterator, count: int) -> list:
    return list(itertools.islice(iterator, count))
