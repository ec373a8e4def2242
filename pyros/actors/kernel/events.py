"""The event stream: who subscribed to which event, and the last state of every actor.

Events go by tell, never by ask, in the order of subscription; states are retained, so that who comes late (a restarted
actor, the gateway, a device's guard) reads the last one together with its age.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pyros.messages.base import Event, Message, State

S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class Retained:
    """An actor's last state, and the clock's seconds when it was published."""

    actor: str
    state: State
    at_s: float


class EventStream:
    """Subscriptions by name, so that they outlive incarnations; retained states; taps for journal and gateway."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: dict[type[Message], tuple[str, ...]] = {}
        self._retained: dict[tuple[str, type[State]], Retained] = {}
        self._taps: tuple[Callable[[str, Event | State], None], ...] = ()

    def subscribe(self, name: str, event: type[Message]) -> None:
        """Let `name` get every `event` from now on."""
        with self._lock:
            names = self._subscribers.get(event, ())
            if name not in names:
                self._subscribers[event] = (*names, name)

    def unsubscribe(self, name: str) -> None:
        """Send nothing more to `name`, which has stopped for good."""
        with self._lock:
            for event, names in self._subscribers.items():
                self._subscribers[event] = tuple(other for other in names if other != name)

    def subscribers(self, event: type[Message]) -> tuple[str, ...]:
        """Names that get `event`, in the order in which they subscribed."""
        return self._subscribers.get(event, ())

    def tap(self, listener: Callable[[str, Event | State], None]) -> None:
        """Call `listener(sender, event)` for everything published, in the publisher's thread; it must return at once.

        What a listener raises is printed and otherwise ignored: who watches must not break who is watched.
        """
        with self._lock:
            self._taps = (*self._taps, listener)

    def retain(self, actor: str, message: Event | State, at_s: float) -> None:
        """Note a publication: states are kept, taps are called."""
        if isinstance(message, State):
            with self._lock:
                self._retained[actor, type(message)] = Retained(actor, message, at_s)
        for listener in self._taps:
            try:
                listener(actor, message)
            except Exception as error:  # noqa: BLE001 - see `tap`
                sys.excepthook(type(error), error, error.__traceback__)

    def latest(self, state: type[S], actor: str | None = None) -> tuple[S, float] | None:
        """Return the last published `state` (of `actor`, or of whoever was last) and when, in the clock's seconds."""
        last: tuple[S, float] | None = None
        with self._lock:
            for (name, kind), kept in self._retained.items():
                if kind is not state or actor not in {None, name} or not isinstance(kept.state, state):
                    continue
                if last is None or kept.at_s >= last[1]:
                    last = kept.state, kept.at_s
        return last

    def snapshot(self) -> list[Retained]:
        """Return every retained state, in the order of first publication."""
        with self._lock:
            return list(self._retained.values())
