"""What is said to systemd, on the wire, and what is read of its watchdog."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.cli.daemon_notify import notify, watchdog_beat_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's, as is systemd")


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    """A socket as systemd binds one, at the address that it would put into the environment."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@pyros-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0" + address[1:] if address.startswith("@") else address)
        line.settimeout(2.0)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield line


def test_several_states_arrive_in_one_datagram(systemd):
    assert notify("READY=1\nSTATUS=observing; SAFE; dome open; 23 of 23 actors up; 4′ to go") is True
    assert systemd.recv(4096).decode() == "READY=1\nSTATUS=observing; SAFE; dome open; 23 of 23 actors up; 4′ to go"


def test_each_call_is_a_datagram_of_its_own(systemd):
    notify("WATCHDOG=1")
    notify("STOPPING=1")
    assert [systemd.recv(4096), systemd.recv(4096)] == [b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", [None, ""])
def test_without_systemd_nobody_listens_and_nothing_happens(monkeypatch, address):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify("READY=1") is False


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", "@", "/nowhere/notify", "/" + 200 * "x"])
def test_an_address_that_cannot_be_reached_raises_oserror_and_nothing_else(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with pytest.raises(OSError):
        notify("READY=1")


def test_a_systemd_that_does_not_read_holds_nobody_up_for_long(systemd):
    """Its queue is full after some datagrams; then the call gives up, and raises."""
    with pytest.raises(OSError):
        for _ in range(100_000):
            notify("WATCHDOG=1")


def test_the_beat_is_half_of_the_watchdogs_time():
    assert watchdog_beat_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 15.0
    assert watchdog_beat_s({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert watchdog_beat_s({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "77"}, pid=77) == 4.0


def test_a_watchdog_that_is_meant_for_another_process_is_not_ours():
    assert watchdog_beat_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}) is None


@given(st.text(max_size=12), st.text(max_size=6))
def test_whatever_the_environment_says_the_beat_is_a_positive_time_or_none(period, watched):
    beat_s = watchdog_beat_s({"WATCHDOG_USEC": period, "WATCHDOG_PID": watched}, pid=5)
    assert beat_s is None or beat_s > 0
    assert beat_s is not None or not (period.isascii() and period.isdigit() and int(period) and watched in {"", "5"})
