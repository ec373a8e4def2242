"""The post office: mailboxes by name, envelopes, questions with deadlines, dead letters, and the journal of deliveries."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pyros.actors.kernel.envelope import Answer, AnswerTo, Envelope
from pyros.actors.kernel.events import EventStream
from pyros.actors.kernel.mailbox import Mailbox, MailboxRefusedError
from pyros.clock import Clock, Timer
from pyros.messages.base import Command, Event, Expired, Message, Refused, State
from pyros.messages.system import DeadLetter

OUTSIDE = "outside"
"""The sender's name of what comes from no actor: the command line, a test, a scenario."""


class AskUpwardError(RuntimeError):
    """An actor asked one that is not before it in the child-spec order: that way lie deadlocks."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed to its receiver, for the journal."""

    t_us: int
    sender: str
    to: str
    id: str
    cause: str
    message: Message


class Question:
    """An ask that is answered exactly once: by its receiver or by its deadline."""

    __slots__ = ("_deliver", "_lock", "_open", "timer")

    def __init__(self, deliver: Callable[[Answer], None]) -> None:
        self._deliver = deliver
        self._open = True
        self._lock = threading.Lock()
        self.timer: Timer | None = None

    def answer(self, reply: Answer) -> None:
        """Deliver the first answer; later ones are dropped."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        if self.timer is not None:
            self.timer.cancel()
        self._deliver(reply)


class System:
    """What all actors of one process share. The only thing in the kernel that knows every name."""

    def __init__(self, clock: Clock, boot: int = 1) -> None:
        self.clock = clock
        self.boot = boot
        self.events = EventStream()
        self.dead_letters: deque[DeadLetter] = deque(maxlen=1000)
        self.journal: Callable[[Delivery], None] | None = None
        self._mailboxes: dict[str, Mailbox] = {}
        self._ranks: dict[str, int] = {}
        self._numbers = itertools.count(1)

    # -- names -------------------------------------------------------------------------------------------------------

    def open_mailbox(self, name: str) -> Mailbox:
        """Give `name` a mailbox; its rank, which decides who may ask whom, is its place in the order of calls."""
        if name in self._mailboxes:
            raise ValueError(f"two actors are called {name}")
        self._ranks[name] = len(self._ranks)
        self._mailboxes[name] = Mailbox(name, self.clock)
        return self._mailboxes[name]

    def names(self) -> list[str]:
        """Every actor's name, in child-spec order."""
        return list(self._mailboxes)

    def mailbox(self, name: str) -> Mailbox | None:
        """Return the mailbox of `name`, or None."""
        return self._mailboxes.get(name)

    def check_may_ask(self, asker: str, to: str) -> None:
        """Raise `AskUpwardError` unless `to` comes before `asker`."""
        if to in self._ranks and self._ranks[to] >= self._ranks.get(asker, len(self._ranks)):
            raise AskUpwardError(
                f"{asker} may not ask {to}: ask only actors that are started earlier; tell goes anywhere"
            )

    # -- mail --------------------------------------------------------------------------------------------------------

    def next_id(self) -> str:
        """Return a message id: boot number and counter."""
        return f"{self.boot}-{next(self._numbers)}"

    def post(self, envelope: Envelope) -> None:
        """Put an envelope into its receiver's mailbox; what cannot be delivered is answered and becomes a dead letter."""
        mailbox = self._mailboxes.get(envelope.to)
        if mailbox is None:
            known = ", ".join(self._mailboxes)
            self._undeliverable(envelope, f"there is no actor {envelope.to}; there are {known}")
            return
        message = envelope.message
        try:
            mailbox.put(envelope, first=isinstance(message, Command) and message.makes_safer)
        except MailboxRefusedError as error:
            self._undeliverable(envelope, str(error))

    def tell(self, to: str, message: Message, *, user: str = "", sender: str = OUTSIDE) -> None:
        """Send from outside the actors."""
        self.post(self._outside_envelope(to, message, user, sender, None, None))

    def question(
        self, to: str, message: Message, within_s: float, then: AnswerTo, *, user: str = "", sender: str = OUTSIDE
    ) -> None:
        """Ask from outside the actors; `then` is called exactly once, from whatever thread answers."""
        question = Question(then)
        expires_us = self.clock.micros() + int(within_s * 1e6)
        envelope = self._outside_envelope(to, message, user, sender, question.answer, expires_us)
        question.timer = self.clock.call_later(
            within_s,
            lambda: question.answer(Expired(reason=f"{to} has not answered {_tag(message)} in {within_s:g} s")),
        )
        self.post(envelope)

    def ask(self, to: str, message: Message, within_s: float = 5.0, *, user: str = "") -> Answer:
        """Ask and block until the answer is there. For the command line and tests, never for actors."""
        answers: list[Answer] = []
        turn = threading.Event()

        def receive(reply: Answer) -> None:
            answers.append(reply)
            turn.set()

        self.question(to, message, within_s, receive, user=user)
        if self.clock.virtual:
            self.clock.run(done=turn.is_set)  # type: ignore[attr-defined] # pyright: ignore
        turn.wait()
        return answers[0]

    def publish(self, sender: str, message: Event | State, envelope_for: Callable[[str], Envelope]) -> None:
        """Give an event or state to its subscribers, by tell."""
        self.events.retain(sender, message, self.clock.monotonic_s())
        for name in self.events.subscribers(type(message)):
            self.post(envelope_for(name))

    def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter, and tell the world."""
        self.dead_letters.append(letter)
        self.events.retain("kernel", letter, self.clock.monotonic_s())

    def _undeliverable(self, envelope: Envelope, reason: str) -> None:
        self.bury(DeadLetter(to=envelope.to or "nobody", message=_tag(envelope.message), reason=reason))
        if envelope.answer is not None:
            envelope.answer(Refused(reason=reason))

    def _outside_envelope(
        self, to: str, message: Message, user: str, sender: str, answer: AnswerTo | None, expires_us: int | None
    ) -> Envelope:
        identifier = self.next_id()
        return Envelope(
            id=identifier,
            cause=identifier,
            sender=sender,
            to=to,
            message=message,
            sent_us=self.clock.micros(),
            expires_us=expires_us,
            user=user,
            answer=answer,
        )


def _tag(message: Message) -> str:
    return type(message).__name__
