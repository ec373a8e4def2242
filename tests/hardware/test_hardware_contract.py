"""Our drivers against the simulators on the virtual clock, through real sockets."""

import contextlib
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hardware_peers import Revocable

from pyros.clock import STALL_S, VirtualClock
from pyros.hardware.errors import DeviceFault, GarbledReply, LinkClosed, LinkTimeout, RefusedByDevice
from pyros.hardware.interfaces import CameraState
from pyros.hardware.urls import open_device
from simulators.camera import CameraServer
from simulators.lx200_server import Lx200Session
from simulators.mount import SimulatedMount
from simulators.plc import PlcServer, SimulatedPlc
from simulators.serve import TcpServer
from simulators.wheel import IfwSession, SimulatedWheel
from simulators.world import World

START = datetime(2026, 11, 22, 6, tzinfo=UTC)


def same(ra_deg, dec_deg, _when):
    return ra_deg, dec_deg


class Night:
    """A simulated world on the virtual clock, with servers, and one thread that takes turns as an actor does."""

    def __init__(self):
        self.clock = VirtualClock(START)
        self.world = World(self.clock)
        self.journal = []
        self.stack = contextlib.ExitStack()

    def serve(self, server):
        address = server.start()
        self.stack.callback(server.stop)
        return address

    def open(self, url, device):
        return open_device(
            url, self.clock, Revocable(), device=device, journal=lambda *entry: self.journal.append(entry),
            to_apparent=same, to_icrs=same,
        )  # fmt: skip

    def act(self, play):
        """Run `play()` as an actor, whose waits are waits of the clock; return what it returns."""
        turn, result = self.clock.turn(), []

        def run():
            turn.begin()
            try:
                result.append(play())
            except BaseException as error:
                result.append(error)
            turn.leave()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        turn.wake()
        self.clock.run(self.clock.now() + timedelta(hours=1), done=lambda: bool(result))
        thread.join(STALL_S)
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    def until(self, condition, within_s):
        """Wait, polling each second, until a condition holds; return how long it took."""
        for second in range(within_s + 1):
            if condition():
                return second
            self.clock.sleep(1)
        raise AssertionError(f"not within {within_s} s")


@pytest.fixture
def night():
    night = Night()
    with night.stack:
        yield night


def mount_of(night):
    mount = SimulatedMount(night.world)
    server = TcpServer(night.clock, night.world.faults, mount.name, lambda link: Lx200Session(mount, link))
    return night.open(f"lx200+tcp://{night.serve(server)}", "telescope")


def high_target(night):
    """Coordinates of date of a place 15 degrees from the zenith, so that every slew there is allowed."""
    unix_s = night.world.unix_s()
    return (night.world.frames.sidereal_deg(unix_s) + 15) % 360, 20.5


def test_the_simulated_mount_slews_tracks_and_parks(night):
    """MJ-T4."""
    mount = mount_of(night)

    def play():
        mount.connect()
        assert mount.rich
        assert mount.at_park
        mount.unpark()
        ra_deg, dec_deg = high_target(night)
        mount.slew_to_coordinates_async(ra_deg, dec_deg)
        assert mount.slewing
        took_s = night.until(lambda: not mount.slewing, 60)
        reading = mount.state()
        mount.park()
        night.until(lambda: mount.at_park, 60)
        return took_s, reading, (ra_deg, dec_deg)

    took_s, reading, (ra_deg, dec_deg) = night.act(play)
    assert 2 < took_s < 40
    assert reading.tracking
    assert abs((reading.ra_deg - ra_deg + 180) % 360 - 180) < 2 / 3600
    assert reading.dec_deg == pytest.approx(dec_deg, abs=2 / 3600)


def test_the_simulated_mounts_refusals_keep_the_link_in_step(night):
    mount = mount_of(night)

    def play():
        mount.connect()
        ra_deg, dec_deg = high_target(night)
        with pytest.raises(RefusedByDevice, match="parked"):
            mount.slew_to_coordinates_async(ra_deg, dec_deg)
        mount.unpark()
        with pytest.raises(RefusedByDevice, match="Object Below Horizon"):
            mount.slew_to_coordinates_async(ra_deg, -85)
        mount.slew_to_coordinates_async(ra_deg, dec_deg)
        mount.brake()
        night.clock.sleep(3)
        return mount.slewing, mount.state().problem

    assert night.act(play) == (False, None)


