"""What a killed daemon leaves of an alert, and how the next one goes on with it; and what of it leaves in the news.

A daemon is killed by leaving its clock standing: what it had not sent to the disk never comes.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import resources

import pytest
from observing_scene import (
    Scene,
    SlowArchivist,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
    high_place,
)

from pyros.actors.alert_manager.resumption import next_step
from pyros.actors.analyzer.analysis import AnalysisReport, ImageReport
from pyros.actors.analyzer.search import Candidate
from pyros.actors.kernel import Deferred
from pyros.messages.alerts import AlertOpened, Analyse, Analysed, CancelAlert, NoticeArrived, NoticeStored
from pyros.messages.night import Execute, ObserveAlert, SequenceEnded
from pyros.messages.store import Commit, Insert

NEWS = {"destination": [{"name": "fsc", "url": "http://127.0.0.1:9/"}]}


def calls(scene):
    return [message for message in scene.told if isinstance(message, ObserveAlert)]


def open_alert(scene, **burst):
    scene.notice(scene.burst("swift_bat", **burst))
    scene.run(0.0)
    return scene.events(AlertOpened)[0]


def told(scene):
    """Topic and subject of what is to be sent, in order."""
    return [(row["payload"]["topic"], row["subject"]) for row in scene.rows("outbox")]


# -- notices ---------------------------------------------------------------------------------------------------------


def test_a_notice_that_was_stored_and_not_judged_is_judged_once_by_the_next_daemon(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist, courier=NEWS)
    assert isinstance(scene.notice(scene.burst("swift_bat")), NoticeStored)
    assert scene.row("notice")["verdict"] == "PENDING"
    for _ in range(3):
        scene = scene.again(5.0, courier=NEWS)
        scene.run(5.0)
    assert scene.row("notice")["verdict"] == "ACCEPTED"
    assert len(scene.rows("alert")) == len(scene.rows("sequence")) == 1
    assert told(scene) == [("alert", "alert opened by notice 1")]


@pytest.mark.parametrize(("away_h", "verdict"), [(0.1, "ACCEPTED"), (7.0, "ACCEPTED"), (13.0, "REJECTED")])
def test_a_notice_is_not_refused_for_having_waited_for_us_unless_nothing_can_be_observed_any_more(
    tmp_path, away_h, verdict
):
    """Six hours at reception are too old; the strategy has something to observe for twelve."""
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.notice(scene.burst("swift_bat"))
    scene = scene.again(away_h * 3600.0)
    scene.run(1.0)
    assert scene.row("notice")["verdict"] == verdict
    assert len(scene.rows("alert")) == (verdict == "ACCEPTED")
    assert ("nothing could be observed" in scene.row("notice")["reason"]) is (verdict == "REJECTED")


def test_a_notice_that_was_old_at_its_reception_stays_refused(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.notice(scene.burst("swift_bat", t0=scene.clock.now() - timedelta(hours=7)))
    scene = scene.again()
    scene.run(1.0)
    assert "7.0 h old at reception" in scene.row("notice")["reason"]


class ForgetfulArchivist(SlowArchivist):
    """Takes so long for a verdict that whoever asked has given up, and writes it all the same."""

    slow_s = 0.0

    def on_commit(self, message):
        if "verdict" in message.reason and ForgetfulArchivist.slow_s:
            delay_s, ForgetfulArchivist.slow_s = ForgetfulArchivist.slow_s, 0.0
            self.after(delay_s, message)
            return Deferred()
        return super().on_commit(message)


def test_a_verdict_whose_answer_was_lost_opens_the_alert_once_and_it_is_observed(tmp_path, monkeypatch):
    monkeypatch.setattr(ForgetfulArchivist, "slow_s", 22.0)
    scene = Scene(tmp_path, archivist=ForgetfulArchivist, courier=NEWS)
    scene.notice(scene.burst("swift_bat"))
    scene.run(120.0)
    assert len(scene.rows("alert")) == len(scene.rows("sequence")) == 1
    assert {call.sequence_id for call in calls(scene)} == {1}
    assert [row["verdict"] for row in scene.rows("notice")] == ["ACCEPTED"]
    assert told(scene) == [("alert", "alert opened by notice 1")]


# -- alerts ----------------------------------------------------------------------------------------------------------


def test_an_alert_that_was_ordered_before_the_kill_is_ordered_again_while_its_time_lasts(tmp_path):
    scene = Scene(tmp_path)
    opened = open_alert(scene)
    scene = scene.again(60.0)
    scene.run(1.0)
    (call,) = calls(scene)
    assert (call.sequence_id, call.alert_id, call.may_interrupt) == (opened.sequence_id, opened.alert_id, True)
    assert call.until > scene.clock.now()
    scene = scene.again(13 * 3600.0)
    scene.run(5.0)
    assert not calls(scene)
    assert scene.row("alert")["status"] == "EXPIRED"
    assert len(scene.rows("sequence")) == 1


def test_an_alert_that_may_not_interrupt_may_not_after_a_kill_either(tmp_path):
    text = resources.files("pyros.actors.alert_manager").joinpath("strategies.toml").read_text()
    file = tmp_path / "patient.toml"
    file.write_text(text.replace("may_interrupt = true", "may_interrupt = false"))
    rules = {"alerts": {"strategies": str(file)}}
    scene = Scene(tmp_path, **rules)
    open_alert(scene)
    scene = scene.again(**rules)
    scene.run(1.0)
    assert [call.may_interrupt for call in calls(scene)] == [False]


def test_a_majordome_that_died_alone_is_told_again_of_what_waits(tmp_path):
    scene = Scene(tmp_path)
    open_alert(scene)
    scene.crash("majordome")
    scene.run(1.0)
    assert [call.sequence_id for call in calls(scene)] == [1, 1]
    scene.ask("alert_manager", CancelAlert(alert_id=1, by="eve"))
    scene.crash("majordome")
    scene.run(1.0)
    assert len(calls(scene)) == 2


def test_an_alert_without_a_sequence_gets_one(tmp_path):
    scene = Scene(tmp_path)
    ra_deg, dec_deg = high_place()
    now, raw = scene.clock.now(), scene.burst("swift_bat")
    alert = {
        "name": "GRB", "status": "ACTIVE", "night": "2026-11-22", "t0": now, "ra_deg": ra_deg, "dec_deg": dec_deg,
        "error_deg": 0.05, "created_at": now,
    }  # fmt: skip
    notice = {
        "ivorn": "ivo://a/b#1", "content_sha256": "0" * 64, "raw": raw, "transport": "test", "received_at": now,
        "mission": "Swift", "identifier": "1400001", "verdict": "ACCEPTED", "reason": "good", "alert_id": {"$ref": 0},
    }  # fmt: skip
    writes = [Insert(table="alert", values=alert), Insert(table="notice", values=notice)]
    scene.ask("archivist", Commit(writes=writes, reason="half an alert"))
    scene = scene.again()
    scene.run(1.0)
    assert scene.row("request")["alert_id"] == 1
    assert [call.sequence_id for call in calls(scene)] == [scene.row("sequence")["id"]]


@pytest.mark.parametrize("brakes_take_s", [0.3, 4.0])
def test_a_sequence_that_ran_at_the_kill_is_ended_before_the_next_one_is_made_and_there_is_one(
    tmp_path, monkeypatch, brakes_take_s
):
    monkeypatch.setattr("observing_scene.BRAKE_S", brakes_take_s)
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.notice(scene.burst("swift_bat"))
    scene.run(1.0)
    scene.tell("observation_manager", Execute(sequence_id=1))
    scene.until_noted("expose")
    scene.run(5.0)
    scene = scene.again(30.0, archivist=SlowArchivist)
    scene.run(20.0)
    assert [row["status"] for row in scene.rows("sequence")] == ["INTERRUPTED", "OBSERVABLE"]
    assert [call.sequence_id for call in calls(scene)] == [2]
    ended = next(at for at, message in scene.log if isinstance(message, SequenceEnded))
    assert scene.rows("sequence")[1]["created_at"] >= ended
    scene.run(120.0)
    assert len(scene.rows("sequence")) == 2


def test_the_end_of_a_sequence_that_nobody_announces_is_found_in_the_store(tmp_path):
    """The alert manager was restarted in its middle, and then did not hear."""
    scene = Scene(tmp_path)
    open_alert(scene)
    scene.tell("observation_manager", Execute(sequence_id=1))
    scene.until_noted("expose")
    scene.crash("alert_manager")
    scene.system.events.unsubscribe("alert_manager")
    scene.run_until(lambda: [end for end in scene.events(SequenceEnded) if end.outcome == "EXECUTED"])
    scene.run(40.0)
    assert scene.row("alert")["status"] == "DONE"


@pytest.mark.parametrize(
    ("status", "running", "step"),
    [
        (None, None, "issue"),
        ("OBSERVABLE", None, "offer"),
        ("PLANNED", None, "offer"),
        ("PLANNED", 1, "wait"),
        ("EXECUTING", 1, "wait"),
        ("EXECUTING", None, "wait"),
        ("EXECUTED", None, "done"),
        ("INTERRUPTED", None, "again"),
        ("ABORTED", 2, "again"),
        ("CANCELLED", None, "again"),
    ],
)
def test_how_an_alert_goes_on_depends_on_where_its_last_sequence_stands(status, running, step):
    class Tree:
        id = 1

    Tree.status = status
    assert next_step(None if status is None else Tree, running) == step


# -- images ----------------------------------------------------------------------------------------------------------


def image(number, alert_id=None):
    values = {
        "file": f"2026-11-22/{alert_id}_{number}.fits", "camera": "vis", "filter": "r", "kind": "light",
        "start": "2026-11-23T02:30:00Z", "exposure_s": 30.0, "datasum": "1", "alert_id": alert_id,
    }  # fmt: skip
    return Insert(table="image", values=values)


def with_candidate(scene):
    ra_deg, dec_deg = high_place()
    found = Candidate(
        ra_deg=ra_deg, dec_deg=dec_deg, position_error_arcsec=0.2, mag=16.0, mag_err=0.05, snr=40.0, frames=3,
        fading_sigma=4.0, light_curve=(),
    )  # fmt: skip
    scene.pool.answer = lambda job: AnalysisReport(
        images=tuple(ImageReport(file=frame) for frame in job.frames),
        candidates=(found,) if job.circle is not None else (),
    )


def store(scene, *writes):
    return scene.ask("archivist", Commit(writes=list(writes), reason="images")).ids


def test_images_taken_before_the_kill_are_analysed_by_the_next_daemon_and_an_alerts_first(tmp_path):
    scene = Scene(tmp_path)
    open_alert(scene)
    routine, urgent = store(scene, image(0), image(1)), store(scene, image(2, 1), image(3, 1))
    for image_id in routine:
        scene.tell("analyzer", Analyse(image_ids=[image_id]))
    scene = scene.again()
    scene.run(20.0)
    assert [event.image_id for event in scene.events(Analysed)] == [*urgent, *routine]
    again = scene.again()
    again.run(20.0)
    assert not again.events(Analysed)


@pytest.mark.parametrize("courier", [NEWS, {}])
def test_an_image_is_measured_once_and_its_candidates_are_entered_and_told_once(tmp_path, courier):
    """The analyzer dies after its measurement has gone to the archivist, and before the answer."""
    scene = Scene(tmp_path, archivist=SlowArchivist, courier=courier)
    scene.notice(scene.burst("swift_bat"))
    scene.run(1.0)
    with_candidate(scene)
    (one,) = store(scene, image(0, 1))
    scene.tell("analyzer", Analyse(image_ids=[one], alert_id=1))
    scene.run_until(lambda: bool(scene.events(Analysed)))
    scene.crash("analyzer")
    scene.run(30.0)
    assert len(scene.rows("detection")) == 1
    if not courier:
        return
    assert told(scene)[1:] == [("candidate", f"candidates in image {one}")]
    content = scene.rows("outbox")[1]["payload"]["content"]
    assert (content["alert_id"], content["image"]["file"]) == (1, "2026-11-22/1_0.fits")
    assert [round(found["mag"], 1) for found in content["candidates"]] == [16.0]


def test_an_image_that_was_told_twice_is_analysed_once(tmp_path):
    scene = Scene(tmp_path)
    open_alert(scene)
    (one,) = store(scene, image(0, 1))
    for _ in range(3):
        scene.tell("analyzer", Analyse(image_ids=[one], alert_id=1))
    scene.run(20.0)
    scene.tell("analyzer", Analyse(image_ids=[one], alert_id=1))
    scene.run(20.0)
    assert len(scene.pool.jobs) == 1


# -- news ------------------------------------------------------------------------------------------------------------


def test_an_alert_leaves_in_the_news_with_its_numbers_as_it_opens_gets_better_and_ends(tmp_path):
    scene = Scene(tmp_path, courier=NEWS)
    t0 = scene.clock.now() - timedelta(seconds=40)
    scene.notice(scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301", error_deg=0.1))
    scene.notice(scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301", error_deg=0.1))  # a repetition: no news
    scene.notice(scene.burst("svom_mxt", t0=t0, trigger_id="sb26112301", offset_deg=0.01, error_deg=0.01))
    scene.notice(scene.burst("svom_retraction", t0=t0, trigger_id="sb26112301"))
    scene.run(1.0)
    subjects = [subject for _, subject in told(scene)]
    assert subjects[0] == "alert opened by notice 1"
    assert subjects[-1] == "alert 1 RETRACTED after sequence 1"
    opened, *_, ended = (row["payload"]["content"] for row in scene.rows("outbox"))
    event = scene.events(AlertOpened)[0]
    assert (opened["type"], opened["alert_id"], opened["sequence_id"]) == ("AlertOpened", 1, 1)
    assert (opened["name"], opened["strategy"], opened["error_deg"]) == (event.name, event.strategy, event.error_deg)
    assert opened["notice"].startswith("ivo://")
    assert (ended["alert_id"], ended["status"], ended["name"]) == (1, "RETRACTED", event.name)


def test_a_person_who_cancels_and_a_sequence_that_is_through_are_news_too(tmp_path):
    scene = Scene(tmp_path, courier=NEWS)
    open_alert(scene)
    scene.ask("alert_manager", CancelAlert(alert_id=1, by="eve"))
    scene.run(1.0)
    assert told(scene) == [("alert", "alert opened by notice 1"), ("alert", "alert 1 CANCELLED after sequence 1")]
    assert scene.rows("outbox")[1]["payload"]["content"]["reason"] == "cancelled by eve"


def test_without_destinations_no_news_are_written_and_with_one_that_wants_other_topics_neither(tmp_path):
    night_only = {"destination": [{"name": "ic", "url": "http://127.0.0.1:9/", "topics": ["night"]}]}
    for number, rules in enumerate(({}, {"courier": night_only})):
        scene = Scene(tmp_path / str(number), **rules)
        open_alert(scene)
        assert scene.rows("outbox") == []


def test_a_notice_tells_of_itself_when_it_came_while_the_alert_manager_was_away(tmp_path):
    """Its mail waits: nothing that a listener has handed over is lost by a restart."""
    scene = Scene(tmp_path)
    scene.tell("alert_manager", NoticeArrived(raw=b"<no xml", transport="test", received_at=scene.clock.now()))
    scene.tell(
        "alert_manager", NoticeArrived(raw=scene.burst("swift_bat"), transport="t", received_at=scene.clock.now())
    )
    scene.crash("alert_manager")
    scene.run(5.0)
    assert [row["verdict"] for row in scene.rows("notice")] == ["QUARANTINED", "ACCEPTED"]
