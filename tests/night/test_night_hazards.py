"""What a scenario does to machine and people: starts that fail, a full disk, and an operator who repeats himself."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import peewee
import pytest

from pyros.actors.analyzer.frame import FrameError, FrameHeader, write_frame
from pyros.actors.kernel import Actor, ChildSpec, Supervisor, System, start_supervisor
from pyros.cli.night.disk import FULL_DEVICE, Disk
from pyros.cli.night.hazards import HazardError, Hazards
from pyros.cli.night.people import Operator
from pyros.cli.night.process import Machine
from pyros.clock import VirtualClock
from pyros.messages.base import Done, Expired, Refused
from pyros.messages.store import Commit, Committed, Insert
from pyros.messages.system import ActorFailed, ActorRestarted, Crash, LibrarianState
from pyros.store.commit import apply
from pyros.store.database import open_store
from pyros.store.migrations import migrate
from simulators.scenario import Scenario, ScenarioError

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
HEADER = FrameHeader(started_at=NOW, exposure_s=1.0, image_type="light", camera="camera:vis")


def entry(number):
    values = {"at": NOW, "level": "INFO", "actor": "monitor", "text": "x" * 4000}
    return Commit(writes=[Insert(table="log_entry", values=values)], reason=f"line {number}")


def test_a_full_disk_takes_no_frame_and_says_so_in_the_kernel_s_own_words(tmp_path: Path):
    if not FULL_DEVICE.exists():
        pytest.skip(f"this system has no {FULL_DEVICE}")
    disk, path = Disk(), tmp_path / "frame.fits"
    disk.full = True
    disk.before_write(path)
    with pytest.raises(FrameError, match="No space left on device") as caught:
        write_frame(path, np.zeros((8, 8), np.uint16), HEADER)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    disk.full = False
    disk.before_write(path)
    write_frame(path, np.zeros((8, 8), np.uint16), HEADER)
    assert path.stat().st_size > 128


def test_a_full_disk_takes_no_commit_and_the_store_goes_on_when_there_is_room_again(tmp_path: Path):
    store, disk = open_store(tmp_path, "off"), Disk()
    migrate(store)
    disk.before_write(store)
    assert isinstance(apply(store, [entry(1)])[0], Committed)
    disk.full = True
    disk.before_write(store)
    answers = [apply(store, [entry(n)])[0] for n in range(2, 6)]
    assert "database or disk is full" in answers[-1].reason
    disk.full = False
    disk.before_write(store)
    assert isinstance(apply(store, [entry(6)])[0], Committed)
    taken = sum(isinstance(answer, Committed) for answer in answers)
    assert store.main.execute_sql("SELECT COUNT(*) FROM log_entry").fetchone() == (2 + taken,)
    store.close()
    with pytest.raises(peewee.InterfaceError):
        disk.before_write(store)


# -- starts that fail ------------------------------------------------------------------------------------------------


class Idler(Actor):
    def state(self):
        return LibrarianState(queries=0)


class Bench:
    """A supervisor with one child under hazards; stands for the service, too."""

    def __init__(self):
        self.clock = VirtualClock(NOW)
        self.hazards = Hazards(Machine(self.clock), ["idler"], {}, Operator(self.clock))
        self.system, self.said = System(self.clock), []
        self.system.events.tap(lambda _, message: self.said.append(message))
        leases = []
        specs = self.hazards.prepared([ChildSpec("idler", Idler)], leases)
        start_supervisor(self.system, lambda context: Supervisor(context, specs))
        self.run(5)
        assert len(leases) == 1

    def send(self, actor, message, user=""):
        self.system.tell(actor, message, user=user)

    def run(self, seconds):
        self.clock.run(until=self.clock.now() + timedelta(seconds=seconds))

    def counts(self):
        return tuple(sum(isinstance(one, kind) for one in self.said) for kind in (ActorFailed, ActorRestarted))


def event(**keys):
    return {"kind": "actor", "actor": "idler", **keys}


def test_an_actor_that_dies_in_its_next_start_is_tried_again():
    bench = Bench()
    bench.hazards.act(event(fault="die_in_start"))(bench)
    bench.run(30)
    assert bench.counts() == (2, 1)


def test_an_actor_whose_starts_fail_for_a_while_is_up_when_that_is_over():
    bench = Bench()
    bench.hazards.act(event(fault="die_in_start", for_s=20.0))(bench)
    bench.run(15)
    failures, restarts = bench.counts()
    assert failures > 3
    assert restarts == 0
    bench.run(180)
    assert bench.counts()[1] == 1
    bench.send("idler", Crash())
    bench.run(30)
    assert bench.counts()[1] == 2


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        (event(actor="nobody", fault="raise"), "there is no actor 'nobody'; there are idler, supervisor"),
        (event(actor="supervisor", fault="die_in_start"), "cannot die_in_start"),
        ({"kind": "environment", "centre": "smtp", "up": False}, "takes no news here"),
        ({"kind": "operator", "command": "dance"}, "'dance' is unknown"),
    ],
)
def test_an_event_that_cannot_be_played_is_refused_with_a_line(keys, word):
    with pytest.raises((HazardError, ValueError), match=word):
        Bench().hazards.act(keys)


def test_scenarios_know_how_long_starts_fail_and_that_processes_are_killed():
    good = Scenario.parse(
        '[[event]]\nat = "+00:10:00"\nkind = "process"\nfault = "kill"\n'
        '[[event]]\nat = "+00:20:00"\nkind = "actor"\nactor = "plc"\nfault = "die_in_start"\nfor_s = 20\n'
    )
    assert [one.kind for one in good.events] == ["process", "actor"]
    with pytest.raises(ScenarioError, match="line 1: for_s stands with fault"):
        Scenario.parse('[[event]]\nat = "+00:20:00"\nkind = "actor"\nactor = "plc"\nfor_s = 20\nfault = "raise"\n')
    with pytest.raises(ScenarioError, match="fault is 'stop'; it must be one of kill"):
        Scenario.parse('[[event]]\nat = "+00:20:00"\nkind = "process"\nfault = "stop"\n')


# -- people ----------------------------------------------------------------------------------------------------------


class Deaf:
    """A service whose daemon answers only from the `hears_from`th order on."""

    def __init__(self, hears_from, answer=None):
        self.hears_from, self.reply, self.asked = hears_from, answer or Done(), []

    def ask(self, actor, message, within_s, then, user=""):
        self.asked.append((actor, type(message).__name__, user))
        then(self.reply if len(self.asked) >= self.hears_from else Expired(reason="no daemon runs"))


def test_an_operator_repeats_an_order_every_minute_until_it_is_answered():
    clock = VirtualClock(NOW)
    operator, service = Operator(clock), Deaf(3)
    operator.order("lockdown")(service)
    clock.run(until=NOW + timedelta(minutes=10))
    assert service.asked == 3 * [("majordome", "Lockdown", "operator")]
    assert [(one.at, one.command, one.answer) for one in operator.orders] == [
        (NOW + timedelta(minutes=2), "lockdown", "Done")
    ]


def test_an_operator_who_gives_another_order_does_not_insist_on_the_one_before():
    clock = VirtualClock(NOW)
    operator, service = Operator(clock), Deaf(4)
    operator.order("pause")(service)
    clock.run(until=NOW + timedelta(seconds=90))
    operator.order("resume")(service)
    clock.run(until=NOW + timedelta(minutes=10))
    assert [tag for _, tag, _ in service.asked] == ["Pause", "Pause", "Resume", "Resume"]
    assert [one.command for one in operator.orders] == ["resume"]


def test_a_refusal_is_an_answer():
    clock = VirtualClock(NOW)
    operator, service = Operator(clock), Deaf(1, Refused(reason="there is no lockdown"))
    operator.order("release")(service)
    clock.run(until=NOW + timedelta(minutes=10))
    assert [(one.command, one.answer) for one in operator.orders] == [("release", "Refused")]
    assert len(service.asked) == 1
