"""The recorder: hears everything, keeps the last ten minutes, and writes them down upon an occasion.

`hear` and `deliver` run in the actors' threads and only append. On the wall clock one thread of its own does the rest;
on the virtual clock a timer does, so that a simulated night has no thread that takes no turns.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from pyros.clock import Clock
from pyros.flight.occasions import AFTERMATH_S, APART_S, WATCHED, Spacing, Watch
from pyros.flight.record import Delivered, Loss, Publication, Record, packed
from pyros.flight.recording import Header, assembled, opening, read_header, write_file
from pyros.flight.ring import WINDOW_S, Ring
from pyros.flight.shelf import name_for, surplus
from pyros.flight.spool import SEGMENT_S, Spool, leftovers
from pyros.messages.base import Event, State
from pyros.messages.system import FlightRecorded

NAME = "flight_recorder"
"""Whose word `FlightRecorded` is."""
EVERY_S = 1.0
"""Real seconds between two writes to the spool."""
MOST_WAITING = 100_000
"""Records that wait for a disk that takes nothing; beyond, the oldest are lost, and counted."""
ENDS_WITHIN_S = 5.0
LOGGER = logging.getLogger("pyros")


class Retained(Protocol):
    """An actor's last state, and the clock's seconds when it was published."""

    @property
    def actor(self) -> str:
        """Whose state."""
        ...

    @property
    def state(self) -> State:
        """The state."""
        ...

    @property
    def at_s(self) -> float:
        """On the clock's monotonic count."""
        ...


class Events(Protocol):
    """What the recorder needs of the kernel's event stream."""

    def snapshot(self) -> Sequence[Retained]:
        """Return every retained state."""
        ...

    def retain(self, actor: str, message: Event | State, at_s: float) -> None:
        """Show a publication to whoever looks."""
        ...


class Kernel(Protocol):
    """What the recorder needs of the kernel's post office."""

    @property
    def events(self) -> Events:
        """The event stream."""
        ...

    def keep_journal(self, journal: Callable[[Delivered], None]) -> None:
        """Call `journal` for every delivery."""
        ...


def flight_recorder(clock: Clock, folder: Path, header: Header) -> FlightRecorder:
    """Return the recorder for this clock; recordings go to `folder`.

    Give `hear` to the kernel as a tap, then call `attach`; nothing is written before that.
    """
    return VirtualRecorder(clock, folder, header) if clock.virtual else WallRecorder(clock, folder, header)


