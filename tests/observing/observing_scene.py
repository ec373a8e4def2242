"""An observatory for short scenes: the real actors of the observing and alert chain, small stand-ins for devices.

The stand-ins take clock time as devices do; `faults[name]` is "refuse", "silent" or "raise". What majordome does is the
real thing with `majordome=True`; else a recorder has its name, and the test orders what it would.
"""

from __future__ import annotations

import functools
from concurrent.futures import Executor, Future
from datetime import date, datetime, timedelta
from typing import ClassVar

import pytest

from pyros.actors.alert_manager.actor import AlertManager
from pyros.actors.alert_manager.listener import VtpListener
from pyros.actors.analyzer.actor import Analyzer
from pyros.actors.analyzer.analysis import AnalysisReport, ImageReport
from pyros.actors.archivist import Archivist
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, ChildSpec, Sleep, Supervisor, System, start_supervisor
from pyros.actors.kernel.envelope import StopOrder
from pyros.actors.librarian import Librarian
from pyros.actors.majordome.actor import Majordome
from pyros.actors.observation_manager import ObservationManager
from pyros.actors.routine_manager import RoutineManager
from pyros.actors.scheduler.actor import Scheduler
from pyros.actors.user_manager import UserManager
from pyros.clock import VirtualClock
from pyros.config import parse
from pyros.messages.alerts import NoticeArrived
from pyros.messages.base import Done, GetState, Refused
from pyros.messages.devices import (
    Exposed,
    FilterSet,
    PlcState,
    Poll,
    ShutterOpened,
    Slewed,
    TelescopeState,
)
from pyros.messages.night import MonitorState, SafetyVerdict
from pyros.messages.people import AddUser, OpenProgramme, SubmitRequest
from pyros.messages.store import Flush, GetRows
from pyros.messages.system import Crash, DeadLetter, LibrarianState
from pyros.sky import configure_iers
from pyros.sky.coordinates import sidereal_time_deg
from pyros.sky.night import date_of, night_of
from pyros.sky.site import Site
from simulators.notices import render

SITE = Site()
ON = date(2026, 11, 22)
SLEW_S, READOUT_S, TURN_S, BRAKE_S, COMMIT_S = 8.0, 3.0, 2.0, 0.3, 0.2
DEVICES = {
    "telescope": {"url": "lx200+tcp://127.0.0.1:9"},
    "plc": {"url": "modbus://127.0.0.1:9"},
    "camera": {"vis": {"url": "alpaca://127.0.0.1:9/camera/0", "filter_wheel": "vis", "pixels": 512}},
    "filter_wheel": {"vis": {"url": "ifw+tcp://127.0.0.1:9", "filters": ["g", "r", "i"]}},
}


@functools.cache
def tonight(on=ON):
    configure_iers()
    return night_of(SITE, on, -12.0)


def start_of_scene() -> datetime:
    """An hour into the dark time."""
    return (tonight().begins + timedelta(hours=1)).replace(microsecond=0)


class StandIn(Actor):
    """A device that is not there; `stage` is the scene."""

    def __init__(self, context, stage):
        super().__init__(context)
        self.stage = stage

    def state(self):
        return LibrarianState(queries=0)

    def on_halt(self, message):
        self.stage.note(f"{self.name} halted")
        self.abort(message.cause)

    def act(self, seconds, reply):
        """Take a while, then answer, or do what the fault says."""
        fault = self.stage.faults.get(self.name)
        if fault == "refuse":
            return Refused(reason=f"{self.name} was told to refuse")
        if fault == "raise":
            raise RuntimeError(f"{self.name} was told to break")

        def taking():
            yield Sleep(seconds if fault is None else 3600.0)
            return reply()

        return taking()


class Mount(StandIn):
    def on_start(self):
        self.publish(TelescopeState(link="up", parked=False))

    def on_slew(self, message):
        at = self.clock.now()
        self.stage.note(f"slew {message.sequence_id}")
        self.stage.slews.append((at, message.ra_deg, message.dec_deg))
        place = {"ra_deg": message.ra_deg, "dec_deg": message.dec_deg}
        return self.act(SLEW_S, lambda: Slewed(**place, commanded_at=at, settled_at=self.clock.now()))

    def on_park(self, message):
        self.abort(message.cause)


class BrakeStandIn(StandIn):
    def on_brake(self, message):
        self.stage.note(f"{self.name} pulled")

        def taken():
            self.stage.note(f"{self.name} answered")
            return Done()

        return self.act(BRAKE_S, taken)


class CameraStandIn(StandIn):
    def on_expose(self, message):
        start = self.clock.now()
        self.stage.note(f"expose {message.plan_id}.{message.number}")
        opened = {"sequence_id": message.sequence_id, "plan_id": message.plan_id, "exposure_s": message.exposure_s}
        if self.name not in self.stage.faults:
            self.publish(ShutterOpened(camera=self.name, start=start, **opened))

        def exposed():
            file = f"{ON}/{message.plan_id}_{message.number}_{start:%H%M%S}.fits"
            return Exposed(
                file=file, datasum="1", camera=self.name, filter=message.filter, frame=message.frame, start=start,
                end=start + timedelta(seconds=message.exposure_s), exposure_s=message.exposure_s,
            )  # fmt: skip

        return self.act(message.exposure_s + READOUT_S, exposed)


