"""The page's process under its actor, with real processes: it dies or hangs, and the page comes back."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyros.actors import web_process
from pyros.actors.environment import Environment
from pyros.actors.kernel import ChildSpec, Supervisor, System, start_supervisor
from pyros.actors.web_process import WebProcess
from pyros.clock import WallClock
from pyros.config import parse
from pyros.messages.base import GetState
from pyros.messages.system import Crash, Shutdown

DEVICES = {
    "telescope": {"url": "lx200+tcp://127.0.0.1:1"},
    "plc": {"url": "modbus://127.0.0.1:2?unit=1"},
}


class Site:
    """The page's actor alone, under a supervisor."""

    def __init__(self, folder):
        settings = parse({"mode": "simulation", "devices": DEVICES, "web": {"port": 0}}, "web test")
        self.pool = ThreadPoolExecutor(1)
        environment = Environment.of(settings, folder, self.pool)
        self.system = System(WallClock())
        self.supervisor = start_supervisor(
            self.system,
            lambda context: Supervisor(context, [ChildSpec("web", lambda inner: WebProcess(inner, environment))]),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.system.tell("supervisor", Shutdown(cause="the test is over"))
        assert self.supervisor.finished.wait(15)
        self.pool.shutdown()

    def state(self):
        return self.system.ask("web", GetState(), 5.0)

    def page(self):
        """Wait for the page and return its address."""
        until(lambda: self.state().page, 30)
        return self.state().page


def until(condition, within_s=15.0):
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "it has not come about"
        time.sleep(0.05)


def children():
    """Pids of the page's processes that this process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if b"pyros.web" in command and parent == os.getpid():
            found.append(int(entry.name))
    return found


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for the page's process in Linux's /proc")


def test_a_page_whose_process_is_killed_is_back_at_once(tmp_path):
    with Site(tmp_path) as site:
        site.page()
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        until(lambda: site.state().restarts == 1)
        with urllib.request.urlopen(site.page() + "healthz", timeout=5) as answer:
            assert answer.status == 200
        assert children() != [pid]
    assert children() == []


def test_a_page_whose_process_hangs_is_killed_after_three_silences_and_served_again(tmp_path, monkeypatch):
    monkeypatch.setattr(web_process, "HEALTH_EVERY_S", 0.2)
    monkeypatch.setattr(web_process, "ANSWERS_WITHIN_S", 0.3)
    with Site(tmp_path) as site:
        site.page()
        (pid,) = children()
        time.sleep(2.5)
        assert children() == [pid], "one that answers is left alone"
        os.kill(pid, signal.SIGSTOP)
        until(lambda: site.state().restarts == 1)
        assert "left 3 /healthz in a row unanswered" in site.state().problem
        assert site.page()
        assert pid not in children()
    assert children() == []


def test_a_page_that_never_comes_is_killed_and_tried_again(tmp_path, monkeypatch):
    mute = [sys.executable, "-c", "import time; time.sleep(600) # pyros.web"]
    monkeypatch.setattr(web_process, "STARTS_WITHIN_S", 0.5)
    monkeypatch.setattr(web_process, "command", lambda environment: mute)
    with Site(tmp_path) as site:
        until(lambda: site.state().restarts >= 2)
        assert "served no page within 0.5 s" in site.state().problem
        assert site.state().page == ""
    assert children() == []


def test_a_page_that_cannot_be_served_backs_off_and_says_why(tmp_path, monkeypatch):
    broken = [sys.executable, "-c", "import sys; sys.exit('pyros web: port 8080 is taken')"]
    monkeypatch.setattr(web_process, "command", lambda environment: broken)
    with Site(tmp_path) as site:
        until(lambda: site.state().restarts >= 3)
        assert "port 8080 is taken; next try in 2 s" in site.state().problem


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_when_the_pages_actor_breaks_the_next_one_serves_another_page_and_the_old_process_is_gone(tmp_path, how):
    with Site(tmp_path) as site:
        site.page()
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)  # not even one that is stopped stays
        site.system.tell("web", Crash(how=how))
        until(lambda: pid not in children())
        assert site.page()
        assert len(children()) == 1
    assert children() == []
