"""`pyros schedule simulate`: files in, files out, and every fault of a file named at once."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from schedule_oracle import NIGHT, faults_of

from pyros.actors.scheduler.exchange import InstanceError, read_instance, write_answer
from pyros.actors.scheduler.placement import make_schedule
from pyros.cli.schedule import schedule
from pyros.sky.earth import instant, julian_date

START, END = julian_date(NIGHT.noon_before), julian_date(NIGHT.noon_after)


def request(name, **more):
    return {
        "id": name, "ra_deg": 30.0, "dec_deg": 70.0, "priority": 50, "duration_s": 600, "jd_earliest": START,
        "jd_latest": END, "t_preferred": None, "delta_left_s": 0, "delta_right_s": 0, "user": "ana",
        "min_altitude_deg": 20.0, "moon_separation_deg": 0.0,
    } | more  # fmt: skip


def instance(*requests, **more):
    return {
        "site": {"name": "spm", "lon_deg": -115.4637, "lat_deg": 31.0442, "height_m": 2830.0},
        "night": {"jd_start": START, "jd_end": END, "sun_altitude_max_deg": -12.0},
        "overhead_s": 30, "quotas_s": None, "now_jd": None, "fixed": [], "requests": list(requests),
    } | more  # fmt: skip


def simulate(tmp_path, document):
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(document if isinstance(document, str) else json.dumps(document))
    result = CliRunner().invoke(schedule, ["simulate", str(source), "-o", str(target)])
    return result, json.loads(target.read_text()) if target.exists() else None


def test_a_simulation_answers_every_request_in_the_order_asked(tmp_path):
    """SC-E5, SC-X2."""
    result, answer = simulate(tmp_path, instance(request("a"), request("south", dec_deg=-80.0), request("b")))
    assert result.exit_code == 0
    assert [row["id"] for row in answer] == ["a", "south", "b"]
    assert (answer[0]["end_jd"] - answer[0]["start_jd"]) * 86400 == pytest.approx(600, abs=1e-3)
    assert "stays below 20°" in answer[1]["reason"]
    assert "start_jd" not in answer[1]
    assert "SIMULATION" in result.output


def test_fixed_rows_come_back_unchanged_and_nothing_starts_before_now(tmp_path):
    now = julian_date(NIGHT.begins) + 0.1
    fixed = {"id": "a", "start_jd": now - 0.003, "end_jd": now + 0.004}
    document = instance(request("a"), request("b"), now_jd=now, fixed=[fixed])
    _, answer = simulate(tmp_path, document)
    assert abs(answer[0]["start_jd"] - fixed["start_jd"]) * 86400 < 1e-3
    assert abs(answer[0]["end_jd"] - fixed["end_jd"]) * 86400 < 1e-3
    assert (answer[1]["start_jd"] - fixed["end_jd"]) * 86400 == pytest.approx(30, abs=1e-3)
    problem = read_instance(json.dumps(document))
    assert faults_of(problem, make_schedule(problem)) == []


def test_julian_dates_survive_the_way_through_the_clock_within_a_millisecond():
    """SC-E2."""
    for jd in (START, 2461483.528454185, 2451545.0):
        assert abs(julian_date(instant(jd)) - jd) * 86400 < 1e-3


def test_a_window_exactly_as_wide_as_the_exposure_is_wide_enough():
    middle = julian_date(NIGHT.begins) + 0.2
    problem = read_instance(json.dumps(instance(request("a", jd_earliest=middle, jd_latest=middle + 600 / 86400))))
    assert len(write_answer(problem, make_schedule(problem))[0]) == 3


FAULTS = [
    ({"requests": [request("a", ra_deg="ten")]}, 'request a: ra_deg is "ten"; it must be a number between 0 and 360'),
    ({"requests": [request("a", duration_s=1.5)]}, "request a: duration_s is 1.5; it must be a whole number"),
    ({"requests": [request("a", duration_s=-5)]}, "request a: duration_s is -5"),
    ({"requests": [request("a", priority=True)]}, "request a: priority is true"),
    ({"requests": [request("a", dec_deg=float("nan"))]}, "request a: dec_deg is NaN"),
    ({"requests": [request("a", jd_latest=START - 1)]}, "request a: jd_latest is"),
    ({"requests": [request("a"), request("a")]}, "request a: id is used twice"),
    ({"requests": [request("")]}, 'request 1: id is ""'),
    ({"requests": [request("a", user=None)]}, "request a: user is missing"),
    ({"requests": [7]}, "request 1: is 7; it must be an object"),
    ({"requests": {}}, "requests is {}; it must be a list"),
    ({"overhead_s": -1}, "overhead_s is -1"),
    ({"overhead_s": 10**400}, "overhead_s is 1000"),
    ({"site": None}, "site is missing; it must be an object with lon_deg, lat_deg, height_m"),
    ({"night": {"jd_start": START, "jd_end": START + 3, "sun_altitude_max_deg": -12}}, "night: jd_end is 3 days"),
    ({"now_jd": 5}, "now_jd is 5"),
    ({"quotas_s": {"ana": "x"}}, 'quotas_s: user ana is "x"'),
    ({"fixed": [{"id": "ghost", "start_jd": START, "end_jd": END}]}, 'fixed ghost: id is "ghost"'),
    ({"fixed": [3]}, "fixed 1: id is missing"),
]


@pytest.mark.parametrize(("change", "line"), FAULTS, ids=lambda x: x if isinstance(x, str) else "")
def test_a_faulty_instance_is_refused_with_the_request_and_the_field(tmp_path, change, line):
    result, answer = simulate(tmp_path, instance(**change))
    assert result.exit_code == 1
    assert answer is None
    assert line in result.stderr
    assert "Traceback" not in result.stderr


def test_all_faults_of_a_file_are_named_at_once_one_line_each(tmp_path):
    bad = instance(request("a", ra_deg=400, priority=0), request("b", dec_deg=None))
    del bad["overhead_s"]
    result, _ = simulate(tmp_path, bad)
    lines = [line.split(": ", 1)[1] for line in result.stderr.splitlines()]
    assert [line.split(" is ")[0] for line in lines] == [
        "overhead_s", "request a: ra_deg", "request a: priority", "request b: dec_deg",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '"\ud83d"'])
def test_what_is_no_instance_is_refused_in_one_line(text):
    with pytest.raises(InstanceError) as refusal:
        read_instance(text)
    assert len(refusal.value.faults) == 1


def test_wrong_usage_is_2_and_a_missing_file_is_1(tmp_path):
    runner = CliRunner()
    assert runner.invoke(schedule, ["simulate"]).exit_code == 2
    assert runner.invoke(schedule, ["simulate", "x.json"]).exit_code == 2
    missing = runner.invoke(schedule, ["simulate", str(tmp_path / "no.json"), "-o", str(tmp_path / "out.json")])
    assert missing.exit_code == 1
    assert "cannot be read" in missing.stderr
    good = tmp_path / "in.json"
    good.write_text(json.dumps(instance(request("a"))))
    assert runner.invoke(schedule, ["simulate", str(good), "-o", str(tmp_path / "no" / "out.json")]).exit_code == 1
