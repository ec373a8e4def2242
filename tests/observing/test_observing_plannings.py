"""Plannings: stored with rows and reasons, one at a time, with quota; and the requests behind them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observing_scene import (
    ON,
    Scene,
    SlowArchivist,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
    high_place,
    start_of_scene,
    tonight,
)

from pyros.actors.routine_rules import OVER, request_over
from pyros.actors.scheduler.placement import ITERATIONS
from pyros.actors.scheduler.plannings import URGENT_ITERATIONS, iterations_for
from pyros.actors.scheduler.problem import Request
from pyros.messages.base import Failed, Refused
from pyros.messages.night import Execute, MakeSchedule, NightEnded, Replan, ScheduleMade, SequenceEnded
from pyros.messages.people import CancelSequence, OpenProgramme, SubmitRequest
from pyros.store.lives import LIVES

REPLAN = MakeSchedule(first_schedule=False, trigger="test")


def first():
    night = tonight()
    return MakeSchedule(first_schedule=True, night_start=night.begins, night_end=night.ends, trigger="first")


def test_a_planning_is_stored_with_a_row_or_a_reason_for_everyone_and_supersedes_the_old(tmp_path):
    """SC-T6."""
    scene = Scene(tmp_path)
    ids = scene.submit(3)
    ids += scene.submit(1, name="south", dec_deg=-33.0, min_altitude_deg=25.0)
    made = scene.ask("scheduler", first())
    again = scene.ask("scheduler", REPLAN)
    assert isinstance(made, ScheduleMade)
    assert [row["status"] for row in scene.rows("schedule")] == ["SUPERSEDED", "CURRENT"]
    assert [row["first_of_night"] for row in scene.rows("schedule")] == [True, False]
    for planning in (made, again):
        entries = scene.rows("scheduled_sequence", schedule_id=planning.schedule_id)
        assert {row["sequence_id"] for row in entries} == set(ids)
        assert all(bool(row["planned_start"]) != bool(row["reject_reason"]) for row in entries)
    planned = {row["id"] for row in scene.rows("sequence", status="PLANNED")}
    assert planned == {one.sequence_id for one in again.placed}
    assert all(one.start >= scene.clock.now() for one in made.placed)


def test_a_first_planning_after_a_restart_in_the_night_places_nothing_in_the_past(tmp_path):
    scene = Scene(tmp_path, start=start_of_scene() + timedelta(hours=3))
    scene.submit(2)
    made = scene.ask("scheduler", first())
    assert made.placed
    assert all(one.start >= scene.clock.now() for one in made.placed)


def test_quota_is_reserved_once_however_often_is_planned_and_released_for_what_loses_its_place(tmp_path):
    """MJ-T1."""
    scene = Scene(tmp_path)
    scene.submit(2)
    for _ in range(3):
        scene.ask("scheduler", REPLAN)
    assert len(scene.rows("quota_entry", kind="reserve")) == 2
    scene.tell("scheduler", NightEnded(night=str(ON)))
    scene.run(0.0)
    ledger = scene.ledger()
    assert ledger["refund"] == ledger["reserve"]
    assert scene.row("schedule", status="END_OF_NIGHT")


def test_no_planning_gives_a_user_more_than_is_left(tmp_path):
    scene = Scene(tmp_path)
    scene.submit(4, grant_s=400.0)  # each needs 166 s
    made = scene.ask("scheduler", REPLAN)
    assert (len(made.placed), [one.code for one in made.rejected]) == (2, ["QUOTA", "QUOTA"])
    assert scene.ledger()["reserve"] <= 400.0
    assert len(scene.ask("scheduler", REPLAN).placed) == 2


def test_a_replan_keeps_what_is_executing_where_it_is(tmp_path):
    scene = Scene(tmp_path)
    one, *_ = scene.submit(4)
    scene.ask("scheduler", REPLAN)
    scene.tell("observation_manager", Execute(sequence_id=one))
    scene.run(60.0)
    made = scene.ask("scheduler", REPLAN)
    assert one not in {placed.sequence_id for placed in made.placed}
    entry = next(r for r in scene.rows("scheduled_sequence", schedule_id=made.schedule_id) if r["sequence_id"] == one)
    assert entry["planned_start"] == scene.row("sequence", id=one)["started_at"]
    assert all(placed.start >= entry["planned_end"] for placed in made.placed)


def test_plannings_asked_for_together_are_made_one_after_the_other(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.submit(3)
    scene.run(1.0)
    answers = []
    for _ in range(6):
        scene.system.question("scheduler", REPLAN, 30.0, answers.append)
    scene.run(3.0)
    assert [type(answer) for answer in answers] == [ScheduleMade] * 6
    assert [row["status"] for row in scene.rows("schedule")] == ["SUPERSEDED"] * 5 + ["CURRENT"]


def test_a_planning_that_the_store_has_overtaken_is_made_again(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    one, two = scene.submit(2)
    scene.run(1.0)
    scene.tell("routine_manager", CancelSequence(sequence_id=one, by="ann"))
    made = scene.ask("scheduler", REPLAN)
    assert not isinstance(made, Failed)
    assert [placed.sequence_id for placed in made.placed] == [two]


def test_an_alert_makes_a_planning_quick_and_many_requests_make_it_coarse():
    def request(tier):
        now = start_of_scene()
        return Request(id="1", ra_deg=0, dec_deg=0, priority=1, duration_s=1, earliest=now, latest=now, tier=tier)

    assert iterations_for([request(0)] * 10) == ITERATIONS
    assert iterations_for([request(0)] * 60) == 5
    assert iterations_for([request(0)] * 10 + [request(1)]) == URGENT_ITERATIONS


# -- requests --------------------------------------------------------------------------------------------------------

WRONG = {
    "user": ("bob", "no validated account"),
    "programme": ("q", "does not exist or is not open"),
    "camera": ("nir", "there are vis"),
    "filter": ("H", "it has g, r, i"),
    "dec_deg": (-60.0, "never rises above"),
    "count": (500, "left in p; this needs"),
    "latest": (start_of_scene() - timedelta(days=1), "which is past"),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_request_that_cannot_be_is_refused_with_the_reason_and_leaves_no_row(tmp_path, field):
    scene = Scene(tmp_path)
    scene.submit(1, grant_s=4000.0)
    ra_deg, dec_deg = high_place()
    good = {"user": "ann", "programme": "p", "name": "n", "target_name": "t", "ra_deg": ra_deg, "dec_deg": dec_deg}
    value, why = WRONG[field]
    refused = scene.ask("routine_manager", SubmitRequest(**(good | {field: value})))
    assert isinstance(refused, Refused)
    assert why in refused.reason
    assert len(scene.rows("request")) == len(scene.rows("sequence")) == 1


def test_a_good_request_is_accepted_and_observable_at_once(tmp_path):
    scene = Scene(tmp_path)
    scene.submit(2)
    assert {row["status"] for row in scene.rows("request")} == {"ACCEPTED"}
    assert {row["status"] for row in scene.rows("sequence")} == {"OBSERVABLE"}
    assert any(isinstance(told, Replan) for told in scene.told)


def test_requests_that_come_together_are_all_opened(tmp_path):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    scene.submit(1)
    ra_deg, dec_deg = high_place()
    for number in range(12):
        good = {"name": f"n{number}", "target_name": "t", "ra_deg": ra_deg, "dec_deg": dec_deg}
        scene.tell("routine_manager", SubmitRequest(user="ann", programme="p", **good))
        scene.run(0.05)
    scene.run(5.0)
    assert [row["status"] for row in scene.rows("sequence")] == ["OBSERVABLE"] * 13
    assert scene.ask("archivist").refused == 0


def test_a_cancelled_sequence_gives_its_time_back_once_and_ends_its_request(tmp_path):
    """MJ-T1."""
    scene = Scene(tmp_path)
    (one,) = scene.submit()
    scene.ask("scheduler", REPLAN)
    assert not isinstance(scene.ask("routine_manager", CancelSequence(sequence_id=one, by="ann")), Refused)
    assert isinstance(scene.ask("routine_manager", CancelSequence(sequence_id=one, by="ann")), Refused)
    scene.run(0.0)
    ledger = scene.ledger()
    assert ledger["refund"] == ledger["reserve"]
    assert [scene.row(t)["status"] for t in ("sequence", "album", "plan", "request")] == ["CANCELLED"] * 4


def test_what_runs_is_not_cancelled(tmp_path):
    scene = Scene(tmp_path)
    (one,) = scene.submit()
    scene.ask("scheduler", REPLAN)
    scene.tell("observation_manager", Execute(sequence_id=one))
    scene.run(20.0)
    assert "is EXECUTING" in scene.ask("routine_manager", CancelSequence(sequence_id=one, by="ann")).reason


def test_a_request_whose_window_has_ended_expires_in_the_evening_and_its_time_comes_back(tmp_path):
    scene = Scene(tmp_path)
    scene.submit(1, latest=start_of_scene() + timedelta(hours=2))
    scene.ask("scheduler", REPLAN)
    after = scene.again(after_s=24 * 3600.0)
    after.run(5.0)
    assert (after.row("sequence")["status"], after.row("request")["status"]) == ("EXPIRED", "EXPIRED")
    ledger = after.ledger()
    assert ledger["refund"] == ledger["reserve"]


def test_a_request_for_another_night_waits(tmp_path):
    scene = Scene(tmp_path)
    scene.submit(1, earliest=start_of_scene() + timedelta(days=3))
    assert scene.row("sequence")["status"] == "COMPLETE"


def test_a_grant_to_nobody_is_refused(tmp_path):
    scene = Scene(tmp_path)
    assert isinstance(scene.ask("routine_manager", OpenProgramme(name="p", title="", user="x", grant_s=1.0)), Refused)


def test_a_request_is_executed_when_its_last_sequence_is(tmp_path):
    scene = Scene(tmp_path)
    (one,) = scene.submit()
    scene.ask("scheduler", REPLAN)
    scene.tell("observation_manager", Execute(sequence_id=one))
    scene.run_until(lambda: scene.events(SequenceEnded))
    scene.run(0.0)
    assert scene.row("request")["status"] == "EXECUTED"


STATUSES = sorted({after for _, after in LIVES["sequence"]})


@given(st.lists(st.tuples(st.sampled_from(["routine", "alert"]), st.sampled_from(STATUSES)), min_size=1))
def test_a_request_ends_exactly_when_none_of_its_sequences_can_go_on(sequences):
    ends = [status in OVER or (kind, status) == ("alert", "INTERRUPTED") for kind, status in sequences]
    assert (request_over(sequences) is not None) == all(ends)
    assert request_over(sequences) in {None, "EXECUTED", "CANCELLED", "EXPIRED"}
    assert (request_over(sequences) == "EXECUTED") <= ("EXECUTED" in [status for _, status in sequences])