def faulty(night, driver, device, kind, *, error):
    """Let a reading fail by a fault; return the simulated seconds that it cost, then read again in peace."""
    ask = driver.poll if device == "plc" else driver.state

    def play():
        driver.connect()
        night.world.faults.start(device, kind)
        began_s = night.clock.monotonic_s()
        with pytest.raises(error):
            ask()
        cost_s = night.clock.monotonic_s() - began_s
        night.world.faults.end(device)
        ask()
        return cost_s

    return night.act(play)


@pytest.mark.parametrize("kind", ["mute", "hang"])
def test_a_mute_simulated_device_costs_one_second_and_recovers(night, kind):
    mount, plc = mount_of(night), plc_of(night)
    wheel, camera = wheel_of(night), camera_of(night)
    assert faulty(night, mount, "telescope", kind, error=LinkTimeout) == 1
    assert faulty(night, plc, "plc", kind, error=LinkTimeout) == 1
    assert faulty(night, wheel, "filter_wheel:vis", kind, error=LinkTimeout) == 1
    assert faulty(night, camera, "camera:vis", kind, error=LinkTimeout) == 1


def test_a_simulated_device_that_hangs_up_costs_nothing_and_recovers(night):
    mount, plc = mount_of(night), plc_of(night)
    wheel, camera = wheel_of(night), camera_of(night)
    assert faulty(night, mount, "telescope", "disconnect", error=LinkClosed) == 0
    assert faulty(night, plc, "plc", "disconnect", error=LinkClosed) == 0
    assert faulty(night, wheel, "filter_wheel:vis", "disconnect", error=LinkClosed) == 0
    assert faulty(night, camera, "camera:vis", "disconnect", error=LinkClosed) == 0


def test_garbage_from_a_simulated_device_is_never_a_reading(night):
    mount, plc = mount_of(night), plc_of(night)
    wheel, camera = wheel_of(night), camera_of(night)
    for driver, device in ((mount, "telescope"), (wheel, "filter_wheel:vis"), (camera, "camera:vis")):
        faulty(night, driver, device, "garbage", error=GarbledReply)

    def play():
        plc.connect()
        night.world.faults.start("plc", "garbage")
        return [plc.poll() for _ in range(30)]

    assert all(reading.problems for reading in night.act(play))


def plc_of(night):
    plc = SimulatedPlc(night.world)
    return night.open(f"modbus://{night.serve(PlcServer(plc))}", "plc")


def test_the_simulated_dome_opens_on_command_and_closes_by_itself_without_a_heartbeat(night):
    """MO-T10, MO-T12."""
    plc = plc_of(night)

    def play():
        plc.connect()
        booted = plc.poll()
        plc.reset_latch()
        plc.set_deadman(30)
        plc.heartbeat(1)
        plc.open_dome()
        for beat in range(2, 92):
            night.clock.sleep(1)
            plc.heartbeat(beat)
        opened = plc.poll()
        night.clock.sleep(100)
        closed = plc.poll()
        plc.reset_latch()
        return booted, opened, closed

    booted, opened, closed = night.act(play)
    assert (booted.closed_switch, booted.latch_reasons, booted.problems) == (True, ("boot",), ())
    assert (opened.open_switch, opened.dome_position) == (True, 1)
    assert (closed.closed_switch, closed.deadman_expired, closed.latch_reasons) == (True, True, ("deadman",))
    assert (booted.life_counter, opened.life_counter, closed.life_counter) == (0, 90, 190)


