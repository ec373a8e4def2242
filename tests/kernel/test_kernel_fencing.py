"""What a replaced incarnation can still do: nothing, to nobody, except make safer."""

from functools import partial

import pytest
from kernel_stage import START, House, Probe, actor, spec

from pyros.actors.archivist import Archivist
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context, Deferred, Lease, LeaseRevokedError, Sleep, System
from pyros.actors.kernel.envelope import REPLACED, Envelope
from pyros.clock import VirtualClock
from pyros.config import parse
from pyros.hardware.urls import open_device
from pyros.messages.base import Failed, GetState, Refused
from pyros.messages.devices import Brake
from pyros.messages.night import Execute, NightEnded
from pyros.messages.people import CancelSequence
from pyros.messages.store import Commit, Committed, Insert
from pyros.messages.system import Crash, LibrarianState
from simulators.observatory import Observatory

PERIOD = {"period_s": 1000.0, "intensity": 20}
"""No failure is forgiven, so that the backoff grows."""


def test_a_hung_incarnation_that_comes_back_during_the_backoff_takes_no_mail():
    taken = []

    def on_execute(me, m):
        if m.sequence_id == 1:
            me.clock.sleep(12.0)
        taken.append((me.epoch, m.sequence_id))

    house = House(spec("a", actor(on_execute=on_execute), **PERIOD))
    for _ in range(5):  # the next failure is followed by 16 s of backoff
        house.tell("a", Crash())
    house.run(30)
    for number in (1, 2):
        house.tell("a", Execute(sequence_id=number))
    house.run(15)
    assert (house.row("a").status, house.row("a").epoch) == ("backing off", 6)
    assert taken == [(6, 1)], "its last words reach nobody, and what waits is not its own"
    house.run(60)
    assert taken == [(6, 1), (7, 2)]


def test_a_hung_incarnation_that_comes_back_after_an_order_to_stop_does_not_run_on_stop():
    ended = []
    hooks = {"on_execute": lambda me, m: me.clock.sleep(60.0), "on_stop": lambda me: ended.append((me.name, me.epoch))}
    house = House(
        spec("plc_", actor(), strategy="rest_for_one", **PERIOD), spec("a", actor(**hooks), needs=("plc_",), **PERIOD)
    )
    house.tell("a", Execute(sequence_id=1))
    house.tell("plc_", Crash())
    house.run(100)
    assert ended == []
    assert house.ask("a") == LibrarianState(queries=2)


def test_the_procedure_and_the_promises_of_a_hung_incarnation_are_answered_failed_and_go_no_further():
    went_on = []

    def on_cancel_sequence(me, m):
        try:
            yield Sleep(20.0)
            went_on.append("resumed")
        finally:
            try:
                me.tell("a", Execute(sequence_id=9))
            except LeaseRevokedError:
                went_on.append("fenced")

    def on_execute(me, m):
        if m.sequence_id == 1:
            return Deferred()
        me.clock.sleep(100.0)
        return None

    house = House(spec("a", actor(on_cancel_sequence=on_cancel_sequence, on_execute=on_execute)))
    procedure = house.question("a", CancelSequence(sequence_id=1, by="x"), 600)
    promise, hung = (house.question("a", Execute(sequence_id=number), 600) for number in (1, 2))
    house.run(200)
    assert [type(answers[0]) for answers in (procedure, promise, hung)] == [Failed, Failed, Failed]
    assert went_on == ["fenced"]
    assert house.ask("a") == LibrarianState(queries=2)


def test_a_replaced_incarnation_can_neither_ask_nor_subscribe_nor_have_itself_called_back():
    done = []

    def on_execute(me, m):
        me.clock.sleep(30.0)
        for word in (lambda: me.ask("b", GetState(), 1.0, done.append), lambda: me.subscribe(NightEnded)):
            with pytest.raises(LeaseRevokedError, match="a: incarnation 1 has been replaced"):
                word()
        me.tell_from_outside(Execute(sequence_id=2))
        me.continue_with(lambda: done.append("continued"))
        done.append("tried")

    hooks = {"on_execute": on_execute, "on_night_ended": lambda me, m: done.append("heard")}
    house = House(spec("b"), spec("a", actor(**hooks)))
    house.tell("a", Execute(sequence_id=1))
    house.run(60)
    house.system.publish("b", NightEnded(night="2026-11-21"), lambda to: pytest.fail(f"{to} has subscribed"))
    house.run(60)
    assert done == ["tried"]


def test_timers_and_answers_that_were_under_way_do_not_reach_the_next_incarnation():
    got = []

    def on_execute(me, m):
        me.after(3.0, Brake(cause="old"))
        me.ask("b", m, 50.0, got.append)
        me.clock.sleep(100.0)

    slow = actor(on_execute=lambda me, m: me.clock.sleep(4.0))
    house = House(spec("b", slow), spec("a", actor(on_execute=on_execute, on_brake=lambda me, m: got.append(m))))
    house.tell("a", Execute(sequence_id=1))
    house.run(200)
    assert house.row("a").epoch == 2
    assert got == []


