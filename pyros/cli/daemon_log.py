"""What a daemon writes to its log: one line for each thing that happens and is worth reading, none for the rest."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pyros.clock import Clock
from pyros.messages.alerts import AlertOpened, AlertUpdated, Analysed, ListenerState, NoticeJudged
from pyros.messages.base import Event, State
from pyros.messages.courier import CourierState, NewsRefused
from pyros.messages.devices import DomeCannotClose, DomeMoved
from pyros.messages.night import (
    ClockJumped,
    ExecutionRefused,
    ModeChanged,
    MonitorState,
    NightEnded,
    NightStarted,
    SafetyVerdict,
    ScheduleMade,
    SequenceEnded,
    SequenceStarted,
)
from pyros.messages.system import ActorFailed, ActorRestarted, DeadLetter, FlightRecorded, SupervisorState

LOGGER = logging.getLogger("pyros")
ALARM_AFTER = 3
ALARM_WITHIN_S = 600.0
_NOT_YET = ("not connected yet", "has said nothing yet")
_NUMBERS = re.compile(r"\d+(\.\d+)?")
"""A fact whose numbers alone have changed is no news."""


class Line(NamedTuple):
    """What to say, and how grave it is."""

    text: str
    level: int = logging.INFO


class EventLog:
    """A tap on everything published: says what is new. Called in the publishers' threads; it only queues."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, str] = {}
        self._failures: dict[str, deque[float]] = {}

    def __call__(self, actor: str, message: Event | State) -> None:
        """Log a publication, if it is worth a line."""
        line = line_of(message)
        if line is not None:
            self.say(actor, line)
            if isinstance(message, ActorFailed) and self._fails_again(message.actor):
                text = f"ALARM: {ALARM_AFTER} failures within {ALARM_WITHIN_S / 60:g} min; last: {message.cause}"
                self.say(message.actor, Line(text, logging.CRITICAL))
        else:
            for subject, fact in facts_of(actor, message).items():
                kind = _NUMBERS.sub("", fact.text)
                if self._known.get(subject) != kind:
                    self._known[subject] = kind
                    self.say(subject, fact)

    def _fails_again(self, actor: str) -> bool:
        """Count a failure; tell whether there were so many in a short time that somebody should look."""
        now_s, times = self._clock.monotonic_s(), self._failures.setdefault(actor, deque(maxlen=ALARM_AFTER))
        times.append(now_s)
        if len(times) < ALARM_AFTER or now_s - times[0] > ALARM_WITHIN_S:
            return False
        times.clear()
        return True

    def say(self, who: str, line: Line) -> None:
        """Log a line under the observatory's own time."""
        LOGGER.log(line.level, "%s %s: %s", f"{self._clock.now():%Y-%m-%d %H:%M:%S}", who, line.text)


def line_of(message: Event | State) -> Line | None:
    """Return an event in one line, or None if it is not worth one."""
    match message:
        case ModeChanged(before=before, after=after, cause=cause):
            return Line(f"{before} → {after}: {cause}")
        case DomeMoved(before=before, after=after, cause=cause):
            return Line(f"the dome is {after} (was {before}): {cause}")
        case DomeCannotClose(cause=cause):
            return Line(f"SOMEBODY HAS TO COME: {cause}", logging.CRITICAL)
        case ClockJumped(gap_s=gap_s, step_s=step_s):
            return Line(f"time jumped: nobody looked for {gap_s:.0f} s, UTC moved {step_s:+.0f} s", logging.WARNING)
        case NightStarted(night=night, ends=ends):
            return Line(f"night {night} begins, until {ends:%H:%M:%S}")
        case NightEnded(night=night):
            return Line(f"night {night} ends")
        case FlightRecorded(file=file, cause=cause):
            return Line(f"recorded in {file}: {cause}")
        case DeadLetter() | ActorFailed() | ActorRestarted():
            return _of_kernel(message)
        case NewsRefused(destination=name, subject=subject, reason=reason):
            return Line(f"{name} refuses the news of {subject}: {reason}", logging.WARNING)
        case NoticeJudged() | AlertOpened() | AlertUpdated():
            return _of_alert(message)
        case _:
            return _of_sequence(message)


