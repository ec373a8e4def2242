import struct
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hardware_peers import HANG_UP, MODBUS_FRAME, SILENCE, FakePlc, Revocable, TcpPeer
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import VirtualClock, WallClock
from pyros.hardware import register_map
from pyros.hardware.errors import (
    DeviceFault,
    GarbledReply,
    LeaseRevoked,
    LinkClosed,
    LinkTimeout,
    NotConnected,
    RefusedByDevice,
)
from pyros.hardware.register_map import RegisterMap, load_register_map
from pyros.hardware.urls import open_device

CLOCK = WallClock()
OWN_MAP = load_register_map()
OWN_TEXT = (Path(register_map.__file__).parent / "maps" / "pyros.toml").read_text()


def plc_at(peer, lease=None, unit=1, clock=CLOCK, **more):
    plc = open_device(f"modbus://{peer.url}?unit={unit}", clock, lease or Revocable(), device="plc", **more)
    plc.connect()
    return plc


def test_one_poll_reads_everything_once():
    """MO-T10, MO-T12."""
    with TcpPeer(FakePlc(), MODBUS_FRAME) as peer:
        plc = plc_at(peer)
        before = len(peer.requests)
        reading = plc.poll()
        assert len(peer.requests) == before + 1
    assert (reading.life_counter, reading.closed_switch, reading.open_switch) == (7, True, False)
    assert (reading.mains_ok, reading.remote_enabled, reading.emergency_stop) == (True, True, False)
    assert (reading.rain, reading.rain_contact, reading.latch_reasons) == (False, False, ())
    assert (reading.wind_ms, reading.gust_ms, reading.humidity_percent) == (5.0, 8.0, 60.0)
    assert (reading.temperature_c, reading.sky_minus_ambient_c, reading.dew_point_c) == (-5.0, -20.0, -10.0)
    assert (reading.pressure_hpa, reading.sensor_age_s, reading.ups_percent, reading.dome_position) == (720, 1, 100, 0)
    assert reading.problems == ()
    assert reading.read_at.tzinfo is UTC


def test_a_wrong_unit_is_one_clear_line():
    """MO-T10."""
    with TcpPeer(FakePlc(), MODBUS_FRAME) as peer:
        line = rf"plc {peer.url} unit 9: read_input_registers 0..14: Modbus exception 4 .* is unit 9 right in the URL"
        with pytest.raises(DeviceFault, match=line):
            plc_at(peer, unit=9)


def test_each_command_writes_its_own_register():
    fake = FakePlc()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer)
        plc.open_dome()
        plc.close_dome()
        plc.stop()
        plc.reset_latch()
        plc.heartbeat(41)
        plc.set_deadman(30)
    assert fake.written == [(5, 0, 0xFF00), (5, 1, 0xFF00), (5, 2, 0xFF00), (5, 3, 0xFF00), (6, 0, 41), (6, 1, 30)]


def test_a_replaced_actor_cannot_open_the_dome_but_can_close_it():
    fake, lease = FakePlc(), Revocable()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer, lease)
        lease.revoked = True
        for write in (plc.open_dome, plc.stop, plc.reset_latch, lambda: plc.heartbeat(1), lambda: plc.set_deadman(9)):
            with pytest.raises(LeaseRevoked):
                write()
        with pytest.raises(LeaseRevoked):
            plc.poll()
        assert fake.written == []
        plc.close_dome()
    assert fake.written == [(5, 1, 0xFF00)]


def test_the_dome_can_be_closed_on_a_link_that_nobody_opened():
    fake = FakePlc()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = open_device(f"modbus://{peer.url}", CLOCK, Revocable(), device="plc")
        with pytest.raises(NotConnected):
            plc.poll()
        plc.close_dome()
    assert fake.written == [(5, 1, 0xFF00)]


@pytest.mark.parametrize(
    ("command", "value"), [("heartbeat", -1), ("heartbeat", 65536), ("set_deadman", 4), ("set_deadman", 121)]
)
def test_a_number_outside_its_range_never_reaches_the_plc(command, value):
    fake = FakePlc()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer)
        with pytest.raises(ValueError, match="must be from"):
            getattr(plc, command)(value)
    assert fake.written == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda _: SILENCE, LinkTimeout),
        (lambda _: HANG_UP, LinkClosed),
        (lambda request: request[:5] + b"\x03\x01\x84\x02", RefusedByDevice),
        (lambda _: b"\x00" * 39, GarbledReply),
        (lambda request: request[:5], LinkTimeout),
        (lambda request: request[:2] + b"\x00\x00\x00\x05\x01\x04\x02\x00\x01", GarbledReply),
        (lambda request: request[:2] + b"\x00\x00\x00\x03\x02\x84\x02", GarbledReply),
    ],
)
def test_after_any_failure_the_next_poll_is_right(fault, error):
    fake = FakePlc()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer)
        fake.fault = fault
        with pytest.raises(error):
            plc.poll()
        fake.fault = None
        assert plc.poll().wind_ms == 5.0


def test_a_mute_plc_costs_one_second_of_simulated_time():
    clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
    fake, happened = FakePlc(), []
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer, clock=clock)
        fake.fault = lambda _: clock.hush(peer.url) or HANG_UP
        turn = clock.turn()

        def actor():
            turn.begin()
            try:
                plc.poll()
            except LinkTimeout:
                happened.append(clock.monotonic_s())
            turn.leave()

        thread = threading.Thread(target=actor, daemon=True)
        thread.start()
        turn.wake()
        clock.run(datetime(2026, 11, 22, 1, tzinfo=UTC))
        thread.join(5)
    assert happened == [1.0]


