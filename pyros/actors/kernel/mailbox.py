"""A mailbox that outlives its actor.

Only the address of a mailbox circulates. An actor's incarnation reads it through a `View` stamped with its epoch; when
the actor dies, what waits is inherited by the next incarnation, and a hung old one that comes back finds its view
closed. Mail is bounded, in two lanes: what makes safer goes first and is never refused.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from pyros.actors.kernel.envelope import REPLACED, Envelope, StopOrder
from pyros.clock import Clock, Turn

LIMIT = 10_000
"""Envelopes that may wait in the ordinary lane."""


class Letter:
    """The form in which pykka's loop takes a message; `reply_to` stays None because answering is the kernel's."""

    __slots__ = ("message",)
    reply_to = None
    message: Any


class MailboxRefusedError(Exception):
    """The mailbox is closed or full; the sender gets to know at once."""


class Mailbox:
    """Two lanes of envelopes for one address; thread-safe."""

    def __init__(self, name: str, clock: Clock, limit: int = LIMIT) -> None:
        self.name = name
        self.owner = 0
        """Epoch of the incarnation that may read; 0 before the first, and while nobody may."""
        self._current: Any = None
        self._busy_since_s = 0.0
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

    def put(self, mail: Any, *, first: bool = False, always: bool = False) -> None:
        """Queue mail.

        Parameters
        ----------
        first
            Use the control lane, which is never full.
        always
            Stay in order in the ordinary lane, full or not: the kernel's own mail, bounded by what is under way.

        Raises
        ------
        MailboxRefusedError
            When the mailbox is closed, or the ordinary lane full.
        """
        with self._lock:
            if self._closed:
                raise MailboxRefusedError(f"{self.name} has stopped")
            if first:
                self._control.append(mail)
            elif always or len(self._ordinary) < self._limit:
                self._ordinary.append(mail)
            else:
                raise MailboxRefusedError(f"{self.name} has {self._limit} messages waiting")
            if not self._idle:
                return
            self._idle, turn = False, self._turn
        if turn is not None:
            turn.wake()  # outside the lock, which is the first thing that the owner wants

    def open_view(self, epoch: int) -> View:
        """Give the mailbox to a new incarnation; the view of the one before closes."""
        with self._lock:
            old, self._turn = self._turn, self._clock.turn()
            old_rests, self._idle = self._idle, False
            self.owner = epoch
            self._current = None
            view = View(self, epoch, self._turn)
        if old is not None and old_rests:  # one that hangs elsewhere must not be given a turn that it cannot take
            old.wake()
        return view

    def close_view(self, view: View) -> None:
        """Let the incarnation of `view` take nothing more; mail waits for the next one."""
        with self._lock:
            if self.owner != view.epoch:
                return
            self.owner = 0
            rests, self._idle = self._idle, False
        if rests:  # as above
            view.turn.wake()

    def close(self) -> list[Envelope]:
        """Refuse mail from now on; return what nobody will read."""
        with self._lock:
            self._closed = True
            left = [mail for mail in (*self._control, *self._ordinary) if isinstance(mail, Envelope)]
            self._control.clear()
            self._ordinary.clear()
            return left

    def busy(self) -> tuple[Any, float] | None:
        """Return what the owner is handling and since when (monotonic seconds), or None."""
        with self._lock:
            return None if self._current is None else (self._current, self._busy_since_s)

    def take(self, view: View) -> Any:
        """Block until there is mail for `view`; a view that is no longer the owner's gets `REPLACED`."""
        while True:
            with self._lock:
                if self.owner != view.epoch:
                    return REPLACED
                while lane := self._control or self._ordinary:
                    mail = lane.popleft()
                    if type(mail) is StopOrder and mail.epoch != view.epoch:
                        continue
                    self._current, self._busy_since_s = mail, self._clock.monotonic_s()
                    return mail
                self._current = None
                self._idle = True
            view.turn.rest()


class View:
    """What one incarnation sees of its mailbox: pykka's inbox."""

    def __init__(self, mailbox: Mailbox, epoch: int, turn: Turn) -> None:
        self._mailbox = mailbox
        self._letter = Letter()
        self.epoch = epoch
        self.turn = turn

    def get(self) -> Letter:
        """Return the next mail as pykka's loop wants it: in the same letter each time, for there is one reader."""
        letter = self._letter
        letter.message = self._mailbox.take(self)
        return letter

    def close(self) -> None:
        """Read nothing more: the incarnation has lost its lease."""
        self._mailbox.close_view(self)

    def put(self, letter: Any) -> None:
        """Take the one thing that pykka itself sends (an actor's `stop()`) as an order to this incarnation."""
        del letter
        self._mailbox.put(StopOrder(self.epoch), first=True)

    def empty(self) -> bool:
        """Say that nothing is left: pykka must not drain what the next incarnation inherits."""
        return True
