"""`pyros close-dome` and `pyros verify-closed`: without the daemon, by what the last one remembered."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cli_stage import SILENT, observatory, wait_for, write_config
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pyros.cli import pyros, verify_closed
from pyros.cli.last_good import LAST_GOOD, LastGood, LastGoodError, last_good, remember
from pyros.clock import Clock

KNOWN = LastGood(
    plc_url="modbus://127.0.0.1:9?unit=1",
    telescope_url=SILENT,
    parks_first=False,
    park_within_s=10.0,
    longitude_deg=-115.4637,
    latitude_deg=31.0442,
    height_m=2830.0,
)


@pytest.fixture
def stage():
    with observatory() as stage:
        yield stage


def run(*arguments):
    result = CliRunner().invoke(pyros, [str(word) for word in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def known(stage, folder, **changes):
    """Leave behind what a daemon of this observatory remembers."""
    remember(folder, with_(KNOWN, plc_url=stage.urls["plc"], telescope_url=stage.urls["telescope"], **changes))


def with_(one, **changes):
    return LastGood(**{name: getattr(one, name) for name in one.__struct_fields__} | changes)


def ajar(stage):
    """Open the dome by a little."""
    assert stage.plc.write_holding(0, [1])  # a heartbeat, without which it does not open after a boot
    stage.plc.pulse(0)
    wait_for(lambda: stage.world.dome_open_fraction(stage.world.clock.now()) > 0.01)


def directions(stage):
    return [move.direction for move in stage.plc.moves()]


# -- what is remembered ----------------------------------------------------------------------------------------------


def test_what_closing_needs_is_kept_durably_and_the_last_word_counts(tmp_path):
    assert last_good(tmp_path) is None
    for parks_first in (False, True, True):
        remember(tmp_path, with_(KNOWN, parks_first=parks_first))
    assert last_good(tmp_path).parks_first
    assert [file.name for file in tmp_path.iterdir()] == [LAST_GOOD]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modbus://127.0.0.1:502\n", "cannot be used"),
        ("", "cannot be used"),
        ('{"format": 2}', "format"),
        (json.dumps({"plc_url": "modbus://a"}), "telescope_url"),
        (
            json.dumps({name: getattr(KNOWN, name) for name in KNOWN.__struct_fields__} | {"park_within_s": 1e9}),
            "<= 600",
        ),
    ],
)
def test_a_broken_or_old_memory_is_named_in_one_line_and_the_next_daemon_writes_it_anew(tmp_path, text, words):
    (tmp_path / LAST_GOOD).write_text(text)
    with pytest.raises(LastGoodError, match=words) as error:
        last_good(tmp_path)
    assert "\n" not in str(error.value)
    result = run("close-dome", "--state", tmp_path)
    assert result.exit_code == 1
    assert "close the dome by hand" in result.stderr
    remember(tmp_path, KNOWN)
    assert last_good(tmp_path) == KNOWN


@given(text=st.binary(max_size=300))
def test_whatever_stands_in_the_file_it_is_read_or_named(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("state")
    (folder / LAST_GOOD).write_bytes(text)
    with pytest.raises(LastGoodError):
        last_good(folder)


# -- close-dome ------------------------------------------------------------------------------------------------------


def test_close_dome_closes_by_the_last_good_address_when_the_configuration_is_broken(tmp_path, stage):
    config = tmp_path / "broken.toml"
    config.write_text("[devices.plc]\nurl = 3\n")
    known(stage, tmp_path)
    ajar(stage)
    result = run("close-dome", "--config", config, "--state", tmp_path)
    assert result.exit_code == 0, result.output
    assert "using the last address that answered" in result.stderr
    assert "its closed switch says so" in result.stdout
    assert directions(stage)[:2] == [1, -1]


def test_close_dome_parks_the_telescope_as_well(tmp_path, stage):
    known(stage, tmp_path)
    stage.mount.unpark()
    assert run("close-dome", "--state", tmp_path).exit_code == 0
    assert len(stage.mount.slews) == 1


def test_close_dome_without_waiting_ends_when_the_plc_has_taken_the_order(tmp_path, stage):
    known(stage, tmp_path)
    ajar(stage)
    result = run("close-dome", "--state", tmp_path, "--wait", "0")
    assert result.exit_code == 0, result.output
    assert "has taken the order" in result.stdout
    assert stage.plc.last_cause() == "command"


def test_close_dome_parks_first_where_the_roof_would_touch_the_tube(tmp_path, stage):
    stage.roof_needs_park = True
    known(stage, tmp_path, parks_first=True, park_within_s=60.0)
    ajar(stage)
    stage.plc.pulse(2)
    stage.mount.unpark()
    result = run("close-dome", "--state", tmp_path)
    assert result.exit_code == 0, result.output
    assert "parking the telescope" in result.stdout
    closing = next(move for move in stage.plc.moves() if move.direction < 0)
    assert stage.mount.parked(closing.start_s)
    assert stage.observer.violations == []


def test_close_dome_leaves_a_roof_over_a_telescope_that_does_not_park_and_says_so_loudly(tmp_path, stage):
    stage.roof_needs_park = True
    known(stage, tmp_path, parks_first=True)
    ajar(stage)
    stage.plc.pulse(2)
    stage.mount.unpark()
    stage.world.faults.start("telescope", "disconnect", None)
    result = run("close-dome", "--state", tmp_path)
    assert result.exit_code == 1
    assert "not seen parked in 10 s" in result.stderr
    assert "close it by hand" in result.stderr
    assert -1 not in directions(stage)


def test_a_telescope_s_address_that_is_none_keeps_no_clamshell_open(tmp_path, stage):
    known(stage, tmp_path)
    remember(tmp_path, with_(last_good(tmp_path), telescope_url="carrier://pigeon"))
    ajar(stage)
    assert run("close-dome", "--state", tmp_path, "--wait", "0").exit_code == 0
    assert -1 in directions(stage)


def test_close_dome_tries_the_configuration_s_address_first_and_then_the_one_that_was_good(tmp_path, stage):
    config = write_config(tmp_path, stage, plc="modbus://127.0.0.1:9?unit=1")
    known(stage, tmp_path)
    ajar(stage)
    result = run("close-dome", "--config", config, "--state", tmp_path, "--wait", "0")
    assert result.exit_code == 0, result.output
    assert "127.0.0.1:9" in result.stderr
    assert -1 in directions(stage)


def test_close_dome_without_any_address_says_to_close_by_hand(tmp_path):
    result = run("close-dome", "--state", tmp_path)
    assert result.exit_code == 1
    assert "close the dome by hand" in result.stderr


# -- verify-closed ---------------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch):
    """Looks that follow each other as soon as the life counter allows."""
    monkeypatch.setattr(verify_closed, "BETWEEN_S", 1.1)


def by_day(monkeypatch, *, day):
    monkeypatch.setattr(verify_closed, "sun_altitude_deg", lambda *_: 30.0 if day else -30.0)


def test_by_day_a_closed_dome_is_one_line_and_status_zero(tmp_path, stage, monkeypatch, at_once):
    by_day(monkeypatch, day=True)
    known(stage, tmp_path)
    result = run("verify-closed", "--state", tmp_path)
    assert (result.exit_code, result.stdout.count("\n"), result.stderr) == (0, 1, "")
    assert "the dome is closed" in result.stdout


def test_by_day_a_dome_that_is_not_closed_is_a_loud_line_and_status_one(tmp_path, stage, monkeypatch, at_once):
    by_day(monkeypatch, day=True)
    known(stage, tmp_path)
    ajar(stage)
    result = run("verify-closed", "--state", tmp_path)
    assert result.exit_code == 1
    assert "THE DOME IS NOT KNOWN TO BE CLOSED" in result.stderr
    assert "opening" in result.stderr


def test_by_night_it_is_satisfied_unless_asked_for_anytime(tmp_path, stage, monkeypatch, at_once):
    by_day(monkeypatch, day=False)
    known(stage, tmp_path)
    ajar(stage)
    result = run("verify-closed", "--state", tmp_path)
    assert result.exit_code == 0
    assert "below the horizon" in result.stdout
    assert run("verify-closed", "--state", tmp_path, "--anytime").exit_code == 1


@pytest.mark.parametrize(
    ("case", "words"),
    [("both switches", "unknown"), ("no answer", "cannot be asked"), ("standing still", "life counter stands")],
)
def test_a_plc_that_does_not_say_so_beyond_doubt_is_an_alarm(tmp_path, stage, monkeypatch, at_once, case, words):
    by_day(monkeypatch, day=True)
    known(stage, tmp_path)
    real = stage.plc.input_registers
    registers = {
        "both switches": lambda: [real()[0], real()[1] | 3, *real()[2:]],
        "standing still": lambda: [77, *real()[1:]],
        "no answer": real,
    }
    monkeypatch.setattr(stage.plc, "input_registers", registers[case])
    if case == "no answer":
        stage.world.faults.start("plc", "disconnect", None)
    result = run("verify-closed", "--state", tmp_path)
    assert result.exit_code == 1
    assert words in result.stderr


def test_one_lost_reply_is_no_alarm(tmp_path, stage, monkeypatch, at_once):
    by_day(monkeypatch, day=True)
    known(stage, tmp_path)
    stage.world.faults.start("plc", "disconnect", 0.5)
    assert run("verify-closed", "--state", tmp_path).exit_code == 0


def test_without_an_address_nobody_knows_and_that_is_an_alarm(tmp_path):
    result = run("verify-closed", "--state", tmp_path)
    assert result.exit_code == 1
    assert "no PLC address" in result.stderr


def test_whether_the_sun_is_up_is_computed_for_the_remembered_site(tmp_path, stage, monkeypatch, at_once):
    known(stage, tmp_path)
    noon_utc_h = (12.0 - KNOWN.longitude_deg / 15.0) % 24.0
    real = Clock.now

    def at(hours):
        return lambda clock: real(clock).replace(hour=0, minute=0) + timedelta(hours=hours)

    monkeypatch.setattr(Clock, "now", at(noon_utc_h + 12.0))
    assert "below the horizon" in run("verify-closed", "--state", tmp_path).stdout
    monkeypatch.setattr(Clock, "now", at(noon_utc_h))
    assert "the dome is closed" in run("verify-closed", "--state", tmp_path).stdout
