"""What becomes of an image, and what the archivist does for all."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import pytest
from observing_scene import (
    Scene,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
)

from pyros.actors.analyzer.actor import MOST_WAITING
from pyros.actors.analyzer.analysis import AnalysisReport, ImageReport
from pyros.actors.archivist import FINE, is_quiet
from pyros.messages.alerts import Analyse, Analysed
from pyros.messages.base import Refused
from pyros.messages.store import Commit, Committed, Insert
from pyros.store.database import open_reader

START = "2026-11-23T02:30:00Z"


def images(scene, count, alert_id=None):
    rows = [
        Insert(
            table="image",
            values={
                "file": f"2026-11-22/{alert_id}_{number}.fits",
                "camera": "vis",
                "filter": "r",
                "kind": "light",
                "start": START,
                "exposure_s": 30.0,
                "datasum": "1",
                "alert_id": alert_id,
            },
        )
        for number in range(count)
    ]
    return scene.ask("archivist", Commit(writes=rows, reason="images")).ids


def alert(scene):
    scene.notice(scene.burst("swift_bat"))
    scene.run(0.0)
    return 1


def held(scene):
    """Let the pool hold every job until the test answers it."""
    futures = []

    def submit(fn, job):
        scene.pool.jobs.append(job)
        futures.append(Future())
        return futures[-1]

    scene.pool.submit = submit
    return futures


def report(job):
    return AnalysisReport(images=tuple(ImageReport(file=frame) for frame in job.frames))


def finish(scene, futures):
    """Answer every job as it comes; on the virtual clock the result is delivered after its modelled time."""
    for _ in range(500):
        for job, future in zip(scene.pool.jobs, futures, strict=True):
            if not future.done():
                future.set_result(report(job))
        if not scene.ask("analyzer").running:
            return
        scene.run(2.0)
    raise AssertionError


def test_images_of_alerts_are_analysed_before_routine_ones_and_alone_are_searched(tmp_path):
    """AN-T2."""
    scene = Scene(tmp_path)
    number = alert(scene)
    routine, urgent = images(scene, 3), images(scene, 1, number)
    futures = held(scene)
    for image_id in routine:
        scene.tell("analyzer", Analyse(image_ids=[image_id]))
    scene.tell("analyzer", Analyse(image_ids=urgent, alert_id=number))
    scene.run(0.0)
    finish(scene, futures)
    names = [job.frames[-1].rsplit("/", 1)[1] for job in scene.pool.jobs]
    assert names == ["None_0.fits", "1_0.fits", "None_1.fits", "None_2.fits"]
    assert [job.circle is not None for job in scene.pool.jobs] == [False, True, False, False]


def test_the_oldest_routine_images_are_left_out_with_a_word_and_never_an_alerts(tmp_path):
    scene = Scene(tmp_path)
    number = alert(scene)
    routine, urgent = images(scene, MOST_WAITING + 6), images(scene, 5, number)
    futures = held(scene)
    for image_id in urgent:
        scene.tell("analyzer", Analyse(image_ids=[image_id], alert_id=number))
    for image_id in routine:
        scene.tell("analyzer", Analyse(image_ids=[image_id]))
    scene.run(0.0)
    state = scene.ask("analyzer")
    assert state.waiting == MOST_WAITING + 4
    assert f"images [{routine[5]}] were left out, 6 so far" in state.problem
    finish(scene, futures)
    assert sum("/1_" in job.frames[-1] for job in scene.pool.jobs) == 5
    assert len(scene.pool.jobs) == MOST_WAITING + 5


def test_a_broken_frame_harms_no_other_and_its_row_says_why(tmp_path):
    scene = Scene(tmp_path)
    one, two = images(scene, 2)

    def answer(job):
        if "None_0" in job.frames[0]:
            raise OSError("not a FITS file")
        return report(job)

    scene.pool.answer = answer
    scene.tell("analyzer", Analyse(image_ids=[one]))
    scene.tell("analyzer", Analyse(image_ids=[two]))
    scene.run(10.0)
    assert [event.image_id for event in scene.events(Analysed)] == [two]
    assert "not a FITS file" in scene.rows("image")[0]["quality"]["problems"][0]
    assert not scene.broken()


def test_an_analysis_that_never_ends_is_given_up_and_the_next_begins(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    one, two = images(scene, 2)
    futures = held(scene)
    monkeypatch.setattr(type(scene.clock), "collect", lambda self, future, deliver, modelled_s=0.0: None)
    scene.tell("analyzer", Analyse(image_ids=[one]))
    scene.tell("analyzer", Analyse(image_ids=[two]))
    scene.run(61.0)
    state = scene.ask("analyzer")
    assert (len(futures), state.running, state.waiting) == (2, 1, 0)
    assert f"images [{one}] took longer than 60 s" in state.problem


def test_a_dead_pool_stops_no_actor(tmp_path):
    scene = Scene(tmp_path)
    (one,) = images(scene, 1)

    def submit(fn, job):
        raise RuntimeError("a child process terminated abruptly")

    scene.pool.submit = submit
    scene.tell("analyzer", Analyse(image_ids=[one]))
    scene.run(1.0)
    assert "terminated abruptly" in scene.ask("analyzer").problem
    assert not scene.broken()


def test_a_restarted_analyzer_takes_up_what_nobody_measured_and_an_alerts_images_first(tmp_path):
    scene = Scene(tmp_path)
    number = alert(scene)
    routine = images(scene, 2)
    urgent = images(scene, 2, number)
    scene.crash("analyzer")
    scene.run(20.0)
    assert [event.image_id for event in scene.events(Analysed)] == [*urgent, *routine]


def test_previews_and_candidates_are_stored_relative_to_the_image_folder(tmp_path):
    scene = Scene(tmp_path)
    (one,) = images(scene, 1)
    scene.pool.answer = lambda job: AnalysisReport(
        images=(ImageReport(file=job.frames[0], preview=job.frames[0].replace(".fits", ".png"), limiting_mag=18.2),)
    )
    scene.tell("analyzer", Analyse(image_ids=[one]))
    scene.run(5.0)
    row = scene.row("image")
    assert row["preview"] == "2026-11-22/None_0.png"
    assert row["quality"]["limiting_mag"] == 18.2


# -- archivist -------------------------------------------------------------------------------------------------------


def test_commits_that_wait_together_are_written_together_and_one_refused_harms_no_other(tmp_path):
    scene = Scene(tmp_path)
    before = scene.ask("archivist").commits
    good = Commit(writes=[Insert(table="programme", values={"name": "a", "title": ""})], reason="good")
    bad = Commit(writes=[Insert(table="programme", values={"nam": "b"})], reason="bad")
    answers = []
    for commit in (good, bad, good.__class__(writes=[], reason="nothing")):
        scene.system.question("archivist", commit, 5.0, answers.append)
    scene.run(0.0)
    assert [type(answer) for answer in answers] == [Committed, Refused, Committed]
    assert scene.ask("archivist").commits == before + 2


def test_old_readings_are_thinned_once_a_day_around_noon(tmp_path):
    scene = Scene(tmp_path, start=datetime(2026, 11, 23, 17, 30, tzinfo=UTC))  # 9:48 local mean time
    old = scene.clock.now() - FINE - timedelta(days=1)
    readings = [
        Insert(
            table="weather_sample", values={"station": "mast", "at": old + timedelta(seconds=n), "wind_m_s": 1.0 * n}
        )
        for n in range(120)
    ]
    scene.ask("archivist", Commit(writes=readings, reason="weather"))
    scene.run(3000.0)
    assert count(tmp_path) == 120
    scene.run(7200.0)
    assert 2 <= count(tmp_path) <= 3


def count(folder):
    with open_reader(folder) as reader:
        return reader.telemetry.execute_sql("SELECT COUNT(*) FROM weather_sample").fetchone()[0]


@pytest.mark.parametrize(("hour", "quiet"), [(10, False), (11, True), (13, True), (14, False), (23, False)])
def test_the_quiet_hours_are_around_local_noon(hour, quiet):
    assert is_quiet(datetime(2026, 11, 23, hour, tzinfo=UTC)) is quiet
