"""What drives an actor's procedure: it resumes it by message, aborts it, and answers for it when it is over."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyros.actors.kernel.envelope import Answer, Envelope, answer_to, tag_of
from pyros.actors.kernel.procedure import AbortedError, Ask, AskFailedError, Outside, Procedure, Sleep, Until, Wait
from pyros.actors.kernel.system import AskUpwardError
from pyros.clock import Timer
from pyros.messages.base import Done, Event, Expired, Failed, GetState, Message, Refused, State

if TYPE_CHECKING:
    from pyros.actors.kernel.core import Core


@dataclass(eq=False)
class _Running:
    """The procedure under way, the message that began it, and what it waits for."""

    procedure: Procedure
    envelope: Envelope
    wait: Wait | None = None
    timer: Timer | None = None
    step: int = 0
    """Counts the resumptions: what was waited for in an earlier step comes too late."""


class Runner:
    """At most one procedure of one incarnation; used in the actor's thread only."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._running: _Running | None = None

    @property
    def envelope(self) -> Envelope | None:
        """The message whose procedure is under way."""
        return None if self._running is None else self._running.envelope

    @property
    def busy_with(self) -> str:
        """Tag of that message, or ''."""
        return "" if self._running is None else tag_of(self._running.envelope)

    def begin(self, envelope: Envelope, procedure: Procedure) -> None:
        """Run a new procedure to its first wait; refused while another one is under way."""
        if self._running is not None:
            procedure.close()
            self._core.refuse(envelope, f"{self._core.name} is busy with {self.busy_with}")
            return
        self._running = _Running(procedure, envelope)
        self._advance(self._running, lambda: next(procedure))

    def abort(self, cause: str) -> bool:
        """Throw `AbortedError(cause)` into the procedure under way; tell whether there was one."""
        running = self._running
        if running is None:
            return False
        _stop_waiting(running)
        self._advance(running, lambda: running.procedure.throw(AbortedError(cause)), aborting=True)
        return True

    def wake(self, message: Event | State) -> None:
        """Resume the procedure if this is what it waits for."""
        running = self._running
        if running is None or not isinstance(running.wait, Until):
            return
        if isinstance(message, running.wait.event) and running.wait.matches(message):
            _stop_waiting(running)
            self._advance(running, lambda: running.procedure.send(message))

    def close(self) -> None:
        """Drop the procedure of an actor that ends, in this thread: its `finally` clauses run, nothing else."""
        running, self._running = self._running, None
        if running is not None:
            _stop_waiting(running)
            try:
                running.procedure.close()
            except BaseException as error:  # noqa: BLE001 - the actor ends for another reason already
                self._core.bury(f"{tag_of(running.envelope)} (clean-up)", error)

    def _advance(self, running: _Running, resume: Callable[[], Wait], *, aborting: bool = False) -> None:
        core = self._core
        outer, core.envelope = core.envelope, running.envelope
        running.step += 1
        answer: Answer | None
        try:
            wait = resume()
        except StopIteration as end:
            answer = end.value
        except (AbortedError, AskFailedError) as error:
            answer = Refused(reason=f"aborted: {error}" if isinstance(error, AbortedError) else str(error))
        else:
            if aborting:
                raise RuntimeError(f"{self.busy_with} waits while it is being aborted; clean-up only tells")
            self._wait_for(running, wait)
            return
        finally:
            core.envelope = outer
        self._running = None
        answer_to(running.envelope, Done() if answer is None else answer)

    def _wait_for(self, running: _Running, wait: Wait) -> None:
        running.wait = wait
        match wait:
            case Ask(to, message, within_s):
                self._ask(running, to, message, within_s)
            case Sleep(seconds):
                self._set_timer(running, seconds)
            case Until(event, _, within_s):
                self._core.subscribe(*(event if isinstance(event, tuple) else (event,)))
                self._set_timer(running, within_s)
            case Outside(future, modelled_s):
                self._collect(running, future, modelled_s)
            case _:
                raise TypeError(f"{self.busy_with} yielded {wait!r}; a procedure yields Ask, Sleep, Until or Outside")

    def _set_timer(self, running: _Running, seconds: float) -> None:
        step = running.step

        def time_is_up() -> None:
            if self._is_at(running, step):
                _stop_waiting(running)
                self._advance(running, lambda: running.procedure.send(None))

        running.timer = self._core.later(seconds, time_is_up, GetState())

    def _ask(self, running: _Running, to: str, message: Any, within_s: float) -> None:
        step = running.step

        def take(reply: Message) -> None:
            if not self._is_at(running, step):
                return
            if isinstance(reply, Refused | Failed | Expired):
                self._throw(running, AskFailedError(to, type(message).__name__, reply))
            else:
                self._advance(running, lambda: running.procedure.send(reply))

        self._core.envelope = running.envelope
        try:
            self._core.ask(to, message, within_s, take)
        except AskUpwardError as error:
            self._throw(running, error)

    def _collect(self, running: _Running, future: Future[Any], modelled_s: float) -> None:
        core, step = self._core, running.step

        def take() -> None:
            if not self._is_at(running, step):
                return
            try:
                result = future.result(0)
            except BaseException as error:  # noqa: BLE001 - whatever the work raised is the procedure's to handle
                self._throw(running, error)
            else:
                self._advance(running, lambda: running.procedure.send(result))

        core.clock.collect(future, lambda _: core.mail_myself(take, GetState()), modelled_s)

    def _throw(self, running: _Running, error: BaseException) -> None:
        self._advance(running, lambda: running.procedure.throw(error))

    def _is_at(self, running: _Running, step: int) -> bool:
        return self._running is running and running.step == step


def _stop_waiting(running: _Running) -> None:
    if running.timer is not None:
        running.timer.cancel()
        running.timer = None
    running.wait = None
