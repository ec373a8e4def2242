"""What the page needs of `pyros.client.Client`; tests put a scripted one in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from pyros.messages import Message


class Gateway(Protocol):
    """The way to the daemon; every method may be called from any thread."""

    def ask(self, to: str, message: Message, within_s: float = 3.0) -> Message:
        """Return the answer; raises `GatewayError` when the daemon cannot be reached."""
        ...

    def events(self, topics: Sequence[str] = ()) -> Iterator[tuple[int, str, Message]]:
        """Yield (sequence, sender, message); raises `GatewayError` when the stream breaks."""
        ...

    def close(self) -> None:
        """End `events` and release the connection."""
        ...