def test_a_lease_that_ends_while_its_holder_rests_wakes_it_to_leave():
    """Else every incarnation that is replaced at rest would leave a thread behind."""
    clock = VirtualClock(START)
    system = System(clock)
    mailbox = system.open_mailbox("a")
    lease = Lease("a", 1)
    view = mailbox.open_view(1)
    idle = Probe(Context("a", system, lease, view))
    idle.start_in(Context("a", system, lease, view))
    clock.run()
    assert not idle.actor_stopped.is_set()
    lease.revoke()
    clock.run()
    assert idle.actor_stopped.is_set()
    mailbox.put("for the next one")
    assert mailbox.take(view) is REPLACED
    assert mailbox.take(mailbox.open_view(2)) == "for the next one"


# -- devices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def observatory():
    with Observatory(VirtualClock(START), image_px=64) as simulated:
        yield simulated


def driver(observatory, name, lease):
    """A real driver at its simulated device, which holds the link as its actor would."""
    more = {}
    if name == "telescope":
        more = dict.fromkeys(("to_apparent", "to_icrs"), lambda ra_deg, dec_deg, _when: (ra_deg, dec_deg))
    device = open_device(observatory.urls[name], observatory.world.clock, lease, device=name, **more)
    device.connect()
    lease.on_revoke(device.disconnect)
    return device


WRITES = {
    "plc": (
        lambda plc: plc.heartbeat(7),
        lambda plc: plc.set_deadman(9),
        lambda plc: plc.open_dome(),
        lambda plc: plc.stop(),
        lambda plc: plc.reset_latch(),
    ),
    "telescope": (
        lambda mount: mount.slew_to_coordinates_async(10.0, 20.0),
        lambda mount: mount.set_tracking(True),
        lambda mount: mount.unpark(),
    ),
    "camera:vis": (
        lambda camera: camera.start_exposure(1.0, light=True),
        lambda camera: camera.set_cooler(True, -20.0),
        lambda camera: camera.download(),
    ),
    "filter_wheel:vis": (lambda wheel: wheel.set_position(2), lambda wheel: wheel.home()),
}


@pytest.mark.parametrize(("name", "writes"), WRITES.items(), ids=WRITES)
def test_after_its_lease_no_driver_writes_anything_nor_opens_its_link_again(observatory, name, writes):
    lease = Lease(name, 1)
    device = driver(observatory, name, lease)
    lease.revoke()
    for write in (*writes, lambda device: device.state() if name != "plc" else device.poll()):
        with pytest.raises(Exception, match=r"has been replaced|not connected"):
            write(device)
    assert not device.connected


def test_after_its_lease_the_dome_can_still_be_closed_and_the_mount_still_be_parked(observatory):
    for name, makes_safer in (("plc", lambda plc: plc.close_dome()), ("telescope", lambda mount: mount.brake())):
        lease = Lease(name, 1)
        device = driver(observatory, name, lease)
        lease.revoke()
        makes_safer(device)
        device.disconnect()


# -- the store -------------------------------------------------------------------------------------------------------


def archivist_house(folder, before_write=lambda place: None):
    tables = {
        "mode": "simulation",
        "site": {"name": "x", "longitude_deg": 0.0, "latitude_deg": 0.0, "height_m": 0.0},
        "devices": {"plc": {"url": "modbus://127.0.0.1:1"}, "telescope": {"url": "lx200+tcp://127.0.0.1:1"}},
    }
    shared = Environment.of(parse(tables, "test"), folder, None, before_write=before_write)
    return House(spec("archivist", partial(Archivist, environment=shared)), stall_s=20.0)


def commit(name):
    values = {"key": name, "value": 1, "changed_at": START, "changed_by": "x"}
    return Commit(writes=[Insert(table="setting", values=values)], reason="test")


def post(house, message, epoch):
    """Send as incarnation `epoch` of the camera."""
    answers = []
    expires_s = house.clock.monotonic_s() + 60.0
    house.system.post(
        Envelope("1-x", "1-x", "camera:vis", "archivist", message, 0, expires_s, "", epoch, answers.append)
    )
    house.run(1)
    return answers


def test_the_archivist_refuses_what_an_older_incarnation_wanted_written(tmp_path):
    house = archivist_house(tmp_path)
    assert isinstance(post(house, commit("first"), 1)[0], Committed)
    assert isinstance(post(house, commit("second"), 2)[0], Committed)
    assert post(house, commit("late"), 1) == [Refused(reason="camera:vis has been replaced (incarnation 1 of 2)")]
    assert house.ask("archivist").rows == 2
    house.shut_down()


def test_an_archivist_that_hung_on_the_disk_and_was_replaced_writes_nothing_when_the_disk_is_back(tmp_path):
    hangs = [100.0]
    house = archivist_house(tmp_path, lambda place: house.clock.sleep(hangs.pop()) if hangs else None)
    answers = house.question("archivist", commit("x"), 60)
    house.run(200)
    assert isinstance(answers[0], Failed)
    again = house.question("archivist", commit("x"), 60)
    house.run(1)
    assert isinstance(again[0], Committed), "its sender asked again, and the late thread had not taken the key"
    house.shut_down()