class FlightRecorder(ABC):
    """See the module's docstring."""

    def __init__(self, clock: Clock, folder: Path, header: Header) -> None:
        self._clock = clock
        self._folder = folder
        self._header = header
        self._watch = Watch()
        self._spacing = Spacing(clock.at_least_real(AFTERMATH_S, 1.0), clock.at_least_real(APART_S, 5.0))
        self._kernel: Kernel | None = None
        self._trouble = ""

    def hear(self, actor: str, message: Event | State) -> None:
        """Take a publication; a tap of the event stream, called in the publisher's thread."""
        self._append(Publication(self._clock.micros(), actor, message))
        if isinstance(message, WATCHED):
            cause = self._watch.cause_in(message)
            if cause:
                self.note(cause)

    def deliver(self, delivery: Delivered) -> None:
        """Take a delivery; a journal of the post office, called in the receiver's thread."""
        self._append(delivery)

    def note(self, cause: str) -> None:
        """Have a recording written soon; from any thread."""
        in_s = self._spacing.note(cause, self._clock.monotonic_s())
        if in_s is not None:
            self._will_be_due(in_s)

    def attach(self, kernel: Kernel) -> None:
        """Hear what is delivered from now on, and begin."""
        self._kernel = kernel
        kernel.keep_journal(self.deliver)

    @abstractmethod
    def close(self) -> None:
        """End in order: write what is due, and leave no trace of a start that was killed."""

    @abstractmethod
    def _append(self, record: Record) -> None: ...

    @abstractmethod
    def _will_be_due(self, in_s: float) -> None: ...

    @abstractmethod
    def _content(self, header: Header) -> Iterable[bytes]:
        """Yield what a recording with this header consists of now."""

    def _standing(self) -> list[Publication]:
        """Return the retained states as publications, each at the time when it was made."""
        if self._kernel is None:
            return []
        now_us, now_s = self._clock.micros(), self._clock.monotonic_s()
        return [
            Publication(now_us - round((now_s - kept.at_s) * 1e6), kept.actor, kept.state)
            for kept in self._kernel.events.snapshot()
        ]

    def _write_if_due(self, *, at_once: bool = False) -> None:
        now_s = self._clock.monotonic_s()
        causes = self._spacing.due(float("inf") if at_once else now_s)
        if causes:
            self._write(causes, self._content)
            self._spacing.written(causes, now_s)

    def _write(self, causes: list[str], content: Callable[[Header], Iterable[bytes]]) -> None:
        """Write a recording, make room, and tell everyone; may raise OSError."""
        now = self._clock.now()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = name_for(now, causes[0], {path.name for path in self._folder.iterdir()})
        write_file(self._folder / name, content(msgspec.structs.replace(self._header, causes=causes, at=now)))
        for old in surplus([(path.name, path.stat().st_size) for path in self._folder.iterdir() if path.is_file()]):
            (self._folder / old).unlink(missing_ok=True)
        if self._kernel is not None:
            event = FlightRecorded(file=f"{self._folder.name}/{name}", cause="; ".join(causes)[:2000])
            self._kernel.events.retain(NAME, event, self._clock.monotonic_s())

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do it; what goes wrong is a line in the log, once, and is tried again with the next."""
        trouble = ""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the recorder watches; whatever breaks it must break nothing else
            trouble = f"flight recorder: {type(error).__name__}: {error}"
        if trouble and trouble != self._trouble:
            LOGGER.warning("%s", trouble)
        self._trouble = trouble


class VirtualRecorder(FlightRecorder):
    """In memory; a recording is written between two instants."""

    def __init__(self, clock: Clock, folder: Path, header: Header) -> None:
        super().__init__(clock, folder, header)
        self._ring = Ring()

    def attach(self, kernel: Kernel) -> None:
        """See `FlightRecorder.attach`."""
        super().attach(kernel)
        self._ring.begin_with(self._standing())

    def close(self) -> None:
        """See `FlightRecorder.close`."""
        self._guarded(lambda: self._write_if_due(at_once=True))

    def _append(self, record: Record) -> None:
        self._ring.append(record, self._clock.monotonic_s())

    def _will_be_due(self, in_s: float) -> None:
        self._clock.call_later(in_s, self._write_soon)

    def _write_soon(self) -> None:
        """Write; what the disk does not take is tried again."""
        self._guarded(self._write_if_due)
        if self._trouble:
            self._will_be_due(APART_S)

    def _content(self, header: Header) -> Iterable[bytes]:
        yield opening(header, self._ring.standing())
        yield packed(self._ring.records())


class WallRecorder(FlightRecorder):
    """On disk, by a thread of its own: the last second is in memory, what was before it outlives the process."""

    def __init__(self, clock: Clock, folder: Path, header: Header) -> None:
        super().__init__(clock, folder, header)
        self._waiting: deque[Record] = deque()
        self._lost = 0
        self._ending = False
        self._turn = clock.turn()
        self._spool = Spool(
            folder / "spool",
            header,
            self._standing,
            clock.at_least_real(WINDOW_S, WINDOW_S / 10),
            clock.at_least_real(SEGMENT_S, SEGMENT_S / 10),
        )
        self._thread = threading.Thread(target=self._run, name="flight recorder", daemon=True)

    def attach(self, kernel: Kernel) -> None:
        """See `FlightRecorder.attach`; starts the thread."""
        super().attach(kernel)
        self._thread.start()

    def close(self) -> None:
        """See `FlightRecorder.close`; waits at most `ENDS_WITHIN_S` real seconds for the disk."""
        self._ending = True
        self._turn.wake()
        if self._thread.is_alive():
            self._thread.join(ENDS_WITHIN_S)

    def _append(self, record: Record) -> None:
        self._waiting.append(record)
        if len(self._waiting) > MOST_WAITING:
            with suppress(IndexError):  # the thread has emptied it meanwhile
                self._waiting.popleft()
                self._lost += 1

    def _will_be_due(self, in_s: float) -> None:
        """Do nothing: the thread looks each second."""

    # -- in its own thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._guarded(self._keep_killed)
        while not self._ending:
            timer = self._clock.call_later(EVERY_S * self._clock.speed, self._turn.wake)
            self._turn.rest()
            timer.cancel()
            self._guarded(self._work)
        self._guarded(lambda: self._work(at_once=True))
        self._guarded(self._spool.clear)

    def _work(self, *, at_once: bool = False) -> None:
        """Spool what has come, then write what is due; what the disk does not take waits for the next second."""
        records = [self._waiting.popleft() for _ in range(len(self._waiting))]
        lost, self._lost = self._lost, 0
        if lost:
            records.insert(0, Loss(records[0].t_us if records else self._clock.micros(), lost))
        try:
            self._spool.write(records, self._clock.monotonic_s())
        except OSError:
            self._waiting.extendleft(reversed(records))
            raise
        self._write_if_due(at_once=at_once)

    def _content(self, header: Header) -> Iterable[bytes]:
        return assembled(header, self._spool.paths())

    def _keep_killed(self) -> None:
        """Make a recording of what each start that did not end in order has left; one that is unreadable goes."""
        for segments in leftovers(self._folder / "spool"):
            header = next((found for path in segments if (found := read_header(path)) is not None), None)
            if header is not None:
                cause = f"killed: start {header.boot} did not end in order"
                self._write([cause], lambda new, old=header, parts=segments: assembled(_of(old, new), parts))
            for segment in segments:
                segment.unlink(missing_ok=True)


def _of(old: Header, new: Header) -> Header:
    """Return the header of an earlier start's recording: its own boot and settings, this one's cause and time."""
    return msgspec.structs.replace(old, causes=new.causes, at=new.at)
