"""observatory.toml: every fault is named at once, in lines that a person can act upon."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.config import ConfigError, Settings, load, parse

DEVICES = {"telescope": {"url": "lx200+tcp://10.0.0.1:4030"}, "plc": {"url": "modbus://10.0.0.2"}}


def faults(**sections) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse({"devices": DEVICES} | sections, "observatory.toml")
    return str(caught.value).splitlines()


def test_the_example_in_the_repository_is_a_good_configuration():
    settings = load(Path(__file__).parents[2] / "observatory.example.toml")
    assert settings.devices.camera["vis"].filter_wheel == "vis"
    assert settings.mode == "robotic"


def test_the_example_says_the_defaults_truly():
    settings = load(Path(__file__).parents[2] / "observatory.example.toml")
    plain = parse({"devices": DEVICES}, "x")
    assert settings.safety == plain.safety
    assert settings.night == plain.night
    assert settings.site == plain.site


def test_all_faults_of_a_file_are_named_at_once():
    lines = faults(
        site={"longtude_deg": 1.0, "latitude_deg": 95},
        mode="manual",
        web={"port": "http"},
        devices={"plc": {"url": "modbus://plc"}, "camera": {"vis": {"url": "http://camera"}}},
    )
    for place in (
        "site.longtude_deg is not a key; did you mean longitude_deg?",
        "site.latitude_deg is 95",
        "mode is 'manual'",
        "web.port is 'http'",
        "devices.telescope is missing",
        "devices.camera.vis.url is 'http://camera'",
    ):
        assert sum(place in line for line in lines) == 1, (place, lines)
    assert len(lines) == 6


@pytest.mark.parametrize(
    "url",
    ["lx200+tcp://host", "lx200+tcp://host:99999", "alpaca://h:1/camera/0", "", "lx200+serial://dev", "lx200+tcp"],
)
def test_an_address_that_no_mount_has_is_refused_with_how_to_write_one(url):
    (line,) = faults(devices=DEVICES | {"telescope": {"url": url}})
    assert "lx200+tcp://host:port" in line


def test_a_camera_whose_wheel_does_not_exist_is_named():
    camera = {"url": "alpaca://10.0.0.3:11111/camera/0", "filter_wheel": "nir"}
    (line,) = faults(devices=DEVICES | {"camera": {"vis": camera}})
    assert "camera.vis.filter_wheel is 'nir'" in line


def test_a_rule_that_clears_above_its_limit_is_refused():
    (line,) = faults(safety={"wind_m_s": {"limit": 10, "clear": 12}})
    assert "safety.wind_m_s" in line
    assert "clear (12.0) is above limit (10.0)" in line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_limit_that_is_not_finite_is_refused(value):
    assert "finite" in faults(safety={"wind_m_s": {"limit": value, "clear": 1.0}})[0]


@given(st.sampled_from(sorted(Settings.model_fields)), st.text("abcdefgh_", min_size=1, max_size=12))
def test_no_unknown_key_passes_unnoticed(section, key):
    if section in {"mode", "seed", "devices"} or key in Settings.model_fields[section].annotation.model_fields:
        return
    (line,) = faults(**{section: {key: 1}})
    assert line.startswith(f"observatory.toml: {section}.{key} is not a key;")


@given(st.text(max_size=300))
def test_every_fault_is_one_line_whatever_the_value(text):
    (line,) = faults(mode=text)
    assert len(line) < 300


def test_relative_paths_count_from_the_files_own_folder(tmp_path):
    file = tmp_path / "observatory.toml"
    file.write_text(
        '[devices.telescope]\nurl = "lx200+tcp://h:1"\n[devices.plc]\nurl = "modbus://h"\n'
        '[analyzer]\nmasters = "masters"\ncatalogue = "/stars"\n'
    )
    settings = load(file)
    assert settings.analyzer.masters == tmp_path / "masters"
    assert settings.analyzer.catalogue == Path("/stars")


@pytest.mark.parametrize(
    ("content", "word"), [(b"\xff\xfe", "not UTF-8"), (b"[site", "is not TOML"), (b"x = 1\nx = 2", "is not TOML")]
)
def test_a_file_that_is_no_toml_is_refused_in_one_line(tmp_path, content, word):
    file = tmp_path / "observatory.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as caught:
        load(file)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")
