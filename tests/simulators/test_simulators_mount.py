"""The mount's motion, and its LX200 tongue over a real socket on the virtual clock."""

import os
import select
import socket
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import VirtualClock, WallClock
from simulators.lx200_server import Lx200Session, parse_angle, sexagesimal
from simulators.mount import SimulatedMount
from simulators.physics_axes import (
    After,
    axes_at,
    is_tracking,
    setting_hour_angle_deg,
    slew_duration_s,
    slew_to,
    travelled_fraction,
)
from simulators.physics_frames import SIDEREAL_DEG_PER_S, altaz_of, wrap_180
from simulators.serve import PtyServer, TcpServer
from simulators.world import World

EVENING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def ahead(clock, seconds):
    clock.run(clock.now() + timedelta(seconds=seconds))


class Talk:
    """A mount on the virtual clock and a client that speaks to it as a driver would."""

    def __init__(self):
        self.clock = VirtualClock(EVENING)
        self.world = World(self.clock, seed=3)
        self.mount = SimulatedMount(self.world)
        self.server = TcpServer(self.clock, self.world.faults, "telescope", lambda link: Lx200Session(self.mount, link))
        host, _, port = self.server.start().rpartition(":")
        self.address = (host, int(port))
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(self.address, timeout=2)

    def ask(self, command, ending=b"#"):
        self.socket.sendall(command)
        reply = b""
        while not reply.endswith(ending):
            part = self.socket.recv(1)
            if not part:
                raise EOFError(reply)
            reply += part
        return reply.decode("latin-1").rstrip("#")

    def byte(self, command):
        self.socket.sendall(command)
        return self.socket.recv(1)

    def tell(self, command):
        """A command without a reply; the question after it makes sure that it was carried out."""
        self.socket.sendall(command)
        return self.ask(b":GVP#")

    def go(self, ra_h, dec_deg):
        assert self.byte(f":Sr{sexagesimal(ra_h, 2, last_digits=2)}#".encode()) == b"1"
        sign = "-" if dec_deg < 0 else "+"
        assert self.byte(f":Sd{sign}{sexagesimal(abs(dec_deg), 2, last_digits=1)}#".encode()) == b"1"
        return self.byte(b":MS#")

    def info(self):
        return self.ask(b":Ginfo#").split(",")

    def meridian_h(self, hours_east=1.0):
        return (self.world.frames.sidereal_deg(self.world.unix_s()) / 15 + hours_east) % 24


@pytest.fixture
def talk():
    talk = Talk()
    yield talk
    talk.socket.close()
    talk.server.stop()


# -- physics ---------------------------------------------------------------------------------------------------------


@given(st.floats(0, 300))
def test_a_slew_takes_what_six_degrees_and_three_degrees_per_second_squared_allow(distance):
    duration = slew_duration_s(distance)
    assert duration >= distance / 6
    assert travelled_fraction(duration, distance) == 1.0
    assert slew_duration_s(60.0) == pytest.approx(12.0)
    assert slew_duration_s(12.0) == pytest.approx(4.0)


@given(st.floats(0.01, 300), st.floats(0, 1), st.floats(0, 1))
def test_a_slew_never_turns_back_nor_exceeds_its_speed(distance, early, late):
    early, late = sorted((early, late))
    duration = slew_duration_s(distance)
    first, second = (travelled_fraction(part * duration, distance) for part in (early, late))
    assert first <= second + 1e-9
    assert (second - first) * distance <= 6.0 * (late - early) * duration + 1e-6


@given(st.floats(-80, 80), st.floats(-30, 80), st.floats(-80, 80), st.floats(-30, 80))
def test_a_slew_between_two_points_well_above_the_horizon_stays_above_it(ha0, dec0, ha1, dec1):
    latitude = 31.0
    if min(altaz_of(ha0, dec0, latitude)[0], altaz_of(ha1, dec1, latitude)[0]) < 10:
        return
    motion = slew_to((ha0, dec0), (ha1, dec1), 0.0, After.HOLD)
    heights = [altaz_of(*axes_at(motion, motion.duration_s * step / 20), latitude)[0] for step in range(21)]
    assert min(heights) > 5.0


@given(st.floats(-90, 90), st.floats(-40, 60))
def test_the_mount_meets_a_target_that_moves_on_meanwhile(ha_deg, dec_deg):
    motion = slew_to((0.0, 40.0), (ha_deg, dec_deg), 100.0, After.TRACK)
    later = motion.ready_s + 60.0
    assert axes_at(motion, later)[0] == pytest.approx(ha_deg + SIDEREAL_DEG_PER_S * (later - 100.0), abs=1e-6)