class WheelStandIn(StandIn):
    def on_set_filter(self, message):
        return self.act(TURN_S, lambda: FilterSet(filter=message.filter))


class PlcStandIn(StandIn):
    def on_start(self):
        self.publish(PlcState(link="up", dome="open", rain=False))

    def on_open_dome(self, message):
        return Done()

    def on_close_dome(self, message):
        self.publish(PlcState(link="up", dome="closed", rain=False))

    def on_beat(self, message):
        """Nothing to feed."""


class MonitorStandIn(StandIn):
    """Night, and SAFE every second."""

    def on_start(self):
        self.show()
        self.after(0.0, Poll())

    def on_poll(self, _):
        if self.stage.ticking:
            self.publish(SafetyVerdict(level="SAFE", reasons=[], at=self.clock.now()))
            self.after(1.0, Poll())

    def state(self):
        night = tonight(date_of(SITE, self.clock.now()))
        hour = timedelta(hours=1)
        return MonitorState(
            phase="night",
            night=str(night.date),
            begins=night.begins,
            ends=night.ends,
            opens=night.begins - hour,
            sunrise=night.ends + hour,
            level="SAFE",
            reasons=[],
            devices=[],
        )


class Recorder(StandIn):
    """Has majordome's name and keeps what it is told."""

    def on_observe_alert(self, message):
        self.stage.told.append(message)

    def on_replan(self, message):
        self.stage.told.append(message)


class SlowArchivist(Archivist):
    """Takes `COMMIT_S` for each group of commits, as a disk does."""

    def tell(self, to, message):
        if isinstance(message, Flush):
            self.after(COMMIT_S, message)
        else:
            super().tell(to, message)


class SmallDisk(Archivist):
    """Takes nothing while `full`."""

    full = False

    def on_flush(self, message):
        self._store.main.execute_sql(f"PRAGMA query_only={int(self.full)}")
        super().on_flush(message)


class Pool(Executor):
    """Answers every job at once with `answer(job)`; an exception is the job's failure."""

    def __init__(self):
        self.jobs = []
        self.answer = lambda job: AnalysisReport(images=tuple(ImageReport(file=frame) for frame in job.frames))

    def submit(self, fn, /, job):
        self.jobs.append(job)
        future = Future()
        try:
            future.set_result(self.answer(job))
        except Exception as error:
            future.set_exception(error)
        return future


