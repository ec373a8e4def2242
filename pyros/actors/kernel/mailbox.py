"""A mailbox that outlives its actor.

Only the address of a mailbox circulates. An actor's incarnation reads it through a `View` stamped with its epoch; when
the actor dies, what waits is inherited by the next incarnation, and a hung old one that comes back finds its view
closed. Mail is bounded, in two lanes: what makes safer goes first and is never refused.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] - the word pykka's loop ends on

from pyros.actors.kernel.envelope import Envelope
from pyros.clock import Clock, Turn

LIMIT = 10_000
"""Envelopes that may wait in the ordinary lane."""


class Letter:
    """The form in which pykka's loop takes a message; `reply_to` stays None because answering is the kernel's."""

    __slots__ = ("message",)
    reply_to = None

    def __init__(self, message: Any) -> None:
        self.message = message


class MailboxRefusedError(Exception):
    """The mailbox is closed or full; the sender gets to know at once."""


class Mailbox:
    """Two lanes of envelopes for one address; thread-safe."""

    def __init__(self, name: str, clock: Clock, limit: int = LIMIT) -> None:
        self.name = name
        self.owner = 0
        """Epoch of the incarnation that may read; 0 while there is none."""
        self.current: Any = None
        """What the owner is handling."""
        self.busy_since_s: float | None = None
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._control: deque[Any] = deque()
        self._ordinary: deque[Any] = deque()
        self._closed = False
        self._turn: Turn | None = None
        self._idle = False
        """Whether the owner rests; a wake is wanted then, and only then."""

    def __len__(self) -> int:
        return len(self._control) + len(self._ordinary)

    def put(self, mail: Any, *, first: bool = False) -> None:
        """Queue mail; `first` puts it into the control lane.

        Raises
        ------
        MailboxRefusedError
            When the mailbox is closed, or the ordinary lane full.
        """
        with self._lock:
            if self._closed:
                raise MailboxRefusedError(f"{self.name} has stopped")
            if not first and len(self._ordinary) >= self._limit:
                raise MailboxRefusedError(f"{self.name} has {self._limit} messages waiting")
            (self._control if first else self._ordinary).append(mail)
            if self._idle and self._turn is not None:
                self._idle = False
                self._turn.wake()

    def open_view(self, epoch: int) -> View:
        """Give the mailbox to a new incarnation; the view of the one before closes."""
        with self._lock:
            old, self._turn = self._turn, self._clock.turn()
            self.owner = epoch
            self._idle = False
            self.current = self.busy_since_s = None
            view = View(self, epoch, self._turn)
        if old is not None:
            old.wake()
        view.turn.wake()
        return view

    def close(self) -> list[Envelope]:
        """Refuse mail from now on; return what nobody will read."""
        with self._lock:
            self._closed = True
            left = [mail for mail in (*self._control, *self._ordinary) if isinstance(mail, Envelope)]
            self._control.clear()
            self._ordinary.clear()
            return left

    def take(self, view: View) -> Any:
        """Block until there is mail for `view`; a view that is no longer the owner's gets the order to stop."""
        while True:
            with self._lock:
                if self.owner != view.epoch:
                    return _ActorStop()
                if self._control or self._ordinary:
                    mail = (self._control or self._ordinary).popleft()
                    self.current, self.busy_since_s = mail, self._clock.monotonic_s()
                    return mail
                self.current = self.busy_since_s = None
                self._idle = True
            view.turn.rest()


class View:
    """What one incarnation sees of its mailbox: pykka's inbox."""

    def __init__(self, mailbox: Mailbox, epoch: int, turn: Turn) -> None:
        self._mailbox = mailbox
        self.epoch = epoch
        self.turn = turn

    def get(self) -> Letter:
        """Return the next mail as pykka's loop wants it."""
        return Letter(self._mailbox.take(self))

    def put(self, letter: Any) -> None:
        """Take a letter that pykka itself sends to the actor (its own stop order)."""
        self._mailbox.put(letter.message, first=True)

    def empty(self) -> bool:
        """Say that nothing is left: pykka must not drain what the next incarnation inherits."""
        return True
