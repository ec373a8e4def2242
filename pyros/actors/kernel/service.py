"""What the service manager hears of the observatory: READY, WATCHDOG, STOPPING, and one line for `systemctl status`."""

from __future__ import annotations

from collections.abc import Callable

from pyros.messages.devices import PlcState
from pyros.messages.night import MajordomeState, SafetyVerdict
from pyros.messages.system import DeadLetter, SupervisorState


def status_line(
    tree: SupervisorState, majordome: MajordomeState | None, verdict: SafetyVerdict | None, plc: PlcState | None
) -> str:
    """Return mode, safety, dome, and how many actors are up; those that are not by their names."""
    mode = majordome.mode if tree.status == "up" and majordome is not None else tree.status
    safety = [] if verdict is None else [verdict.level]
    dome = [] if plc is None else [f"dome {plc.dome}" if plc.link == "up" else "PLC silent"]
    up = sum(1 for child in tree.children if child.status == "up")
    away = [f"{child.actor} {child.status}" for child in tree.children if child.status in {"backing off", "down"}]
    return "; ".join([mode, *safety, *dome, f"{up} of {len(tree.children)} actors up", *away])


class Service:
    """The supervisor's voice. What cannot be said is a dead letter and nothing more."""

    def __init__(self, notify: Callable[[str], object], bury: Callable[[DeadLetter], None]) -> None:
        self._notify = notify
        self._bury = bury
        self._line = ""

    def ready(self, line: str) -> None:
        """Say that the start is over."""
        self._line = line
        self._say(f"READY=1\nSTATUS={line}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._say("WATCHDOG=1")

    def show(self, line: str) -> None:
        """Say the status line if it has changed."""
        if line != self._line:
            self._line = line
            self._say(f"STATUS={line}")

    def stopping(self, line: str) -> None:
        """Say that the end has begun, which also ends the watchdog's patience: making safe may take its time."""
        self._say(f"STOPPING=1\nSTATUS={' '.join(line.split())}")

    def _say(self, state: str) -> None:
        try:
            self._notify(state)
        except Exception as error:  # noqa: BLE001 - an unreachable systemd must not bring the observatory down
            what, reason = state.partition("\n")[0], f"{type(error).__name__}: {error}"
            self._bury(DeadLetter(to="systemd", message=what, reason=reason))
