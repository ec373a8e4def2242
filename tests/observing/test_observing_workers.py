"""A worker dies in an analysis: the image is analysed again, alone, and not for ever; no other image pays for it."""

from concurrent.futures import BrokenExecutor, Future

import pytest
from observing_scene import (
    Scene,
    end_of_scenes,  # noqa: F401 - a fixture of every test here
)

from pyros.actors.analyzer.actor import MOST_RETRIES
from pyros.actors.analyzer.analysis import AnalysisReport, ImageReport
from pyros.messages.alerts import Analyse, Analysed
from pyros.messages.store import Commit, Insert


def images(scene, count):
    """Enter routine frames into the store; return their ids."""
    values = {"camera": "vis", "filter": "r", "kind": "light", "exposure_s": 30.0, "datasum": "1"}
    writes = [
        Insert(table="image", values={**values, "file": f"2026-11-22/{number}.fits", "start": scene.clock.now()})
        for number in range(count)
    ]
    return scene.ask("archivist", Commit(writes=writes, reason="images")).ids


class Deadly:
    """A pool some of whose images kill their worker, and with it whatever else is under way."""

    def __init__(self, scene, *deadly):
        self.scene = scene
        self.deadly = list(deadly)
        self.jobs, self.begun_s, self.under_way = [], [], []

    def submit(self, fn, job):
        name = job.frames[-1].rsplit("/", 1)[1]
        self.jobs.append(name)
        self.begun_s.append(self.scene.clock.monotonic_s())
        self.under_way.append((Future(), name))
        return self.under_way[-1][0]

    def go_on(self):
        """Let what is under way end, in death if one is deadly."""
        under_way, self.under_way = self.under_way, []
        dies = [name for _, name in under_way if name in self.deadly]
        for name in dies:
            self.deadly.remove(name)
        for future, name in under_way:
            if dies:
                future.set_exception(BrokenExecutor("a child process terminated abruptly"))
            else:
                future.set_result(AnalysisReport(images=(ImageReport(file=name),)))

    def together(self):
        """How many were under way when each began, itself included."""
        takes_s = self.scene.environment.settings.analyzer.modelled_routine_s
        return [
            sum(begun_s - takes_s < other_s for other_s in self.begun_s[: place + 1])
            for place, begun_s in enumerate(self.begun_s)
        ]


def analysed(tmp_path, *deadly, count):
    """Analyse routine images, two at a time; return the scene, the pool, and who was measured."""
    scene = Scene(tmp_path, analyzer={"workers": 3, "modelled_routine_s": 45.0})
    pool = Deadly(scene, *deadly)
    scene.pool.submit = pool.submit
    ids = images(scene, count)
    for image_id in ids:
        scene.tell("analyzer", Analyse(image_ids=[image_id]))
    scene.run(0.0)
    for _ in range(25):
        pool.go_on()
        scene.run(20.0)  # more often than results are delivered: the clock never has to wait for one
    return scene, pool, [ids.index(event.image_id) for event in scene.events(Analysed)]


def test_an_image_whose_worker_dies_is_analysed_again(tmp_path):
    scene, pool, measured = analysed(tmp_path, "0.fits", count=1)
    assert pool.jobs == ["0.fits", "0.fits"]
    assert measured == [0]
    assert scene.ask("analyzer").done == 1
    assert not scene.broken()


def test_an_image_that_kills_every_worker_is_given_up_after_two_retries_and_its_row_says_why(tmp_path):
    scene, pool, measured = analysed(tmp_path, *["0.fits"] * 9, count=1)
    assert pool.jobs == ["0.fits"] * (1 + MOST_RETRIES)
    assert measured == []
    assert "terminated abruptly" in scene.rows("image")[0]["quality"]["problems"][0]


def test_an_image_that_kills_its_worker_takes_no_other_image_with_it_for_good(tmp_path):
    """Two run at a time; after a death each of the two runs alone."""
    _, pool, measured = analysed(tmp_path, *["1.fits"] * 9, count=4)
    assert sorted(measured) == [0, 2, 3]
    assert pool.jobs == ["0.fits", "1.fits", "1.fits", "1.fits", "0.fits", "2.fits", "3.fits"]
    assert pool.together() == [1, 2, 1, 1, 1, 1, 2]


@pytest.mark.parametrize("deaths", [1, 2])
def test_after_the_last_death_images_are_analysed_side_by_side_again(tmp_path, deaths):
    _, pool, measured = analysed(tmp_path, *["0.fits"] * deaths, count=8)
    assert sorted(measured) == list(range(8))
    assert pool.together()[-1] == 2
