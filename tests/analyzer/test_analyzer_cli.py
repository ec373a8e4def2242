"""`pyros analyze` from the command line."""

import json

import pytest
from click.testing import CliRunner

from pyros.cli.analyze import analyze


def run(*arguments):
    return CliRunner().invoke(analyze, [str(argument) for argument in arguments])


def test_masters_are_made_and_then_find_the_burst(night, tmp_path):
    made = run("--calibrate", tmp_path / "m", *night.calibration)
    assert made.exit_code == 0, made.output
    (tmp_path / "alert.json").write_text(
        json.dumps({"ra_deg": night.centre[0], "dec_deg": night.centre[1], "error_deg": 0.08})
    )
    report = tmp_path / "out" / "report.json"
    common = ("--masters", tmp_path / "m", "--catalogue", night.catalogue, "--alert", tmp_path / "alert.json")
    result = run(*night.frames, *common, "-o", report)
    assert result.exit_code == 0, result.output
    answer = json.loads(report.read_text())
    assert answer["candidates"][0]["ra"] == pytest.approx(night.truth[0], abs=5e-4)
    assert answer["candidates"][0]["dec"] == pytest.approx(night.truth[1], abs=5e-4)
    assert answer["limiting_mag"] > 18


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--ra", "10", "-o", "r.json"], 2, "needs --ra, --dec and --radius-arcmin"),
        ([], 2, "-o REPORT.json"),
        (["--masters", "/nowhere", "-o", "r.json"], 1, "/nowhere does not exist"),
        (["--ra", "400", "-o", "r.json"], 2, "400"),
        (["--calibrate", "m", "--ra", "1"], 2, "takes no other option"),
        (["--alert", "/nowhere.json", "-o", "r.json"], 1, "cannot be read"),
    ],
)
def test_a_wrong_call_is_one_clear_line(tmp_path, monkeypatch, arguments, status, told):
    monkeypatch.chdir(tmp_path)
    result = run("f.fits", *arguments)
    assert result.exit_code == status
    assert told in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"ra_deg": 1, "dec_deg": 91, "error_deg": 1}', '{"ra_deg": "1"}', '{"ra_deg": NaN}']
)
def test_a_bad_alert_is_one_clear_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    result = run("f.fits", "--alert", tmp_path / "a.json", "-o", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_frames_that_cannot_be_measured_leave_a_report_and_a_status(tmp_path):
    result = run(tmp_path / "absent.fits", "-o", tmp_path / "r.json")
    assert result.exit_code == 1
    assert json.loads((tmp_path / "r.json").read_text())["problems"]
