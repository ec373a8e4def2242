"""`pyros install-service`: what it writes on this machine, what it refuses, and that it says what it did."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from service_manager import read_unit

from pyros.cli import pyros as command
from pyros.cli import service_machine
from pyros.cli.service_machine import Account, blocked_by, permits, run_as, stops_within_s, this_command
from pyros.cli.service_units import ALARM, HEADER, SERVICE, TIMER, VERIFY
from pyros.config import parse

ME = pwd.getpwuid(os.getuid()).pw_name
NOBODY = Account("nobody-here", 54_321, 54_321, frozenset({54_321}))
TOML = """
[devices.telescope]
url = "lx200+serial:///dev/ttyUSB0?baud=9600"
[devices.plc]
url = "modbus://127.0.0.1:9?unit=1"
[web]
enabled = false
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "units").mkdir()
    (tmp_path / "observatory.toml").write_text(TOML)
    return tmp_path


def install(place, *more, user=ME, config="observatory.toml"):
    arguments = ["install-service", "--config", place / config, "--state", place / "state", "--user", user]
    return CliRunner().invoke(command, [str(word) for word in [*arguments, "--prefix", place / "units", *more]])


def test_the_units_name_this_installation_and_say_what_to_do_next(place):
    result = install(place)
    assert result.exit_code == 0, result.output
    assert {file.name for file in (place / "units").iterdir()} == {SERVICE, VERIFY, TIMER, ALARM}
    service = read_unit(place / "units" / SERVICE)
    called = " ".join(this_command())
    assert Path(this_command()[0]).is_absolute()
    assert service["ExecStart"] == [f"{called} run --config {place}/observatory.toml --state {place}/state"]
    assert service["ExecStopPost"] == [f"{called} close-dome --state {place}/state --wait 0"]
    assert service["User"] == [ME]
    assert service["DeviceAllow"] == ["char-ttyUSB rw"]
    assert service["ReadWritePaths"] == [str(place / "state")]
    assert "systemctl daemon-reload" in result.stdout
    assert "systemctl enable --now pyros.service pyros-verify-closed.timer" in result.stdout


def test_every_file_is_readable_by_systemd_and_nothing_else_is_left_behind(place):
    install(place)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (place / "units").iterdir()} == {0o644}
    assert len(list((place / "units").iterdir())) == 4


def test_a_configuration_whose_devices_do_not_answer_is_a_warning(place):
    result = install(place)
    assert result.exit_code == 0
    assert "MISSING  plc" in result.stdout
    assert "the service starts all the same" in result.stdout


def test_installing_twice_changes_nothing_and_says_so(place):
    install(place)
    before = {file: (file.stat().st_mtime_ns, file.read_text()) for file in (place / "units").iterdir()}
    result = install(place)
    assert result.stdout.count("unchanged  ") == 4
    assert before == {file: (file.stat().st_mtime_ns, file.read_text()) for file in (place / "units").iterdir()}


def test_what_an_installation_changes_is_shown_line_by_line(place):
    install(place)
    file = place / "units" / SERVICE
    file.write_text(file.read_text().replace("WatchdogSec=30", "WatchdogSec=3600"))
    result = install(place)
    assert "-WatchdogSec=3600" in result.stdout
    assert "+WatchdogSec=30" in result.stdout
    assert result.stdout.count("unchanged  ") == 3
    assert "WatchdogSec=30\n" in file.read_text()


def test_a_unit_that_somebody_else_wrote_is_not_overwritten(place):
    (place / "units" / SERVICE).write_text("[Service]\nExecStart=/bin/true\n")
    result = install(place)
    assert result.exit_code == 1
    assert "was not written by this command" in result.stderr
    assert HEADER not in (place / "units" / SERVICE).read_text()
    assert len(list((place / "units").iterdir())) == 1


