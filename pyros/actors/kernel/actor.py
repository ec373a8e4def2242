"""The base of every actor.

An actor is a thin shell. It takes a message in `on_<message>`, which must return at once: with a reply, with None
(answered as `Done`), with a `Deferred` that is answered later, or, written as a generator, as a procedure. Everything
here runs in the actor's own thread except `__init__`, which runs in the supervisor's.

The kernel's machinery stands in `Core`; here is only what an actor may use or define. Apart from these names a subclass
may call its attributes and methods what it likes.
"""

from __future__ import annotations

import re
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import pykka

from pyros.actors.kernel.core import Context, Core, Deferred
from pyros.actors.kernel.envelope import Answer, answer_to
from pyros.clock import Clock, Timer
from pyros.messages.base import REGISTRY, Command, Event, GetState, Message, Query, State
from pyros.messages.system import ActorFailed, Crash, GetMessages, MessageList

__all__ = ["SUPERVISOR", "Actor", "Context", "Deferred"]

S = TypeVar("S", bound=State)
SUPERVISOR = "supervisor"


class Actor(pykka.ThreadingActor):
    """See the module's docstring. Subclasses define `on_<message>` handlers and `state()`."""

    use_daemon_thread = True
    _handlers: ClassVar[dict[type[Message], str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._handlers = {
            message: handler
            for message in REGISTRY.values()
            if hasattr(cls, handler := f"on_{snake_case(message.__name__)}")
        }

    def __init__(self, context: Context) -> None:
        self._create_actor_inbox = lambda: context.view  # type: ignore[method-assign,assignment] # pyright: ignore[reportIncompatibleMethodOverride, reportAttributeAccessIssue] # pykka's own hook
        super().__init__()
        self.name = context.name
        self.epoch = context.lease.epoch
        self.lease = context.lease
        self.__core = Core(context, self, self._handlers)
        self.__shown: State | None = None
        self.__ended = False

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The one clock."""
        return self.__core.clock

    def after(self, delay_s: float, message: Command) -> Timer:
        """Send `message` to this actor itself, `delay_s` from now, unless it is restarted before."""
        return self.__core.after(delay_s, message)

    # -- mail --------------------------------------------------------------------------------------------------------

    def tell(self, to: str, message: Message) -> None:
        """Send without waiting; goes anywhere."""
        self.__core.tell(to, message)

    def ask(self, to: str, message: Command | Query, within_s: float, then: Callable[[Answer], None]) -> None:
        """Ask an earlier actor; `then` is called once, in this actor's thread, with its answer or `Expired`.

        Raises
        ------
        AskUpwardError
            If `to` is this actor or one that is started later.
        """
        self.__core.ask(to, message, within_s, then)

    def tell_from_outside(self, message: Message) -> None:
        """Send to this actor itself from a thread of its own (a reader of a socket), unless it has been replaced."""
        if self.lease.valid:
            self.__core.system.tell(self.name, message, sender=self.name)

    def continue_with(self, callback: Callable[[], None]) -> None:
        """Have `callback` called in this actor's own thread; from any thread, for results of work done outside."""
        self.__core.mail_myself(callback, GetState())

    def publish(self, message: Event | State) -> None:
        """Give an event or a state to whoever subscribed; states are retained."""
        self.__core.publish(message)

    def show(self) -> None:
        """Publish this actor's state if it has changed since it was shown last."""
        state = self.state()
        if state != self.__shown:
            self.__shown = state
            self.publish(state)

    def subscribe(self, *events: type[Message]) -> None:
        """Get every event of these types, in `on_<event>`."""
        self.__core.subscribe(*events)

    def latest(self, state: type[S], actor: str | None = None) -> tuple[S, float] | None:
        """Return the last published `state` and its age in seconds, or None if nobody has published one."""
        kept = self.__core.system.events.latest(state, actor)
        return None if kept is None else (kept[0], self.clock.monotonic_s() - kept[1])

    @property
    def user(self) -> str:
        """The user on whose behalf the present message came, or ''."""
        about = self.__core.envelope
        return "" if about is None else about.user

    @property
    def sender(self) -> str:
        """Who sent the present message."""
        about = self.__core.envelope
        return "" if about is None else about.sender

    @property
    def sender_epoch(self) -> int:
        """Which incarnation of the sender sent the present message."""
        about = self.__core.envelope
        return 0 if about is None else about.epoch

    # -- procedures --------------------------------------------------------------------------------------------------

    @property
    def busy_with(self) -> str:
        """Tag of the message whose procedure is under way, or ''."""
        return self.__core.procedures.busy_with

    def abort(self, cause: str) -> bool:
        """Throw `AbortedError(cause)` into the procedure under way; tell whether there was one."""
        return self.__core.procedures.abort(cause)

    # -- hooks -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def state(self) -> State:
        """What `GetState` is answered with. Every actor defines it."""

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
        match message.how:
            case "exit":
                sys.exit(f"{self.name} was told to exit")
            case "memory":
                raise MemoryError(f"{self.name} was told to run out of memory")
            case "interrupt":
                raise KeyboardInterrupt(f"{self.name} was told to be interrupted")
            case "hang" if message.for_s > 0:
                self.clock.sleep(message.for_s)
            case "hang":
                self.clock.turn().rest()  # nobody wakes it: a handler that never returns, on any clock
            case "raise":
                raise RuntimeError(f"{self.name} was told to break")

    # -- the kernel's business ---------------------------------------------------------------------------------------

    def start_in(self, context: Context) -> None:
        """Start this incarnation's thread, named after the actor. Called by the supervisor, in its thread."""
        threading.Thread(target=self._actor_loop, name=f"{context.name}#{context.lease.epoch}", daemon=True).start()
        context.view.turn.wake()

    @property
    def has_ended(self) -> bool:
        """Whether this incarnation's thread is past everything that it could do."""
        return self.__ended

    def forsake(self, reply: Answer) -> None:
        """Answer everybody who waits for this incarnation, which hangs. Called by the supervisor, in its thread."""
        core = self.__core
        answer_to(core.envelope, reply)
        core.answer_all(reply)

    def report_failure(self, failure: ActorFailed) -> None:
        """Tell the supervisor how this incarnation ended. Called last in its thread."""
        self.tell(SUPERVISOR, failure)

    def _actor_loop(self) -> None:
        core = self.__core
        core.view.turn.begin()
        try:
            if core.lease.valid:
                super()._actor_loop()
        finally:
            try:
                core.report_end()
            finally:
                self.__ended = True  # before the turn is given up: on the virtual clock nobody sees it half ended
                core.view.turn.leave()

    def _actor_loop_setup(self) -> None:
        self.__core.start()

    def _handle_receive(self, message: Any) -> None:
        self.__core.take(message)


def snake_case(name: str) -> str:
    """Return `ClassName` as `class_name`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