def test_closing_the_link_of_a_replaced_actor_wakes_its_stuck_poll():
    fake, raised = FakePlc(), []
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer, clock=VirtualClock(datetime(2026, 11, 22, tzinfo=UTC)))
        fake.fault = lambda _: SILENCE

        def poll():
            try:
                plc.poll()
            except LinkClosed as error:
                raised.append(error)

        before = len(peer.requests)
        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        with peer.seen:
            assert peer.seen.wait_for(lambda: len(peer.requests) > before, 5)
        plc.disconnect()
        thread.join(4)
        assert raised


def test_the_journal_holds_request_and_reply_as_they_were_on_the_wire():
    seen = []
    with TcpPeer(FakePlc(), MODBUS_FRAME) as peer:
        plc_at(peer, journal=lambda *entry: seen.append(entry))
    assert [(name, request[7:], len(reply)) for name, request, reply in seen] == [("plc", b"\x04\x00\x00\x00\x0f", 39)]


def test_a_frozen_life_counter_shows_its_age():
    clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
    fake = FakePlc()
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        plc = plc_at(peer, clock=clock)
        plc.poll()
        clock.run(datetime(2026, 11, 22, 0, 0, 9, tzinfo=UTC))
        assert plc.poll().life_age_s == 9
        fake.registers[0] += 1
        assert plc.poll().life_age_s == 0


def decode(**registers):
    block = list(FakePlc().registers)
    for name, value in registers.items():
        block[int(name[1:])] = value
    return OWN_MAP.decode(block)


def test_both_limit_switches_at_once_are_no_state_of_the_dome():
    decoded = decode(r1=0b0011)
    assert decoded.status["closed_switch"] is decoded.status["open_switch"] is None
    assert decoded.problems == ("limit switches: closed and open at once",)


def test_neither_limit_switch_is_a_moving_dome_and_no_problem():
    assert decode(r1=0b0100).problems == ()


@pytest.mark.parametrize(
    ("bit", "names"),
    [
        (0, {"rain"}),
        (1, {"wind_ms", "gust_ms"}),
        (2, {"humidity_percent", "dew_point_c"}),
        (3, {"temperature_c", "dew_point_c"}),
        (4, {"pressure_hpa"}),
        (5, {"sky_minus_ambient_c"}),
    ],
)
def test_an_invalid_sensor_takes_its_values_with_it(bit, names):
    decoded = decode(r11=63 & ~(1 << bit))
    assert {name for name, value in decoded.numbers.items() if value is None} == names
    assert {line.split(":")[0] for line in decoded.problems} == names


def test_a_rain_register_that_contradicts_the_rain_contact_is_unknown():
    fake = FakePlc()
    fake.registers[3] = 1
    with TcpPeer(fake, MODBUS_FRAME) as peer:
        reading = plc_at(peer).poll()
    assert reading.rain is None
    assert reading.problems == ("rain: the register says True, the contact says False",)


@given(st.lists(st.integers(0, 65535), min_size=15, max_size=15))
def test_whatever_the_registers_say_a_value_is_within_its_range_or_unknown_with_a_reason(block):
    decoded = OWN_MAP.decode(block)
    limits = {
        "wind_ms": 75,
        "gust_ms": 100,
        "humidity_percent": 100,
        "temperature_c": 60,
        "dome_position": 1,
        "rain": 1,
    }
    for name, limit in limits.items():
        value = decoded.numbers[name]
        assert value is None or abs(value) <= limit
    unknown = [value for value in (*decoded.numbers.values(), *decoded.status.values()) if value is None]
    assert bool(decoded.problems) == bool(unknown or decoded.latch_reasons is None)
    assert not (decoded.status["closed_switch"] and decoded.status["open_switch"])


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[measurement.rain]", "[measurement.rein]", "lacks rain"),
        ('type = "int16"', 'type = "float"', "Invalid enum value 'float'"),
        ('"closed_switch", ', "", "lacks closed_switch"),
        ("address = 14", "address = 200", "span 201"),
        ("range = [0, 75]", "range = [75, 0]", "empty range"),
        ('needs = ["sky"]', 'needs = ["moon"]', "needs moon"),
        ('table = "coil"\naddress = 1', 'table = "holding"\naddress = 1', "command.close.table must be 'coil'"),
        ("name = ", "name ", "map site.toml"),
    ],
)
def test_a_wrong_register_map_is_one_clear_line(old, new, line):
    assert old in OWN_TEXT
    with pytest.raises(ValueError, match=line) as raised:
        RegisterMap("site.toml", OWN_TEXT.replace(old, new, 1))
    assert "\n" not in str(raised.value)
    assert "site.toml" in str(raised.value)


def test_a_map_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match=r"none.toml cannot be read: No such file"):
        load_register_map(tmp_path / "none.toml")


def test_a_site_may_have_its_own_map(tmp_path):
    own = tmp_path / "site.toml"
    own.write_text(OWN_TEXT.replace('table = "input"', 'table = "holding"', 1))
    assert load_register_map(own).table == "holding"


def test_negative_temperatures_are_signed_sixteen_bit():
    assert decode(r7=struct.unpack(">H", struct.pack(">h", -123))[0]).numbers["temperature_c"] == -12.3
