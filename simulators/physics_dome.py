"""The programmable logic that guards the dome, as a function of the time and of what it was told.

Nothing runs by itself: `DomeLogic.advance` takes the events that lie between the last question and this one in order of
time (limit switches, rain, dead-man, keys), so that each takes effect at its own instant. Times are seconds of UTC
since 1970.

The reflexes, in order of authority: an emergency stop takes the power from the motor; the local key bars every motion
that is not made by hand; rain and an expired dead-man close; opening is refused while anything is latched.

A roll-off roof has an interlock: its motor does not run while the park switch of the mount is open, whoever asks. What
rain or the dead-man want is done as soon as the switch makes; a command is a pulse, and lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Protocol

from simulators.physics_timeline import Timeline

TRAVEL_S = 60.0
MOTION_LIMIT_S = 90.0
"""A motion that has not reached its switch by then is a motion fault."""
DRY_S = 60.0
"""How long it must be dry for the rain latch to clear itself."""
SLOW_FACTOR = 1.4
DEADMAN_S = (5, 30, 120)
"""Shortest, default and longest dead-man time."""


class Status(IntFlag):
    """Bits of the status word and discrete inputs."""

    CLOSED = 1
    OPEN = 2
    OPENING = 4
    CLOSING = 8
    LATCH = 16
    LOCAL_KEY = 32
    EMERGENCY_STOP = 64
    MAINS = 128
    RAIN = 256
    DEADMAN_EXPIRED = 512
    MOTION_FAULT = 1024
    REMOTE = 2048
    PARKED = 4096


class Latch(IntFlag):
    """Reasons of the latch."""

    DEADMAN = 1
    RAIN = 2
    EMERGENCY_STOP = 4
    MOTION_FAULT = 8
    BOOT = 16


class Surroundings(Protocol):
    """What the logic is wired to."""

    rain: Timeline[bool]
    mains: Timeline[bool]
    emergency_stop: Timeline[bool]
    local_key: Timeline[bool]


class ParkSwitch(Protocol):
    """The switch at the mount's park position."""

    def parked(self, unix_s: float) -> bool:
        """Whether it is made."""
        ...

    def parks_at_s(self, unix_s: float) -> float:
        """When it will make by the motion that is under way; infinity if that goes elsewhere."""
        ...


@dataclass(frozen=True)
class Drive:
    """The shutter from `start_s` on: position 0 (closed) to 1, direction -1, 0, 1 of the motor, seconds per travel."""

    start_s: float
    position: float
    direction: int = 0
    travel_s: float = TRAVEL_S
    cause: str = ""

    @property
    def state(self) -> str:
        """Return what the dome does then, in a word."""
        if self.direction:
            return "opening" if self.direction > 0 else "closing"
        return {0.0: "closed", 1.0: "open"}.get(self.position, "between")

    def at(self, unix_s: float) -> float:
        """Return the position at a time; the end switches stop the motor."""
        if self.direction == 0 or self.travel_s == float("inf"):
            return self.position
        if unix_s >= self.start_s + self._way() * self.travel_s - 1e-6:  # exactly there, whatever the rounding
            return 1.0 if self.direction > 0 else 0.0
        return min(1.0, max(0.0, self.position + self.direction * (unix_s - self.start_s) / self.travel_s))

    def _way(self) -> float:
        return 1.0 - self.position if self.direction > 0 else self.position

    def end_s(self) -> float:
        """When the switch at the end of this motion makes, or the motion is given up."""
        if self.direction == 0:
            return float("inf")
        way = self._way()
        return self.start_s + min(way * self.travel_s, MOTION_LIMIT_S) if way > 0 else self.start_s