def test_rain_and_a_dead_sensor_arrive_as_rain_and_as_unknown(night):
    plc = plc_of(night)

    def play():
        plc.connect()
        dry = plc.poll()
        night.world.set_weather(rain=True)
        night.clock.sleep(60)
        return dry, plc.poll()

    dry, wet = night.act(play)
    assert (dry.rain, dry.rain_contact) == (False, False)
    assert (wet.rain, wet.rain_contact) == (True, True)
    weather = night.world.weather(night.world.unix_s())
    assert wet.temperature_c == pytest.approx(weather["temperature_c"], abs=1.0)
    assert wet.pressure_hpa == pytest.approx(weather["pressure_hpa"], abs=2.0)


def test_a_wrong_unit_of_the_simulated_plc_is_one_clear_line(night):
    """MO-T10."""
    address = night.serve(PlcServer(SimulatedPlc(night.world)))
    with pytest.raises(DeviceFault, match=r"is unit 5 right in the URL"):
        night.act(night.open(f"modbus://{address}?unit=5", "plc").connect)


def wheel_of(night):
    wheel = SimulatedWheel(night.world)
    server = TcpServer(night.clock, night.world.faults, wheel.name, lambda link: IfwSession(wheel, link))
    return night.open(f"ifw+tcp://{night.serve(server)}", "filter_wheel:vis")


def test_the_simulated_wheel_takes_two_seconds_for_each_step(night):
    wheel = wheel_of(night)

    def play():
        wheel.connect()
        wheel.set_position(3)
        took_s = night.until(lambda: not wheel.moving, 20)
        return wheel.names, took_s, wheel.position

    assert night.act(play) == (("g", "r", "i", "z", "CLEAR"), 4, 3)


@pytest.mark.parametrize(
    ("kind", "line"), [("stuck", "ER=4: the wheel is stuck"), ("lie", "the wheel stands at 1, not at 2")]
)
def test_a_simulated_wheel_that_does_not_turn_is_found_out(night, kind, line):
    wheel = wheel_of(night)

    def play():
        wheel.connect()
        night.world.faults.start("filter_wheel:vis", kind)
        with pytest.raises(DeviceFault, match=line):
            wheel.set_position(2)
            night.until(lambda: not wheel.moving, 20)

    night.act(play)


def camera_of(night):
    if night.world.mount is None:
        SimulatedMount(night.world)
    return night.open(
        f"alpaca://{night.serve(CameraServer(night.world, 'vis', clock=night.clock, pixels=64))}/camera/0", "camera:vis"
    )


def test_the_simulated_camera_exposes_reads_out_and_delivers(night):
    camera = camera_of(night)

    def play():
        camera.connect()
        camera.start_exposure(10, light=False)
        assert camera.camera_state is CameraState.EXPOSING
        took_s = night.until(lambda: camera.image_ready, 60)
        return took_s, camera.download()

    took_s, frame = night.act(play)
    assert 10 <= took_s <= 15
    assert frame.shape == (64, 64)
    assert frame.dtype == np.uint16
    assert 0 < frame.mean() < 20_000


def test_an_aborted_exposure_leaves_no_frame(night):
    camera = camera_of(night)

    def play():
        camera.connect()
        camera.start_exposure(100, light=True)
        night.clock.sleep(5)
        camera.brake()
        assert camera.camera_state is CameraState.IDLE
        assert not camera.image_ready
        with pytest.raises(RefusedByDevice, match="imagearray"):
            camera.download()
        camera.start_exposure(1, light=True)
        return night.until(lambda: camera.image_ready, 20)

    assert night.act(play) <= 5


def test_the_same_night_gives_the_same_transactions():
    def one():
        night = Night()
        with night.stack:
            mount, plc, wheel = mount_of(night), plc_of(night), wheel_of(night)

            def play():
                for driver in (mount, plc, wheel):
                    driver.connect()
                wheel.set_position(4)
                for second in range(20):
                    night.world.faults.start("plc", "mute" if second % 5 == 0 else "lie")
                    with contextlib.suppress(LinkTimeout):
                        plc.poll()
                    mount.state()
                    _ = wheel.moving
                    night.clock.sleep(1)

            night.act(play)
            return [(name, request, reply) for name, request, reply in night.journal]

    first, second = one(), one()
    assert first == second
    assert len(first) > 45
