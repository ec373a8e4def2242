"""The dome's logic in time, and its registers through a third party's Modbus client."""

import math
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from pyros.clock import VirtualClock, WallClock
from simulators.physics_dome import Latch, Status
from simulators.physics_sensors import Reading
from simulators.plc import NOT_VALID, PlcServer, SimulatedPlc, int16, sensor_registers
from simulators.world import World

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
OPEN, CLOSE, STOP, RESET = range(4)


class Dome:
    """A dome in a world on the virtual clock, and a master that feeds its heartbeat as long as it is asked to."""

    def __init__(self):
        self.clock = VirtualClock(EVENING)
        self.world = World(self.clock, seed=3)
        self.plc = SimulatedPlc(self.world)
        self.beats = 0

    def beat(self):
        self.beats += 1
        self.plc.write_holding(0, [self.beats])

    def ahead(self, seconds, *, beating=True):
        end = self.clock.now() + timedelta(seconds=seconds)
        while beating and self.clock.now() + timedelta(seconds=10) < end:
            self.clock.run(self.clock.now() + timedelta(seconds=10))
            self.beat()
        self.clock.run(end)

    def status(self):
        return Status(self.plc.status_word())

    def opened(self):
        self.beat()
        self.plc.pulse(OPEN)
        self.ahead(61)
        self.beat()
        assert Status.OPEN in self.status()
        return self

    def cause(self):
        return self.plc.last_cause()


@pytest.fixture
def dome():
    return Dome()


def test_the_dome_boots_closed_and_latched_until_the_heartbeat_changes(dome):
    assert Status.CLOSED in dome.status()
    assert dome.plc.latch_word() == Latch.BOOT
    dome.plc.pulse(OPEN)
    dome.ahead(5, beating=False)
    assert Status.CLOSED in dome.status()
    dome.plc.write_holding(0, [0])
    assert dome.plc.latch_word() == Latch.BOOT
    dome.beat()
    assert dome.plc.latch_word() == 0


def test_the_dome_takes_a_minute_and_its_switches_come_from_its_position(dome):
    dome.beat()
    dome.plc.pulse(OPEN)
    dome.ahead(1)
    assert Status.OPENING in dome.status()
    assert not dome.status() & (Status.OPEN | Status.CLOSED)
    dome.ahead(29)
    assert dome.world.dome_open_fraction(dome.clock.now()) == pytest.approx(0.5)
    dome.ahead(31)
    assert Status.OPEN in dome.status()
    assert Status.OPENING not in dome.status()


def test_rain_closes_the_dome_by_itself_and_its_latch_clears_after_a_dry_minute(dome):
    dome.opened().world.set_weather(rain=True)
    assert Status.CLOSING in dome.status()
    assert dome.cause() == "rain"
    dome.ahead(65)
    assert Status.CLOSED in dome.status()
    dome.world.set_weather(rain=False)
    dome.ahead(59)
    assert dome.plc.latch_word() == Latch.RAIN
    dome.ahead(2)
    assert dome.plc.latch_word() == 0
    dome.plc.pulse(OPEN)
    assert Status.OPENING in dome.status()


def test_a_heartbeat_that_stops_changing_closes_the_dome_at_the_right_instant_even_if_nobody_looks(dome):
    dome.opened()
    dome.ahead(20, beating=False)
    dome.plc.write_holding(0, [dome.beats])
    dome.ahead(30, beating=False)
    fraction = dome.world.dome_open_fraction(dome.clock.now())
    assert fraction == pytest.approx(1 - 20 / 60)
    assert dome.cause() == "dead-man"
    assert Status.DEADMAN_EXPIRED in dome.status()
    past = dome.clock.now() - timedelta(seconds=25)
    assert dome.world.dome_open_fraction(past) == 1.0


def test_a_dead_man_latch_needs_a_reset_and_a_closed_dome_needs_no_heartbeat(dome):
    dome.opened()
    dome.ahead(200, beating=False)
    dome.beat()
    assert dome.plc.latch_word() == Latch.DEADMAN
    dome.plc.pulse(OPEN)
    assert Status.CLOSED in dome.status()
    dome.plc.pulse(RESET)
    dome.ahead(3600, beating=False)
    assert dome.plc.latch_word() == 0
    dome.plc.pulse(OPEN)
    assert Status.OPENING in dome.status()
    dome.ahead(29, beating=False)
    assert Status.OPENING in dome.status()