class Scene:
    """Boot it, act on it by messages, look into its store."""

    open_ones: ClassVar[list[Scene]] = []

    def __init__(self, folder, *, majordome=False, vtp="", start=None, clock=None, archivist=Archivist, **settings):
        self.folder = folder
        (folder / "images").mkdir(parents=True, exist_ok=True)
        self.clock = clock or VirtualClock(start or start_of_scene(), stall_s=20.0)
        self.faults, self.diary, self.slews, self.told, self.log = {}, [], [], [], []
        self.pool = Pool()
        self.ticking = majordome
        self.system = System(self.clock)
        self.system.events.tap(lambda sender, message: self.log.append((self.clock.now(), message)))
        source = [{"kind": "vtp", "url": vtp, "name": "vtp"}] if vtp else []
        tables = {"mode": "simulation", "devices": DEVICES, "store": {"synchronous": "off"}, **settings}
        tables["alerts"] = {"source": source, **tables.get("alerts", {})}
        self.environment = Environment.of(parse(tables, "scene"), folder, self.pool)
        director = (lambda c: Majordome(c, self.environment)) if majordome else (lambda c: Recorder(c, self))
        specs = [*self._specs(archivist, director), *([self._listener()] if vtp else [])]
        self.supervisor = start_supervisor(self.system, lambda context: Supervisor(context, specs))
        self.open_ones.append(self)
        self.run(0.0)

    def close(self):
        """End every actor's thread, the supervisor's first, so that it restarts nobody."""
        if self in self.open_ones:
            self.open_ones.remove(self)
        for name in ("supervisor", *self.system.names()):
            mailbox = self.system.mailbox(name)
            mailbox.put(StopOrder(mailbox.owner), first=True)
        self.clock.run(self.clock.now())

    def _specs(self, archivist, director):
        for name, actor in [("archivist", archivist), ("librarian", Librarian), ("user_manager", UserManager)]:
            yield ChildSpec(name, lambda c, actor=actor: actor(c, self.environment))
        stand_ins = {
            "plc": PlcStandIn, "telescope.brake": BrakeStandIn, "telescope": Mount, "camera:vis.brake": BrakeStandIn,
            "camera:vis": CameraStandIn, "filter_wheel:vis": WheelStandIn,
        }  # fmt: skip
        for name, actor in stand_ins.items():
            yield ChildSpec(name, lambda c, actor=actor: actor(c, self))
        yield ChildSpec("analyzer", lambda c: Analyzer(c, self.environment))
        yield ChildSpec("monitor", lambda c: MonitorStandIn(c, self))
        for name, actor in [("scheduler", Scheduler), ("observation_manager", ObservationManager)]:
            yield ChildSpec(name, lambda c, actor=actor: actor(c, self.environment))
        yield ChildSpec("majordome", director)
        for name, actor in [("routine_manager", RoutineManager), ("alert_manager", AlertManager)]:
            yield ChildSpec(name, lambda c, actor=actor: actor(c, self.environment))

    def _listener(self):
        source = self.environment.settings.alerts.source[0]
        return ChildSpec("listener:vtp", lambda c: VtpListener(c, self.environment, source))

    # -- acting ------------------------------------------------------------------------------------------------------

    def note(self, what):
        self.diary.append(what)

    def run(self, seconds):
        self.clock.run(self.clock.now() + timedelta(seconds=seconds))

    def run_until(self, done, most_s=7200.0):
        limit = self.clock.now() + timedelta(seconds=most_s)
        self.clock.run(limit, done=done)
        assert done(), f"it has not come about in {most_s} s; the diary ends with {self.diary[-5:]}"

    def until_noted(self, what):
        self.run_until(lambda: any(what in line for line in self.diary))

    def ask(self, to, message=None, within_s=60.0):
        return self.system.ask(to, message or GetState(), within_s)

    def tell(self, to, message):
        self.system.tell(to, message)

    def crash(self, actor):
        self.tell(actor, Crash())
        self.run(0.1)

    def notice(self, raw):
        """Hand a notice to the alert manager, as a listener does."""
        return self.ask("alert_manager", NoticeArrived(raw=raw, transport="test", received_at=self.clock.now()))

    def burst(self, form, *, t0=None, trigger_id="1400001", offset_deg=0.0, error_deg=0.05):
        """Return a notice of a burst that stands high at the scene's start; `offset_deg` moves it in declination."""
        ra_deg, dec_deg = high_place()
        t0 = t0 or self.clock.now() - timedelta(seconds=40)
        return render(form, t0, self.clock.now(), ra_deg, dec_deg + offset_deg, error_deg, trigger_id)

    def submit(self, count=1, grant_s=36_000.0, **more):
        """Bring in a user, her programme and her requests; return the sequences' ids."""
        account = AddUser(name="ann", email="ann@example.org", role="observer", password_hash="!")
        if not self.rows("user"):
            self.ask("user_manager", account)
        self.ask("routine_manager", OpenProgramme(name="p", title="P", user="ann", grant_s=grant_s))
        ra_deg, dec_deg = high_place()
        ids = []
        for number in range(count):
            request = {
                "name": f"r{number}", "target_name": f"T{number}", "ra_deg": (ra_deg + number) % 360,
                "dec_deg": dec_deg, "exposure_s": 30.0, "count": 4, "moon_separation_deg": 0.0,
            }  # fmt: skip
            reply = self.ask("routine_manager", SubmitRequest(user="ann", programme="p", **(request | more)))
            assert not isinstance(reply, Refused), reply
            ids += reply.sequence_ids
        self.run(0.0)
        return ids

    # -- looking -----------------------------------------------------------------------------------------------------

    def rows(self, table, **where):
        return self.ask("librarian", GetRows(table=table, where=where, ascending=True, limit=1000)).rows

    def row(self, table, **where):
        (row,) = self.rows(table, **where)
        return row

    def events(self, kind):
        return [message for _, message in self.log if isinstance(message, kind)]

    def broken(self):
        """Dead letters that nobody meant."""
        return [letter for letter in self.events(DeadLetter) if "told to break" not in letter.reason]

    def row_of(self, name):
        """A child's line in the supervisor's state."""
        return next(row for row in self.supervisor.state().children if row.actor == name)

    def ledger(self):
        """Seconds by kind of the quota ledger."""
        total: dict[str, float] = {}
        for row in self.rows("quota_entry"):
            total[row["kind"]] = total.get(row["kind"], 0.0) + row["seconds"]
        return total

    def again(self, after_s=1.0, **rules):
        """Return a new daemon on the same store, as after a kill."""
        return Scene(self.folder, start=self.clock.now() + timedelta(seconds=after_s), **rules)


@pytest.fixture(autouse=True)
def end_of_scenes():
    """End every scene with its test (imported by each file): a hundred daemons' threads are too many for a process."""
    yield
    while Scene.open_ones:
        Scene.open_ones[-1].close()


@functools.cache
def high_place() -> tuple[float, float]:
    """A place just east of the meridian at the scene's start."""
    configure_iers()
    return (sidereal_time_deg(SITE, start_of_scene()) + 15.0) % 360, SITE.latitude_deg
