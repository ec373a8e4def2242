"""The units as files: what systemd itself thinks of them, and that the shipped ones are those that would be written."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import service_sandbox
from hypothesis import given
from hypothesis import strategies as st
from service_manager import read_unit

from pyros.cli.daemon import CLOSES_WITHIN_S, STOPS_WITHIN_S
from pyros.cli.service_units import (
    ALARM,
    SERVICE,
    TIMER,
    VERIFY,
    Installation,
    UnitError,
    device_kinds,
    has_to_be_there,
    units,
)

SHIPPED = Path(__file__).parents[2] / "systemd"
HERE = Installation(command=(sys.executable, "-m", "pyros"), reads=(Path(sys.prefix),))
MOST_EXPOSED = 20
"""Tenths, as `systemd-analyze security` counts: 2.0."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze IS MISSING: NOBODY HAS VERIFIED THE UNITS; install Debian's package systemd",
)


def analyze(*arguments):
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def written(folder, installation):
    for name, text in units(installation).items():
        (folder / name).write_text(text)
    return [folder / name for name in units(installation)]


def of(name, **changes):
    """Return the values of one unit of an installation, by key."""
    values: dict[str, list[str]] = {}
    for line in units(replace(Installation(), **changes))[name].splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


def test_the_shipped_units_are_those_that_would_be_written_for_the_default_installation():
    shipped = {file.name: file.read_text(encoding="utf-8") for file in SHIPPED.iterdir()}
    assert shipped == units(Installation())


@needs_systemd
@pytest.mark.parametrize(
    "changes",
    [{}, {"serial_lines": ()}, {"state": Path("/srv/pyros"), "gateway": Path("/run/pyros/gateway")}],
    ids=["shipped", "no serial lines", "state elsewhere"],
)
def test_systemd_finds_nothing_to_say_about_the_units(tmp_path, changes):
    """MO-E1: `systemd-analyze verify` clean, for the installation that runs this test."""
    files = written(tmp_path, replace(HERE, **changes))
    result = analyze("verify", "--man=no", "--recursive-errors=no", *files)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@needs_systemd
def test_systemd_does_find_a_mistake_where_there_is_one(tmp_path):
    """The test before this one would notice."""
    files = written(tmp_path, HERE)
    (tmp_path / SERVICE).write_text(units(HERE)[SERVICE].replace("WatchdogSec=30", "WatchdogSeconds=30"))
    assert "WatchdogSeconds" in analyze("verify", "--man=no", *files).stderr


@needs_systemd
@pytest.mark.parametrize("name", [SERVICE, VERIFY, ALARM])
def test_no_service_is_more_exposed_than_two(tmp_path, name):
    written(tmp_path, Installation())
    result = analyze("security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", tmp_path / name)
    assert result.returncode == 0, result.stdout[-200:]
    assert "Overall exposure level" in result.stdout


@needs_systemd
def test_the_timer_asks_twice_an_hour():
    (calendar,) = read_unit(SHIPPED / TIMER)["OnCalendar"]
    assert "*-*-* *:05/30:00" in analyze("calendar", calendar).stdout


def test_systemd_waits_longer_for_an_end_than_the_daemon_takes():
    service = of(SERVICE)
    assert float(service["TimeoutStopSec"][0]) > CLOSES_WITHIN_S + STOPS_WITHIN_S + 30
    assert service["StartLimitIntervalSec"] == ["0"]
    assert service["Restart"] == ["always"]


def test_every_end_is_followed_by_closing_the_dome_from_the_state_directory_alone():
    (after,) = of(SERVICE)["ExecStopPost"]
    assert after == "/opt/pyros/bin/pyros close-dome --state /var/lib/pyros --wait 0"
    assert "observatory.toml" not in after


def test_usb_lines_are_allowed_by_their_kind_and_their_driver_is_loaded_first():
    service = of(SERVICE, serial_lines=("/dev/ttyUSB0", "/dev/ttyACM3", "/dev/ttyUSB7", "/dev/ttyS0"))
    assert service["DeviceAllow"] == ["char-ttyUSB rw", "char-ttyACM rw", "char-ttyS rw"]
    assert "modprobe@usbserial.service modprobe@cdc_acm.service" in service["After"][0]
    assert service["Wants"] == service["After"]
    assert service["SupplementaryGroups"] == ["dialout"]


