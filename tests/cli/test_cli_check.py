"""`pyros check` names each missing thing in one line (WK-9), and moves nothing."""

from __future__ import annotations

import socket

import pytest
from cli_stage import SILENT, observatory, write_config
from click.testing import CliRunner

from pyros.cli import pyros


@pytest.fixture(scope="module")
def stage():
    with observatory() as stage:
        yield stage


def check(tmp_path, config):
    result = CliRunner().invoke(pyros, ["check", "--config", str(config), "--state", str(tmp_path / "state")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def missing(result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("MISSING")]


def test_an_observatory_where_everything_answers_is_good(tmp_path, stage):
    result = check(tmp_path, write_config(tmp_path, stage))
    assert result.exit_code == 0, result.output
    for what in ("telescope", "plc", "camera:vis", "filter_wheel:vis", "alert source vtp", "page", "state directory"):
        assert f"ok       {what}: " in result.stdout
    assert stage.plc.moves() == []


def test_each_missing_thing_is_named_in_a_line_of_its_own(tmp_path, stage):
    """WK-9."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(tmp_path, stage, telescope=SILENT, vtp="vtp://127.0.0.1:9", pixels=256, port=port)
        config.write_text(config.read_text() + '[analyzer]\ncatalogue = "nowhere"\n')
        result = check(tmp_path, config)
    assert result.exit_code == 1
    lines = missing(result)
    assert len(lines) == 5
    for words in (
        "telescope: lx200+tcp://127.0.0.1:9",
        "vtp://127.0.0.1:9 does not answer",
        f"127.0.0.1:{port} cannot be listened on: Address already in use",
        "it has 128×128 pixels, but devices.camera.vis.pixels is 256",
        f"{tmp_path / 'nowhere'} does not exist",
    ):
        assert sum(words in line for line in lines) == 1, (words, lines)
    assert "5 things to put right" in result.stderr


def test_faults_of_the_file_come_before_anything_is_tried(tmp_path):
    config = tmp_path / "observatory.toml"
    config.write_text('mode = "x"\nspeed = 2\n')
    result = check(tmp_path, config)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 3
    assert all(str(config) in line for line in result.stderr.splitlines())
    assert not (tmp_path / "state").exists()


def test_details_of_an_address_are_checked_as_the_driver_reads_them(tmp_path, stage):
    config = write_config(tmp_path, stage, plc=stage.urls["plc"].replace("unit=1", "unit=999"))
    result = check(tmp_path, config)
    assert result.exit_code == 1
    assert f"{config}: devices.plc.url: " in result.stderr


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path, stage):
    (tmp_path / "state").write_text("a file stands here")
    result = check(tmp_path, write_config(tmp_path, stage))
    assert result.exit_code == 2
    assert "is a file" in result.stderr


def test_a_check_without_a_configuration_is_wrong_usage():
    assert CliRunner().invoke(pyros, ["check"]).exit_code == 2
