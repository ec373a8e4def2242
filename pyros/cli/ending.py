"""How a process is asked to end: signals that are noted from its first moment on, and end it in order."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from pyros.clock import Clock, Turn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """While entered, SIGINT, SIGTERM and SIGHUP do not kill: they are noted and wake the main thread.

    Enter it before the first process, thread or file is made: what has been begun is then always ended in order. The
    handler runs in the main thread, between any two of its steps; so it takes no lock that this thread may hold.
    """

    def __init__(self) -> None:
        self._turn = Turn()
        self._causes: deque[str] = deque()
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def cause(self) -> str:
        """The first signal, or ''."""
        return self._causes[0] if self._causes else ""

    @property
    def again(self) -> bool:
        """Whether a second signal came: no more patience."""
        return len(self._causes) > 1

    def rest(self, clock: Clock, real_s: float) -> None:
        """Wait, or less if a signal comes."""
        timer = clock.call_later(real_s * clock.speed, self._turn.wake)
        self._turn.rest()
        timer.cancel()

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._causes.append(signal.Signals(number).name)
        self._turn.wake()
