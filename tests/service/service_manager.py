"""A miniature of systemd: it does what systemd does with our unit, as far as that concerns us, and keeps a journal.

It reads the unit and its drop-ins, and serves one life after the other: the main process with its environment and
`$NOTIFY_SOCKET`, states taken from the main process only, the watchdog, SIGTERM to the main process alone, the rest of
its session killed after it, `ExecStopPost`, and the restart. It knows nothing of PyROS. Times are real.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

LOOK_S = 0.02
CREDENTIALS = struct.Struct("3i")


def read_unit(file: Path) -> dict[str, list[str]]:
    """Return the values of each key of a unit and its drop-ins; an empty value forgets those before it."""
    values = defaultdict(list)
    for part in [file, *sorted(Path(f"{file}.d").glob("*.conf"))]:
        for line in part.read_text(encoding="utf-8").splitlines():
            key, sign, value = line.strip().partition("=")
            if sign and not key.startswith(("#", ";", "[")):
                values[key] = [*values[key], value] if value else []
    return values


class Entry(NamedTuple):
    at_s: float
    what: str
    detail: str
    pid: int = 0


class ServiceManager:
    """Runs one unit of Type=notify; `start`, `stop`, and the journal. `settled` is its state, in systemd's words."""

    def __init__(self, unit: Path, folder: Path, sandbox: tuple[str, ...] = ()) -> None:
        """Serve a unit; `sandbox` is a command that runs the one that follows it behind the unit's walls."""
        self.unit = read_unit(unit)
        self._sandbox = sandbox
        assert self.unit["Type"] == ["notify"]
        assert self.unit["NotifyAccess"] == ["main"]
        assert self.unit["KillMode"] == ["mixed"]
        assert self.unit["Restart"] == ["always"]
        self.words = folder / "journal.txt"
        self.journal: list[Entry] = []
        self.state = "inactive"
        self.main: subprocess.Popen | None = None
        self._stopping = threading.Event()
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = f"@pyros-tests-{os.getpid()}-{id(self)}"
        self._thread = threading.Thread(target=self._serve, name="service manager", daemon=True)

    # -- what a test does --------------------------------------------------------------------------------------------

    def __enter__(self):
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._line.bind("\0" + self._address[1:])
        self._line.settimeout(LOOK_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self.main is not None and self._thread.is_alive():
            with contextlib.suppress(ProcessLookupError):
                self.main.kill()
        self._thread.join(30.0)
        self._line.close()

    def stop(self) -> str:
        """Do as `systemctl stop`: return the result when the service is down."""
        self._stopping.set()
        self._thread.join(90.0)
        assert not self._thread.is_alive(), self.story()
        return self.seen("result")[-1].detail

    def seen(self, what: str, since_s: float = 0.0) -> list[Entry]:
        return [entry for entry in self.journal if entry.what == what and entry.at_s >= since_s]

    def wait_for(self, what: str, count: int = 1, within_s: float = 60.0) -> Entry:
        """Return the `count`-th entry of a kind, when it is there."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if len(found := self.seen(what)) >= count:
                return found[count - 1]
            time.sleep(LOOK_S)
        raise AssertionError(f"{what} was not seen {count} times within {within_s} s\n{self.story()}")

    def story(self) -> str:
        begin_s = self.journal[0].at_s if self.journal else 0.0
        lines = [f"{entry.at_s - begin_s:7.2f} {entry.what} {entry.detail}" for entry in self.journal]
        return "\n".join([*lines, self.words.read_text(errors="replace") if self.words.exists() else ""])

    # -- what systemd does -------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            result = self._one_life()
            self._set("failed" if result != "success" else "inactive")
            if self._stopping.wait(self._seconds("RestartSec")):
                return

    def _one_life(self) -> str:
        self._set("activating")
        main = self.main = self._spawn("ExecStart", WATCHDOG_USEC=str(round(self._seconds("WatchdogSec") * 1e6)))
        self._note("started", "", main.pid)
        result = self._live(main)
        status = main.wait()
        self._kill_the_rest(main.pid)
        how = ("killed", signal.Signals(-status).name[3:]) if status < 0 else ("exited", str(status))
        result = result or ("success" if status == 0 else "exit-code" if status > 0 else "signal")
        self._note("ended", " ".join(how), main.pid)
        result = self._post(result, how) or result
        self._note("result", result)
        return result

    def _live(self, main: subprocess.Popen) -> str:
        """Follow the main process to its end; return why systemd ended it, if it did."""
        result, asked = "", False
        due_s = time.monotonic() + self._seconds("TimeoutStartSec")
        while main.poll() is None:
            for field in self._hear(main.pid):
                if field == "READY=1" and self.state == "activating":
                    self._set("active")
                    due_s = time.monotonic() + self._seconds("WatchdogSec")
                elif field == "WATCHDOG=1" and self.state == "active":
                    due_s = time.monotonic() + self._seconds("WatchdogSec")
                elif field == "STOPPING=1" and not asked:
                    self._set("deactivating")
                    due_s = time.monotonic() + self._seconds("TimeoutStopSec")
            if self._stopping.is_set() and not asked:
                asked = True
                self._set("deactivating")
                self._send(main, signal.SIGTERM)
                due_s = time.monotonic() + self._seconds("TimeoutStopSec")
            elif time.monotonic() > due_s:
                result = result or {"active": "watchdog"}.get(self.state, "timeout")
                due_s = time.monotonic() + self._end_by_force(main)
        return result

    def _end_by_force(self, main: subprocess.Popen) -> float:
        """Go one step further than before; return after how many seconds the next one is due."""
        if self.state == "active":
            self._set("watchdog")
            self._send(main, signal.SIGABRT)
            return self._seconds("TimeoutAbortSec")
        if self.state == "activating":
            self._set("deactivating")
            self._send(main, signal.SIGTERM)
            return self._seconds("TimeoutStopSec")
        self._send(main, signal.SIGKILL)
        return 5.0

    def _post(self, result: str, how: tuple[str, str]) -> str:
        environment = {"SERVICE_RESULT": result, "EXIT_CODE": how[0], "EXIT_STATUS": how[1]}
        self._note("stop-post begins", result)
        post = self._spawn("ExecStopPost", **environment)
        try:
            status = post.wait(self._seconds("TimeoutStopSec"))
        except subprocess.TimeoutExpired:
            post.kill()
            status = post.wait()
        self._note("stop-post", str(status), post.pid)
        return "" if status == 0 or result != "success" else "exit-code"

    def _spawn(self, key: str, **more: str) -> subprocess.Popen:
        (command,) = self.unit[key]
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "NOTIFY_SOCKET": self._address, **more}
        for word in self.unit["Environment"]:
            environment |= [word.split("=", 1)]
        with self.words.open("a") as words:
            return subprocess.Popen(
                ["/bin/sh", "-c", 'export WATCHDOG_PID=$$; exec "$0" "$@"', *self._sandbox, *shlex.split(command)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environment,
                cwd="/",
                start_new_session=True,
            )

    def _hear(self, main: int) -> list[str]:
        try:
            datagram, extra, _, _ = self._line.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        except TimeoutError:
            return []
        (sender, _, _) = CREDENTIALS.unpack(extra[0][2])
        fields = datagram.decode().split("\n")
        for field in fields:
            name, _, value = field.partition("=")
            self._note(name if sender == main else f"not from main: {name}", value, sender)
        return fields if sender == main else []

    def _send(self, main: subprocess.Popen, number: int) -> None:
        self._note("signal", signal.Signals(number).name, main.pid)
        main.send_signal(number)
        if number != signal.SIGKILL:
            main.send_signal(signal.SIGCONT)

    def _kill_the_rest(self, session: int) -> None:
        """End what is left of the main process's session, as systemd does with what is left of the control group."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ProcessLookupError):
                state, _, _, its_session = stat.read_text().rsplit(")", 1)[1].split()[:4]
                if int(its_session) == session and state != "Z":
                    self._note("left over", stat.parent.name)
                    os.kill(int(stat.parent.name), signal.SIGKILL)

    def _seconds(self, key: str) -> float:
        return float(self.unit[key][-1])

    def _set(self, state: str) -> None:
        self.state = state
        self._note("state", state)

    def _note(self, what: str, detail: str, pid: int = 0) -> None:
        self.journal.append(Entry(time.monotonic(), what, detail, pid))