def test_a_site_without_serial_lines_shows_the_daemon_no_devices():
    service = of(SERVICE, serial_lines=(), serial_groups=())
    assert service["PrivateDevices"] == ["yes"]
    assert "DeviceAllow" not in service
    assert "modprobe" not in units(replace(Installation(), serial_lines=()))[SERVICE]


def test_a_link_to_an_adapter_that_is_not_there_allows_either_kind_of_usb_line():
    assert device_kinds(["/dev/serial/by-id/usb-10micron"]) == ("ttyUSB", "ttyACM")
    assert device_kinds(["/dev/pts/3"]) == ()


def test_systemd_makes_the_state_directory_below_var_lib_and_no_other():
    assert of(SERVICE)["StateDirectory"] == ["pyros"]
    elsewhere = {"state": Path("/srv/pyros"), "gateway": Path("/run/pyros/gateway")}
    service = of(SERVICE, **elsewhere)
    assert service["ReadWritePaths"] == ["/srv/pyros"]
    assert service["RuntimeDirectory"] == ["pyros/gateway"]
    assert "StateDirectory" not in service
    assert has_to_be_there(replace(Installation(), **elsewhere)) == (Path("/srv/pyros"),)
    assert has_to_be_there(replace(Installation(), state=Path("/var/lib"))) == (Path("/var/lib"),)


@pytest.mark.parametrize(
    ("changes", "homes", "private_tmp"),
    [
        ({}, "yes", "yes"),
        ({"command": ("/home/ann/pyros/bin/pyros",)}, "read-only", "yes"),
        ({"reads": (Path("/root/python/3.11"),)}, "read-only", "yes"),
        ({"config": Path("/tmp/observatory.toml")}, "yes", "no"),
        ({"config": Path("/homestead/observatory.toml")}, "yes", "yes"),
    ],
)
def test_homes_and_temporary_files_are_hidden_unless_the_service_needs_one(changes, homes, private_tmp):
    for name in (SERVICE, VERIFY):
        assert of(name, **changes)["ProtectHome"] == [homes]
        assert of(name, **changes)["PrivateTmp"] == [private_tmp]


@given(st.text(min_size=1, max_size=20))
def test_a_path_either_stands_in_the_unit_as_it_is_or_is_refused(text):
    config = Path("/etc") / text.replace("/", "")
    changed = replace(Installation(), config=config)
    if any(character.isspace() or ord(character) < 32 or character in "\"'%$\\;\x7f" for character in str(config)):
        with pytest.raises(UnitError):
            units(changed)
        return
    line = next(line for line in units(changed)[SERVICE].split("\n") if line.startswith("ExecStart="))
    assert shlex.split(line) == line.split()
    assert line == f"ExecStart=/opt/pyros/bin/pyros run --config {config} --state /var/lib/pyros"


@pytest.mark.parametrize("character", [" ", '"', "'", "%", "$", ";", "\\", "\n", "\t"])
def test_a_character_that_means_something_to_systemd_is_named_in_the_refusal(character):
    with pytest.raises(UnitError) as caught:
        units(replace(Installation(), state=Path(f"/srv/a{character}b")))
    assert repr(character) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(bool(service_sandbox.MISSING), reason=service_sandbox.MISSING or "-")
@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ("socket.socket(socket.AF_INET)", ""),
        ("os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))", ""),
        ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "PermissionError"),
        ("os.sched_setaffinity(0, {0})", "PermissionError"),
        ("os.chroot('/')", "PermissionError"),
    ],
)
def test_the_sandbox_of_these_tests_forbids_what_the_unit_forbids_and_no_more(attempt, error):
    sandbox = [sys.executable, service_sandbox.__file__, str(SHIPPED / SERVICE)]
    command = [*sandbox, sys.executable, "-c", f"import os, socket; {attempt}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode == 0) == (not error), done.stderr
    assert error in done.stderr
