"""One stream of server-sent events per browser tab: bounded queues that drop their oldest, and a way to be woken."""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import Any

from pyros.clock import Clock

QUEUE = 64
"""Chunks that wait for one tab before the oldest is dropped."""


def event_text(tag: str, content: dict[str, Any]) -> str:
    """Return one server-sent event; JSON text has no line breaks, so one data line is enough."""
    return f"event: {tag}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n"


RELOAD = event_text("Reload", {})
"""Tells a tab that it missed something and is to fetch the snapshot."""


class Subscription:
    """What waits for one tab."""

    def __init__(self, clock: Clock) -> None:
        self._turn = clock.turn()
        self._chunks: deque[str] = deque(maxlen=QUEUE)
        self._lock = threading.Lock()
        self._lost = False
        self.closed = False

    def put(self, chunk: str) -> None:
        """Queue a chunk; when the queue is full the oldest goes and the tab is told to reload."""
        with self._lock:
            self._lost |= len(self._chunks) == QUEUE
            self._chunks.append(chunk)
        self._turn.wake()

    def wake(self) -> None:
        """Let `take` return, be it with nothing."""
        self._turn.wake()

    def take(self) -> list[str]:
        """Wait to be woken, then return what has come; the hub wakes everybody each second."""
        if not self.closed:
            self._turn.rest()
        with self._lock:
            chunks = [RELOAD] if self._lost else list(self._chunks)
            self._chunks.clear()
            self._lost = False
            return chunks


class Hub:
    """All open streams, `limit` at most."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._open: list[Subscription] = []
        self._closed = False

    def join(self) -> Subscription | None:
        """Return a new subscription, or None when there is no room (or the server stops)."""
        with self._lock:
            if self._closed or len(self._open) >= self._limit:
                return None
            subscription = Subscription(self._clock)
            self._open.append(subscription)
            return subscription

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription; once or more often."""
        with self._lock:
            if subscription in self._open:
                self._open.remove(subscription)

    def publish(self, chunk: str) -> None:
        """Queue a chunk for everybody."""
        for subscription in self._everybody():
            subscription.put(chunk)

    def wake(self) -> None:
        """Wake everybody, so that each looks whether its browser is still there."""
        for subscription in self._everybody():
            subscription.wake()

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._closed = True
        for subscription in self._everybody():
            subscription.closed = True
            subscription.wake()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)

    def _everybody(self) -> list[Subscription]:
        with self._lock:
            return list(self._open)
