"""The post office: mailboxes by name, envelopes, questions with deadlines, dead letters, the journal of deliveries."""

from __future__ import annotations

import itertools
import math
import sys
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from pyros.actors.kernel.envelope import Answer, AnswerTo, Envelope, answer_to, tag_of
from pyros.actors.kernel.events import EventStream
from pyros.actors.kernel.mailbox import LIMIT, Mailbox, MailboxRefusedError
from pyros.clock import Clock, Timer, Turn, VirtualClock
from pyros.messages.base import Event, Expired, Message, Refused, State
from pyros.messages.system import ActorFailed, ActorStarted, ActorStopped, DeadLetter

OUTSIDE = "outside"
"""The sender's name of what comes from no actor: the command line, a test, a scenario."""
NEVER_REFUSED = frozenset({ActorStarted, ActorFailed, ActorStopped})
"""What the supervisor must hear, however full its mailbox is."""


class AskUpwardError(RuntimeError):
    """An actor asked one that is not before it in the child-spec order: that way lie deadlocks.

    A programming error: unless the asker catches it, it is the asker's failure, like any other exception.
    """


class Delivery(msgspec.Struct, frozen=True):
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

    def expire_after(self, clock: Clock, within_s: float, to: str, message: Message) -> None:
        """Answer `Expired` unless somebody else has answered within `within_s` clock seconds."""
        tag = type(message).__name__
        if not math.isfinite(within_s):
            raise ValueError(f"{to} was asked {tag} within {within_s} s; every wait has a deadline")

        def expire() -> None:
            self.answer(Expired(reason=f"{to} has not answered {tag} in {within_s:g} s"))

        self.timer = clock.call_later(within_s, expire)


class System:
    """What all actors of one process share. The only thing in the kernel that knows every name."""

    def __init__(self, clock: Clock, boot: int = 1) -> None:
        self.clock = clock
        self.boot = boot
        self.events = EventStream()
        self.dead_letters: deque[DeadLetter] = deque(maxlen=1000)
        self.journals: tuple[Callable[[Delivery], None], ...] = ()
        """Called for every delivery, in the receiver's thread; one that raises is printed and dropped."""
        self._mailboxes: dict[str, Mailbox] = {}
        self._ranks: dict[str, int] = {}
        self._numbers = itertools.count(1)

    # -- names -------------------------------------------------------------------------------------------------------

    def open_mailbox(self, name: str, limit: int = LIMIT) -> Mailbox:
        """Give `name` a mailbox; its rank, which decides who may ask whom, is its place in the order of calls."""
        if name in self._mailboxes:
            raise ValueError(f"two actors are called {name}")
        self._ranks[name] = len(self._ranks)
        self._mailboxes[name] = Mailbox(name, self.clock, limit)
        return self._mailboxes[name]

    def close_mailbox(self, name: str) -> None:
        """End an address for good: what waits there is refused and becomes dead letters, what comes later too."""
        self.events.unsubscribe(name)
        for envelope in self._mailboxes[name].close():
            self._undeliverable(envelope, f"{name} has stopped")

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
        """Put an envelope into its receiver's mailbox; the undeliverable is refused and becomes a dead letter."""
        mailbox = self._mailboxes.get(envelope.to)
        if mailbox is None:
            known = ", ".join(self._mailboxes)
            self._undeliverable(envelope, f"there is no actor {envelope.to}; there are {known}")
            return
        message = envelope.message
        try:
            mailbox.put(envelope, first=message.makes_safer, always=type(message) in NEVER_REFUSED)
        except MailboxRefusedError as error:
            self._undeliverable(envelope, str(error))

    def tell(self, to: str, message: Message, *, user: str = "", sender: str = OUTSIDE) -> None:
        """Send from outside the actors."""
        self.post(self._outside_envelope(to, message, user, sender))

    def question(
        self, to: str, message: Message, within_s: float, then: AnswerTo, *, user: str = "", sender: str = OUTSIDE
    ) -> None:
        """Ask from outside the actors; `then` is called exactly once, from whatever thread answers."""
        question = Question(then)
        question.expire_after(self.clock, within_s, to, message)
        expires_s = self.clock.monotonic_s() + within_s
        self.post(self._outside_envelope(to, message, user, sender, question.answer, expires_s))

    def ask(self, to: str, message: Message, within_s: float = 5.0, *, user: str = "") -> Answer:
        """Ask and block until the answer is there. For the command line and tests, never for actors.

        On the virtual clock this lets time pass until then, so nobody else may be running it.
        """
        answers: list[Answer] = []
        asker = Turn()

        def receive(reply: Answer) -> None:
            answers.append(reply)
            asker.wake()

        self.question(to, message, within_s, receive, user=user)
        if isinstance(self.clock, VirtualClock):
            self.clock.run(done=lambda: bool(answers))
        asker.rest()  # as long as the question's deadline at most
        return answers[0]

    def publish(self, sender: str, message: Event | State, envelope_for: Callable[[str], Envelope]) -> None:
        """Give an event or state to its subscribers, by tell."""
        self.events.retain(sender, message, self.clock.monotonic_s())
        for name in self.events.subscribers(type(message)):
            self.post(envelope_for(name))

    def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter, and show it to the taps; subscribers get none, lest dead letters beget dead letters."""
        self.dead_letters.append(letter)
        self.events.retain("kernel", letter, self.clock.monotonic_s())

    def keep_journal(self, journal: Callable[[Delivery], None]) -> None:
        """Call `journal` for every delivery from now on."""
        self.journals = (*self.journals, journal)

    def record(self, sender: str, to: str, identifier: str, cause: str, message: Message) -> None:
        """Hand a delivery, made now, to the journals. Called only while there is one."""
        delivery = Delivery(self.clock.micros(), sender, to, identifier, cause, message)
        for journal in self.journals:
            try:
                journal(delivery)
            except Exception as error:  # noqa: BLE001 - a full disk under the recorder must not break every actor
                self.journals = tuple(other for other in self.journals if other is not journal)
                sys.excepthook(type(error), error, error.__traceback__)

    def _undeliverable(self, envelope: Envelope, reason: str) -> None:
        self.bury(DeadLetter(to=envelope.to or "nobody", message=tag_of(envelope), reason=reason))
        answer_to(envelope, Refused(reason=reason))

    def _outside_envelope(
        self,
        to: str,
        message: Message,
        user: str = "",
        sender: str = OUTSIDE,
        then: AnswerTo | None = None,
        until_s: float | None = None,
    ) -> Envelope:
        identifier = self.next_id()
        return Envelope(
            id=identifier,
            cause=identifier,
            sender=sender,
            to=to,
            message=message,
            sent_us=self.clock.micros(),
            expires_s=until_s,
            user=user,
            answer=then,
        )