@dataclass
class DomeLogic:
    """State of the logic. Boots closed and latched; the first change of the heartbeat clears that latch."""

    around: Surroundings
    booted_s: float
    deadman_s: int = DEADMAN_S[1]
    travel_s: float = TRAVEL_S
    """Seconds from closed to open."""
    heartbeat: int = 0
    latch: Latch = Latch.BOOT
    deadman_expired: bool = False
    history: list[Drive] = field(default_factory=list[Drive])
    fault: str | None = None
    interlock: ParkSwitch | None = None
    """The park switch that a roll-off roof waits for."""

    def __post_init__(self) -> None:
        self._now_s = self.booted_s
        self._beat_s = self.booted_s
        self.history.append(Drive(float("-inf"), 0.0, cause="boot"))

    # -- questions ---------------------------------------------------------------------------------------------------

    @property
    def drive(self) -> Drive:
        """The present motion."""
        return self.history[-1]

    def position_at(self, unix_s: float) -> float:
        """Return the position, 0 to 1, at a time up to the last `advance` (later: if nothing happens)."""
        for drive in reversed(self.history):
            if drive.start_s <= unix_s:
                return drive.at(unix_s)
        return self.history[0].position

    def status(self) -> Status:
        """Return the status bits as of the last `advance`."""
        now_s, position = self._now_s, self.drive.at(self._now_s)
        bits = Status(0)
        for bit, on in (
            (Status.CLOSED, position <= 0.0),
            (Status.OPEN, position >= 1.0),
            (Status.OPENING, self.drive.direction > 0),
            (Status.CLOSING, self.drive.direction < 0),
            (Status.LATCH, bool(self.latch)),
            (Status.LOCAL_KEY, self.around.local_key.at(now_s)),
            (Status.EMERGENCY_STOP, self.around.emergency_stop.at(now_s)),
            (Status.MAINS, self.around.mains.at(now_s)),
            (Status.RAIN, self.around.rain.at(now_s)),
            (Status.DEADMAN_EXPIRED, self.deadman_expired),
            (Status.MOTION_FAULT, bool(self.latch & Latch.MOTION_FAULT)),
            (Status.REMOTE, not self.around.local_key.at(now_s)),
            (Status.PARKED, self.interlock is not None and self.interlock.parked(now_s)),
        ):
            if on:
                bits |= bit
        return bits

    # -- commands, all as of the last `advance` ----------------------------------------------------------------------

    def beat(self, value: int) -> None:
        """Take a heartbeat; only a value that differs from the last one counts."""
        if value == self.heartbeat:
            return
        self.heartbeat = value
        self._beat_s = self._now_s
        self.deadman_expired = False
        self.latch &= ~Latch.BOOT

    def open(self) -> None:
        """Open, unless anything speaks against it; then nothing moves."""
        barred = self.latch or self.around.rain.at(self._now_s) or self.fault == "lie"
        if not barred and self._may_run() and self.drive.at(self._now_s) < 1.0 and self.drive.direction <= 0:
            if self.drive.at(self._now_s) <= 0.0:
                self._beat_s = self._now_s  # the dead-man is armed from the moment the closed switch opens
            self._move(1, "command")

    def close(self, cause: str = "command") -> None:
        """Close, unless the motor may not run or it is closed already."""
        told_only = self.fault == "lie" and cause == "command"
        closing = self.drive.direction < 0
        if self._may_run() and not told_only and not closing and self.drive.at(self._now_s) > 0.0:
            self._move(-1, cause)

    def stop(self) -> None:
        """Stop the motor where it is. Rain and an expired dead-man start it again."""
        if not self.around.local_key.at(self._now_s) and self.fault != "lie":
            self._move(0, "command")
            self._reflexes()

    def reset(self) -> None:
        """Clear the latches whose causes are gone; the rain latch clears itself."""
        kept = self.latch & Latch.RAIN
        if self.around.emergency_stop.at(self._now_s):
            kept |= Latch.EMERGENCY_STOP
        self.latch = kept | (self.latch & Latch.BOOT)
        self._beat_s = self._now_s
        self.deadman_expired = False

    def set_fault(self, kind: str | None) -> None:
        """Begin or end a fault of the mechanism: stuck, slow, lie. A motion under way goes on at the new speed."""
        self.fault = kind
        if self.drive.direction:
            self._move(self.drive.direction, self.drive.cause)

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, unix_s: float) -> None:
        """Take every event up to and including `unix_s`, in order of time."""
        while (event_s := self._next_event()) <= unix_s:
            self._now_s = max(self._now_s, event_s)
            self._happen()
        self._now_s = max(self._now_s, unix_s)
        self._happen()  # what changed at this very instant, after the last question

    def _next_event(self) -> float:
        inputs = (self.around.rain, self.around.emergency_stop, self.around.local_key)
        changes = [change for line in inputs if (change := line.next_change(self._now_s)) is not None]
        parked_s = float("inf") if self.interlock is None else self.interlock.parks_at_s(self._now_s)
        return min([self.drive.end_s(), self._deadman_due_s(), self._dry_due_s(), parked_s, *changes])

    def _deadman_due_s(self) -> float:
        shut = self.drive.at(self._now_s) <= 0.0 and self.drive.direction <= 0
        return float("inf") if shut or self.deadman_expired else self._beat_s + self.deadman_s

    def _dry_due_s(self) -> float:
        if not self.latch & Latch.RAIN or self.around.rain.at(self._now_s):
            return float("inf")
        return (self.around.rain.last_change(self._now_s) or self.booted_s) + DRY_S

    def _happen(self) -> None:
        """Let what is due now take effect."""
        now_s = self._now_s
        if self.drive.end_s() <= now_s:
            arrived = self.drive.at(now_s) in {0.0, 1.0} and self.drive.travel_s < float("inf")
            if not arrived:
                self.latch |= Latch.MOTION_FAULT
            self._move(0, self.drive.cause if arrived else "motion fault")
        if self._deadman_due_s() <= now_s:
            self.deadman_expired = True
            self.latch |= Latch.DEADMAN
        if self._dry_due_s() <= now_s:
            self.latch &= ~Latch.RAIN
        if self.around.emergency_stop.at(now_s):
            self.latch |= Latch.EMERGENCY_STOP
        if self.around.rain.at(now_s):
            self.latch |= Latch.RAIN
        self._reflexes()

    def _reflexes(self) -> None:
        if self._powerless():
            if self.drive.direction:
                self._move(0, "emergency stop" if self.around.emergency_stop.at(self._now_s) else "local key")
            return
        if not self._tube_clear() and self.drive.direction:
            self._move(0, "park switch")
        if self.latch & Latch.MOTION_FAULT:
            return  # the motor is not tried again by itself
        if self.around.rain.at(self._now_s):
            self.close("rain")
        elif self.latch & Latch.DEADMAN:
            self.close("dead-man")

    def _powerless(self) -> bool:
        return self.around.emergency_stop.at(self._now_s) or self.around.local_key.at(self._now_s)

    def _tube_clear(self) -> bool:
        return self.interlock is None or self.interlock.parked(self._now_s)

    def _may_run(self) -> bool:
        return not self._powerless() and self._tube_clear()

    def _move(self, direction: int, cause: str) -> None:
        travel_s = {"stuck": float("inf"), "slow": self.travel_s * SLOW_FACTOR}.get(self.fault or "", self.travel_s)
        drive = Drive(self._now_s, self.drive.at(self._now_s), direction, travel_s, cause)
        if self.history[-1].start_s >= drive.start_s and len(self.history) > 1:
            self.history.pop()
        self.history.append(drive)
