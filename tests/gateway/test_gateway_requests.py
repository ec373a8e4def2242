"""Requests from outside: answered, refused, expired, and whatever a hostile stranger sends."""

from __future__ import annotations

import stat

import msgpack
import pytest
import zmq
from gateway_stage import client, daemon, environment, in_thread, start, supervised, take, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyros.actors.gateway import Gateway
from pyros.actors.gateway.actor import MOST_PENDING, forbidden
from pyros.actors.kernel import System
from pyros.client import MAX_REQUEST_BYTES, GatewayError, default_endpoint, socket_address
from pyros.clock import WallClock
from pyros.messages import Done, Expired, Failed, GetState, Refused
from pyros.messages.codec import Frame, pack, to_builtins
from pyros.messages.devices import CloseDome, Expose, Halt, OpenDome, Park, Slew, Slewed, TelescopeState
from pyros.messages.night import Lockdown, SafetyVerdict
from pyros.messages.store import Commit, GetRows
from pyros.messages.system import Crash, DeadLetter, GatewayState, GetSnapshot, Snapshot

SLEW = Slew(ra_deg=83.6, dec_deg=22.0, sequence_id=1)
STATE = pack(Frame(id="s-1", cause="s-1", to="telescope", expires_in_s=2.0, user="", body=GetState()))


class Stranger:
    """A raw DEALER that knows nothing of our client."""

    def __init__(self, folder, identity: bytes = b"") -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        if identity:
            self.socket.setsockopt(zmq.IDENTITY, identity)
        self.socket.connect(f"ipc://{folder}/requests")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, *frames: bytes, within_s: float = 5.0):
        self.socket.send_multipart(frames)
        return self.hear(within_s)

    def hear(self, within_s: float = 5.0):
        return msgpack.unpackb(self.socket.recv_multipart()[-1]) if self.socket.poll(1000 * within_s) else None


@pytest.fixture
def observatory():
    with daemon() as running:
        yield running


def test_a_slew_from_outside_is_answered_by_the_telescope_and_carries_its_user(observatory):
    with client(observatory.folder, user="ada") as door:
        reply = door.ask("telescope", SLEW)
    assert isinstance(reply, Slewed)
    assert reply.ra_deg == 83.6
    assert observatory.telescope.taken == [("ada", SLEW)]


def test_an_actor_that_is_not_there_is_refused_with_the_list_of_those_that_are(observatory):
    with client(f"ipc://{observatory.folder}") as door:
        reply = door.ask("telescop", GetState())
    assert isinstance(reply, Refused)
    assert "telescope" in reply.reason


def test_an_answer_that_never_comes_expires_at_the_askers_deadline(observatory):
    with client(observatory.folder) as door:
        assert isinstance(door.ask("telescope", Park(cause="test"), within_s=0.2), Expired)
        assert isinstance(door.ask("telescope", GetState()), TelescopeState), "and harms nothing after it"


def test_deadlines_of_the_outside_are_real_seconds_also_when_the_daemons_clock_runs_faster():
    with daemon(speed=100.0) as fast, client(fast.folder) as door:
        thread, replies = in_thread(lambda: door.ask("telescope", Park(cause="test"), within_s=1.0))
        thread.join(0.3)
        assert not replies, "a hundredth of the time has passed by the asker's clock"
        thread.join(5.0)
    assert isinstance(replies[0], Expired)


def test_an_answer_that_no_wire_can_carry_comes_as_a_failure(observatory):
    with client(observatory.folder) as door:
        reply = door.ask("telescope", GetRows(table="user"))
    assert isinstance(reply, Failed)
    assert "cannot be put on the wire" in reply.reason


def test_an_actor_that_breaks_on_a_request_is_reported_as_failed(observatory):
    with client(observatory.folder) as door:
        assert isinstance(door.ask("telescope", Crash()), Failed)


def test_the_snapshot_has_every_state_with_its_age_and_the_last_events_number(observatory):
    observatory.publish(5)
    with client(observatory.folder) as door:
        snapshot = door.ask("gateway", GetSnapshot())
        state = door.ask("gateway", GetState())
    assert isinstance(snapshot, Snapshot)
    rows = {row.state: row for row in snapshot.states}
    assert rows["TelescopeState"].content["ra_deg"] == 4.0
    assert 0 <= rows["TelescopeState"].age_s < 10
    assert snapshot.speed == 1.0
    assert isinstance(state, GatewayState)
    assert snapshot.sequence == state.events >= 7
    assert state.endpoint == str(observatory.folder)


# -- who may what ----------------------------------------------------------------------------------------------------


