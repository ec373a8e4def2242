"""The base of every actor: typed dispatch, answers, timers, procedures, and an end that is always reported.

An actor is a thin shell. It takes a message in `on_<message>`, which must return at once: with a reply, with None
(answered as `Done`), with a `Deferred` that is answered later, or, written as a generator, as a procedure. Everything
here runs in the actor's own thread except `__init__`, which runs in the supervisor's.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pykka
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage]

from pyros.actors.kernel.envelope import Answer, Envelope, Resume
from pyros.actors.kernel.lease import Lease
from pyros.actors.kernel.mailbox import MailboxRefusedError, View
from pyros.actors.kernel.procedure import AbortedError, Ask, AskFailedError, Outside, Procedure, Sleep, Until, Wait
from pyros.actors.kernel.system import Delivery, Question, System
from pyros.clock import Clock, Timer
from pyros.messages.base import (
    REGISTRY,
    Command,
    Done,
    Event,
    Expired,
    Failed,
    GetState,
    Message,
    Query,
    Refused,
    State,
)
from pyros.messages.codec import BadMessageError, validated
from pyros.messages.system import ActorFailed, ActorStarted, ActorStopped, Crash, DeadLetter, GetMessages, MessageList

S = TypeVar("S", bound=State)
SUPERVISOR = "supervisor"


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

    def answer(self, reply: Answer) -> None:
        """Answer the message that this was returned for."""
        self._reply = reply
        if self._envelope is not None:
            _answer(self._envelope, reply)

    def bind(self, envelope: Envelope) -> None:
        """Tie the promise to its question (the kernel's business)."""
        self._envelope = envelope
        if self._reply is not None:
            _answer(envelope, self._reply)


@dataclass
class _Running:
    """The procedure under way, the message that began it, and what it waits for."""

    procedure: Procedure
    envelope: Envelope
    wait: Wait | None = None
    timer: Timer | None = None
    step: int = 0


class Actor(pykka.ThreadingActor):
    """See the module's docstring. Subclasses define `on_<message>` handlers and `state()`."""

    use_daemon_thread = True
    _handlers: ClassVar[dict[type[Message], str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._handlers = {
            message: handler
            for message in REGISTRY.values()
            if hasattr(cls, handler := f"on_{_snake(message.__name__)}")
        }

    def __init__(self, context: Context) -> None:
        self._view = context.view
        self._create_actor_inbox = lambda: context.view  # type: ignore[method-assign,assignment] # pyright: ignore
        super().__init__()
        self.name = context.name
        self.epoch = context.lease.epoch
        self.lease = context.lease
        self._system = context.system
        self._envelope: Envelope | None = None
        self._running: _Running | None = None
        self._failure: ActorFailed | None = None
        self._shown: State | None = None

    def start_in(self, context: Context) -> None:
        """Start this incarnation's thread, named after the actor (the supervisor's business)."""
        pykka.ActorRegistry.register(self.actor_ref)
        threading.Thread(target=self._actor_loop, name=f"{context.name}#{context.lease.epoch}", daemon=True).start()

    # -- for subclasses: time ----------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The one clock."""
        return self._system.clock

    def after(self, delay_s: float, message: Command) -> Timer:
        """Send `message` to this actor itself, `delay_s` from now, unless it is restarted before."""
        envelope = self._new_envelope(self.name, message)
        return self._later(delay_s, lambda: self._deliver(envelope), message)

    def _later(self, delay_s: float, callback: Callable[[], None], about: Message) -> Timer:
        resume = Resume(self.epoch, callback, about)
        return self.clock.call_later(delay_s, lambda: self._mail_myself(resume))

    def continue_with(self, callback: Callable[[], None]) -> None:
        """Have `callback` called in this actor's own thread; from any thread, for results of work done outside."""
        self._mail_myself(Resume(self.epoch, callback, GetState()))

    def _mail_myself(self, resume: Resume) -> None:
        mailbox = self._system.mailbox(self.name)
        if mailbox is not None:
            try:
                mailbox.put(resume, first=isinstance(resume.about, Command) and resume.about.makes_safer)
            except MailboxRefusedError:
                return  # stopped meanwhile: nobody is left to care

    # -- for subclasses: mail ----------------------------------------------------------------------------------------

    def tell(self, to: str, message: Message) -> None:
        """Send without waiting; goes anywhere."""
        self._system.post(self._new_envelope(to, message))

    def ask(self, to: str, message: Command | Query, within_s: float, then: Callable[[Answer], None]) -> None:
        """Ask an earlier actor; `then` is called once, in this actor's thread, with its answer or `Expired`."""
        self._system.check_may_ask(self.name, to)
        about = self._envelope
        tag = type(message).__name__

        def back(reply: Answer) -> None:
            self._mail_myself(Resume(self.epoch, lambda: self._continue(about, to, reply, then), reply))

        question = Question(back)
        question.timer = self.clock.call_later(
            within_s, lambda: question.answer(Expired(reason=f"{to} has not answered {tag} in {within_s:g} s"))
        )
        self._system.post(self._new_envelope(to, message, question.answer, within_s))

    def tell_from_outside(self, message: Message) -> None:
        """Send to this actor itself from a thread of its own (a reader of a socket)."""
        self._system.tell(self.name, message, sender=self.name)

    def publish(self, message: Event | State) -> None:
        """Give an event or a state to whoever subscribed; states are retained."""
        self._system.publish(self.name, message, lambda to: self._new_envelope(to, message))

    def show(self) -> None:
        """Publish this actor's state if it has changed since it was shown last."""
        state = self.state()
        if state != self._shown:
            self._shown = state
            self.publish(state)

    def subscribe(self, *events: type[Message]) -> None:
        """Get every event of these types, in `on_<event>`."""
        for event in events:
            self._system.events.subscribe(self.name, event)

    def latest(self, state: type[S], actor: str | None = None) -> tuple[S, float] | None:
        """Return the last published `state` and its age in seconds, or None if nobody has published one."""
        kept = self._system.events.latest(state, actor)
        return None if kept is None else (kept[0], self.clock.monotonic_s() - kept[1])

    @property
    def user(self) -> str:
        """The user on whose behalf the present message came, or ''."""
        return "" if self._envelope is None else self._envelope.user

    @property
    def sender(self) -> str:
        """Who sent the present message."""
        return "" if self._envelope is None else self._envelope.sender

    @property
    def sender_epoch(self) -> int:
        """Which incarnation of the sender sent the present message."""
        return 0 if self._envelope is None else self._envelope.epoch

    # -- for subclasses: procedures ----------------------------------------------------------------------------------

    @property
    def busy_with(self) -> str:
        """Tag of the message whose procedure is under way, or ''."""
        return "" if self._running is None else type(self._running.envelope.message).__name__

    def abort(self, cause: str) -> bool:
        """Throw `AbortedError(cause)` into the procedure under way; tell whether there was one."""
        running = self._running
        if running is None:
            return False
        self._stop_waiting(running)
        self._advance(running, lambda: running.procedure.throw(AbortedError(cause)), aborting=True)
        return True

    # -- hooks -------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """What `GetState` is answered with. Every actor defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no state()")

    def on_get_state(self, message: GetState) -> State:
        """Answer with the state."""
        del message
        return self.state()

    def on_get_messages(self, message: GetMessages) -> MessageList:
        """Answer with the tags of what has a handler here."""
        del message
        return MessageList(actor=self.name, messages=sorted(kind.__name__ for kind in self._handlers))

    def on_crash(self, message: Crash) -> None:
        """Break on purpose, for scenarios and tests."""
        if message.how == "exit":
            sys.exit(f"{self.name} was told to exit")
        raise RuntimeError(f"{self.name} was told to break")

    # -- the loop, in the actor's thread -----------------------------------------------------------------------------

    def _actor_loop(self) -> None:
        self._view.turn.begin()
        try:
            super()._actor_loop()
        finally:
            self._report_end()
            self._view.turn.leave()

    def _actor_loop_setup(self) -> None:
        try:
            self.on_start()
            self.publish(ActorStarted(actor=self.name, epoch=self.epoch))
        except BaseException as error:  # noqa: BLE001 - SystemExit in a hook must not stop every actor
            self._fail(error, "on_start")

    def _handle_receive(self, message: Any) -> Any:
        try:
            if isinstance(message, _ActorStop):
                self._stop()
            elif isinstance(message, Resume):
                if message.epoch == self.epoch:
                    message.callback()
            else:
                self._deliver(message)
        except BaseException as error:  # noqa: BLE001 - any way out of a handler is the actor's failure, told to all
            self._fail(error, _tag_of(message))

    def _stop(self) -> None:
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        try:
            self.on_stop()
        except BaseException as error:  # noqa: BLE001 - see above
            self._fail(error, "on_stop")
        else:
            self.publish(ActorStopped(actor=self.name, epoch=self.epoch))

    def _fail(self, error: BaseException, message: str) -> None:
        cause = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        reason = "".join(traceback.format_exception(error))[-8000:]
        self._system.bury(DeadLetter(to=self.name, message=message, reason=reason))
        self._failure = ActorFailed(actor=self.name, epoch=self.epoch, cause=cause, message=message)
        failed = Failed(reason=f"{self.name} broke on {message}: {cause}")
        for envelope in (self._envelope, self._running.envelope if self._running else None):
            if envelope is not None:
                _answer(envelope, failed)
        self.actor_stopped.set()

    def _report_end(self) -> None:
        pykka.ActorRegistry.unregister(self.actor_ref)
        if self._failure is not None:
            self.tell(SUPERVISOR, self._failure)

    # -- one message -------------------------------------------------------------------------------------------------

    def _deliver(self, envelope: Envelope) -> None:
        message = envelope.message
        if self._is_late(envelope):
            return
        self._journal(envelope.sender, envelope.id, envelope.cause, message)
        self._envelope = envelope
        handler = self._handlers.get(type(message))
        if handler is not None:
            self._handle(envelope, handler)
        elif isinstance(message, Command | Query):
            self._refuse_unknown(envelope)
        self._envelope = None
        if isinstance(message, Event | State):
            self._wake_procedure(message)

    def _is_late(self, envelope: Envelope) -> bool:
        message = envelope.message
        if envelope.expires_us is None or self.clock.micros() <= envelope.expires_us:
            return False
        if isinstance(message, Command) and message.makes_safer:
            return False
        tag = type(message).__name__
        self._system.bury(DeadLetter(to=self.name, message=tag, reason=f"expired before {self.name} came to it"))
        _answer(envelope, Expired(reason=f"{tag} expired before {self.name} came to it"))
        return True

    def _handle(self, envelope: Envelope, handler: str) -> None:
        message = envelope.message
        if isinstance(message, Command):
            try:
                message = validated(message)
            except BadMessageError as error:
                _answer(envelope, Refused(reason=str(error)))
                return
        result = getattr(self, handler)(message)
        if isinstance(result, Generator):
            self._begin(envelope, result)
        elif isinstance(result, Deferred):
            result.bind(envelope)
        else:
            _answer(envelope, Done() if result is None else result)

    def _refuse_unknown(self, envelope: Envelope) -> None:
        tag = type(envelope.message).__name__
        reason = f"{self.name} does not take {tag}; it takes {', '.join(sorted(k.__name__ for k in self._handlers))}"
        self._system.bury(DeadLetter(to=self.name, message=tag, reason=reason))
        _answer(envelope, Refused(reason=reason))

    def _continue(self, about: Envelope | None, sender: str, reply: Answer, then: Callable[[Answer], None]) -> None:
        cause = about.id if about is not None else ""
        self._journal(sender, "", cause, reply)
        self._envelope = about
        then(reply)
        self._envelope = None

    # -- procedures --------------------------------------------------------------------------------------------------

    def _begin(self, envelope: Envelope, procedure: Procedure) -> None:
        if self._running is not None:
            procedure.close()
            _answer(envelope, Refused(reason=f"{self.name} is busy with {self.busy_with}"))
            return
        self._running = _Running(procedure, envelope)
        self._advance(self._running, lambda: next(procedure))

    def _advance(self, running: _Running, resume: Callable[[], Wait], *, aborting: bool = False) -> None:
        outer, self._envelope = self._envelope, running.envelope
        running.step += 1
        answer: Answer | None
        try:
            wait = resume()
            if aborting:
                raise RuntimeError(f"{self.busy_with} waits while it is being aborted; clean-up only tells")
            self._envelope = outer
            self._wait_for(running, wait)
        except StopIteration as end:
            answer = end.value
        except AbortedError as error:
            answer = Refused(reason=f"aborted: {error}")
        except AskFailedError as error:
            answer = Refused(reason=str(error))
        else:
            return
        self._envelope = outer
        self._running = None
        _answer(running.envelope, Done() if answer is None else answer)

    def _wait_for(self, running: _Running, wait: Wait) -> None:
        running.wait = wait
        step = running.step

        def resume_with(value: Any) -> None:
            if self._running is running and running.step == step:
                self._stop_waiting(running)
                self._advance(running, lambda: running.procedure.send(value))

        match wait:
            case Ask(to, message, within_s):
                self._ask_for(running, to, message, within_s)
            case Sleep(seconds):
                running.timer = self._later(seconds, lambda: resume_with(None), GetState())
            case Until(event, _, within_s):
                self.subscribe(event)
                running.timer = self._later(within_s, lambda: resume_with(None), GetState())
            case Outside(future, modelled_s):
                self.clock.collect(
                    future,
                    lambda done: self._mail_myself(
                        Resume(self.epoch, lambda: self._take_outside(running, step, done), GetState())
                    ),
                    modelled_s,
                )

    def _ask_for(self, running: _Running, to: str, message: Command | Query, within_s: float) -> None:
        step = running.step

        def take(reply: Answer) -> None:
            if self._running is not running or running.step != step:
                return
            if isinstance(reply, Refused | Failed | Expired):
                error = AskFailedError(to, type(message).__name__, reply)
                self._advance(running, lambda: running.procedure.throw(error))
            else:
                self._advance(running, lambda: running.procedure.send(reply))

        outer, self._envelope = self._envelope, running.envelope
        self.ask(to, message, within_s, take)
        self._envelope = outer

    def _take_outside(self, running: _Running, step: int, future: Any) -> None:
        if self._running is not running or running.step != step:
            return
        error = future.exception()
        if error is not None:
            self._advance(running, lambda: running.procedure.throw(error))
        else:
            self._advance(running, lambda: running.procedure.send(future.result()))

    def _wake_procedure(self, message: Event | State) -> None:
        running = self._running
        if running is None or not isinstance(running.wait, Until):
            return
        if isinstance(message, running.wait.event) and running.wait.matches(message):
            self._stop_waiting(running)
            self._advance(running, lambda: running.procedure.send(message))

    @staticmethod
    def _stop_waiting(running: _Running) -> None:
        if running.timer is not None:
            running.timer.cancel()
            running.timer = None
        running.wait = None

    # -- small things ------------------------------------------------------------------------------------------------

    def _new_envelope(
        self, to: str, message: Message, answer: Callable[[Answer], None] | None = None, within_s: float | None = None
    ) -> Envelope:
        identifier = self._system.next_id()
        about = self._envelope
        now_us = self.clock.micros()
        return Envelope(
            id=identifier,
            cause=identifier if about is None else about.id,
            sender=self.name,
            to=to,
            message=message,
            sent_us=now_us,
            expires_us=None if within_s is None else now_us + int(within_s * 1e6),
            user="" if about is None else about.user,
            epoch=self.epoch,
            answer=answer,
        )

    def _journal(self, sender: str, identifier: str, cause: str, message: Message) -> None:
        journal = self._system.journal
        if journal is not None:
            journal(Delivery(self.clock.micros(), sender, self.name, identifier, cause, message))


def _answer(envelope: Envelope, reply: Answer) -> None:
    if envelope.answer is not None:
        envelope.answer(reply)


def _tag_of(mail: Any) -> str:
    if isinstance(mail, Envelope):
        return type(mail.message).__name__
    return type(mail.about).__name__ if isinstance(mail, Resume) else type(mail).__name__


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
