"""report.json of a made-up night full of events."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from report_night import HOSTILE, eventful_night
from report_stage import BEGINS, Stage, at

from pyros.cli.night.alerts_report import STEPS, merge_sources, truth_of
from pyros.cli.night.report import as_json, build_report, write_report
from pyros.messages.alerts import Analysed, Candidate
from pyros.store.database import StoreError

KEYS = {
    "night", "seed", "site", "dark_s", "exposing_s", "utilisation", "lost_s", "sequences", "images", "alerts", "dome",
    "states", "restarts", "violations", "plannings", "wall_s", "cpu_s",
}  # fmt: skip
LOST = {"paused", "weather", "fault", "alert_wait", "slewing", "readout", "calibration", "startup", "no_target"}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return eventful_night(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def report(record):
    return build_report(record)


def test_the_report_has_every_key_of_the_contract_and_its_seconds_add_up(report):
    """WK-5."""
    assert set(report) == KEYS
    assert set(report["lost_s"]) == LOST
    assert report["exposing_s"] + sum(report["lost_s"].values()) == pytest.approx(report["dark_s"], abs=1e-6)
    assert report["utilisation"] == pytest.approx(report["exposing_s"] / report["dark_s"], abs=1e-6)
    assert all(report["lost_s"][name] > 0 for name in LOST - {"calibration", "startup"})


def test_each_sequence_of_the_night_is_executed_or_aborted_or_rejected_with_a_reason(report):
    """WK-5: the totals add up."""
    lists = report["sequences"]
    ids = [one["id"] for rows in lists.values() for one in rows]
    assert sorted(ids) == list(range(1, 16))
    assert [one["name"] for one in lists["aborted"]] == ["M42"]
    assert "SVOM sb26112301" in [one["name"] for one in lists["executed"]]
    m33 = next(one for one in lists["executed"] if one["name"] == "M33")
    assert m33["attempts"] == 2
    codes = {one["name"]: one["code"] for one in lists["rejected"]}
    assert codes == {HOSTILE: "MOON", "Antares": "ALTITUDE", "Fornax": "NO_ROOM"}
    assert all(one["reason"] for one in lists["rejected"])


def test_a_rejected_sequence_tells_why_it_lost_its_place_and_not_what_the_morning_says(tmp_path):
    stage = Stage(tmp_path)
    sequence = stage.request("M31", 10.68, 41.27)
    stage.planning(at(0), "first", [(sequence, "M31", at(5), at(5.2), 0.0)])
    stage.planning(at(5), "rain", [], [(sequence, "NO_ROOM", "others are worth more")])
    stage.planning(at(11), "used up", [], [(sequence, "TOO_LONG", "79 s are left")])
    [rejected] = build_report(stage.done())["sequences"]["rejected"]
    assert rejected["code"] == "NO_ROOM"


def test_every_instant_is_iso_8601_in_utc(report):
    texts = [row["t"] for name in ("dome", "states", "restarts", "violations", "plannings") for row in report[name]]
    texts += [row["start"] for row in report["images"]]
    texts += [t for alert in report["alerts"] for t in alert["times"].values()]
    for text in texts:
        assert text.endswith("Z")
        assert datetime.fromisoformat(text).tzinfo is not None


def test_an_alert_tells_its_way_its_images_its_candidates_and_the_truth(report):
    alert, other = report["alerts"]
    assert tuple(alert["times"]) == STEPS
    assert list(alert["times"].values()) == sorted(alert["times"].values())
    assert alert["triggers"] == ["sb26112301"]
    assert alert["notices"] == ["ivo://org.svom/fsc#sb26112301_eclairs-wakeup"]
    assert (alert["strategy"], alert["status"]) == ("prompt 2", "DONE")
    assert len(alert["images"]) == 23
    best, second = alert["candidates"]
    assert (best["snr"], best["mag"], best["frames"]) == (80.0, 15.9, 3)
    assert second["frames"] == 1
    assert alert["truth"] == {"ra": pytest.approx(36.22), "dec": pytest.approx(21.39), "mag": pytest.approx(15.318)}
    assert other["candidates"] == []


def test_images_name_their_sequence_plan_filter_and_camera(report):
    image = report["images"][0]
    assert set(image) == {"file", "sequence", "plan", "start", "exposure_s", "filter", "camera"}
    assert (image["sequence"], image["filter"], image["camera"]) == (1, "r", "vis")
    starts = [row["start"] for row in report["images"]]
    assert starts == sorted(starts)


def test_a_restart_tells_how_long_the_actor_was_away(report):
    assert report["restarts"] == [
        {"t": "2026-11-23T07:16:53.250000Z", "actor": "camera:vis", "cause": "Expose: hung", "ms": 12000.0}
    ]


def test_two_reports_of_a_night_are_the_same_bytes(record, tmp_path):
    for name in ("a", "b"):
        write_report(record, tmp_path / name)
    for file in ("report.json", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_hash_seed_gives_the_same_report(report, tmp_path, seed):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from report_night import eventful_night\n"
        "from pyros.cli.night.report import as_json, build_report\n"
        "sys.stdout.write(as_json(build_report(eventful_night(Path(sys.argv[2])))))"
    )
    environment = {"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code, here, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == as_json(report)


def test_a_report_of_a_night_in_which_nothing_happened_is_whole(tmp_path):
    report = write_report(Stage(tmp_path / "state").done(), tmp_path / "out")
    assert set(report) == KEYS
    assert report["sequences"] == {"executed": [], "aborted": [], "rejected": []}
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


def test_a_folder_without_a_store_is_named(tmp_path):
    record = Stage(tmp_path / "state").done()
    record.state_folder = tmp_path / "elsewhere"
    with pytest.raises(StoreError, match="elsewhere"):
        build_report(record)


def test_a_sequence_whose_execution_nobody_told_of_is_what_the_store_says(tmp_path):
    stage = Stage(tmp_path)
    sequence = stage.request("M31", 10.68, 41.27)
    stage.planning(at(0), "first", [(sequence, "M31", at(0), at(0.1), 0.0)])
    stage.observe(at(0), sequence, "M31", 10.68, 41.27)
    stage.record.said.clear()
    lists = build_report(stage.done())["sequences"]
    assert [one["outcome"] for one in lists["executed"]] == ["EXECUTED"]


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    stage = Stage(tmp_path)
    alert = stage.alert(at(1), "GRB", "1", 35.0, 42.0, 0.1, t0=at(1), times={})
    found = Candidate(ra_deg=35.0, dec_deg=42.0, position_error_arcsec=1.0, mag=float("nan"), mag_err=0.1, snr=9.0)
    analysed = Analysed(
        image_id=1,
        alert_id=alert,
        candidates=[found],
        limiting_mag=None,
        zero_point=None,
        fwhm_arcsec=None,
        problems=[],
    )
    stage.say(at(1.1), "analyzer", analysed)
    [card] = build_report(stage.done())["alerts"]
    assert card["candidates"][0]["mag"] is None
    assert card["limiting_mag"] is None


def test_detections_within_three_arcseconds_are_one_source_however_they_come():
    def seen(ra_arcsec, snr, image):
        return {"ra": 10.0 + ra_arcsec / 3600, "dec": 0.0, "snr": snr, "image": image}

    rows = [seen(0.0, 5.0, "a"), seen(2.5, 9.0, "b"), seen(5.0, 6.0, "c"), seen(9.0, 7.0, "c"), seen(2.6, 4.0, "b")]
    for order in (rows, rows[::-1]):
        assert [(one["snr"], one["frames"]) for one in merge_sources(order)] == [(9.0, 3), (7.0, 1)]


def test_an_alert_without_a_burst_near_its_instant_has_no_truth():
    burst = {"ra_deg": 1.0, "dec_deg": 2.0, "t0": BEGINS, "mag_at_60s": 15.0, "alpha": 1.0}
    alert = {"ra_deg": 1.0, "dec_deg": 2.0, "t0": BEGINS + timedelta(seconds=600)}
    assert truth_of([burst], alert, None) is None
    near = alert | {"t0": BEGINS + timedelta(seconds=1)}
    assert truth_of([burst], near, None) == {"ra": 1.0, "dec": 2.0, "mag": 15.0}
    assert truth_of([burst], near, BEGINS + timedelta(seconds=600))["mag"] == 17.5
