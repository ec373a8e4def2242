import pytest
from hardware_peers import HANG_UP, SILENCE, FakeMount, PtyPeer, Revocable, TcpPeer
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.clock import WallClock
from pyros.hardware.errors import Braked, GarbledReply, LeaseRevoked, LinkClosed, LinkTimeout, RefusedByDevice
from pyros.hardware.lx200 import _parse_ginfo
from pyros.hardware.urls import open_device

CLOCK = WallClock()


def precess(ra_deg, dec_deg, when):
    assert when.tzinfo is not None
    return (ra_deg + 0.5) % 360, dec_deg - 0.1


def unprecess(ra_deg, dec_deg, _when):
    return (ra_deg - 0.5) % 360, dec_deg + 0.1


def mount_at(peer, lease=None):
    url = f"lx200+tcp://{peer.url}" if isinstance(peer, TcpPeer) else f"lx200+serial://{peer.path}"
    mount = open_device(url, CLOCK, lease or Revocable(), device="telescope", to_apparent=precess, to_icrs=unprecess)
    mount.connect()
    return mount


@pytest.mark.parametrize("peer_type", [TcpPeer, PtyPeer])
@pytest.mark.parametrize("rich", [True, False])
def test_the_mount_goes_where_it_is_sent_in_icrs(peer_type, rich):
    """MJ-T4."""
    with peer_type(FakeMount(rich)) as peer:
        mount = mount_at(peer)
        assert mount.rich is rich
        for ra_deg, dec_deg in ((150.25, -0.15), (0.0, 89.5), (359.9, -89.0)):
            mount.slew_to_coordinates_async(ra_deg, dec_deg)
            reading = mount.state()
            assert abs((reading.ra_deg - ra_deg + 180) % 360 - 180) < 15 / 3600
            assert reading.dec_deg == pytest.approx(dec_deg, abs=1 / 3600)
            assert reading.tracking
            assert not reading.slewing
        mount.disconnect()


def test_coordinates_go_out_of_date_and_with_the_sign_of_minus_zero():
    with TcpPeer(FakeMount()) as peer:
        mount_at(peer).slew_to_coordinates_async(150.25, -0.15)
        assert b":Sr10:03:00.00#" in peer.requests
        assert b":Sd-00*15:00.0#" in peer.requests


def test_a_classic_mount_is_toggled_to_high_precision_once_and_only_if_needed():
    for starts_low in (True, False):
        fake = FakeMount(rich=False)
        fake.low = starts_low
        with TcpPeer(fake) as peer:
            mount_at(peer)
            assert peer.requests.count(b":U#") == starts_low
            assert not fake.low


def test_precision_is_chosen_again_after_the_mount_was_power_cycled():
    fake = FakeMount(rich=False)
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.quirks = {b":D#": HANG_UP}
        with pytest.raises(LinkClosed):
            _ = mount.slewing
        fake.quirks, fake.low = {}, True
        assert mount.state().ra_deg == pytest.approx(359.5)
        assert not fake.low


def test_a_refused_slew_is_read_to_its_end_and_the_next_values_are_right():
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.quirks = {b":MS#": b"1Object Below Horizon#"}
        fake.ra, fake.dec = "20:10:00", "+45*00:00"
        with pytest.raises(RefusedByDevice, match=r":MS#: slew refused: Object Below Horizon$"):
            mount.slew_to_coordinates_async(10, 20)
        fake.ra, fake.dec = "20:10:00", "+45*00:00"
        reading = mount.state()
        assert (reading.ra_deg, reading.dec_deg) == pytest.approx((20.1666667 * 15 - 0.5, 45.1), abs=1e-3)
        assert peer.connections == 1


def test_an_invalid_target_is_refused_before_the_slew():
    fake = FakeMount()
    fake.quirks = {b":Sd": b"0"}
    with TcpPeer(fake) as peer:
        with pytest.raises(RefusedByDevice, match="target refused"):
            mount_at(peer).slew_to_coordinates_async(10, 20)
        assert b":MS#" not in peer.requests


@pytest.mark.parametrize(("ra_deg", "dec_deg"), [(360, 0), (-1, 0), (0, 90.1), (float("nan"), 0), (0, float("nan"))])
def test_impossible_coordinates_never_reach_the_mount(ra_deg, dec_deg):
    with TcpPeer(FakeMount()) as peer:
        mount = mount_at(peer)
        before = len(peer.requests)
        with pytest.raises(ValueError, match="RA must be in"):
            mount.slew_to_coordinates_async(ra_deg, dec_deg)
        assert len(peer.requests) == before