def test_a_mount_that_tracks_into_its_horizon_limit_stops_there():
    limit = setting_hour_angle_deg(10.0, 31.0, 5.0)
    motion = slew_to((80.0, 10.0), (limit - 0.1, 10.0), 0.0, After.TRACK, ha_limit_deg=limit)
    assert is_tracking(motion, motion.ready_s)
    assert not is_tracking(motion, motion.ready_s + 3600)
    assert altaz_of(*axes_at(motion, motion.ready_s + 3600), 31.0)[0] == pytest.approx(5.0, abs=1e-6)


# -- the wire --------------------------------------------------------------------------------------------------------


@given(st.floats(0, 23.99999))
def test_right_ascensions_survive_the_wire_to_a_hundredth_of_a_second(hours):
    assert parse_angle(sexagesimal(hours, 2, last_digits=2).encode(), 24.001) == pytest.approx(hours, abs=0.006 / 3600)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"-00*15:00", -0.25),
        (b"+45\xdf30", 45.5),
        (b"12:34.5", 12.575),
        (b"91:00", None),
        (b"10:61:00", None),
        (b"", None),
    ],
)
def test_angles_keep_their_sign_through_a_zero_and_nonsense_is_refused(text, value):
    assert parse_angle(text, 90.0) == value


def test_a_parked_mount_refuses_to_slew_until_it_is_unparked(talk):
    assert talk.info()[6] == "5"
    assert talk.go(talk.meridian_h(), 10.0) == b"2"
    assert talk.ask(b"").startswith("Mount is parked")
    talk.tell(b":PO#")
    assert talk.go(talk.meridian_h(), 10.0) == b"0"


def test_a_slew_is_reported_as_slewing_settles_and_ends_on_target(talk):
    talk.tell(b":PO#:U2#")
    ra_h = talk.meridian_h()
    assert talk.go(ra_h, -0.25) == b"0"
    ahead(talk.clock, 5)
    assert talk.info()[6] == "6"
    assert talk.ask(b":D#") == "\x7f"
    ahead(talk.clock, 12)
    ra, dec, *_, state, slews = talk.info()
    assert (state, slews) == ("0", "1")
    assert float(ra) == pytest.approx(ra_h, abs=1e-5)
    assert float(dec) == pytest.approx(-0.25, abs=1e-5)
    assert talk.ask(b":GD#") == "-00:15:00.0"
    assert talk.ask(b":D#") == ""


def test_a_stop_takes_effect_at_once_and_the_mount_tracks_where_it_is(talk):
    talk.tell(b":PO#")
    talk.go(talk.meridian_h(4), 30.0)
    ahead(talk.clock, 3)
    talk.tell(b":Q#")
    before = talk.info()
    ahead(talk.clock, 60)
    after = talk.info()
    assert before[6] == after[6] == "0"
    assert before[:2] == after[:2]


def test_a_target_below_the_horizon_is_refused_in_words_and_nothing_moves(talk):
    talk.tell(b":PO#")
    before = talk.info()[:2]
    assert talk.go(talk.meridian_h(), -80.0) == b"1"
    assert talk.ask(b"") == "Object Below Horizon"
    ahead(talk.clock, 5)
    assert talk.info()[:2] == before


def test_parking_ends_in_the_parked_state_at_the_park_position(talk):
    talk.tell(b":PO#")
    talk.go(talk.meridian_h(3), 0.0)
    ahead(talk.clock, 20)
    talk.tell(b":KA#")
    assert talk.info()[6] == "2"
    ahead(talk.clock, 60)
    *_, azimuth, altitude, _, state, _ = talk.info()
    assert state == "5"
    assert float(altitude) == pytest.approx(45.0, abs=0.01)
    assert abs(wrap_180(float(azimuth))) < 0.01


def test_a_sync_moves_the_reported_position_not_the_tube(talk):
    talk.tell(b":PO#:U2#")
    ra_h = talk.meridian_h()
    talk.go(ra_h, 20.0)
    ahead(talk.clock, 20)
    truth = talk.world.pointing(talk.clock.now())
    talk.byte(b":Sd+20:06:00#")
    assert "matched" in talk.ask(b":CM#")
    assert talk.ask(b":GD#") == "+20:06:00.0"
    assert talk.world.pointing(talk.clock.now()) == truth


def test_site_and_time_are_told_west_positive_and_in_local_time(talk):
    assert talk.ask(b":Gg#") == "+115\xdf27:49"
    assert talk.ask(b":Gt#") == "+31\xdf02:39"
    assert talk.byte(b":SG+08.0#") == b"1"
    assert talk.ask(b":GL#") == "18:00:00"
    assert talk.ask(b":GC#") == "11/22/26"
    assert talk.byte(b"\x06") == b"P"


