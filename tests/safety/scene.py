"""A short scene on the virtual clock: the simulated observatory, its real drivers over loopback, and the actors wanted.

Every scene is at San Pedro Mártir in the night of 2026-11-22, by default an hour into the dark time, with short
hold-offs, so that a minute or two of virtual time shows a whole reflex.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import pairwise

from scene_sequences import TARGET, Sequences

from pyros.actors.environment import Environment
from pyros.actors.kernel import Supervisor, System, start_supervisor
from pyros.actors.kernel.envelope import StopOrder
from pyros.actors.kernel.mailbox import MailboxRefusedError
from pyros.actors.make_safe import Closing, make_safe
from pyros.actors.tree import specs
from pyros.cli.night.process import Machine, ProcessClock
from pyros.clock import VirtualClock
from pyros.config import parse
from pyros.messages.base import Done
from pyros.messages.devices import (
    Beat,
    CameraState,
    Expose,
    FilterWheelState,
    OpenDome,
    PlcState,
    ShutterOpened,
    Slew,
    TelescopeState,
)
from pyros.messages.night import Lockdown, MajordomeState, ModeChanged, Permit, SafetyVerdict, SequenceEnded
from pyros.messages.system import Crash
from pyros.sky.coordinates import sidereal_time_deg
from pyros.sky.night import night_of
from pyros.sky.site import Site
from simulators.observatory import Observatory
from simulators.world import Site as SimulatedSite

SITE = Site("San Pedro Mártir", -115.4637, 31.0442, 2830.0)
NIGHT = night_of(SITE, date(2026, 11, 22))
DARK = NIGHT.begins + timedelta(hours=1)
OTHER_TARGET = (330.0, 45.0)
LOOP = ("archivist", "plc", "weather:mast", "monitor", "majordome")
"""The chain: sensor, PLC, verdict, decision, heartbeat."""
DEVICES = tuple(f"{name}{end}" for name in ("telescope", "camera:vis", "filter_wheel:vis") for end in (".brake", ""))
ALL = (*LOOP, *DEVICES, "scheduler", "observation_manager")
PIXELS = 64
LOCK = Lockdown(operator="eve", reason="lightning")


class Scene(Sequences):
    """Use as a context manager; `run` and `until` let virtual time pass."""

    def __init__(
        self, folder, actors=ALL, *, at=DARK, site=SITE, world=True, start=True, faults=None, steps=False, **more
    ):
        """`steps`: the machine's UTC may be set; then `ask` is not possible."""
        self.clock = VirtualClock(at, stall_s=20.0)
        self.folder = folder
        simulated = SimulatedSite(site.longitude_deg, site.latitude_deg, site.height_m)
        self.observatory = Observatory(self.clock, 1, simulated, at, image_px=PIXELS)
        self.world, self.plc, self.mount = self.observatory.world, self.observatory.plc, self.observatory.mount
        if world:
            self.good_weather()
        for device, kind in (faults or {}).items():
            self.fault(device, kind, 60.0)
        self.pool = ThreadPoolExecutor(1)
        settings = self._settings(site, more)
        self.observatory.roof_needs_park = settings.dome.parks_first
        self.environment = Environment.of(settings, folder, self.pool)
        self.heard = []
        self.machine = Machine(self.clock)
        self.system = System(ProcessClock(self.machine) if steps else self.clock)
        self.system.events.tap(lambda sender, message: self.heard.append((self.clock.now(), sender, message)))
        self.delivered = []
        self.system.keep_journal(self.delivered.append)
        self.supervisor = None
        if start:
            self.boot(actors)

    def boot(self, actors=ALL):
        """Start the actors."""
        wanted = [spec for spec in specs(self.environment, gateway=False) if spec.name in actors]
        self.supervisor = start_supervisor(self.system, lambda context: self._supervisor(context, wanted))
        self.run(2.0)

    def _settings(self, site, overrides):
        urls = self.observatory.urls
        camera = {"url": urls["camera:vis"], "filter_wheel": "vis", "pixels": PIXELS, "cooler_c": -20.0}
        tables = {
            "mode": "simulation",
            "site": {"name": site.name, "longitude_deg": site.longitude_deg, "latitude_deg": site.latitude_deg,
                     "height_m": site.height_m},
            "safety": {"hold_off_s": 5.0, "rain_hold_off_s": 20.0},
            "store": {"synchronous": "off"},
            "devices": {
                "telescope": {"url": urls["telescope"]},
                "plc": {"url": urls["plc"]},
                "camera": {"vis": camera},
                "filter_wheel": {"vis": {"url": urls["filter_wheel:vis"]}},
            },
        }  # fmt: skip
        for section, keys in overrides.items():
            tables[section] = {**tables.get(section, {}), **keys}
        return parse(tables, "scene")

    def _supervisor(self, context, wanted):
        how = Closing.of(self.environment.settings)
        return Supervisor(context, wanted, seed=1, make_safe=lambda cause: make_safe(how, self.system.clock, cause))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """End every thread and close every file and socket: hundreds of scenes share one process."""
        children = list(self.supervisor._children) if self.supervisor is not None else []
        for name in ("supervisor", *(child.name for child in children)) if self.supervisor is not None else ():
            mailbox = self.system.mailbox(name)
            with contextlib.suppress(MailboxRefusedError):  # a scene of a shutdown has ended them already
                mailbox.put(StopOrder(mailbox.owner), first=True)
        self.run(0.0)
        for child in children:
            child.revoke()
        self.observatory.stop()
        self.pool.shutdown(wait=False)

    # -- time --------------------------------------------------------------------------------------------------------

    def run(self, seconds):
        self.clock.run(self.clock.now() + timedelta(seconds=seconds))

    def until(self, condition, within_s=300.0):
        """Let time pass until the condition holds; return how many seconds that took."""
        began, end = self.clock.now(), self.clock.now() + timedelta(seconds=within_s)
        self.clock.run(end, done=condition)
        assert condition(), f"not within {within_s} s; {self.story()}"
        return (self.clock.now() - began).total_seconds()

    def stand_still(self, seconds):
        """Let the whole daemon stand still, as SIGSTOP does, while the world goes on."""
        self.run(0.0)
        with self.clock.lock:
            self.clock._now_us += round(seconds * 1e6)

    # -- the simulated world -----------------------------------------------------------------------------------------

    def good_weather(self):
        self.world.set_weather(rain=False, wind_m_s=2.0, gust_m_s=3.0, humidity_percent=30.0, temperature_c=10.0)

    @property
    def fraction(self):
        """How far the dome is really open."""
        return self.plc.open_fraction(self.world.unix_s())

    @property
    def closing(self):
        return self.plc.logic.drive.direction < 0 or self.fraction == 0.0

    @property
    def slewing(self):
        return self.mount.slewing(self.world.unix_s())

    @property
    def parked(self):
        return self.mount.parked(self.world.unix_s())

    def fault(self, device, kind, for_s=None):
        self.world.faults.start(device, kind, for_s)

    def force_open(self):
        """Open the dome at the hardware, past every guard; its latch would bar that."""
        with self.plc._lock:
            self.plc._advance()
            self.plc.logic.latch &= ~self.plc.logic.latch
            self.plc.logic.open()

    def stand_open(self):
        """Have the dome open and the tube out, as a daemon that was killed leaves them, within the dead-man's time."""
        self.force_open()
        self.plc.write_holding(1, [120])
        self.run(61.0)
        self.mount.unpark()
        self.plc.write_holding(0, [12_345])
        assert self.fraction == 1.0

    def open_dome(self, seconds=61.0):
        """Open it as majordome would, in a scene without majordome; returns the scene."""
        self.beats_for(900.0)
        self.until(lambda: self.verdict.level == "SAFE", 60.0)
        self.run(7.0)
        self.permit(open_dome=True)
        assert self.ask("plc", OpenDome(cause="test")) == Done()
        self.run(seconds)
        return self

    def thread(self, work):
        """Do blocking work in a thread that takes its turns on the clock."""
        turn = self.clock.turn()

        def run():
            turn.begin()
            try:
                work()
            finally:
                turn.leave()

        threading.Thread(target=run, daemon=True).start()
        turn.wake()

    @property
    def high_target(self):
        """A place in the sky that stands high now."""
        return sidereal_time_deg(SITE, self.clock.now()), 40.0

    def switch(self, name, on):
        self.world.set_switch(name, on)

    # -- actors ------------------------------------------------------------------------------------------------------

    def tell(self, to, message, **rules):
        self.system.tell(to, message, **rules)

    def ask(self, to, message, within_s=60.0, **rules):
        return self.system.ask(to, message, within_s, **rules)

    def begin(self, to, message, within_s=300.0):
        """Ask without letting time pass; returns the list in which the answer appears."""
        answers = []
        self.system.question(to, message, within_s, answers.append)
        return answers

    def last(self, kind, actor=None):
        kept = self.system.events.latest(kind, actor)
        return None if kept is None else kept[0]

    @property
    def dome(self):
        return self.last(PlcState)

    @property
    def verdict(self):
        return self.last(SafetyVerdict)

    @property
    def mode(self):
        return self.last(MajordomeState).mode

    @property
    def telescope(self):
        return self.last(TelescopeState, "telescope")

    @property
    def camera(self):
        return self.last(CameraState, "camera:vis")

    @property
    def wheel(self):
        return self.last(FilterWheelState, "filter_wheel:vis")

    @property
    def restarts(self):
        return {row.actor: row.restarts for row in self.supervisor.state().children if row.restarts}

    def longest_gap_s(self, kind):
        """The longest time without a publication of this kind."""
        times = [at for at, _, message in self.heard if isinstance(message, kind)]
        return max((b - a).total_seconds() for a, b in pairwise(times))

    def events(self, kind):
        return [message for _, _, message in self.heard if isinstance(message, kind)]

    def sent(self, kind):
        """What was delivered of a kind, as (seconds of UTC, receiver, message)."""
        return [(row.t_us / 1e6, row.to, row.message) for row in self.delivered if isinstance(row.message, kind)]

    def crash(self, actor):
        self.tell(actor, Crash())

    def silence(self, actor):
        """End an actor for good: it is told to stop, and the supervisor does not hear of it."""
        child = self.supervisor._children.get(actor)
        child.ending, child.due_s = True, float("inf")
        child.lease.revoke()
        self.system.mailbox(actor).open_view(child.epoch + 100)

    def publish(self, sender, message):
        """Let somebody who is not in the scene say something."""
        self.system.publish(sender, message, lambda to: self.system._outside_envelope(to, message, user=""))

    def permit(self, sequence_id=1, **rules):
        """Majordome's word, in scenes without majordome."""
        rules = {"open_dome": False, "at": self.clock.now(), **rules}
        self.publish("majordome", Permit(sequence_id=sequence_id, **rules))

    def permit_for(self, seconds, **rules):
        """Renew the permit each second."""
        for second in range(int(seconds)):
            self.clock.call_later(second, lambda: self.permit(**rules))

    def beats_for(self, seconds):
        """Play majordome's part of the loop: a beat for each verdict."""
        self._beating = True
        self._count = getattr(self, "_count", 0)

        def beat():
            if self._beating and self.verdict is not None:
                self._count += 1
                self.tell("plc", Beat(verdict_at=self.verdict.at, count=self._count), sender="majordome")

        for second in range(int(seconds)):
            self.clock.call_later(second + 0.1, beat)

    def stop_beats(self):
        self._beating = False

    def story(self):
        changes = [
            (f"{at:%H:%M:%S}", m.before, m.after, m.cause) for at, _, m in self.heard if isinstance(m, ModeChanged)
        ]
        letters = [(one.to, one.message, one.reason[-200:]) for one in self.system.dead_letters]
        return f"{self.clock.now():%H:%M:%S}: modes {changes}, verdict {self.verdict}, letters {letters[-3:]}"


