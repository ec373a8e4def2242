"""What the web process has heard from the daemon: last states, last events, last image, and the daemon's clock.

`Memory` is written by the feed's threads; `Memory.board()` gives an immutable `Board`, from which everything on the
page is computed. Ages are differences on the daemon's clock, which may run faster than this machine's.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from pyros.clock import Clock
from pyros.messages import Event, Message, State
from pyros.messages.alerts import Analysed
from pyros.messages.codec import BadMessageError, from_builtins
from pyros.messages.night import ImageTaken
from pyros.messages.system import Snapshot, StateRow
from pyros.web.wording import describe, is_grave

AWAY_S = 10.0
"""Real seconds without a word after which the page says that what it shows is old."""
LOG_LINES = 10
S = TypeVar("S", bound=State)


class Sighting(NamedTuple, Generic[S]):
    """The last state of an actor and when the daemon published it, on the daemon's clock."""

    actor: str
    state: S
    at: datetime


@dataclass(frozen=True)
class LogLine:
    """An event in words; `grave` if somebody should look at it."""

    at: datetime
    sender: str
    text: str
    grave: bool


@dataclass(frozen=True)
class LastImage:
    """The last frame on disk; `version` grows when its preview may have come or changed."""

    image_id: int
    camera: str
    filter: str
    start: datetime | None
    exposure_s: float
    version: int = 0


@dataclass(frozen=True)
class Board:
    """Everything known at one instant. `quiet_s`: real seconds since the last word; None if there never was one."""

    now: datetime
    speed: float
    quiet_s: float | None
    states: tuple[Sighting[State], ...] = ()
    log: tuple[LogLine, ...] = ()
    image: LastImage | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def away(self) -> bool:
        """Whether the daemon has been silent for so long that the page is old."""
        return self.quiet_s is None or self.quiet_s > AWAY_S

    def every(self, kind: type[S]) -> list[Sighting[S]]:
        """Return the last states of one kind, by actor."""
        found = [Sighting(s.actor, s.state, s.at) for s in self.states if isinstance(s.state, kind)]
        return sorted(found, key=lambda sighting: sighting.actor)

    def one(self, kind: type[S]) -> Sighting[S] | None:
        """Return the newest state of a kind that only one actor publishes, or None."""
        return max(self.every(kind), key=lambda sighting: sighting.at, default=None)


class Memory:
    """The board in the making; every method may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._zero = clock.now()
        self._zero_mono_s = clock.monotonic_s()
        self._speed = 1.0
        self._word_s: float | None = None
        self._last = 0
        self._states: dict[tuple[str, str], tuple[int, Sighting[State]]] = {}
        self._log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._image: LastImage | None = None
        self._unreadable: tuple[str, ...] = ()

    @property
    def last_sequence(self) -> int:
        """Number of the last event heard."""
        with self._lock:
            return self._last

    def quiet_s(self) -> float | None:
        """Real seconds since the last word from the daemon, None if there never was one."""
        with self._lock:
            return None if self._word_s is None else self._clock.monotonic_s() - self._word_s

    def take(self, sequence: int, sender: str, message: Message) -> bool:
        """Note one published message; tell whether some before it were missed, so that a snapshot is due."""
        with self._lock:
            self._word_s = self._clock.monotonic_s()
            missed = self._last != 0 and sequence != self._last + 1
            self._last = sequence
            if isinstance(message, State):
                self._states[sender, type(message).__name__] = sequence, Sighting(sender, message, self._now())
            elif isinstance(message, Event):
                self._take_event(sender, message)
            return missed

    def load(self, snapshot: Snapshot, asked_after: int) -> None:
        """Take over a snapshot; what was heard after it was made stays.

        Parameters
        ----------
        snapshot
            The gateway's answer.
        asked_after
            `last_sequence` before the question. A snapshot that counts less comes from a daemon that was started anew.
        """
        with self._lock:
            self._word_s = self._zero_mono_s = self._clock.monotonic_s()
            self._zero = snapshot.now.astimezone(UTC)
            self._speed = snapshot.speed if math.isfinite(snapshot.speed) and snapshot.speed > 0 else 1.0
            anew = snapshot.sequence < asked_after
            newer = {} if anew else {k: v for k, v in self._states.items() if v[0] > snapshot.sequence}
            self._last = snapshot.sequence if anew else max(self._last, snapshot.sequence)
            self._unreadable = ()
            self._states = {}
            for row in snapshot.states:
                self._load_row(row, snapshot)
            self._states |= newer

    def set_image(self, image: LastImage) -> None:
        """Note the newest image of the store, unless a newer one was heard of."""
        with self._lock:
            if self._image is None or self._image.image_id < image.image_id:
                self._image = image

    def board(self) -> Board:
        """Return all of it as it is now."""
        quiet_s = self.quiet_s()
        with self._lock:
            return Board(
                now=self._now(),
                speed=self._speed,
                quiet_s=quiet_s,
                states=tuple(sighting for _, sighting in self._states.values()),
                log=tuple(self._log),
                image=self._image,
                unreadable=self._unreadable,
            )

    def _now(self) -> datetime:
        return self._zero + timedelta(seconds=(self._clock.monotonic_s() - self._zero_mono_s) * self._speed)

    def _load_row(self, row: StateRow, snapshot: Snapshot) -> None:
        try:
            state = from_builtins({**row.content, "type": row.state})
        except BadMessageError as error:
            self._unreadable += (f"{row.actor}: {error}"[:200],)
            return
        if isinstance(state, State):
            age_s = min(max(row.age_s, 0.0), 1e9) if math.isfinite(row.age_s) else 1e9
            at = self._zero - timedelta(seconds=age_s)
            self._states[row.actor, row.state] = snapshot.sequence, Sighting(row.actor, state, at)

    def _take_event(self, sender: str, event: Event) -> None:
        self._log.appendleft(LogLine(self._now(), sender, describe(event), is_grave(event)))
        if isinstance(event, ImageTaken):
            self._image = LastImage(event.image_id, event.camera, event.filter, event.start, event.exposure_s)
        elif isinstance(event, Analysed) and self._image is not None and self._image.image_id == event.image_id:
            self._image = replace(self._image, version=self._image.version + 1)
