"""Messages of the kernel's own: the supervisor's tree, the actors' deaths, the doors to the outside."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pyros.messages.base import Command, Count, Event, Name, Part, Query, Reply, Seconds, State, Text

ChildStatus = Literal["waiting", "starting", "up", "backing off", "down", "stopped"]


class ChildRow(Part):
    """One child of the supervisor. Part of `SupervisorState`."""

    actor: Name
    status: ChildStatus
    epoch: Count
    restarts: Count
    mailbox: Count
    last_fault: Text = ""


class SupervisorState(State):
    """The tree."""

    status: Literal["starting", "up", "stopping", "making safe"]
    since: datetime
    children: list[ChildRow]


class ActorStarted(Event):
    """An actor (again) takes messages."""

    actor: Name
    epoch: Count


class ActorFailed(Event):
    """An actor broke and will be restarted."""

    actor: Name
    epoch: Count
    cause: Text
    message: Text
    """Tag of the message that it broke on, or the hook's name."""


class ActorRestarted(Event):
    """How long an actor was away."""

    actor: Name
    epoch: Count
    cause: Text
    away_s: float


class DeadLetter(Event):
    """A message that nobody handled: poison, expired, refused by a full mailbox, or to nobody."""

    to: Name
    message: Text
    reason: Text


class FlightRecorded(Event):
    """The flight recorder has written the last ten minutes to a file; `pyros replay` shows it."""

    file: Text
    """Below the state folder."""
    cause: Text


class Crash(Command):
    """Break the actor on purpose; only in simulation."""

    how: Literal["raise", "exit", "hang", "memory", "interrupt"] = "raise"
    for_s: Seconds = 0.0
    """How long it hangs, if it is to hang; 0: for ever."""


class ArchivistState(State):
    """The store's writer."""

    commits: Count
    rows: Count
    refused: Count
    file: Text
    problem: Text = ""
    """Why the disk takes nothing; empty while it does."""


class LibrarianState(State):
    """The store's reader."""

    queries: Count


class GatewayState(State):
    """The outside's door."""

    requests: Count
    refused: Count
    events: Count
    endpoint: Text


class WebState(State):
    """The page: its address while it is served, and why it is not."""

    page: Text
    restarts: Count
    problem: Text = ""


class StateRow(Part):
    """One retained state with its age. Part of `Snapshot`."""

    actor: Name
    state: Name
    age_s: float
    content: dict[str, Any]


class GetSnapshot(Query):
    """Every actor's last state (to `gateway`)."""


class Snapshot(Reply):
    """All retained states, the clock, and the number of the last event published."""

    now: datetime
    speed: float
    sequence: Count
    states: list[StateRow]


class GetMessages(Query):
    """Which messages an actor takes."""


class MessageList(Reply):
    """Tags of the messages that an actor has a handler for."""

    actor: Name
    messages: list[str]


class Shutdown(Command):
    """End the daemon: close and park first, then stop every actor in reverse order (to `supervisor`)."""

    makes_safer = True
    cause: Text


class ActorStopped(Event):
    """An actor has ended because it was told to."""

    actor: Name
    epoch: Count


class Watch(Command):
    """The supervisor's own timer: look for actors that are busy for longer than their message's budget."""


class Restart(Command):
    """The supervisor's own timer: a child's backoff is over."""

    actor: Name
    epoch: Count
    cause: Text
    failed_at_s: float
