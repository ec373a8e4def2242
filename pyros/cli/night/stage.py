"""A night being played: the simulated world, the machine, and the service that keeps a daemon on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from pyros.actors.devices.dome import Closing
from pyros.actors.environment import Environment
from pyros.actors.kernel import System
from pyros.actors.kernel.lease import Lease
from pyros.actors.make_safe import make_safe
from pyros.actors.tree import specs
from pyros.cli.daemon_state import StateError, count_boot
from pyros.cli.night.hazards import Hazards
from pyros.cli.night.journal import Journal
from pyros.cli.night.people import Operator
from pyros.cli.night.process import Machine, ProcessClock
from pyros.cli.night.record import NightRecord
from pyros.cli.night.service import DAEMON, Daemon, Service, StartError
from pyros.cli.recorder import recorder_for
from pyros.cli.simulation.daemon import start_daemon
from pyros.cli.simulation.masters import prepare_masters
from pyros.cli.simulation.requests import USER, programme, routine_requests
from pyros.config import Settings
from pyros.messages.base import Command, Event, Expired, Failed, Refused, State
from pyros.messages.people import AddUser, SubmitRequest
from pyros.messages.system import ActorRestarted
from pyros.sky.night import Night
from pyros.store.database import StoreError
from simulators.observatory import Observatory
from simulators.receiver import Receiver
from simulators.scenario import Scenario

AFTER = timedelta(minutes=30)
ENDS_WITHIN = timedelta(minutes=30)
"""Longest time from the order to end until the daemon has ended, one restart included."""
MODELLED_BOOT_S = 5.0
FULL_PX = 512


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
    pixels: int = FULL_PX
    calibrated: bool = True
    """Whether the afternoon's calibration frames are taken, which the analysis of images needs."""
    operator_resets_after_s: float | None = None
    """How long after it latched a person resets the PLC's latch; None: nobody does."""
    attend: Callable[[Observatory, System], None] | None = None
    """Called with the observatory and each daemon's system before its first actor is started."""