def exposing(scene, **rules):
    """Let an alert's sequence expose; return its id."""
    sequence_id = scene.alert(exposure_s=rules.pop("exposure_s", 300.0), **rules)
    scene.until(lambda: any(one.sequence_id == sequence_id for one in scene.events(ShutterOpened)), 120.0)
    return sequence_id


def modes(scene):
    return [one.after for one in scene.events(ModeChanged)]


def ends(scene):
    return [(one.sequence_id, one.outcome) for one in scene.events(SequenceEnded)]


def safe_at_the_end(scene, within_s=200.0):
    scene.until(lambda: scene.mode in {"closed", "paused", "stopped"}, within_s)
    assert scene.fraction == 0.0
    assert scene.parked
    assert scene.observatory.observer.violations == []


def of_switches(scene, monkeypatch, *, closed, open_):
    """Let the simulated limit switches say something of their own."""
    real = scene.plc.input_registers

    def registers():
        registers = real()
        registers[1] = registers[1] & ~3 | int(closed) | int(open_) << 1
        return registers

    monkeypatch.setattr(scene.plc, "input_registers", registers)


def slew(sequence_id=1, target=TARGET):
    return Slew(ra_deg=target[0], dec_deg=target[1], sequence_id=sequence_id)


def expose(exposure_s=10.0, frame="light", sequence_id=1):
    return Expose(exposure_s=exposure_s, frame=frame, filter="r", sequence_id=sequence_id, plan_id=1, number=0)