def test_an_emergency_stop_stops_the_motor_latches_and_bars_even_the_rain_from_moving_it(dome):
    dome.opened()
    dome.plc.pulse(CLOSE)
    dome.ahead(10)
    dome.world.set_switch("emergency_stop", on=True)
    dome.world.set_weather(rain=True)
    dome.ahead(100)
    assert not dome.status() & (Status.OPEN | Status.CLOSED | Status.CLOSING)
    dome.plc.pulse(RESET)
    assert dome.plc.latch_word() & Latch.EMERGENCY_STOP
    dome.world.set_switch("emergency_stop", on=False)
    assert Status.CLOSING in dome.status()
    dome.plc.pulse(RESET)
    assert not dome.plc.latch_word() & Latch.EMERGENCY_STOP


def test_the_local_key_bars_remote_motion_and_the_rain_waits_until_it_is_turned_back(dome):
    dome.opened().world.set_switch("local_key", on=True)
    dome.world.set_weather(rain=True)
    dome.plc.pulse(CLOSE)
    assert Status.OPEN in dome.status()
    assert Status.REMOTE not in dome.status()
    assert Status.RAIN in dome.status()
    dome.world.set_switch("local_key", on=False)
    assert Status.CLOSING in dome.status()


def test_a_stuck_shutter_is_a_motion_fault_that_is_not_retried_by_itself(dome):
    dome.opened()
    dome.world.faults.start("plc", "stuck", 600)
    dome.plc.pulse(CLOSE)
    dome.ahead(89)
    assert Status.CLOSING in dome.status()
    dome.ahead(2)
    assert dome.status() & (Status.MOTION_FAULT | Status.LATCH | Status.OPEN) == (
        Status.MOTION_FAULT | Status.LATCH | Status.OPEN
    )
    dome.ahead(600)
    dome.plc.pulse(CLOSE)
    dome.ahead(61)
    assert Status.CLOSED in dome.status()


def test_a_lying_controller_ignores_commands_but_its_rain_reflex_lives(dome):
    dome.opened().world.faults.start("plc", "lie")
    dome.plc.pulse(CLOSE)
    assert Status.CLOSING not in dome.status()
    dome.world.set_weather(rain=True)
    assert Status.CLOSING in dome.status()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "stop", "reset", "beat", "rain", "dry", "stop!", "release", "nothing"]),
            st.floats(0, 90),
        ),
        max_size=25,
    )
)
def test_nothing_keeps_the_dome_open_in_rain_or_without_a_heartbeat(story):
    """The dome's own safety: whatever is sent, two minutes of rain or silence with power end closed."""
    dome = Dome()
    for word, seconds in story:
        if word in {"open", "close", "stop", "reset"}:
            dome.plc.pulse(["open", "close", "stop", "reset"].index(word))
        elif word in {"rain", "dry"}:
            dome.world.set_weather(rain=word == "rain")
        elif word in {"stop!", "release"}:
            dome.world.set_switch("emergency_stop", on=word == "stop!")
        elif word == "beat":
            dome.beat()
        dome.ahead(seconds, beating=False)
    dome.world.set_switch("emergency_stop", on=False)
    dome.ahead(130, beating=False)
    assert Status.CLOSED in dome.status()
    positions = [move.position for move in dome.plc.moves()]
    assert all(0.0 <= position <= 1.0 for position in positions)


@given(st.integers(0, 3600), st.integers(1, 50))
def test_asking_often_or_seldom_gives_the_same_dome(seconds, steps):
    often, seldom = Dome().opened(), Dome().opened()
    for step in range(1, steps + 1):
        often.clock.run(EVENING + timedelta(seconds=61 + seconds * step / steps))
        often.plc.status_word()
    seldom.ahead(seconds, beating=False)
    assert often.plc.input_registers()[:3] == seldom.plc.input_registers()[:3]


# -- registers -------------------------------------------------------------------------------------------------------


@given(st.floats(-3000, 3000))
def test_signed_registers_come_back_as_they_were_sent(value):
    register = int16(value)
    assert (register - 65536 if register & 0x8000 else register) == round(value)


def test_a_sensor_without_a_value_is_invalid_not_zero():
    values = dict.fromkeys(
        ("temperature_c", "humidity_percent", "wind_m_s", "gust_m_s", "pressure_hpa", "sky_minus_ambient_c"), 5.0
    )
    registers = sensor_registers(Reading({**values, "wind_m_s": math.nan}, None, 7.9))
    assert registers[0] == registers[1] == NOT_VALID
    assert registers[8] == 0b111100
    assert registers[9] == 7


