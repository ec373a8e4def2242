"""Long work as a generator that yields what it waits for.

A handler that is a generator function is a procedure: the actor's mailbox stays open while it waits, and the value it
returns is the answer to the message that began it. An abort throws `AbortedError` into it at its yield; its clean-up
may only tell, never wait. What was waited for is forgotten: an answer that comes after the abort goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from pyros.actors.kernel.envelope import Answer
from pyros.messages.base import Command, Expired, Failed, Message, Query, Refused


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait for an actor's answer. Resumes with it; raises `AskFailedError` for Refused, Failed and Expired."""

    to: str
    message: Command | Query
    within_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for clock seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Until:
    """Wait for the next event (or state's publication) that `matches`. Resumes with it, or with None after `within_s`.

    What was published before does not count: look at `Actor.latest` first.
    """

    event: type[Message] | tuple[type[Message], ...]
    matches: Callable[[Any], bool]
    within_s: float


@dataclass(frozen=True, slots=True)
class Outside:
    """Wait for work outside the actor's thread (a future). Resumes with its result or raises its exception."""

    future: Any
    modelled_s: float = 0.0


Wait = Ask | Sleep | Until | Outside
Procedure = Generator[Wait, Any, Answer | None]


class AbortedError(Exception):
    """The procedure was told to end; `str()` is the cause."""


class AskFailedError(Exception):
    """Somebody whom a procedure asked refused, failed or did not answer in time."""

    def __init__(self, to: str, question: str, reply: Refused | Failed | Expired) -> None:
        super().__init__(f"{to} {type(reply).__name__.lower()} {question}: {reply.reason}")
        self.reply = reply