def test_a_dry_run_prints_the_units_and_writes_nothing(place):
    result = install(place, "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(HEADER) == 4
    assert "MISSING" not in result.stdout
    assert "MISSING" in result.stderr
    assert not list((place / "units").iterdir())


def refused(place, **how):
    result = install(place, **how)
    assert result.exit_code == 1
    assert not list((place / "units").iterdir())
    lines = result.stderr.splitlines()
    assert all(line.startswith("pyros: ") for line in lines), result.output
    return lines


def test_a_user_that_is_not_there_is_refused_with_how_to_make_one(place):
    (line,) = refused(place, user="no_such_user")
    assert "useradd --system" in line
    assert "'no_such_user'" in line


def test_a_configuration_that_is_not_there_is_refused(place):
    (line,) = refused(place, config="nowhere.toml")
    assert "nowhere.toml: cannot be read" in line


def test_every_fault_is_named_at_once_a_line_each(place):
    (place / "observatory.toml").write_text(TOML.replace("9600", "9601") + "colour = 3\n")
    assert len(refused(place, user="no_such_user")) == 2
    (place / "observatory.toml").write_text(TOML.replace("9600", "9601"))
    url, user = refused(place, user="no_such_user")
    assert "9601" in url
    assert "no_such_user" in user


def test_a_state_directory_elsewhere_has_to_be_there(place):
    (place / "state").rmdir()
    (line,) = refused(place)
    assert f"install -d -o {ME}" in line
    assert not (place / "state").exists()


def test_a_place_for_units_that_is_not_there_is_refused(place):
    result = install(place, "--prefix", place / "nowhere")
    assert result.exit_code == 1
    assert "nowhere is no folder" in result.stderr


def test_what_the_services_user_may_not_read_or_write_is_refused(place, monkeypatch):
    place.joinpath("state").chmod(0o755)
    place.joinpath("observatory.toml").chmod(0o600)
    monkeypatch.setattr(service_machine, "account_of", lambda user: NOBODY)
    lines = refused(place)
    assert any(f"{place}/state: user nobody-here may not write there" in line for line in lines)
    assert any(f"{place}/observatory.toml: user nobody-here may not read it" in line for line in lines)


def test_a_folder_that_bars_the_way_is_named(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "closed" / "inner").mkdir(parents=True)
    (tmp_path / "closed" / "inner" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "closed" / "inner" / "file")
    owner = Account("me", os.getuid(), os.getgid(), frozenset({os.getgid()}))
    assert blocked_by(tmp_path / "link", owner, 4) is None
    (tmp_path / "closed").chmod(0o700)
    barred = blocked_by(tmp_path / "link", NOBODY, 4)
    assert barred is not None
    assert barred == tmp_path / "closed" or not permits(barred.stat(), NOBODY, 1)


@given(mode=st.integers(0, 0o777), need=st.integers(1, 7), uid=st.integers(1, 3), gid=st.integers(1, 3))
def test_the_mode_of_a_file_counts_for_its_owner_then_its_group_then_the_others(mode, need, uid, gid):
    who = Account("ann", 2, 2, frozenset({2}))
    status = os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    bits = (mode >> 6) % 8 if uid == 2 else (mode >> 3) % 8 if gid == 2 else mode % 8
    assert permits(status, who, need) == all(bits & bit for bit in (1, 2, 4) if need & bit)
    assert permits(status, who._replace(uid=0), need)


def test_a_roof_that_waits_for_the_telescope_to_park_is_given_that_time_too():
    devices = {"telescope": {"url": "lx200+tcp://h:1"}, "plc": {"url": "modbus://h"}}
    clamshell, roof = (parse({"devices": devices, "dome": {"kind": kind}}, "") for kind in ("clamshell", "roll_off"))
    assert stops_within_s(roof) - stops_within_s(clamshell) == roof.dome.park_within_s


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process as somebody else")
def test_the_configuration_is_checked_as_the_services_user_with_its_groups(tmp_path):
    nobody, group = pwd.getpwnam("nobody"), grp.getgrall()[-1]
    status, words = run_as(["/usr/bin/id", "-u"], "nobody", [group.gr_name], tmp_path, 10)
    assert (status, words.strip()) == (0, str(nobody.pw_uid))
    _, words = run_as(["/usr/bin/id", "-G"], "nobody", [group.gr_name, "no_such_group"], tmp_path, 10)
    assert str(group.gr_gid) in words.split()
    assert "0" not in words.split()
    assert tmp_path.stat().st_uid == nobody.pw_uid
