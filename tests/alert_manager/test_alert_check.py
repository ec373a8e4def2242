import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pyros.actors.alert_manager.strategy import defaults, dump
from pyros.cli.alert import alert

NOTICES = Path(__file__).parent / "notices"
KEYS = (
    "ivorn stream role kind trigger t0 ra_deg dec_deg error_deg error_meaning significance retraction test verdict "
    "reason"
)


def check(*arguments):
    return CliRunner().invoke(alert, ["check", *map(str, arguments)])


def test_check_prints_one_json_object_with_the_agreed_keys():
    """AL-T5."""
    result = check(NOTICES / "swift_bat.xml")
    said = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(said) == KEYS.split()
    assert said["verdict"] == "ACCEPTED"
    assert "strategy grb_small_error 1" in said["reason"]


def test_check_says_when_an_interesting_burst_is_recorded_only(tmp_path):
    config = tmp_path / "observatory.toml"
    config.write_text("[alerts]\nmax_error_deg = 5\n")
    said = json.loads(check(NOTICES / "fermi_gbm_fin.xml", "--config", config).stdout)
    assert (said["verdict"], said["reason"][-13:]) == ("ACCEPTED", "recorded only")


def test_check_goes_by_the_strategies_of_the_observatory(tmp_path):
    config = tmp_path / "observatory.toml"
    config.write_text('[alerts]\nstrategies = "mine.toml"\nlocal_ivorn = "ivo://here/x"\n')
    assert check(NOTICES / "swift_bat.xml", "--config", config).exit_code == 1
    (tmp_path / "mine.toml").write_text(dump(defaults()[0]).replace("grb_small_error", "mine"))
    assert "strategy mine 1" in json.loads(check(NOTICES / "swift_bat.xml", "--config", config).stdout)["reason"]


def test_check_judges_the_age_at_reception():
    late = json.loads(check(NOTICES / "swift_bat.xml", "--at", "2026-11-25T00:00:00Z").stdout)
    assert (late["verdict"], late["reason"][:6]) == ("REJECTED", "3 days")


def test_check_takes_the_policy_of_an_observatory(tmp_path):
    config = tmp_path / "observatory.toml"
    config.write_text('[alerts]\nmissions = ["SVOM"]\n[[alerts.source]]\nkind = "folder"\n')
    assert "Swift is not among" in json.loads(check(NOTICES / "swift_bat.xml", "--config", config).stdout)["reason"]
    config.write_text("[alerts]\nmax_age_s = -1\nmax_eror_deg = 1\n")
    refused = check(NOTICES / "swift_bat.xml", "--config", config)
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"{}", b"<a/>", b"\x00\xff", b"<!DOCTYPE a><a/>", b"x" * (2 << 20)])
def test_check_of_an_unreadable_file_fails_with_one_line(tmp_path, content):
    file = tmp_path / "bad.xml"
    if content is not None:
        file.write_bytes(content)
    result = check(file)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "bad.xml" in result.stderr


def test_check_with_a_wrong_instant_is_wrong_usage():
    assert check(NOTICES / "swift_bat.xml", "--at", "noon").exit_code == 2