def test_on_real_hardware_the_outside_moves_no_device_but_may_always_make_it_safer():
    with daemon(mode="robotic") as real, client(real.folder) as door:
        refused = door.ask("telescope", SLEW)
        assert isinstance(refused, Refused)
        assert "robotic" in refused.reason
        assert isinstance(door.ask("telescope", Crash()), Refused)
        assert isinstance(door.ask("telescope", GetState()), TelescopeState)
        assert isinstance(door.ask("telescope", Halt(cause="test")), Done)
    assert [type(message) for _, message in real.telescope.taken] == [Halt]


EXPOSE = Expose(exposure_s=1, frame="dark", filter="r", sequence_id=1, plan_id=1, number=0)
VERDICT = SafetyVerdict(level="SAFE", reasons=[], at="2026-11-22T00:00:00Z")


@pytest.mark.parametrize(
    ("to", "message", "refused"),
    [
        ("plc", OpenDome(cause="x"), True),
        ("plc", CloseDome(cause="x"), False),
        ("camera:vis", EXPOSE, True),
        ("camera:vis.brake", EXPOSE, True),
        ("telescope.brake", SLEW, True),
        ("majordome", Crash(how="exit"), True),
        ("majordome", VERDICT, True),
        ("archivist", Commit(writes=[], reason="x"), True),
        ("majordome", Lockdown(operator="ada", reason="x"), False),
        ("camera:vis", GetState(), False),
        ("majordome", Done(), True),
    ],
)
def test_robotic_mode_knows_what_the_outside_may_send(to, message, refused):
    assert bool(forbidden(to, message, "robotic")) is refused
    assert bool(forbidden(to, message, "simulation")) is (message.kind == "reply")


# -- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (b"\x91" * 3000, "msgpack"),
        (msgpack.packb({"to": "telescope"}), "a frame is"),
        (msgpack.packb([2, "i", "i", "telescope", 1.0, "", {"type": "GetState"}]), "a frame is"),
        (msgpack.packb([1, "i", "i", "telescope", float("nan"), "", {"type": "GetState"}]), "expires_in_s"),
        (msgpack.packb([1, "i", "i", "telescope", 9e9, "", {"type": "GetState"}]), "expires_in_s"),
        (msgpack.packb([1, "i", "i", "telescope", 1.0, "", {"type": "Getstate"}]), "unknown"),
        (msgpack.packb([1, "i", "i", "telescope", 1.0, "", {"type": "x" * 1_000_000}]), "message type"),
        (msgpack.packb([1, "i", "i", "telescope", 1.0, "", {**to_builtins(SLEW), "ra_deg": 400}]), "ra_deg"),
        (msgpack.packb([1, "i" * 300, "i", "telescope", 1.0, "", {"type": "GetState"}]), "200"),
    ],
)
def test_a_malformed_request_is_refused_naming_what_is_wrong(observatory, raw, word):
    with Stranger(observatory.folder) as stranger:
        version, identifier, body = stranger.ask(raw)
        assert (version, body["type"]) == (1, "Refused")
        assert word in body["reason"]
        assert identifier in {"", "i"}
        assert len(body["reason"]) <= 1000
        assert stranger.ask(STATE)[2]["type"] == "TelescopeState"


def test_a_request_in_two_frames_is_refused_but_a_req_sockets_empty_frame_is_taken(observatory):
    with Stranger(observatory.folder) as stranger:
        assert "one frame" in stranger.ask(STATE, STATE)[2]["reason"]
        assert "one frame" in stranger.ask(b"", STATE, STATE)[2]["reason"]
        assert stranger.ask(b"", STATE)[2]["type"] == "TelescopeState"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("type"), inner),
            max_leaves=12,
        ).map(lambda body: msgpack.packb([1, "f", "f", "telescope", 1.0, "", body])),
    )
)
def test_whatever_bytes_come_in_are_answered(observatory, raw):
    with Stranger(observatory.folder) as stranger:
        assert stranger.ask(raw)[2]["type"] == "Refused"
    assert observatory.gateway._doors._thread.is_alive()


def test_a_huge_frame_is_dropped_by_the_door_and_refused_by_our_client(observatory):
    with Stranger(observatory.folder) as stranger:
        assert stranger.ask(b"\0" * (MAX_REQUEST_BYTES + 1), within_s=0.3) is None
    with client(observatory.folder) as door:
        rows = GetRows(table="user", where={"name": "x" * MAX_REQUEST_BYTES})
        with pytest.raises(GatewayError, match="at most"):
            door.ask("telescope", rows)
        assert isinstance(door.ask("telescope", GetState()), TelescopeState)


def test_a_stranger_that_takes_anothers_routing_id_does_not_get_its_answers(observatory):
    with Stranger(observatory.folder, b"same") as first:
        assert first.ask(STATE)
        with Stranger(observatory.folder, b"same") as second:
            assert second.ask(STATE, within_s=0.3) is None
            assert first.ask(STATE)[2]["type"] == "TelescopeState"


