"""What an incarnation does with its mail: dispatch, answers, refusals, and an end that is always reported.

It is apart from `Actor`, so that an actor's own attributes cannot collide with the kernel's.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import GeneratorType
from typing import TYPE_CHECKING

from pyros.actors.kernel.envelope import Answer, Envelope, Replaced, Resume, StopOrder, answer_to, tag_of
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.mailbox import MailboxRefusedError, View
from pyros.actors.kernel.runner import Runner
from pyros.actors.kernel.system import Question, System
from pyros.clock import Timer
from pyros.messages.base import Command, Done, Event, Expired, Failed, Message, Refused, State
from pyros.messages.codec import BadMessageError, validated
from pyros.messages.system import ActorFailed, ActorStarted, ActorStopped, DeadLetter

if TYPE_CHECKING:
    from pyros.actors.kernel.actor import Actor

COMMAND = Command.kind
PASSIVE = (Event.kind, State.kind)
"""What may be told to an actor that has no handler for it: a procedure may wait for it, or nobody."""
DONE = Done()


@dataclass(frozen=True)
class Context:
    """What the supervisor gives to an incarnation."""

    name: str
    system: System
    lease: Lease
    view: View


class Deferred:
    """A handler's promise to answer later, from any continuation in the same actor."""

    def __init__(self) -> None:
        self._envelope: Envelope | None = None
        self._reply: Answer | None = None
        self._open: dict[Deferred, None] = {}

    def answer(self, reply: Answer) -> None:
        """Answer the message that this was returned for."""
        self._reply = reply
        self._open.pop(self, None)
        answer_to(self._envelope, reply)

    def bind(self, envelope: Envelope, promises: dict[Deferred, None]) -> None:
        """Tie the promise to its question (the kernel's business)."""
        self._envelope = envelope
        if self._reply is not None:
            answer_to(envelope, self._reply)
        else:
            self._open = promises
            promises[self] = None


