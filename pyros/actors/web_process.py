"""The page's process: a child that is started, watched, and started again; its death harms nobody.

Owns the child process (`python -m pyros.web`), which talks to the gateway like any other client. Takes its own `Poll`,
once a real second; emits nothing. Decides when the child is started again: after 1, 2, 5, 15, 60 real seconds. When it
dies the child is ended, and the next incarnation starts another.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pyros
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context
from pyros.messages.devices import Poll
from pyros.messages.system import WebState

SECRET = "web_secret"  # noqa: S105 - a file's name
TOKEN = "one_time_token"  # noqa: S105 - a file's name
"""Whoever writes `NAME TOKEN` into this file of the state directory may log in once, at /login?token=TOKEN."""
BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 60.0)
HEALTHY_S = 60.0
"""A child that lived for so long has not failed at once: the next one is started after the shortest wait."""
_ENDS_WITHIN_S = 2.0
_PAGE = "page: "
_log = logging.getLogger("pyros.web_process")


class WebProcess(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._command = command(environment)
        self._child: Child | None = None
        self._problem = ""
        self._restarts = self._failures = 0
        self._started_s = self._due_s = self.clock.monotonic_s()

    def on_start(self) -> None:
        """Start the child."""
        self.on_poll(Poll())

    def on_stop(self) -> None:
        """End the child and wait for it."""
        if self._child is not None:
            self._child.end()

    def on_poll(self, _: Poll) -> None:
        """Look after the child; arm the next look."""
        self.after(self._real(1.0), Poll())
        if self._child is not None and self._child.over:
            self._bury(self._child)
        if self._child is None and self.clock.monotonic_s() >= self._due_s:
            self._started_s = self.clock.monotonic_s()
            self._child = Child(self._command)
            self.lease.on_revoke(self._child.terminate)

    def _bury(self, child: Child) -> None:
        lived_s = self.clock.monotonic_s() - self._started_s
        self._failures = 1 if lived_s > self._real(HEALTHY_S) else self._failures + 1
        wait_s = BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]
        self._problem = f"the page's process ended: {child.last_words}; next try in {wait_s:g} s"
        _log.warning("web: %s", self._problem)
        self._child, self._due_s = None, self.clock.monotonic_s() + self._real(wait_s)
        self._restarts += 1

    def _real(self, seconds: float) -> float:
        return seconds * self.clock.speed

    def state(self) -> WebState:
        """Return where the page is."""
        page = "" if self._child is None or self._child.over else self._child.page
        return WebState(page=page, restarts=self._restarts, problem="" if page else self._problem)


class Child:
    """One run of the process, in a thread that lives as long: on Linux it ends when the thread that started it does."""

    def __init__(self, arguments: list[str]) -> None:
        self.page = ""
        self.last_words = "it said nothing"
        self.over = False
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self._unwanted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="web process", daemon=True)
        self._thread.start()

    def terminate(self) -> None:
        """Ask it to end; returns at once. Any thread."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                self._process.terminate()

    def end(self) -> None:
        """Ask it to end, and make it end if it does not."""
        self.terminate()
        self._thread.join(_ENDS_WITHIN_S)
        if self._process is not None and self._thread.is_alive():
            self._process.kill()
            self._thread.join(_ENDS_WITHIN_S)

    def _run(self) -> None:
        try:
            self._start_and_watch()
        except OSError as error:
            self.last_words = f"it cannot be started: {error}"
        finally:
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
    """Let the child import this very pyros, whatever its working directory holds."""
    here = str(Path(pyros.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}
