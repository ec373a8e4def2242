"""The page's process: a child that is started, watched, and started again; its death harms nobody.

Owns the child process (`python -m pyros.web`), which talks to the gateway like any other client. Takes its own `Poll`,
once a real second; emits `WebState`. Decides when the child is started again (with the kernel's backoff, in real
seconds) and when it hangs: three `/healthz` in a row, one every five real seconds, that it does not answer, or no page
at all in a minute. When it dies the child is killed, and the next incarnation starts another.
"""

from __future__ import annotations

import http.client
import logging
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pyros
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Backoff, Context
from pyros.messages.devices import Poll
from pyros.messages.system import WebState
from pyros.orphans import PARENT

SECRET = "web_secret"  # noqa: S105 - a file's name
TOKEN = "one_time_token"  # noqa: S105 - a file's name
"""Whoever writes `NAME TOKEN` into this file of the state directory may log in once, at /login?token=TOKEN."""
HEALTH_EVERY_S = 5.0
ANSWERS_WITHIN_S = 1.0
MOST_SILENCES = 3
STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 2.0
_PAGE = "page: "
_log = logging.getLogger("pyros.web_process")


class WebProcess(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._command = command(environment)
        self._backoff = Backoff(random.Random(environment.settings.seed))
        self._child: Child | None = None
        self._problem = ""
        self._restarts = self._silences = 0
        self._due_s = self._asked_s = self._now_s()

    def on_start(self) -> None:
        """Start the child."""
        self.lease.on_revoke(self._kill)
        self.on_poll(Poll())

    def on_stop(self) -> None:
        """End the child and wait for it."""
        if self._child is not None:
            self._child.end()

    def on_poll(self, _: Poll) -> None:
        """Look after the child; arm the next look."""
        self.after(self.clock.speed, Poll())
        if self._child is not None and self._child.over:
            self._bury(self._child)
        if self._child is not None:
            self._look_at(self._child)
        elif self._now_s() >= self._due_s:
            self._start()
        self.show()

    def _start(self) -> None:
        self._silences, self._asked_s = 0, self._now_s()
        self._backoff.up(self._now_s())
        self._child = Child(self._command)
        if not self.lease.valid:  # replaced in this very moment
            self._kill()

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _look_at(self, child: Child) -> None:
        """Kill a child that hangs; the next look finds it dead."""
        if not child.page:
            if self._now_s() - self._asked_s >= STARTS_WITHIN_S:
                child.kill(f"it has served no page within {STARTS_WITHIN_S:g} s")
        elif self._now_s() - self._asked_s >= HEALTH_EVERY_S:
            self._silences = 0 if answers(child.page) else self._silences + 1
            self._asked_s = self._now_s()
            if self._silences >= MOST_SILENCES:
                child.kill(f"it has left {MOST_SILENCES} /healthz in a row unanswered")

    def _bury(self, child: Child) -> None:
        wait_s = self._backoff.failed(self._now_s())
        self._problem = f"the page's process ended: {child.last_words}; next try in {wait_s:.0f} s"
        _log.warning("web: %s", self._problem)
        self._child, self._due_s = None, self._now_s() + wait_s
        self._restarts += 1

    def _now_s(self) -> float:
        """Real seconds: the child does not live on the simulated clock."""
        return self.clock.monotonic_s() / self.clock.speed

    def state(self) -> WebState:
        """Return where the page is."""
        page = "" if self._child is None or self._child.over else self._child.page
        return WebState(page=page, restarts=self._restarts, problem="" if page else self._problem)


def answers(page: str) -> bool:
    """Tell whether the page's server answers within a second, whatever it says."""
    address = urlsplit(page)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=ANSWERS_WITHIN_S)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


class Child:
    """One run of the process, in a thread that lives as long: on Linux it ends when the thread that started it does."""

    def __init__(self, arguments: list[str]) -> None:
        self.page = ""
        self.last_words = "it said nothing"
        self.over = False
        self._why = ""
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self._unwanted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="web process", daemon=True)
        self._thread.start()

    def kill(self, why: str = "") -> None:
        """End it at once, also if it is stopped or hangs. Any thread."""
        with self._lock:
            self._unwanted = True
            self._why = why
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """Ask it to end, and make it end if it does not."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                self._process.terminate()
        self._thread.join(_ENDS_WITHIN_S)
        if self._thread.is_alive():
            self.kill()
            self._thread.join(_ENDS_WITHIN_S)

    def _run(self) -> None:
        try:
            self._start_and_watch()
        except OSError as error:
            self.last_words = f"it cannot be started: {error}"
        finally:
            self.last_words = self._why or self.last_words
            self.over = True

    def _start_and_watch(self) -> None:
        with self._lock:
            if self._unwanted:
                return
            process = self._process = subprocess.Popen(  # noqa: S603 - our own module, arguments from our settings
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=_environment(),
                process_group=0,  # ctrl-C is the daemon's business
            )
        with process:
            assert process.stdout is not None  # noqa: S101 - asked for above
            self._listen(process.stdout)
            status = process.wait()
        if status and self.last_words == "it said nothing":
            self.last_words = f"exit status {status}"

    def _listen(self, words: IO[str]) -> None:
        for line in words:
            if line.startswith(_PAGE):
                self.page = line.removeprefix(_PAGE).strip()
                _log.info("web: the page is at %s", self.page)
            elif line.strip():
                self.last_words = line.strip()[:500]
                _log.info("web: %s", self.last_words)


def command(environment: Environment) -> list[str]:
    """Return the child's command line."""
    settings, state = environment.settings, environment.state_folder.absolute()
    gateway = (settings.gateway.folder or state / "gateway").absolute()
    page = ["--host", settings.web.host, "--port", str(settings.web.port)]
    files = ["--secret-file", str(state / SECRET), "--one-time-token-file", str(state / TOKEN)]
    return [sys.executable, "-P", "-m", "pyros.web", "--connect", str(gateway), *page, *files]


def _environment() -> dict[str, str]:
    """Let the child import this very pyros, whatever its working directory holds, and know its parent."""
    here = str(Path(pyros.__file__).parents[1])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": path}
