"""How sequences are carried out, broken off and taken up again."""

from __future__ import annotations

import pytest
from observing_scene import (
    SLEW_S,
    Scene,
    SlowArchivist,
    SmallDisk,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
)

from pyros.messages.base import Done, Refused
from pyros.messages.night import Abort, Execute, ExecutionRefused, ImageTaken, MakeSchedule, SequenceEnded


def planned(scene, count=1, **more):
    ids = scene.submit(count, **more)
    scene.run(1.0)
    scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="test"))
    return ids


def execute(scene, sequence_id):
    scene.tell("observation_manager", Execute(sequence_id=sequence_id))


def ended(scene, count=1):
    scene.run_until(lambda: len(scene.events(SequenceEnded)) >= count)
    return scene.events(SequenceEnded)[-1]


def statuses(scene):
    return {table: [row["status"] for row in scene.rows(table)] for table in ("sequence", "album", "plan")}


def test_a_sequence_gives_its_images_in_order_and_is_paid_for_what_was_exposed(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    assert ended(scene).outcome == "EXECUTED"
    assert statuses(scene) == {"sequence": ["EXECUTED"], "album": ["EXECUTED"], "plan": ["EXECUTED"]}
    assert [row["number"] for row in scene.rows("image")] == [0, 1, 2, 3]
    assert [event.image_id for event in scene.events(ImageTaken)] == [row["id"] for row in scene.rows("image")]
    ledger = scene.ledger()
    assert ledger["debit"] == 120.0
    assert ledger["debit"] + ledger["refund"] == ledger["reserve"]
    assert scene.row("request")["status"] == "EXECUTED"
    assert not scene.broken()


def test_the_intent_is_in_the_store_before_anything_moves(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    scene.until_noted("slew")
    assert scene.row("sequence")["status"] == "EXECUTING"
    assert scene.row("plan")["status"] == "EXECUTING"


MOMENTS = {
    "beginning": 0.0,
    "slewing": 2.0,
    "turning the filter": SLEW_S + 1.0,
    "exposing": SLEW_S + 12.0,
    "reading out": SLEW_S + 33.5,
    "second frame": SLEW_S + 50.0,
}
COMMITS = {"the intent": 0.1, "the plan": 0.3, "a frame": 43.5}
LAST_COMMITS = {"the last frame": 143.1, "the album": 143.3, "the end": 143.5}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_abort_at_any_moment_pulls_all_brakes_before_the_end_and_keeps_what_was_done(tmp_path, moment):
    """MJ-T1, MJ-T2, MJ-P4."""
    check_abort(Scene(tmp_path), MOMENTS[moment])


@pytest.mark.parametrize("commit", COMMITS)
def test_an_abort_while_the_store_still_writes_leaves_every_row_closed(tmp_path, commit):
    """MJ-T1, MJ-T2."""
    check_abort(Scene(tmp_path, archivist=SlowArchivist), COMMITS[commit])


def check_abort(scene, after_s):
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(after_s)
    told_at = scene.clock.now()
    scene.tell("observation_manager", Abort(sequence_id=number, cause="alert 7"))
    end = ended(scene)
    assert (end.outcome, end.cause) == ("ABORTED", "alert 7")
    assert (scene.clock.now() - told_at).total_seconds() < 1.0
    assert {"telescope.brake answered", "camera:vis.brake answered"} <= set(scene.diary)
    done = len(scene.rows("image"))
    plan = scene.row("plan")
    assert (plan["done_count"], scene.row("sequence")["exposed_s"], end.exposed_s) == (done, done * 30.0, done * 30.0)
    assert scene.row("sequence")["status"] == "OBSERVABLE"
    assert plan["status"] == scene.row("album")["status"]
    assert plan["status"] in {"ABORTED", "WAITING"}
    ledger = scene.ledger()
    assert ledger.get("debit", 0.0) == done * 30.0
    assert ledger.get("debit", 0.0) + ledger["refund"] == ledger["reserve"]


@pytest.mark.parametrize("commit", LAST_COMMITS)
def test_an_abort_that_comes_when_the_last_frame_is_taken_leaves_the_sequence_executed(tmp_path, commit):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(LAST_COMMITS[commit])
    scene.tell("observation_manager", Abort(sequence_id=number, cause="alert 7"))
    assert ended(scene).outcome == "EXECUTED"
    assert statuses(scene) == {"sequence": ["EXECUTED"], "album": ["EXECUTED"], "plan": ["EXECUTED"]}
    assert scene.ledger()["debit"] == 120.0


@pytest.mark.parametrize("moment", ["exposing", "second frame"])
def test_an_aborted_routine_sequence_is_planned_again_and_repeats_no_finished_frame(tmp_path, moment):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(MOMENTS[moment])
    scene.tell("observation_manager", Abort(sequence_id=number, cause="alert 7"))
    ended(scene)
    scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="again"))
    assert scene.row("sequence")["status"] == "PLANNED"
    execute(scene, number)
    assert ended(scene, 2).outcome == "EXECUTED"
    assert [row["number"] for row in scene.rows("image")] == [0, 1, 2, 3]
    ledger = scene.ledger()
    assert ledger["debit"] == 120.0
    assert ledger["debit"] + ledger["refund"] == pytest.approx(ledger["reserve"])