class Stage:
    """A night about to be played: the simulated world, the machine, and the service that keeps a daemon on it."""

    def __init__(
        self,
        order: Order,
        scenario: Scenario,
        settings: Settings,
        night: Night,
        machine: Machine,
        observatory: Observatory,
        receivers: dict[str, Receiver],
        pool: Executor,
    ) -> None:
        assert night.begins is not None and night.ends is not None  # noqa: S101, PT018 - checked by the caller
        self.order, self.scenario, self.settings, self.pool = order, scenario, settings, pool
        self.machine, self.clock, self.observatory, self.receivers = machine, machine.clock, observatory, receivers
        self.over = night.ends + AFTER
        observatory.roof_needs_park = settings.dome.parks_first
        self.record = NightRecord(
            night=str(order.on),
            seed=order.seed,
            site=settings.site.model_dump(),
            begins=night.begins,
            ends=night.ends,
            state_folder=order.folder,
        )
        self.journal = Journal(order.folder / "events.jsonl", self.clock, observatory.urls)
        names = [spec.name for spec in specs(self._environment(0), gateway=False)]
        centres = {name: receiver.switch for name, receiver in receivers.items()}
        self.operator = Operator(self.clock)
        self.hazards = Hazards(machine, names, centres, self.operator)
        self.service = Service(machine, self._boot, self._stop_post, self._hear)

    def play(self, progress: Callable[[datetime], None]) -> NightRecord:
        """Run the whole night."""
        try:
            acts = self._acts()
            if self.order.calibrated:
                self._take_calibrations()
            self.service.start()
            self.clock.run(until=self.clock.now() + timedelta(seconds=MODELLED_BOOT_S))
            self._submit_requests()
            for at, act in acts:
                self.clock.call_at(at, lambda act=act: act(self.service))
            if self.order.operator_resets_after_s is not None:
                self.operator.attend(self.observatory.plc, self.service, self.order.operator_resets_after_s)
            self._run_until(self.over, progress)
            self._end()
        finally:
            self.journal.close()
        self.record.orders = self.operator.orders
        self.record.news = {name: receiver.ids() for name, receiver in self.receivers.items()}
        _observe(self.record, self.observatory)
        return self.record

    def _acts(self) -> list[tuple[datetime, Callable[[Service], None]]]:
        events = self.scenario.play(self.observatory.world, {"vtp": self.observatory.broker.send})
        try:
            return [(at, self.hazards.act(event)) for at, event in events]
        except ValueError as error:
            raise NightError(str(error)) from None

    def _take_calibrations(self) -> None:
        order, afternoon = self.order, self.clock.now() - timedelta(hours=3)
        filters = sorted({request.filter for request in routine_requests(order.seed, order.requests)} | {"g", "r", "i"})
        for name, camera in self.settings.devices.camera.items():
            prepare_masters(order.folder / "masters", name, camera, afternoon, order.seed, filters)

    # -- the daemon --------------------------------------------------------------------------------------------------

    def _environment(self, boot: int) -> Environment:
        return Environment.of(
            self.settings, self.order.folder, self.pool, boot=boot, device_journal=self.journal.transact
        )

    def _boot(self, clock: ProcessClock, notify: Callable[[str], None]) -> Daemon:
        """Start a daemon as `pyros run` does: count the start in the store, then the supervisor and its children."""
        try:
            number = count_boot(self.order.folder, clock.now(), self.settings.store.synchronous)
        except (StoreError, StateError) as error:
            raise StartError(str(error)) from None
        environment = replace(self._environment(number), before_write=self.hazards.disk.before_write)
        leases: list[Lease] = []
        children = self.hazards.prepared(specs(environment, gateway=False), leases)
        recorder = recorder_for(environment, clock)
        system, supervisor = start_daemon(environment, clock, children, taps=(self._hear, recorder.hear), notify=notify)
        system.keep_journal(self.journal.deliver)
        recorder.attach(system)
        if self.order.attend is not None:
            self.order.attend(self.observatory, system)
        return Daemon(clock, system, supervisor, leases)

    def _hear(self, actor: str, message: Event | State) -> None:
        if actor == DAEMON:
            observer = self.observatory.observer
            (observer.process_started if isinstance(message, ActorRestarted) else observer.process_died)()
        self.record.hear(self.clock.now(), actor, message)

    def _stop_post(self, clock: ProcessClock, cause: str) -> None:
        """Do what the unit's ExecStopPost does: have the PLC close, on a connection of its own."""
        make_safe(Closing.of(self.settings), clock, cause)

    def _submit_requests(self) -> None:
        """Bring in the users' requests as users would: by messages."""
        account = AddUser(name=USER, email="astronomer@example.org", role="observer", password_hash="!")  # noqa: S106 - no login
        orders: list[tuple[str, Command]] = [("user_manager", account), ("routine_manager", programme())]
        orders += [("routine_manager", request) for request in routine_requests(self.order.seed, self.order.requests)]
        for actor, message in orders if self.order.requests else []:
            reply = self._ask(actor, message)
            unseen = isinstance(message, SubmitRequest) and isinstance(reply, Refused)  # it never rises at this site
            if isinstance(reply, Refused | Failed | Expired) and not unseen:
                raise NightError(f"{actor} did not take {type(message).__name__}: {reply.reason}")

    def _ask(self, actor: str, message: Command) -> object:
        daemon, answers = self.service.daemon, list[object]()
        if daemon is None:
            raise NightError(f"the daemon has not started: {self.record.said[-1].message}")
        daemon.system.question(actor, message, 30.0, answers.append)
        self.clock.run(done=lambda: bool(answers))
        return answers[0]

    def _run_until(self, end: datetime, progress: Callable[[datetime], None]) -> None:
        while self.clock.now() < end and not (self.service.stopped and self.service.daemon is None):
            until = min(self.clock.now() + timedelta(minutes=10), end)
            self.clock.run(until=until, done=lambda: self.service.needs_care)
            self.service.care()
            progress(self.clock.now())

    def _end(self) -> None:
        """Order the end, again if the daemon is being restarted just then."""
        late = self.clock.now() + ENDS_WITHIN
        while self.clock.now() < late:
            self.service.stop("the night is over")
            self._run_until(min(self.clock.now() + timedelta(minutes=1), late), lambda now: None)  # noqa: ARG005
            if self.service.stopped and self.service.daemon is None:
                return
        raise NightError(f"the daemon has not ended {ENDS_WITHIN} after it was told to")


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