@pytest.fixture
def served():
    dome = Dome()
    server = PlcServer(dome.plc)
    host, _, port = server.start().rpartition(":")
    client = ModbusTcpClient(host, port=int(port), timeout=1, retries=0)
    client.connect()
    yield dome, client, server
    client.close()
    server.stop()


def test_a_modbus_master_opens_the_dome_and_reads_it(served):
    dome, client, _ = served
    assert not client.write_register(0, 1, device_id=1).isError()
    assert not client.write_coil(OPEN, True, device_id=1).isError()
    dome.ahead(30)
    registers = client.read_input_registers(0, count=15, device_id=1).registers
    assert registers[0] == 30
    assert registers[13:] == [100, 500]
    assert registers[1] & Status.OPENING
    assert registers[11] == 0b111111
    assert client.read_discrete_inputs(0, count=12, device_id=1).bits[:4] == [False, False, True, False]
    assert client.read_coils(0, count=4, device_id=1).bits[:4] == [False] * 4
    assert client.read_holding_registers(0, count=2, device_id=1).registers == [2, 30]


def test_out_of_range_writes_and_unknown_addresses_are_modbus_exceptions(served):
    _, client, _ = served
    assert client.write_register(1, 4, device_id=1).exception_code == 3
    assert client.write_coil(4, True, device_id=1).exception_code == 2
    assert client.read_input_registers(15, count=1, device_id=1).exception_code == 2
    assert client.read_input_registers(0, count=1, device_id=9).isError()


def test_station_faults_show_in_the_registers(served):
    """MO-T16: loss of a sensor is seen as such."""
    dome, client, _ = served
    read = lambda: client.read_input_registers(0, count=15, device_id=1).registers
    station = dome.world.station("mast")
    ambient = read()[3:11]
    dome.ahead(60)
    assert read()[3:11] != ambient
    station.set_fault(dome.world.unix_s(), "stale")
    dome.ahead(60)
    assert read()[12] >= 60
    station.set_fault(dome.world.unix_s(), "frozen")
    frozen = read()[3:11]
    dome.ahead(600)
    assert read()[3:11] == frozen
    assert read()[12] <= 2
    station.set_fault(dome.world.unix_s(), "nan")
    assert read()[3] == NOT_VALID
    assert read()[11] == 0
    station.set_fault(dome.world.unix_s(), "offset", 20.0)
    offset = read()[7]
    station.set_fault(dome.world.unix_s(), None)
    assert offset - read()[7] == pytest.approx(200, abs=5)


def test_link_faults_refuse_silence_and_garble_the_controller(served):
    dome, client, server = served
    dome.world.faults.start("plc", "refuse")
    assert client.write_coil(CLOSE, True, device_id=1).exception_code == 6
    assert not client.read_input_registers(0, count=1, device_id=1).isError()
    dome.world.faults.start("plc", "garbage")
    assert client.read_input_registers(0, count=15, device_id=1).registers != dome.plc.input_registers()
    dome.world.faults.start("weather:mast", "mute")
    assert dome.plc.input_registers()[11] == 0
    dome.world.faults.start("plc", "hang")
    with pytest.raises(Exception, match=r"closed|[Cc]onnection|[Nn]o response|unexpectedly"):
        client.write_register(0, 77, device_id=1)
    assert dome.plc.holding_registers()[0] == 77
    client.close()
    client.connect()
    dome.world.faults.start("plc", "mute")
    with pytest.raises(Exception, match=r"closed|[Cc]onnection|[Nn]o response|unexpectedly"):
        client.read_input_registers(0, count=1, device_id=1)
    assert dome.clock._hushed[server.channel] == 2


def test_a_taken_port_is_said_so(served):
    _, _, server = served
    host, _, port = server.channel.rpartition(":")
    with pytest.raises(OSError, match="in use"):
        PlcServer(SimulatedPlc(World(VirtualClock(EVENING)))).start((host, int(port)))


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
def test_mbpoll_reads_the_life_counter_and_the_default_dead_man_time():
    server = PlcServer(SimulatedPlc(World(WallClock())))
    host, _, port = server.start().rpartition(":")
    command = ["mbpoll", "-0", "-1", "-m", "tcp", "-p", port, "-a", "1", "-t", "4", "-r", "1", "-c", "1", host]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    server.stop()
    assert "[1]: \t30" in said
