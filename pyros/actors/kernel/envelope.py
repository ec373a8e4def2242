"""What lies in a mailbox: envelopes with messages, and the kernel's own mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from pyros.messages.base import Event, Message, Reply, State

Answer = Reply | State | Event
AnswerTo = Callable[[Answer], None]
DEFAULT_BUDGET_S = 1.0


class Envelope(msgspec.Struct, frozen=True, eq=False):
    """One message on its way: who sent it, why, until when it is good, and whom the answer goes to.

    A Struct, as a frozen dataclass takes fourteen times as long to make.
    """

    id: str
    cause: str
    """Id of the message whose handling sent this one; the first of a chain is its own cause."""
    sender: str
    to: str
    message: Message
    sent_us: int
    expires_s: float | None = None
    """On the clock's monotonic count, so that a step of the machine's UTC expires nothing."""
    user: str = ""
    epoch: int = 0
    """The sender's incarnation; the archivist refuses writes of an older one."""
    answer: AnswerTo | None = None


class Resume(msgspec.Struct, frozen=True, eq=False):
    """Kernel mail to an actor itself: call `callback` in its own thread, unless it was restarted meanwhile."""

    epoch: int
    callback: Callable[[], None]
    about: Message


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Kernel mail: end in order. Meant for one incarnation; the next one never inherits it."""

    epoch: int


class Replaced:
    """What a view that is no longer the owner's reads: leave without a word."""


REPLACED = Replaced()


def answer_to(envelope: Envelope | None, reply: Answer) -> None:
    """Answer an envelope, if there is one and somebody waits for it."""
    if envelope is not None and envelope.answer is not None:
        envelope.answer(reply)


def tag_of(mail: object) -> str:
    """Return the name of what is in the mail."""
    if isinstance(mail, Envelope):
        return type(mail.message).__name__
    return type(mail.about).__name__ if isinstance(mail, Resume) else type(mail).__name__


def budget_of(mail: object) -> float:
    """Seconds that an actor may be busy with the mail before it counts as hung."""
    if isinstance(mail, Envelope):
        return mail.message.budget_s
    return mail.about.budget_s if isinstance(mail, Resume) else DEFAULT_BUDGET_S