class Core:
    """The kernel's side of one incarnation; used in the actor's thread only, except where it says otherwise."""

    def __init__(self, context: Context, actor: Actor, handlers: Mapping[type[Message], str]) -> None:
        self.name = context.name
        self.system = context.system
        self.clock = context.system.clock
        self.lease = context.lease
        self.epoch = context.lease.epoch
        self.view = context.view
        self.procedures = Runner(self)
        self.envelope: Envelope | None = None
        """The message in whose name the actor acts at present."""
        self._actor = actor
        self._handlers = handlers
        self._promises: dict[Deferred, None] = {}
        self._failure: ActorFailed | None = None
        self._left_in_order = False
        self.lease.on_revoke(self.view.close)

    # -- sending -----------------------------------------------------------------------------------------------------

    def new_envelope(
        self, to: str, message: Message, answer: Callable[[Answer], None] | None = None, within_s: float | None = None
    ) -> Envelope:
        """Address a message; it inherits cause and user of the one being handled.

        Raises
        ------
        LeaseRevokedError
            If this incarnation has been replaced: it sends nothing any more.
        """
        self.lease.check()
        identifier = self.system.next_id()
        about = self.envelope
        return Envelope(
            id=identifier,
            cause=identifier if about is None else about.id,
            sender=self.name,
            to=to,
            message=message,
            sent_us=self.clock.micros(),
            expires_s=None if within_s is None else self.clock.monotonic_s() + within_s,
            user="" if about is None else about.user,
            epoch=self.epoch,
            answer=answer,
        )

    def tell(self, to: str, message: Message) -> None:
        """See `Actor.tell`."""
        self.system.post(self.new_envelope(to, message))

    def publish(self, message: Event | State) -> None:
        """See `Actor.publish`."""
        self.lease.check()
        self.system.publish(self.name, message, lambda to: self.new_envelope(to, message))

    def subscribe(self, *events: type[Message]) -> None:
        """See `Actor.subscribe`."""
        self.lease.check()
        for event in events:
            self.system.events.subscribe(self.name, event)

    def ask(self, to: str, message: Message, within_s: float, then: Callable[[Answer], None]) -> None:
        """See `Actor.ask`."""
        self.system.check_may_ask(self.name, to)
        about = self.envelope

        def back(reply: Answer) -> None:
            self.mail_myself(lambda: self._continue(about, to, reply, then), reply)

        question = Question(back)
        envelope = self.new_envelope(to, message, question.answer, within_s)
        question.expire_after(self.clock, within_s, to, message)
        self.system.post(envelope)

    def after(self, delay_s: float, message: Command) -> Timer:
        """See `Actor.after`."""
        envelope = self.new_envelope(self.name, message)
        return self.later(delay_s, lambda: self.deliver(envelope), message)

    def later(self, delay_s: float, callback: Callable[[], None], about: Message) -> Timer:
        """Call `callback` in the actor's thread, unless it is restarted before."""
        return self.clock.call_later(delay_s, lambda: self.mail_myself(callback, about))

    def mail_myself(self, callback: Callable[[], None], about: Message) -> None:
        """Queue a callback; from any thread. The lane's limit does not hold for it: a lost timer would end a poll."""
        mailbox = self.system.mailbox(self.name)
        if mailbox is None or mailbox.owner != self.epoch:
            return
        try:
            mailbox.put(Resume(self.epoch, callback, about), first=about.makes_safer, always=True)
        except MailboxRefusedError:
            return  # stopped for good meanwhile: nobody is left to care

    # -- one mail, in pykka's loop -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Run the actor's `on_start` and announce it."""
        try:
            self._actor.on_start()
            self.publish(ActorStarted(actor=self.name, epoch=self.epoch))
        except BaseException as error:  # noqa: BLE001 - SystemExit in a hook must not stop every actor
            self._fail(error, "on_start")

    def take(self, mail: object) -> None:
        """Do what the mail says; never raises."""
        try:
            if isinstance(mail, Envelope):
                self.deliver(mail)
            elif isinstance(mail, Resume):
                if mail.epoch == self.epoch:
                    mail.callback()
            elif isinstance(mail, StopOrder):
                self._stop()
            elif isinstance(mail, Replaced):
                self._leave()  # what is none of these came past the address and is nobody's
        except BaseException as error:  # noqa: BLE001 - any way out of a handler is the actor's failure, told to all
            self._fail(error, tag_of(mail))

    def deliver(self, envelope: Envelope) -> None:
        """Handle one message: late ones expire, unknown ones are refused."""
        message = envelope.message
        if envelope.expires_s is not None and self._is_late(envelope, envelope.expires_s):
            return
        if self.system.journals:
            self.system.record(envelope.sender, self.name, envelope.id, envelope.cause, message)
        self.envelope = envelope
        handler = self._handlers.get(type(message))
        if handler is not None:
            self._handle(envelope, handler)
        elif message.kind not in PASSIVE:
            known = ", ".join(sorted(kind.__name__ for kind in self._handlers))
            self.refuse(envelope, f"{self.name} does not take {tag_of(envelope)}; it takes {known}")
        self.envelope = None
        if message.kind in PASSIVE:
            self.procedures.wake(message)  # pyright: ignore[reportArgumentType] # of that kind

    def refuse(self, envelope: Envelope, reason: str) -> None:
        """Answer `Refused`; a message that the kernel itself turns away is a dead letter too."""
        self.system.bury(DeadLetter(to=self.name, message=tag_of(envelope), reason=reason))
        answer_to(envelope, Refused(reason=reason))

    def _is_late(self, envelope: Envelope, expires_s: float) -> bool:
        message = envelope.message
        if self.clock.monotonic_s() <= expires_s + 1e-6 or message.makes_safer:
            return False
        reason = f"{tag_of(envelope)} expired before {self.name} came to it"
        self.system.bury(DeadLetter(to=self.name, message=tag_of(envelope), reason=reason))
        answer_to(envelope, Expired(reason=reason))
        return True

    def _handle(self, envelope: Envelope, handler: str) -> None:
        message = envelope.message
        if message.kind == COMMAND:
            try:
                message = validated(message)
            except (BadMessageError, TypeError, ValueError, OverflowError, RecursionError) as error:
                self.refuse(envelope, f"{tag_of(envelope)} from {envelope.sender} is not valid: {error}")
                return
        result = getattr(self._actor, handler)(message)
        if result is None:
            answer_to(envelope, DONE)
        elif isinstance(result, GeneratorType):
            self.procedures.begin(envelope, result)
        elif isinstance(result, Deferred):
            result.bind(envelope, self._promises)
        elif isinstance(result, Message):
            answer_to(envelope, result)  # pyright: ignore[reportArgumentType] # any message
        else:
            raise TypeError(f"{handler} of {self.name} returned {result!r}; a handler returns a message or None")

    def _continue(self, about: Envelope | None, sender: str, reply: Answer, then: Callable[[Answer], None]) -> None:
        if self.system.journals:
            self.system.record(sender, self.name, "", about.id if about is not None else "", reply)
        self.envelope = about
        then(reply)
        self.envelope = None

    # -- ends --------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """End in order: clean up what runs, `on_stop`, and whoever still waits for an answer gets one."""
        self._leave()
        for step in (lambda: self.procedures.abort(f"{self.name} is being stopped"), self._actor.on_stop):
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - it was told to end, and ends
                self.bury("on_stop", error)
        self.answer_all(Failed(reason=f"{self.name} has stopped"))
        self.publish(ActorStopped(actor=self.name, epoch=self.epoch))

    def _leave(self) -> None:
        self._left_in_order = True
        self._actor.actor_stopped.set()

    def _fail(self, error: BaseException, message: str) -> None:
        """End by failure: set the message aside, answer everyone who waits for this incarnation."""
        cause = f"{type(error).__name__}: {_text_of(error)}".splitlines()[0][:500]
        self._failure = ActorFailed(actor=self.name, epoch=self.epoch, cause=cause, message=message)
        self._actor.actor_stopped.set()
        self.bury(message, error)
        failed = Failed(reason=f"{self.name} broke on {message}: {cause}")
        answer_to(self.envelope, failed)
        self.answer_all(failed)

    def answer_all(self, reply: Answer) -> None:
        """Give one reply to everybody who waits for this incarnation: its procedure, its promises."""
        answer_to(self.procedures.envelope, reply)
        for promise in list(self._promises):
            promise.answer(reply)

    def bury(self, message: str, error: BaseException) -> None:
        """Keep an error with its traceback as a dead letter; one of a replaced incarnation interests nobody."""
        if self.lease.valid:
            reason = "".join(traceback.format_exception(error))[-8000:]
            self.system.bury(DeadLetter(to=self.name, message=message, reason=reason))

    def report_end(self) -> None:
        """Say how it ended, last thing in the thread: whatever happens in the loop, the supervisor hears of it."""
        self.procedures.close()
        if self._failure is None and not self._left_in_order:
            self._failure = ActorFailed(
                actor=self.name, epoch=self.epoch, cause="the loop ended without a reason", message="loop"
            )
        if self._failure is not None and self.lease.valid:
            self._actor.report_failure(self._failure)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot even say what it is
        return "(without words)"
