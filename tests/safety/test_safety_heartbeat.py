"""What feeds the dead-man: a fresh verdict that went through majordome's tick, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import LOOP, Scene

from pyros.actors.devices.heartbeat import Heartbeat, Postmark
from pyros.messages.base import Refused
from pyros.messages.devices import Beat, OpenDome
from pyros.messages.night import SafetyVerdict
from pyros.messages.system import ActorFailed, Crash

AT = datetime(2026, 11, 22, 5, tzinfo=UTC)
BY_MAJORDOME = Postmark("majordome", 1)
MAX_AGE_S, EVERY_S = 3.0, 5.0


@pytest.fixture
def heart():
    return Heartbeat(MAX_AGE_S, EVERY_S)


def after(seconds):
    return AT + timedelta(seconds=seconds)


def hear(heart, count, *, by=BY_MAJORDOME, about=AT, verdict_at=AT, age_s=0.5, now_s=100.0):
    return heart.hear(Beat(verdict_at=about, count=count), by, verdict_at, age_s, now_s)


# -- pure ------------------------------------------------------------------------------------------------------------


def test_a_fresh_beat_is_written_once_and_the_next_not_before_its_time(heart):
    assert not heart.is_due(100.0)
    assert hear(heart, 1) is None
    assert heart.is_due(100.0)
    heart.written(100.0)
    assert not heart.is_due(100.0)
    assert hear(heart, 2, now_s=101.0) is None
    assert not heart.is_due(101.0)
    assert hear(heart, 3, now_s=105.0) is None
    assert heart.is_due(105.0)
    assert {heart.next_number() for _ in range(70_000)} == set(range(65_536))


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("not from pyros.outside", {"by": Postmark("pyros.outside", 9)}),
        ("not from plc", {"by": Postmark("plc", 9)}),
        ("not from outside", {"by": Postmark("", 9)}),
        ("no fresh verdict", {"verdict_at": None}),
        ("no fresh verdict", {"age_s": 3.1}),
        ("a verdict 3.5 s before", {"about": after(-3.5)}),
        ("a verdict -1.0 s before", {"about": after(1.0)}),
    ],
)
def test_a_beat_that_shows_no_decision_of_just_now_is_refused(heart, why, changes):
    assert why in hear(heart, 1, **changes)
    assert not heart.is_due(100.0)


def test_the_beats_of_an_abandoned_majordome_count_no_more_once_its_successor_has_spoken(heart):
    assert hear(heart, 500) is None
    assert hear(heart, 1, by=Postmark("majordome", 2)) is None
    assert "does not follow" in hear(heart, 501)
    assert "does not follow" in hear(heart, 1, by=Postmark("majordome", 2))


def test_a_beat_that_waited_too_long_for_the_poll_is_not_written(heart):
    assert hear(heart, 1, now_s=100.0) is None
    assert not heart.is_due(103.1)


BEATS = st.lists(
    st.tuples(
        st.floats(0.0, 4.0),
        st.sampled_from(["majordome", "monitor", ""]),
        st.integers(1, 3),
        st.integers(0, 6),
        st.floats(-2.0, 6.0),
        st.none() | st.floats(0.0, 6.0),
    )
)


@given(beats=BEATS)
def test_every_write_follows_a_beat_of_majordome_s_about_a_fresh_verdict(beats):
    heart, now_s, allowed_s, writes, good = Heartbeat(MAX_AGE_S, EVERY_S), 0.0, float("-inf"), 0, 0
    for wait_s, sender, epoch, count, behind_s, age_s in beats:
        now_s += wait_s
        verdict_at = None if age_s is None else after(now_s)
        beat = Beat(verdict_at=after(now_s - behind_s), count=count)
        heart.hear(beat, Postmark(sender, epoch), verdict_at, age_s or 0.0, now_s)
        if sender == "majordome" and age_s is not None and age_s <= MAX_AGE_S and -1e-3 <= behind_s <= MAX_AGE_S + 1e-3:
            allowed_s, good = now_s, good + 1
        if heart.is_due(now_s):
            assert now_s - allowed_s <= MAX_AGE_S
            heart.written(now_s)
            writes += 1
    assert writes <= good


# -- the chain -------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path):
    """The chain, without instruments, with the dome open."""
    with Scene(tmp_path, LOOP) as scene:
        scene.open_up()
        yield scene


def fed(scene, seconds):
    """How often the dead-man is fed meanwhile."""
    before = scene.plc.logic.heartbeat
    scene.run(seconds)
    return (scene.plc.logic.heartbeat - before) % 65_536


def test_the_whole_chain_feeds_it_and_nobody_from_outside_can(scene):
    assert fed(scene, 20.0) >= 3
    scene.silence("majordome")
    scene.run(4.0)
    before = scene.plc.logic.heartbeat
    for count in range(20):
        reply = scene.ask("plc", Beat(verdict_at=scene.verdict.at, count=10_000 + count))
        assert isinstance(reply, Refused)
        scene.run(1.0)
    assert scene.plc.logic.heartbeat == before
    assert scene.until(lambda: scene.closing, 60.0) <= 31.0
    assert scene.plc.last_cause() == "dead-man"


@pytest.mark.parametrize("link", ["monitor", "majordome"])
def test_a_hung_link_of_the_chain_feeds_nothing_until_it_is_replaced(scene, link):
    scene.run(6.0)
    scene.tell(link, Crash(how="hang"))
    scene.run(0.0)
    beats = len(scene.sent(Beat))
    assert scene.until(lambda: any(one.actor == link for one in scene.events(ActorFailed)), 30.0) >= 1.0
    assert {t for t, _, _ in scene.sent(Beat)[beats:]} <= {scene.world.unix_s()}, "the successor's, at this instant"
    scene.run(8.0)
    assert fed(scene, 20.0) >= 3, "the next incarnation feeds it again"
    assert not scene.plc.logic.deadman_expired


def test_a_monitor_that_repeats_its_last_verdict_feeds_nothing(scene):
    scene.run(6.0)
    old = scene.verdict
    scene.silence("monitor")
    scene.run(4.0)
    before = scene.plc.logic.heartbeat
    for _ in range(10):
        scene.tell("majordome", old, sender="monitor")
        scene.run(1.0)
    assert scene.plc.logic.heartbeat == before


def test_a_verdict_that_waited_in_majordome_s_mailbox_opens_nothing(tmp_path):
    """It decides by the last word, not by the one that it happens to read."""
    with Scene(tmp_path, LOOP, safety={"hold_off_s": 600.0}) as scene:
        scene.run(10.0)
        assert scene.verdict.level == "UNSAFE"
        for _ in range(5):
            scene.tell("majordome", SafetyVerdict(level="SAFE", reasons=[], at=scene.clock.now()), sender="monitor")
            scene.run(1.0)
        assert scene.sent(OpenDome) == []
        assert scene.mode == "closed"
