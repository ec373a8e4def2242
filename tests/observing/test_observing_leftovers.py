"""What a daemon that was killed left in the image folder: entered, or set aside; never lost, never counted twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observing_scene import (
    ON,
    Scene,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
    high_place,
)

from pyros.actors.analyzer.frame import FrameHeader, write_frame
from pyros.actors.observation_leftovers import SET_ASIDE, frame_file, frame_of, sweep
from pyros.messages.night import Execute, ImageTaken, MakeSchedule, SequenceEnded
from pyros.messages.people import SubmitRequest

EXPOSURE_S = 30.0
instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))


@given(
    st.from_regex(r"[a-z][a-z0-9_]{0,19}", fullmatch=True),
    st.integers(1, 10**7),
    st.integers(1, 10**7),
    instants,
    st.integers(0, 1000),
)
def test_the_name_of_a_frame_tells_which_exposure_it_was(camera, sequence_id, plan_id, start, number):
    found = frame_of(frame_file("2026-11-22", camera, sequence_id, plan_id, start, number))
    assert found is not None
    assert (found.camera, found.sequence_id, found.plan_id, found.number) == (camera, sequence_id, plan_id, number)


@pytest.mark.parametrize(
    "file", ["2026-11-22/vis_000001_000001_010203_000_cal.fits", "masters/x.fits", "vis_000001_000001_010203_000.fits"]
)
def test_what_is_no_raw_frame_is_left_alone(file):
    assert frame_of(file) is None


def submitted(scene, count):
    """Bring in one request of so many frames."""
    scene.submit(0)
    ra_deg, dec_deg = high_place()
    request = SubmitRequest(
        user="ann", programme="p", name="r", target_name="T", ra_deg=ra_deg, dec_deg=dec_deg, exposure_s=EXPOSURE_S,
        count=count, moon_separation_deg=0.0,
    )  # fmt: skip
    return scene.ask("routine_manager", request).sequence_ids


def killed(tmp_path, count=4, **frame):
    """A daemon that dies when its second frame is on disk and not in the store; `frame`: what else is true of it."""
    scene = Scene(tmp_path)
    (number,) = submitted(scene, count)
    scene.run(1.0)
    scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="test"))
    scene.tell("observation_manager", Execute(sequence_id=number))
    scene.run_until(lambda: len(scene.events(ImageTaken)) == 1)
    scene.run(20.0)
    return scene, number, left_behind(scene, **frame)


def left_behind(scene, *, number=1, exposure_s=EXPOSURE_S, filter_name="r", plan_id=None):
    row = scene.row("plan")
    start = scene.clock.now() - timedelta(seconds=40)
    file = frame_file(str(ON), "vis", scene.row("sequence")["id"], plan_id or row["id"], start, number)
    path = scene.environment.images / file
    path.parent.mkdir(parents=True, exist_ok=True)
    header = FrameHeader(
        started_at=start, exposure_s=exposure_s, image_type="light", camera="camera:vis", filter=filter_name
    )
    write_frame(path, np.full((64, 64), 700, np.uint16), header)
    return file


def after_the_kill(scene):
    scene = scene.again()
    scene.run_until(lambda: scene.events(SequenceEnded))
    scene.run(1.0)
    return scene, scene.events(SequenceEnded)[0]


def numbers(scene):
    return sorted(row["number"] for row in scene.rows("image"))


def test_a_frame_that_was_written_and_not_recorded_is_entered_paid_for_and_not_repeated(tmp_path):
    scene, number, file = killed(tmp_path)
    scene, end = after_the_kill(scene)
    assert (end.outcome, end.cause) == ("INTERRUPTED", "the daemon was killed; start 1 found it")
    assert end.exposed_s == 2 * EXPOSURE_S
    assert scene.rows("image")[-1]["file"] == file
    assert [event.file for event in scene.events(ImageTaken)] == [file]
    assert scene.row("plan")["done_count"] == 2
    assert scene.row("plan")["reason"] == scene.row("album")["reason"] == end.cause
    assert scene.ledger()["debit"] == 2 * EXPOSURE_S
    scene.ask("scheduler", MakeSchedule(first_schedule=False, trigger="again"))
    scene.tell("observation_manager", Execute(sequence_id=number))
    scene.run_until(lambda: len(scene.events(SequenceEnded)) == 2)
    assert numbers(scene) == [0, 1, 2, 3]
    assert scene.ledger()["debit"] == 4 * EXPOSURE_S


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"number": 2}, "no plan under way waits for frame 2"),
        ({"number": 0}, "no plan under way waits for frame 0"),
        ({"plan_id": 99}, "no plan under way waits for frame 1 of plan 99"),
        ({"exposure_s": 5.0}, "its exposure_s is 5.0, the plan's 30.0"),
        ({"filter_name": "g"}, "its filter is 'g', the plan's 'r'"),
    ],
)
def test_a_frame_that_nobody_can_account_for_is_set_aside_with_a_word(tmp_path, frame, reason):
    scene, _, file = killed(tmp_path, **frame)
    scene, _ = after_the_kill(scene)
    assert numbers(scene) == [0]
    assert not (scene.environment.images / file).exists()
    assert (scene.environment.images / SET_ASIDE / file).exists()
    (line,) = [row for row in scene.rows("log_entry") if file in row["text"]]
    assert reason in line["text"]


def test_a_frame_whose_checksum_does_not_hold_is_set_aside(tmp_path):
    scene, _, file = killed(tmp_path)
    path = scene.environment.images / file
    content = bytearray(path.read_bytes())
    content[-5000] ^= 0xFF
    path.write_bytes(content)
    scene, _ = after_the_kill(scene)
    assert numbers(scene) == [0]
    assert any("DATASUM does not hold" in row["text"] for row in scene.rows("log_entry"))


def test_of_two_frames_that_could_be_the_same_one_is_counted_and_the_other_set_aside_at_the_next_start(tmp_path):
    scene, _, first = killed(tmp_path)
    scene.run(2.0)
    second = left_behind(scene)
    scene, _ = after_the_kill(scene)
    assert numbers(scene) == [0, 1]
    scene = scene.again()
    scene.run(5.0)
    assert numbers(scene) == [0, 1]
    assert [(scene.environment.images / file).exists() for file in (first, second)] == [True, False]
    assert (scene.environment.images / SET_ASIDE / second).exists()


def test_the_last_frame_of_a_sequence_ends_it_though_the_daemon_died_before_it_was_recorded(tmp_path):
    scene, _, _ = killed(tmp_path, count=2)
    scene, end = after_the_kill(scene)
    assert (end.outcome, numbers(scene)) == ("EXECUTED", [0, 1])


def test_unfinished_files_are_swept_at_a_start_and_nothing_else(tmp_path):
    night = tmp_path / "2026-11-22"
    night.mkdir()
    kept = [night / "vis_000001_000001_010203_000.fits", tmp_path / ".other.part"]
    for file in (*kept, night / ".vis_000001_000001_010203_000.fits.part"):
        file.touch()
    assert sweep(tmp_path) == 1
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