def test_the_camera_finds_the_icrs_place_that_was_asked_for_of_date(talk):
    talk.tell(b":PO#:U2#")
    ra_deg, dec_deg = (talk.meridian_h() * 15 + 0.4) % 360, 33.0
    now_s = talk.world.unix_s()
    ra_date, dec_date = talk.world.frames.of_date(ra_deg, dec_deg, now_s)
    talk.go(ra_date / 15, dec_date)
    ahead(talk.clock, 30)
    ra, dec, altitude_deg, _ = talk.world.pointing(talk.clock.now())
    assert ra == pytest.approx(ra_deg, abs=2e-4)
    assert dec == pytest.approx(dec_deg, abs=2e-4)
    assert altitude_deg > 45


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_muted_mount_hangs_up_and_the_clock_knows_that_a_timeout_is_to_be_charged(talk):
    talk.world.faults.start("telescope", "mute", 10)
    with pytest.raises(EOFError):
        talk.ask(b":GR#")
    assert talk.clock._hushed[talk.server.channel] == 1
    talk.connect()
    talk.socket.sendall(b":Q#")
    ahead(talk.clock, 11)
    assert talk.ask(b":GVP#").startswith("10micron")
    assert talk.clock._hushed[talk.server.channel] == 1


def test_a_lying_mount_says_yes_and_stays(talk):
    talk.tell(b":PO#")
    talk.world.faults.start("telescope", "lie")
    before = talk.info()[1]
    assert talk.go(talk.meridian_h(), 10.0) == b"0"
    ahead(talk.clock, 30)
    assert talk.info()[1] == before


def test_a_stuck_mount_stands_still_while_slewing_and_goes_on_afterwards(talk):
    talk.tell(b":PO#")
    ra_h = talk.meridian_h()
    talk.go(ra_h, 10.0)
    ahead(talk.clock, 4)
    talk.world.faults.start("telescope", "stuck", 60)
    before = talk.info()
    ahead(talk.clock, 50)
    after = talk.info()
    assert (before[1], before[6], after[6]) == (after[1], "6", "6")
    ahead(talk.clock, 40)
    ra, dec, *_, state, _ = talk.info()
    assert (float(ra), float(dec), state) == (pytest.approx(ra_h, abs=1e-4), pytest.approx(10.0), "0")


def test_a_garbled_answer_ends_as_it_should_and_a_refusing_mount_refuses(talk):
    talk.world.faults.start("telescope", "garbage")
    assert talk.ask(b":GVP#") != "10micron GM2000HPS simulator"
    talk.world.faults.start("telescope", "refuse")
    assert talk.byte(b":Sr10:00:00#") == b"0"
    assert talk.ask(b":MS#") == "2Slew refused"
    talk.world.faults.start("telescope", "disconnect")
    with pytest.raises((EOFError, ConnectionError)):
        talk.ask(b":GR#")


def test_an_emergency_stop_takes_the_motors_off(talk):
    talk.tell(b":PO#")
    talk.go(talk.meridian_h(4), 30.0)
    ahead(talk.clock, 3)
    talk.world.set_switch("emergency_stop", on=True)
    assert talk.info()[6] == "7"
    assert talk.go(talk.meridian_h(4), 30.0) == b"2"


def test_the_past_of_the_tube_can_still_be_asked_after_it_has_moved_on(talk):
    talk.tell(b":PO#")
    then = talk.clock.now()
    where = talk.world.pointing(then)
    ahead(talk.clock, 1)
    talk.go(talk.meridian_h(3), 0.0)
    ahead(talk.clock, 30)
    assert talk.world.pointing(then) == where
    assert [round(end - start) for start, end in talk.mount.slews] == [round(talk.mount._motions[-1].duration_s + 2)]


def test_a_serial_line_answers_and_is_gone_after_the_stop(tmp_path):
    clock = WallClock()
    world = World(clock)
    mount = SimulatedMount(world)
    line = PtyServer(clock, world.faults, "telescope", lambda link: Lx200Session(mount, link))
    path = line.start(str(tmp_path / "mount"))
    end = os.open(path, os.O_RDWR | os.O_NOCTTY)
    os.write(end, b"#:GVN#")
    reply = b""
    while not reply.endswith(b"#") and select.select([end], [], [], 2)[0]:
        reply += os.read(end, 64)
    os.close(end)
    line.stop()
    assert reply == b"2.16.1#"
    assert not (tmp_path / "mount").is_symlink()


def test_a_serial_line_never_replaces_a_file(tmp_path):
    (tmp_path / "mount").write_text("mine")
    line = PtyServer(WallClock(), World(WallClock()).faults, "telescope", lambda _: None)
    with pytest.raises(FileExistsError, match="not a symbolic link"):
        line.start(str(tmp_path / "mount"))
