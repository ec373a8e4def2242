"""What begins a recording, and how far apart recordings are. Pure but for the state that is kept between messages."""

from __future__ import annotations

import threading

from pyros.messages.base import Event, State
from pyros.messages.devices import DomeMoved, DomePosition, PlcState
from pyros.messages.system import ActorFailed, ActorRestarted, DeadLetter, SupervisorState

AFTERMATH_S = 5.0
"""A recording is written so long after what began it, to hold what followed."""
APART_S = 60.0
MOST_CAUSES = 20
CAUSE_LENGTH = 300
WATCHED = (DomeMoved, PlcState, ActorFailed, ActorRestarted, DeadLetter, SupervisorState)
SUPERVISOR, GIVE_UP = "supervisor", "give up"


class Watch:
    """Tells which publications are an occasion; remembers where the dome was and whether the daemon is stopping."""

    def __init__(self) -> None:
        self._dome: DomePosition = "unknown"
        self._status = ""

    def cause_in(self, message: Event | State) -> str:
        """Return what happened, if this is an occasion, else ''."""
        match message:
            case DomeMoved(after=position, cause=cause):
                return self._moved(position, cause)
            case PlcState(dome=position):
                return self._moved(position, "seen by its switches")
            case ActorFailed(actor=actor, message=tag, cause=cause):
                return f"{actor} failed on {tag}: {cause}"
            case ActorRestarted(actor=actor, cause=cause):
                return f"{actor} restarted: {cause}"
            case DeadLetter(to=to, message=tag, reason=reason) if (to, tag) == (SUPERVISOR, GIVE_UP):
                return f"supervisor gives up: {reason}"
            case SupervisorState(status=status):
                return self._turned(status)
            case _:
                return ""

    def _moved(self, position: DomePosition, cause: str) -> str:
        """Note where the dome is; what nobody knows changes nothing, so that a closing behind it is still seen."""
        before = self._dome
        if position != "unknown":
            self._dome = position
        if position not in {"closing", "closed"} or before in {"closing", "closed", "unknown"}:
            return ""
        ordered = "ordered stop: " if self._status == "stopping" else ""
        return f"dome {position}: {ordered}{cause}"

    def _turned(self, status: str) -> str:
        before, self._status = self._status, status
        return "supervisor is making safe" if status == "making safe" != before else ""


class Spacing:
    """When the next recording is due and what it is about. Noted from any thread, written from one."""

    def __init__(self, aftermath_s: float = AFTERMATH_S, apart_s: float = APART_S) -> None:
        self._aftermath_s = aftermath_s
        self._apart_s = apart_s
        self._written_s = float("-inf")
        self._due_s: float | None = None
        self._causes: list[str] = []
        self._lock = threading.Lock()

    def note(self, cause: str, now_s: float) -> float | None:
        """Add an occasion; return in how many seconds it has to be written, if nobody has been told yet."""
        with self._lock:
            if len(self._causes) < MOST_CAUSES:
                self._causes.append(cause[:CAUSE_LENGTH])
            if self._due_s is not None:
                return None
            self._due_s = max(now_s + self._aftermath_s, self._written_s + self._apart_s)
            return self._due_s - now_s

    def due(self, now_s: float) -> list[str]:
        """Return the causes that are to be written now; they stay until `written`."""
        with self._lock:
            return list(self._causes) if self._due_s is not None and now_s >= self._due_s - 1e-6 else []

    def written(self, causes: list[str], now_s: float) -> None:
        """Forget what has been written; what was noted meanwhile begins anew."""
        with self._lock:
            self._causes = self._causes[len(causes) :]
            self._written_s = now_s
            self._due_s = now_s + self._apart_s if self._causes else None