@pytest.mark.parametrize(
    "noise",
    [
        b"#",
        b"garbage#",
        b"1,2,E,4,5,6,7#",
        b"25,0,E,0,0,0,0,0#",
        b"1,nan,E,0,0,0,0,0#",
        b"1,2,E,3,4,5,100,0#",
        b"\xff\xfe#",
    ],
)
def test_garbage_is_named_and_the_next_state_is_right(noise):
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.quirks = {b":Ginfo#": noise}
        with pytest.raises(GarbledReply, match=r"telescope .*:Ginfo#: expected RA,Dec"):
            mount.state()
        fake.quirks = {}
        assert mount.state().dec_deg == pytest.approx(0.1)


@given(st.text(alphabet="0123456789.,+-EWnaif ", max_size=80))
@settings(max_examples=300)
def test_no_status_text_yields_a_position_outside_the_sky(text):
    try:
        ra_h, dec_deg, _, azimuth_deg, altitude_deg, status = _parse_ginfo(text)
    except ValueError:
        return
    assert 0 <= ra_h <= 24
    assert abs(dec_deg) <= 90
    assert 0 <= azimuth_deg <= 360
    assert abs(altitude_deg) <= 90
    assert 0 <= status < 100


def test_a_mute_mount_times_out_and_recovers_in_step():
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.quirks = {b":Ginfo#": SILENCE}
        with pytest.raises(LinkTimeout):
            mount.state()
        fake.quirks = {}
        assert mount.state().at_park is False
        assert peer.requests.count(b":U2#") == 2


def test_an_oldest_mount_that_knows_no_product_name_is_driven_as_classic():
    fake = FakeMount(rich=False)
    fake.quirks = {b":GVP#": SILENCE}
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        assert (mount.rich, mount.product) == (False, "")


def test_park_and_unpark_are_reported_by_the_mount_itself():
    with TcpPeer(FakeMount()) as peer:
        mount = mount_at(peer)
        mount.park()
        assert mount.at_park
        assert mount.tracking is False
        mount.unpark()
        mount.set_tracking(True)
        assert mount.at_park is False
        assert mount.tracking


def test_a_classic_mount_is_parked_only_as_far_as_it_was_told():
    with TcpPeer(FakeMount(rich=False)) as peer:
        mount = mount_at(peer)
        assert mount.at_park is None
        mount.park()
        assert mount.at_park
        assert b":hP#" in peer.requests


def test_parking_a_mount_that_is_gone_is_a_failure_although_park_has_no_reply():
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.quirks = {b":": SILENCE}
        with pytest.raises(LinkTimeout):
            mount.park()


@pytest.mark.parametrize("status", [2, 3, 4, 6])
def test_all_ways_of_moving_count_as_slewing(status):
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.status = status
        assert mount.slewing


def test_a_mount_in_trouble_says_so():
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.status = 99
        assert mount.state().problem == "error"


def test_a_replaced_actor_cannot_move_the_mount_but_can_stop_and_park_it():
    """MJ-T4."""
    lease = Revocable()
    with TcpPeer(FakeMount()) as peer:
        mount = mount_at(peer, lease)
        before = len(peer.requests)
        lease.revoked = True
        for write in (
            lambda: mount.slew_to_coordinates_async(1, 2),
            lambda: mount.set_tracking(True),
            mount.unpark,
            mount.state,
        ):
            with pytest.raises(LeaseRevoked):
                write()
        assert len(peer.requests) == before
        mount.brake()
        mount.park()
        peer.wait_for(b":Q#")
        peer.wait_for(b":KA#")


def test_a_brake_between_target_and_go_keeps_the_old_slew_from_starting():
    fake = FakeMount()
    with TcpPeer(fake) as peer:
        mount = mount_at(peer)
        fake.quirks = {b":Sd": lambda _: mount.brake() or b"1"}
        with pytest.raises(Braked):
            mount.slew_to_coordinates_async(10, 20)
        peer.wait_for(b":Q#")
        assert b":MS#" not in peer.requests


def test_the_serial_line_of_a_mount_has_one_owner():
    """MJ-T4."""
    with PtyPeer(FakeMount()) as peer:
        mount = mount_at(peer)
        with pytest.raises(LinkClosed, match="lock"):
            mount_at(peer)
        mount.disconnect()
        mount_at(peer).disconnect()
