"""Feeds a recording to a fresh incarnation of an actor, on the virtual clock, in a state folder of its own.

The actor runs in the real kernel, alone: this post office delivers what was delivered then, answers its questions with
the replies that came then, and keeps what it sends.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyros.actors.environment import Environment
from pyros.actors.kernel import SUPERVISOR, ChildSpec, Context, Envelope, Lease, System
from pyros.actors.kernel.envelope import Answer, AnswerTo, Resume, StopOrder, tag_of
from pyros.actors.kernel.mailbox import Mailbox
from pyros.actors.tree import specs
from pyros.cli.replay.comparison import KERNELS, Said
from pyros.cli.replay.words import instant_of
from pyros.clock import ClockStalledError, VirtualClock
from pyros.config import Settings
from pyros.flight import Recorded, Recording
from pyros.flight.record import DELIVERED, PUBLISHED
from pyros.flight.redaction import redacted
from pyros.messages.base import Command, Event, Message, State
from pyros.messages.codec import to_builtins
from pyros.messages.system import ActorFailed
from pyros.sky import configure_iers
from pyros.store.database import StoreError, open_reader, open_store
from pyros.store.migrations import migrate

DECIDERS = (
    "librarian", "user_manager", "weather", "monitor", "scheduler", "observation_manager", "majordome",
    "routine_manager", "alert_manager",
)  # fmt: skip
"""Actors that own no device, write no store and reach nobody outside, by the first part of their names."""
MOST_BREAKS = 100
STALL_S = 30.0


class FeedError(Exception):
    """The actor cannot be fed; one line says why."""


@dataclass
class Outcome:
    """What came of it."""

    fed: int = 0
    """Messages delivered, answers not counted."""
    said: list[Said] = field(default_factory=list[Said])
    breaks: list[tuple[int, ActorFailed, str]] = field(default_factory=list[tuple[int, ActorFailed, str]])
    """When, on what, and the traceback."""
    unanswered: Counter[str] = field(default_factory=Counter[str])
    """Questions that nobody had answered in the recording, as `archivist Commit`."""
    busy_with: str = ""
    """What it was still at in the end: a handler that never returns."""


def feed(recording: Recording, actor: str, settings: Settings, state: Path | None = None) -> Outcome:
    """Give an actor everything that it got in a recording; return what it said.

    Parameters
    ----------
    state
        A state folder whose store is copied; without it the store is empty.

    Raises
    ------
    FeedError
        If it is an actor that cannot be fed, or the store or the actor cannot be made.
    """
    if not recording.records:
        raise FeedError("there are no records in it that could be fed")
    configure_iers()
    with TemporaryDirectory(prefix="pyros-replay-") as folder, ThreadPoolExecutor(1) as pool:
        spec = _spec_of(actor, Environment.of(settings, Path(folder), pool))
        _prepare_store(Path(folder), state)
        return Replay(recording, spec).run()


def _spec_of(actor: str, environment: Environment) -> ChildSpec:
    known = {spec.name: spec for spec in specs(environment, gateway=False)}
    can_be_fed = [name for name in known if name.partition(":")[0] in DECIDERS]
    if actor in can_be_fed:
        return known[actor]
    why = (
        f"{actor} owns a device, the store or a way outside, none of which is in a recording"
        if actor in {*known, SUPERVISOR, "gateway", "web"}
        else f"there is no actor {actor}"
    )
    raise FeedError(f"{why}; those that can be fed are {', '.join(can_be_fed)}")


def _prepare_store(folder: Path, state: Path | None) -> None:
    try:
        if state is not None:
            with open_reader(state) as reader:
                for name, database in (("pyros.db", reader.main), ("telemetry.db", reader.telemetry)):
                    copy = sqlite3.connect(folder / name)
                    database.connection().backup(copy)
                    copy.close()
        with open_store(folder, "off") as store:
            migrate(store)
    except (StoreError, sqlite3.Error) as error:
        raise FeedError(f"the store cannot be copied: {error}") from None


class Replay(System):
    """The post office of a replay: one actor, and a recording in place of all others."""

    def __init__(self, recording: Recording, spec: ChildSpec) -> None:
        clock = VirtualClock(instant_of(recording.records[0].t_us), stall_s=STALL_S)
        super().__init__(clock, boot=0)
        self.outcome = Outcome()
        self._virtual = clock
        self._zero_us = clock.micros()
        self._spec = spec
        self._box = self.open_mailbox(spec.name)
        self._lease = Lease(spec.name, 0)
        self._recording = recording
        self._records = deque(row for row in recording.records if self._concerns(row))
        self._answered_then = Counter((row.to, row.cause) for row in recording.records if self._is_own_reply(row))
        self._asked: dict[tuple[str, str], deque[tuple[str, AnswerTo]]] = {}
        self._early: dict[tuple[str, str], deque[Answer]] = {}
        self._over = False

    def _concerns(self, record: Recorded) -> bool:
        to_it = record.kind == DELIVERED and record.to == self._spec.name
        return to_it or (record.kind == PUBLISHED and record.sender != self._spec.name)

    def _is_own_reply(self, record: Recorded) -> bool:
        return record.is_reply and record.sender == self._spec.name

    # -- the course of it --------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Feed everything; return what the actor said."""
        for record in self._recording.standing:
            self._show(record)
        self._incarnate()
        self._arm()
        try:
            self._virtual.run(until=instant_of(max(row.t_us for row in self._recording.records)))
            busy = self._box.busy()
            self.outcome.busy_with = "" if busy is None else type(getattr(busy[0], "message", busy[0])).__name__
            self._end()
        except ClockStalledError as error:
            raise FeedError(f"{self._spec.name} does not come to an end: {error}") from None
        return self.outcome

    def _incarnate(self) -> None:
        self._lease.revoke()
        self._lease = Lease(self._spec.name, self._lease.epoch + 1)
        view = self._box.open_view(self._lease.epoch)
        context = Context(self._spec.name, self, self._lease, view)
        try:
            self._spec.make(context).start_in(context)
        except Exception as error:
            raise FeedError(f"{self._spec.name} cannot be made: {type(error).__name__}: {error}") from error

    def _arm(self) -> None:
        """Wait for the next record's time: one at a time, so that what the actor does in between comes in between."""
        if self._records:
            self.clock.call_later((self._records[0].t_us - self.clock.micros()) / 1e6, self._take_next)

    def _take_next(self) -> None:
        record = self._records.popleft()
        if record.kind == PUBLISHED:
            self._show(record)
        elif record.is_reply:
            self._answer(record)
        else:
            self._deliver(record)
        self._arm()

    def _end(self) -> None:
        self._over = True
        self.outcome.unanswered.update(f"{to} {tag}" for (to, _), open_ in self._asked.items() for tag, _ in open_)
        self._box.put(StopOrder(self._lease.epoch), first=True)
        self._virtual.run(until=self.clock.now())
        self._lease.revoke()

    # -- what others did ---------------------------------------------------------------------------------------------

    def _show(self, record: Recorded) -> None:
        """Retain a state as somebody published it, then; of the actor itself only what it said before."""
        message = record.message()
        if isinstance(message, State):
            self.events.retain(record.sender, message, (record.t_us - self._zero_us) / 1e6)

    def _deliver(self, record: Recorded) -> None:
        message = record.message()
        if message is None:
            return
        self.outcome.fed += 1
        envelope = Envelope(
            id=record.id,
            cause=record.cause,
            sender=record.sender,
            to=record.to,
            message=message,
            sent_us=record.t_us,
            answer=lambda reply: self._take_answer(record, reply),
        )
        super().post(envelope)

    def _answer(self, record: Recorded) -> None:
        """Answer the question that was asked in the same handling of the same actor; or keep it until that is asked."""
        key, reply = (record.sender, record.cause), record.message()
        if reply is None:
            return
        if self._asked.get(key):
            self._asked[key].popleft()[1](reply)  # pyright: ignore[reportArgumentType] # it was an answer then
        else:
            self._early.setdefault(key, deque()).append(reply)  # pyright: ignore[reportArgumentType] # so was this

    # -- what the actor does -----------------------------------------------------------------------------------------

    def mailbox(self, name: str) -> Any:
        """See `System.mailbox`; the actor's own timers are left out: those of the recording are delivered."""
        return _WithoutTimers(self._box) if name == self._spec.name else None

    def check_may_ask(self, asker: str, to: str) -> None:
        """Let it ask: whether it may is the kernel's question, not the recording's."""

    def post(self, envelope: Envelope) -> None:
        """Keep what the actor sends, and answer what it asks."""
        message = envelope.message
        if isinstance(message, ActorFailed):
            self._broke(message)
        elif envelope.to != self._spec.name:
            self._say(envelope.to, message)
            if envelope.answer is not None:
                self._ask(envelope, envelope.answer)

    def publish(self, sender: str, message: Event | State, envelope_for: Callable[[str], Envelope]) -> None:
        """Keep what the actor publishes; who else would get it is not here."""
        del envelope_for
        self.events.retain(sender, message, self.clock.monotonic_s())
        if not isinstance(message, KERNELS):
            self._say("", message)

    def _ask(self, envelope: Envelope, answer: AnswerTo) -> None:
        root = envelope.cause == envelope.id
        key = (envelope.to, "" if root else envelope.cause)
        if self._early.get(key):
            answer(self._early[key].popleft())
        else:
            self._asked.setdefault(key, deque()).append((tag_of(envelope), answer))

    def _take_answer(self, record: Recorded, reply: Answer) -> None:
        """Keep an answer, if somebody had asked and got one then."""
        key = (record.sender, record.cause)
        if self._answered_then[key] > 0:
            self._answered_then[key] -= 1
            self._say(record.sender, reply)

    def _say(self, to: str, message: Message) -> None:
        if not self._over:
            self.outcome.said.append(Said(self.clock.micros(), to, redacted(to_builtins(message))))

    def _broke(self, failure: ActorFailed) -> None:
        if not self._over:
            trace = self.dead_letters[-1].reason if self.dead_letters else ""
            self.outcome.breaks.append((self.clock.micros(), failure, trace))
            if len(self.outcome.breaks) < MOST_BREAKS:
                self.clock.call_later(0.0, self._incarnate)


class _WithoutTimers:
    """An actor's mailbox as it sees it itself."""

    def __init__(self, box: Mailbox) -> None:
        self._box = box

    @property
    def owner(self) -> int:
        """See `Mailbox.owner`."""
        return self._box.owner

    def put(self, mail: Any, *, first: bool = False, always: bool = False) -> None:
        """Queue mail, except for a command that the actor has set a timer for."""
        if not (isinstance(mail, Resume) and isinstance(mail.about, Command)):
            self._box.put(mail, first=first, always=always)