def test_the_end_of_a_sequence_is_written_and_then_announced_when_a_full_disk_has_room_again(tmp_path, monkeypatch):
    scene = Scene(tmp_path, archivist=SmallDisk)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(MOMENTS["exposing"])
    monkeypatch.setattr(SmallDisk, "full", True)
    scene.tell("observation_manager", Abort(sequence_id=number, cause="alert 7"))
    scene.run(60.0)
    assert scene.events(SequenceEnded) == []
    assert scene.row("sequence")["status"] == "EXECUTING"
    monkeypatch.setattr(SmallDisk, "full", False)
    assert ended(scene).outcome == "ABORTED"
    assert scene.row("sequence")["status"] == "OBSERVABLE"


def test_the_remaining_time_alone_is_reserved_for_a_sequence_that_was_begun(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(MOMENTS["second frame"])
    scene.tell("observation_manager", Abort(sequence_id=number, cause="alert"))
    ended(scene)
    scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="again"))
    first, second = [row["seconds"] for row in scene.rows("quota_entry", kind="reserve")]
    assert second == pytest.approx(first * 3 / 4)


@pytest.mark.parametrize("fault", ["refuse", "silent", "raise"])
@pytest.mark.parametrize("device", ["telescope", "filter_wheel:vis", "camera:vis"])
def test_a_device_that_fails_ends_its_sequence_and_the_next_one_goes_on(tmp_path, device, fault):
    """OM-E2."""
    scene = Scene(tmp_path)
    one, two = planned(scene, 2)
    scene.faults[device] = fault
    execute(scene, one)
    end = ended(scene)
    assert end.outcome == "INTERRUPTED"
    assert device in end.cause
    assert scene.rows("plan")[0]["status"] == "FAILED"
    assert device in scene.rows("plan")[0]["reason"]
    scene.faults.clear()
    scene.run(5.0)
    execute(scene, two)
    assert ended(scene, 2).outcome == "EXECUTED"


def test_a_sequence_that_a_device_interrupted_is_taken_up_again_but_not_for_ever(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    scene.faults["camera:vis"] = "refuse"
    for count in range(1, 5):
        execute(scene, number)
        ended(scene, count)
        scene.run(0.0)
        expected = "OBSERVABLE" if count <= 3 else "INTERRUPTED"
        assert scene.row("sequence")["status"] == expected
        scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="again"))
    ledger = scene.ledger()
    assert ledger["refund"] == ledger["reserve"]


def test_a_sequence_in_which_the_daemon_dies_again_and_again_is_left_alone_for_the_night(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    deaths = 0
    while scene.row("sequence")["status"] == "PLANNED" and deaths < 10:
        deaths += 1
        execute(scene, number)
        scene.run(12.0)
        scene = scene.again(30.0)
        scene.run(10.0)
        scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="again"))
    assert deaths == 4
    assert scene.row("sequence")["status"] == "INTERRUPTED"


