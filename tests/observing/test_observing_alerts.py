"""From notice to slew to result: which notices become alerts, and what becomes of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from observing_scene import (
    Scene,
    SlowArchivist,
    SmallDisk,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
    high_place,
)

from pyros.actors.analyzer.analysis import AnalysisReport, ImageReport
from pyros.actors.analyzer.search import Candidate
from pyros.messages.alerts import (
    AlertManagerState,
    AlertOpened,
    AlertUpdated,
    CancelAlert,
    NoticeArrived,
    NoticeStored,
)
from pyros.messages.base import Failed, Refused
from pyros.messages.night import Execute, ObserveAlert, Replan, SequenceEnded
from pyros.messages.store import Flush
from pyros.messages.system import ActorStopped, ArchivistState
from simulators.notices import render

STEPS = ("t0", "sent", "received", "stored", "decided", "slew_commanded", "settled", "first_shutter", "first_result")


def calls(scene, kind=ObserveAlert):
    return [message for message in scene.told if isinstance(message, kind)]


def open_alert(scene, **burst):
    scene.notice(scene.burst("swift_bat", **burst))
    scene.run(0.0)
    return scene.events(AlertOpened)[0]


def test_an_accepted_notice_becomes_a_whole_request_and_is_called_at_once(tmp_path):
    """AL-P3."""
    scene = Scene(tmp_path)
    opened = open_alert(scene)
    (call,) = calls(scene)
    assert (call.sequence_id, call.alert_id, call.may_interrupt) == (opened.sequence_id, opened.alert_id, True)
    request, sequence = scene.row("request"), scene.row("sequence")
    assert (request["status"], request["alert_id"], sequence["status"]) == ("ACCEPTED", opened.alert_id, "OBSERVABLE")
    for row in (request, sequence, *scene.rows("plan"), *scene.rows("album"), scene.row("alert")):
        empty = {name for name, value in row.items() if value in (None, "")}
        assert empty <= {"user_id", "programme_id", "t_preferred", "started_at", "ended_at", "reason"}
    assert scene.row("notice")["verdict"] == "ACCEPTED"
    assert scene.row("trigger")["alert_id"] == opened.alert_id
    assert not scene.broken()


@pytest.mark.parametrize("name", ["alert_manager", "observation_manager"])
def test_an_actor_refuses_what_it_does_not_know_stays_alive_and_stops_in_order(tmp_path, name):
    """AL-E1, OM-E1."""
    scene = Scene(tmp_path)
    unknown = scene.ask(name, Flush())
    assert isinstance(unknown, Refused)
    assert "does not take Flush" in unknown.reason
    assert scene.row_of(name).restarts == 0
    assert not isinstance(scene.ask(name), Refused)
    scene.close()
    assert name in [event.actor for event in scene.events(ActorStopped)]


def test_a_notice_is_answered_when_it_is_stored_and_before_it_is_decided(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    assert isinstance(scene.notice(scene.burst("swift_bat")), NoticeStored)
    assert scene.row("notice")["verdict"] == "PENDING"
    assert not scene.events(AlertOpened)
    scene.run(1.0)
    assert scene.row("notice")["verdict"] == "ACCEPTED"


def test_two_notices_of_one_burst_at_the_same_instant_open_one_alert(tmp_path):
    """AL-T9."""
    scene = Scene(tmp_path, archivist=SlowArchivist)
    t0 = scene.clock.now() - timedelta(seconds=40)
    for raw in (
        scene.burst("swift_bat", t0=t0, error_deg=0.05),
        scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301", error_deg=0.1),
        scene.burst("swift_bat", t0=t0, error_deg=0.05, offset_deg=0.001),
    ):
        scene.tell("alert_manager", NoticeArrived(raw=raw, transport="test", received_at=scene.clock.now()))
    scene.run(5.0)
    assert len(scene.rows("alert")) == len(scene.events(AlertOpened)) == 1
    assert {row["identifier"] for row in scene.rows("trigger", alert_id=1)} == {"1400001", "sb26112301"}
    assert [row["alert_id"] for row in scene.rows("notice")] == [1, 1, 1]


def test_the_same_instant_ninety_degrees_apart_is_two_alerts(tmp_path):
    """AL-T9."""
    scene = Scene(tmp_path)
    t0, now = scene.clock.now() - timedelta(seconds=40), scene.clock.now()
    ra_deg, dec_deg = high_place()
    scene.notice(scene.burst("swift_bat", t0=t0))
    scene.notice(render("svom_eclairs", t0, now, ra_deg, dec_deg - 85.0, 0.1, "sb26112301"))
    scene.run(1.0)
    assert len(scene.rows("alert")) == 2


def test_a_burst_too_wide_to_look_at_is_kept_and_joins_the_alert_that_a_better_notice_opens(tmp_path):
    """AL-T9."""
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    scene.notice(scene.burst("fermi_gbm_flt", t0=t0, trigger_id="817096653", offset_deg=3.0, error_deg=6.0))
    scene.run(0.0)
    assert scene.row("trigger")["alert_id"] is None
    assert not scene.rows("alert")
    scene.crash("alert_manager")
    scene.run(1.0)
    scene.notice(scene.burst("swift_bat", t0=t0 + timedelta(seconds=2)))
    scene.run(0.0)
    assert len(scene.rows("alert")) == 1
    assert {row["identifier"]: row["alert_id"] for row in scene.rows("trigger")} == {"817096653": 1, "1400001": 1}
    assert [row["alert_id"] for row in scene.rows("notice")] == [1, 1]
    assert [row["verdict"] for row in scene.rows("notice")] == ["REJECTED", "ACCEPTED"]


def test_a_later_gbm_notice_that_does_not_say_its_class_is_judged_by_the_earlier_one(tmp_path):
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    particles = scene.burst("fermi_gbm_flt", t0=t0, trigger_id="817096653", error_deg=6.0)
    particles = particles.replace(b'"Most_Likely_Index" value="4"', b'"Most_Likely_Index" value="8"')
    scene.notice(particles)
    scene.notice(scene.burst("fermi_gbm_gnd", t0=t0, trigger_id="817096653", error_deg=0.1))
    scene.run(0.0)
    assert "takes it for" in scene.rows("notice")[1]["reason"]
    assert not scene.rows("alert")


def test_what_is_no_burst_joins_no_alert_that_is_near_in_time_and_place(tmp_path):
    """AL-T9."""
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    open_alert(scene, t0=t0)
    particles = scene.burst("fermi_gbm_flt", t0=t0, trigger_id="817096653", error_deg=6.0)
    scene.notice(particles.replace(b'"Most_Likely_Index" value="4"', b'"Most_Likely_Index" value="8"'))
    test = scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301", error_deg=0.01)
    scene.notice(test.replace(b'role="observation"', b'role="test"'))
    scene.run(0.0)
    assert [row["alert_id"] for row in scene.rows("notice")] == [1, None, None]
    assert scene.ask("archivist").refused == 0


def test_a_small_step_keeps_the_sequence_and_the_next_plan_recentres(tmp_path):
    """AL-T8."""
    scene = Scene(tmp_path)
    opened = open_alert(scene)
    scene.tell("observation_manager", Execute(sequence_id=opened.sequence_id))
    scene.run(60.0)
    scene.notice(
        scene.burst("swift_xrt", t0=scene.clock.now() - timedelta(seconds=100), offset_deg=0.04, error_deg=0.001)
    )
    scene.run_until(lambda: len(scene.slews) == 2)
    assert scene.row("alert")["dec_deg"] == pytest.approx(high_place()[1] + 0.04, abs=1e-3)
    assert scene.slews[1][2] - scene.slews[0][2] == pytest.approx(0.04, abs=1e-3)
    assert len(scene.rows("sequence")) == 1
    assert scene.row("sequence")["status"] == "EXECUTING"


def test_a_better_position_far_off_points_again_even_inside_the_old_error_and_a_worse_one_does_not(tmp_path):
    """AL-T8."""
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    opened = open_alert(scene, t0=t0, error_deg=0.15)
    scene.tell("observation_manager", Execute(sequence_id=opened.sequence_id))
    scene.run(60.0)
    scene.notice(scene.burst("swift_bat", t0=t0, offset_deg=0.2, error_deg=0.2))
    scene.run(1.0)
    assert len(scene.rows("sequence")) == 1
    scene.notice(scene.burst("swift_xrt", t0=t0, offset_deg=0.12, error_deg=0.001))
    scene.run(1.0)
    assert [row["status"] for row in scene.rows("sequence")] == ["ABORTED", "OBSERVABLE"]
    assert [call.sequence_id for call in calls(scene)] == [1, 2]
    assert scene.row("alert")["error_deg"] == pytest.approx(0.001)
    assert len(scene.rows("request")) == 2


def test_a_retraction_ends_the_alert_and_its_sequences(tmp_path):
    """AL-T8."""
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    scene.notice(scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301"))
    scene.run(0.0)
    scene.tell("observation_manager", Execute(sequence_id=1))
    scene.run(30.0)
    scene.notice(scene.burst("svom_retraction", t0=t0, trigger_id="sb26112301"))
    scene.run(1.0)
    assert scene.row("alert")["status"] == "RETRACTED"
    assert scene.row("sequence")["status"] == "ABORTED"
    assert scene.events(AlertUpdated)[-1].status == "RETRACTED"
    assert scene.row("request")["status"] == "EXPIRED"
    assert len(calls(scene)) == 1


def test_a_retraction_that_comes_first_keeps_the_alert_from_opening_also_after_a_restart(tmp_path):
    """AL-T8."""
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    scene.notice(scene.burst("svom_retraction", t0=t0, trigger_id="sb26112301"))
    scene.run(0.0)
    scene.crash("alert_manager")
    scene.run(1.0)
    scene.notice(scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301"))
    scene.notice(scene.burst("swift_bat", t0=t0))
    scene.run(0.0)
    assert [row["verdict"] for row in scene.rows("notice")] == ["REJECTED", "REJECTED", "ACCEPTED"]
    assert {row["identifier"]: row["alert_id"] for row in scene.rows("trigger")} == {"sb26112301": None, "1400001": 1}


def test_a_burst_that_another_satellite_stands_for_outlives_a_retraction(tmp_path):
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    scene.notice(scene.burst("svom_eclairs", t0=t0, trigger_id="sb26112301", error_deg=0.1))
    scene.notice(scene.burst("swift_bat", t0=t0))
    scene.notice(scene.burst("svom_retraction", t0=t0, trigger_id="sb26112301"))
    scene.run(0.0)
    assert scene.row("alert")["status"] == "ACTIVE"
    assert "Swift still stands for it" in scene.rows("notice")[2]["reason"]


def test_an_alert_below_the_horizon_waits_for_the_planning(tmp_path):
    scene = Scene(tmp_path)
    ra_deg, dec_deg = high_place()
    scene.notice(
        render("swift_bat", scene.clock.now(), scene.clock.now(), (ra_deg + 120) % 360, dec_deg, 0.05, "1400001")
    )
    scene.run(0.0)
    assert not calls(scene)
    assert "for later" in calls(scene, Replan)[0].cause
    assert scene.row("sequence")["status"] == "OBSERVABLE"


def test_unreadable_bytes_are_kept_with_the_reason_and_never_tried_again(tmp_path):
    scene = Scene(tmp_path)
    for raw in (b"<no xml", b"<VOEvent ivorn='ivo://a/b#c' version='1.1'/>", b"\x00" * 100):
        assert isinstance(scene.notice(raw), NoticeStored)
        assert scene.notice(raw).fresh is False
    assert {row["verdict"] for row in scene.rows("notice")} == {"QUARANTINED"}
    assert all(row["reason"] for row in scene.rows("notice"))
    scene.crash("alert_manager")
    scene.run(1.0)
    assert len(scene.rows("notice")) == 3
    assert not scene.broken()


def test_what_a_crash_left_undecided_is_decided_once(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.notice(scene.burst("swift_bat"))
    scene.notice(b"<no xml")
    scene.crash("alert_manager")
    scene.run(5.0)
    assert [row["verdict"] for row in scene.rows("notice")] == ["ACCEPTED", "QUARANTINED"]
    assert len(scene.rows("alert")) == len(scene.rows("sequence")) == 1


def test_a_crash_while_the_alert_is_being_stored_opens_it_once(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.notice(scene.burst("swift_bat"))
    scene.run(0.05)
    scene.crash("alert_manager")
    scene.run(5.0)
    assert len(scene.rows("alert")) == len(scene.rows("sequence")) == len(calls(scene)) == 1
    assert scene.row("notice")["verdict"] == "ACCEPTED"
    assert len(scene.ask("alert_manager").alerts) == 1


@pytest.mark.parametrize("how", ["the actor", "the daemon"])
def test_an_alert_goes_on_after_a_restart_in_its_middle(tmp_path, how):
    scene = Scene(tmp_path)
    t0 = scene.clock.now() - timedelta(seconds=40)
    opened = open_alert(scene, t0=t0)
    scene.tell("observation_manager", Execute(sequence_id=opened.sequence_id))
    scene.run(40.0)
    before = scene.ask("alert_manager").alerts[0]
    if how == "the actor":
        scene.crash("alert_manager")
    else:
        scene = scene.again()
    scene.run(15.0)
    after = scene.ask("alert_manager").alerts[0]
    assert (after.alert_id, after.name, after.times["slew_commanded"]) == (
        1,
        before.name,
        before.times["slew_commanded"],
    )
    assert len(scene.rows("sequence")) == (1 if how == "the actor" else 2)
    scene.notice(scene.burst("swift_xrt", t0=t0, offset_deg=0.01, error_deg=0.001))
    scene.run(0.0)
    assert len(scene.rows("alert")) == 1


def test_an_alert_whose_device_fails_is_tried_again_a_few_times_and_then_expires(tmp_path):
    scene = Scene(tmp_path)
    scene.faults["camera:vis"] = "refuse"
    open_alert(scene)
    for number in range(1, 5):
        scene.run_until(lambda number=number: len(calls(scene)) == number)
        scene.tell("observation_manager", Execute(sequence_id=calls(scene)[-1].sequence_id))
        scene.run_until(lambda number=number: len(scene.events(SequenceEnded)) == number)
    scene.run(60.0)
    assert scene.row("alert")["status"] == "EXPIRED"
    assert len(scene.rows("sequence")) == 4


def test_an_alert_that_nobody_could_observe_expires_at_its_end(tmp_path):
    scene = Scene(tmp_path)
    open_alert(scene)
    scene.run(12.1 * 3600)
    assert scene.row("alert")["status"] == "EXPIRED"
    assert scene.row("sequence")["status"] in {"CANCELLED", "EXPIRED"}


def test_a_person_ends_an_alert_once(tmp_path):
    scene = Scene(tmp_path)
    open_alert(scene)
    assert not isinstance(scene.ask("alert_manager", CancelAlert(alert_id=1, by="eve")), Refused)
    scene.run(0.0)
    assert (scene.row("alert")["status"], scene.row("sequence")["status"]) == ("CANCELLED", "CANCELLED")
    assert scene.ask("alert_manager", CancelAlert(alert_id=1, by="eve")).reason == "alert 1 is CANCELLED already"
    assert isinstance(scene.ask("alert_manager", CancelAlert(alert_id=9, by="eve")), Refused)


def test_a_disk_that_takes_nothing_is_told_to_the_sender_and_to_people(tmp_path, monkeypatch):
    scene = Scene(tmp_path, archivist=SmallDisk)
    monkeypatch.setattr(SmallDisk, "full", True)
    failed = scene.notice(scene.burst("swift_bat"))
    assert isinstance(failed, Failed)
    assert "pyros.db took none of 1 commits" in failed.reason
    assert "took none" in scene.events(ArchivistState)[-1].problem
    monkeypatch.setattr(SmallDisk, "full", False)
    assert isinstance(scene.notice(scene.burst("swift_bat")), NoticeStored)
    scene.run(0.0)
    assert len(scene.rows("alert")) == 1
    assert scene.events(ArchivistState)[-1].problem == ""


def test_a_disk_that_fills_between_notice_and_decision_delays_the_decision(tmp_path, monkeypatch):
    class Slow(SlowArchivist, SmallDisk):
        pass

    scene = Scene(tmp_path, archivist=Slow)
    scene.notice(scene.burst("swift_bat"))
    monkeypatch.setattr(SmallDisk, "full", True)
    scene.run(12.0)
    assert not scene.events(AlertOpened)
    monkeypatch.setattr(SmallDisk, "full", False)
    scene.run(6.0)
    assert len(scene.events(AlertOpened)) == len(scene.rows("alert")) == 1


def test_the_way_of_an_alert_from_notice_to_result(tmp_path):
    """AL-P3, MJ-T2, MJ-T5. The slew goes out after every brake has answered; the times are whole and in order."""
    scene = Scene(tmp_path, majordome=True)
    scene.submit(6)
    scene.pool.answer = lambda job: AnalysisReport(
        images=tuple(ImageReport(file=frame, preview=frame.replace(".fits", ".png")) for frame in job.frames),
        candidates=(candidate(),) if job.circle is not None else (),
    )
    scene.until_noted("expose")
    scene.run(5.0)
    running = scene.row("sequence", status="EXECUTING")["id"]
    scene.diary.clear()
    scene.notice(scene.burst("swift_bat"))
    scene.run_until(lambda: "first_result" in scene.events(AlertManagerState)[-1].alerts[0].times)
    alert = scene.events(AlertManagerState)[-1].alerts[0]
    assert list(alert.times) == list(STEPS)
    assert list(alert.times.values()) == sorted(alert.times.values())
    assert alert.candidates == 1
    slew = next(number for number, line in enumerate(scene.diary) if line.startswith("slew"))
    assert {"telescope.brake answered", "camera:vis.brake answered"} <= set(scene.diary[:slew])
    assert (alert.times["slew_commanded"] - alert.times["decided"]).total_seconds() < 1.0
    assert scene.row("sequence", id=running)["status"] in {"OBSERVABLE", "PLANNED"}
    assert scene.row("alert")["times"].keys() == set(STEPS)
    scene.run_until(lambda: scene.events(AlertUpdated)[-1:] and scene.events(AlertUpdated)[-1].status == "DONE")
    assert scene.row("alert")["status"] == "DONE"
    assert scene.rows("detection")
    flags = [row["first_of_night"] for row in scene.rows("schedule")]
    assert flags == [True] + [False] * (len(flags) - 1)
    assert len(flags) > 1
    through = lambda: [end for end in scene.events(SequenceEnded) if end.outcome == "EXECUTED"]
    scene.run_until(lambda: running in [end.sequence_id for end in through()])
    assert not scene.broken()


def candidate():
    place = {"ra_deg": high_place()[0], "dec_deg": high_place()[1], "position_error_arcsec": 0.2}
    return Candidate(**place, mag=16.0, mag_err=0.05, snr=40.0, frames=3, fading_sigma=4.0, light_curve=())