def _of_sequence(message: Event | State) -> Line | None:
    match message:
        case ScheduleMade(placed=placed, rejected=rejected, trigger=trigger):
            return Line(f"planned {len(placed)} sequences, {len(rejected)} found no place: {trigger}")
        case SequenceStarted(sequence_id=number, name=name, alert_id=alert):
            return Line(f"sequence {number} ({name}) begins" + ("" if alert is None else f" for alert {alert}"))
        case SequenceEnded(sequence_id=number, outcome=outcome, cause=cause):
            return Line(f"sequence {number} {outcome.lower()}" + (f": {cause}" if cause else ""))
        case ExecutionRefused(sequence_id=number, reason=reason):
            return Line(f"sequence {number} not begun: {reason}", logging.WARNING)
        case _:
            return None


def _of_alert(message: NoticeJudged | AlertOpened | AlertUpdated) -> Line:
    match message:
        case NoticeJudged(ivorn=ivorn, accepted=accepted, reason=reason):
            return Line(f"notice {ivorn} {'accepted' if accepted else 'not taken'}: {reason}")
        case AlertOpened(alert_id=number, name=name, ra_deg=ra, dec_deg=dec, error_deg=error):
            return Line(f"ALERT {number} {name}: RA {ra:.4f}° Dec {dec:+.4f}° ± {error:g}°", logging.WARNING)
        case AlertUpdated(alert_id=number, status=status, reason=reason):
            return Line(f"alert {number} {status}: {reason}")


def _of_kernel(message: DeadLetter | ActorFailed | ActorRestarted) -> Line:
    match message:
        case DeadLetter(to=to, message=tag, reason=reason):
            return Line(f"{tag} to {to}: {reason.strip()}", logging.WARNING)  # a traceback keeps its lines
        case ActorFailed(actor=actor, message=tag, cause=cause):
            return Line(f"{actor} broke on {tag}: {cause}", logging.ERROR)
        case ActorRestarted(actor=actor, epoch=epoch, away_s=away_s):
            return Line(f"{actor} is back as incarnation {epoch}, after {away_s:.1f} s", logging.WARNING)


def facts_of(actor: str, message: Event | State) -> dict[str, Line]:
    """Return what a message says that is worth a line when it changes, by its subject."""
    match message:
        case SafetyVerdict(level=level, reasons=reasons):
            return {"safety": Line(": ".join([level, *([", ".join(reasons)] if reasons else [])]))}
        case MonitorState(devices=devices):
            return {
                health.device: Line("answers")
                if health.link == "up"
                else Line(f"does not answer: {health.problem}", logging.WARNING)
                for health in devices
                if health.problem not in _NOT_YET
            }
        case ListenerState(source=source, connected=connected, problem=problem):
            up = Line("connected")
            return {f"listener:{source}": up if connected else Line(f"not connected: {problem}", logging.WARNING)}
        case Analysed(alert_id=alert, candidates=[best, *others]) if alert is not None:
            where = f"RA {best.ra_deg:.5f}° Dec {best.dec_deg:+.5f}° mag {best.mag:.2f} ± {best.mag_err:.2f}"
            more = f", and {len(others)} more" if others else ""
            return {f"alert {alert}": Line(f"CANDIDATE at {where}{more}", logging.WARNING)}
        case CourierState(destinations=rows):
            return {
                f"news for {row.name}": Line(f"held up: {row.last_error}", logging.WARNING)
                if row.last_error
                else Line("go out")
                for row in rows
            }
        case SupervisorState(status=status):
            return {actor: Line(f"the daemon is {status}")}
        case _:
            return {}


class LogTo:
    """While entered, what the daemon says goes to `write`, in a thread of its own: no actor waits for a terminal."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._target = _Handler(write)
        lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._source = logging.handlers.QueueHandler(lines)
        self._listener = logging.handlers.QueueListener(lines, self._target)

    def __enter__(self) -> None:
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
        LOGGER.addHandler(self._source)
        self._listener.start()

    def __exit__(self, *_: object) -> None:
        LOGGER.removeHandler(self._source)
        self._listener.stop()


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write
        self.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except (OSError, ValueError):  # the terminal has gone; the observatory has not
            return