def test_brakes_that_do_not_answer_delay_the_end_by_two_seconds_at_most(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(20.0)
    scene.faults["camera:vis.brake"] = "silent"
    told_at = scene.clock.now()
    scene.tell("observation_manager", Abort(sequence_id=number, cause="alert"))
    ended(scene)
    assert 1.9 <= (scene.clock.now() - told_at).total_seconds() <= 2.1


def test_a_second_execute_and_an_abort_for_another_sequence_are_refused(tmp_path):
    scene = Scene(tmp_path)
    one, two = planned(scene, 2)
    execute(scene, one)
    scene.run(12.0)
    execute(scene, two)
    scene.run(0.0)
    (refused,) = scene.events(ExecutionRefused)
    assert (refused.sequence_id, refused.reason) == (two, f"sequence {one} is running")
    assert isinstance(scene.ask("observation_manager", Abort(sequence_id=two, cause="x")), Refused)
    assert isinstance(scene.ask("observation_manager", Abort(sequence_id=one, cause="x")), Done)
    assert isinstance(scene.ask("observation_manager", Abort(sequence_id=one, cause="x")), Refused)


def test_a_users_sequence_without_reserved_time_is_not_carried_out(tmp_path):
    scene = Scene(tmp_path)
    (number,) = scene.submit()
    execute(scene, number)
    scene.run(0.0)
    assert "only PLANNED is carried out" in scene.events(ExecutionRefused)[0].reason


def test_a_planning_made_between_order_and_intent_does_not_stop_a_sequence(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    scene.tell("scheduler", MakeSchedule(first_schedule=False, trigger="at the same instant"))
    assert ended(scene).outcome == "EXECUTED"


def test_a_restart_in_mid_sequence_brakes_interrupts_and_repeats_nothing(tmp_path):
    scene = Scene(tmp_path)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(MOMENTS["second frame"])
    scene.crash("observation_manager")
    end = ended(scene)
    assert (end.outcome, end.cause) == ("INTERRUPTED", "the observation manager was restarted")
    assert end.exposed_s == 30.0
    assert "camera:vis.brake answered" in scene.diary
    assert scene.ledger()["debit"] == 30.0
    scene.run(1.0)
    scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="again"))
    execute(scene, number)
    ended(scene, 2)
    assert [row["number"] for row in scene.rows("image")] == [0, 1, 2, 3]
    assert scene.ledger()["debit"] == 120.0


@pytest.mark.parametrize("commit", COMMITS)
def test_a_restart_while_the_store_still_writes_leaves_nothing_executing(tmp_path, commit):
    scene = Scene(tmp_path, archivist=SlowArchivist)
    (number,) = planned(scene)
    execute(scene, number)
    scene.run(COMMITS[commit])
    scene.crash("observation_manager")
    scene.run(5.0)
    assert "EXECUTING" not in [status for rows in statuses(scene).values() for status in rows]
    ledger = scene.ledger()
    assert ledger.get("debit", 0.0) + ledger["refund"] == ledger["reserve"]


def test_what_was_executing_and_planned_when_the_daemon_was_killed_is_put_right(tmp_path):
    scene = Scene(tmp_path)
    one, two = planned(scene, 2)
    execute(scene, one)
    scene.run(MOMENTS["second frame"])
    after = scene.again()
    after.run(5.0)
    assert after.rows("sequence", id=one)[0]["status"] == "OBSERVABLE"
    assert after.rows("plan")[0]["done_count"] == 1
    assert after.rows("sequence", id=two)[0]["status"] == "PLANNED"
    next_day = after.again(after_s=20 * 3600.0)
    next_day.run(5.0)
    assert {row["status"] for row in next_day.rows("sequence")} == {"OBSERVABLE"}
    assert next_day.rows("schedule")[-1]["status"] == "END_OF_NIGHT"
    ledger = next_day.ledger()
    assert ledger["debit"] + ledger["refund"] == ledger["reserve"]
