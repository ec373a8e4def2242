"""What travels with a message: who sent it, why, until when it is good, and whom the answer goes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyros.messages.base import Message, Reply, State

Answer = Reply | State
AnswerTo = Callable[[Answer], None]


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """One message on its way. `reply_to` and `pykka`'s own field of that name never meet: pykka's stays None."""

    id: str
    cause: str
    """Id of the message whose handling sent this one; the first of a chain is its own cause."""
    sender: str
    to: str
    message: Message
    sent_us: int
    expires_us: int | None = None
    user: str = ""
    epoch: int = 0
    """The sender's incarnation; the archivist refuses writes of an older one."""
    answer: AnswerTo | None = None

    reply_to = None
    """What pykka's loop looks at; answering is ours, so that every ask is answered exactly once."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Kernel mail to an actor itself: call `callback` in its own thread, unless it was restarted meanwhile."""

    epoch: int
    callback: Callable[[], None]
    about: Message