def test_those_who_leave_before_their_answer_do_not_disturb_those_who_stay(observatory):
    for _ in range(20):
        with Stranger(observatory.folder) as stranger:
            for _ in range(20):
                stranger.socket.send(STATE)
    with client(observatory.folder) as door:
        assert isinstance(door.ask("telescope", GetState()), TelescopeState)


def test_a_flood_of_unanswered_requests_is_bounded_and_what_makes_safer_still_passes(observatory):
    unanswered = Park(cause="flood")
    flood = [
        pack(Frame(id=str(n), cause="", to="telescope", expires_in_s=60.0, user="", body=unanswered))
        for n in range(MOST_PENDING)
    ]
    with Stranger(observatory.folder) as stranger:
        for raw in flood:
            stranger.socket.send(raw)
        until(lambda: len(observatory.telescope.taken) == MOST_PENDING)
        assert "try again" in stranger.ask(STATE)[2]["reason"]
    with client(observatory.folder) as door:
        assert isinstance(door.ask("telescope", Halt(cause="test")), Done)


def test_two_clients_at_once_get_their_own_answers(observatory):
    with client(observatory.folder) as one, client(observatory.folder) as two:

        def many(door, base):
            targets = [float(base + n) for n in range(100)]
            return [door.ask("telescope", Slew(ra_deg=ra, dec_deg=0, sequence_id=1)).ra_deg for ra in targets], targets

        jobs = [in_thread(lambda d=d, b=b: many(d, b)) for d, b in [(one, 0), (two, 100), (one, 200)]]
        for thread, results in jobs:
            thread.join(20)
            got, wanted = results[0]
            assert got == wanted


# -- the folder and the gateway's own life ---------------------------------------------------------------------------


def test_only_the_owner_may_enter_the_folder(observatory):
    assert stat.S_IMODE(observatory.folder.stat().st_mode) == 0o700


def test_a_folder_with_too_long_a_name_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"too long.*shorter folder"):
        socket_address(tmp_path / ("x" * 100), "requests")


def test_a_second_daemon_does_not_take_the_first_ones_sockets(observatory):
    second = System(WallClock())
    start(second, "gateway", lambda context: Gateway(context, environment(observatory.folder)))
    until(lambda: second.dead_letters)
    assert "in use by another daemon" in second.dead_letters[0].reason
    with client(observatory.folder) as door:
        assert isinstance(door.ask("telescope", GetState()), TelescopeState)


LETTER = DeadLetter(to="nobody", message="GetState", reason="a test")


def test_a_gateway_that_dies_comes_back_on_the_same_sockets_and_goes_on_counting():
    with supervised() as (running, folder), client(folder) as door:
        before = door.ask("gateway", GetSnapshot()).sequence
        heard = door.events()
        assert isinstance(door.ask("gateway", Crash()), Failed)
        until(lambda: running.row().restarts == 1 and running.row().status == "up")
        assert door.ask("gateway", GetSnapshot()).sequence > before
        thread, got = in_thread(lambda: take(heard, 2))
        until(lambda: running.system.bury(LETTER) or got)  # a listener that is still connecting hears the next one
        thread.join()
        (first, _, _), (second, _, _) = got[0]
        assert before <= first < second  # the state that came with the snapshot may have been on its way still


def test_sockets_that_break_take_their_actor_down_so_that_it_is_restarted():
    with supervised() as (running, folder), client(folder) as door:
        running.gateways[0]._doors._take = None
        with pytest.raises(GatewayError, match="has not answered"):
            door.ask("telescope", GetState(), within_s=0.3)
        until(lambda: running.row().restarts == 1 and running.row().status == "up")
        assert "TypeError" in running.row().last_fault
        assert isinstance(door.ask("telescope", GetState()), TelescopeState)


def test_without_a_daemon_the_client_says_where_it_looked_and_what_to_do(tmp_path):
    with client(tmp_path) as door:
        for use in (lambda: door.ask("telescope", GetState(), within_s=0.1), door.events):
            with pytest.raises(GatewayError, match=r"no PyROS daemon answers at .*pyros run.*--connect"):
                use()


@pytest.mark.parametrize("endpoint", ["tcp://localhost:5555", "", "ipc://"])
def test_an_endpoint_that_is_no_folder_is_refused(endpoint):
    with pytest.raises(ValueError, match="not a folder"), client(endpoint):
        pass


def test_the_default_daemon_is_named_by_the_environment_or_lives_in_the_state_folder(monkeypatch):
    monkeypatch.setenv("PYROS_GATEWAY", "/run/pyros")
    assert default_endpoint() == "/run/pyros"
    monkeypatch.delenv("PYROS_GATEWAY")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_endpoint() == "/var/state/pyros/gateway"
