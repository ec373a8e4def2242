"""The course of a night for the lost-time ledger: which sequences ran, when nothing did, and who claims which second.

Light exposures, slews and readouts come from the observer of the simulated world; everything else from what the actors
said and planned. An idle second under an open dome is a fault when the last planning wanted something observed in it,
or when a request that it did not place would have been accepted (`openings.py`); else there was no target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pyros.cli.night.attribution import SECOND, Span, as_instant, attribute, merged, micros, overlap, without
from pyros.cli.night.conditions import Conditions, conditions
from pyros.cli.night.record import NightRecord, Said
from pyros.messages.alerts import AlertOpened
from pyros.messages.devices import ShutterOpened
from pyros.messages.night import ImageTaken, PlannedSequence, Pointed, ScheduleMade, SequenceEnded, SequenceStarted
from pyros.messages.system import ActorFailed, ActorRestarted

STARTUP_S = 600.0
"""Longest time from the night's beginning to the first planning that counts as startup."""
TAKING_UP_S = 60.0
"""Longest time from the open dome to the next planning that belongs to what had closed it."""
ALERT_WAIT_S = 120.0
"""Longest time from an alert to its sequence that counts as a wait for the alert."""
STALL_S = 60.0
"""Longest time that filter, focus, readout or abort may take within a sequence."""
BYSTANDERS = frozenset(
    {"alert_manager", "analyzer", "courier", "gateway", "librarian", "routine_manager", "user_manager", "web"}
)
"""Actors without which the telescope goes on observing; listeners too."""


@dataclass
class Run:
    """One execution of a sequence."""

    sequence_id: int
    name: str
    alert_id: int | None
    begin: int
    end: int
    outcome: str = "INTERRUPTED"
    cause: str = "no end was announced"
    exposed_s: float = 0.0
    pointed: int | None = None
    """When the telescope had settled."""
    first_shutter: int | None = None
    progress: int = 0
    """The last sign that it went on."""

    @property
    def slewed(self) -> int:
        """When its slewing was over: settled, or exposing without it, or never."""
        return self.pointed or self.first_shutter or self.end


@dataclass(frozen=True)
class Planned:
    """A planning while it was the last one."""

    begin: int
    end: int
    made: ScheduleMade


@dataclass(frozen=True)
class Course:
    """A night's course; `idle` is dark time under an open dome in which nothing ran and nobody waited for an alert."""

    dark: Span
    conditions: Conditions
    runs: list[Run]
    plannings: list[Planned]
    idle: list[Span]
    alert_wait: list[Span]
    calibrations: list[Span]
    taking_up: list[tuple[Span, str]] = field(default_factory=list[tuple[Span, str]])
    """From the open dome to the next planning, and what that time belongs to."""

    def free(self) -> list[Span]:
        """Return idle time in which the last planning wanted nothing observed."""
        unplanned = [(planned.begin, planned.end) for planned in self.plannings]
        claimed = [span for span, _ in self.taking_up] + planned_slots(self.plannings, self.runs)
        return without(overlap(self.idle, merged(unplanned)), merged(claimed))


Openings = Callable[[Course], list[Span]]
"""Returns the parts of a course's free time in which a request would have been accepted."""


def course_of(record: NightRecord, calibrations: Sequence[Span] = ()) -> Course:
    """Return the course of a night; `calibrations` are the exposures of darks, biases and flats."""
    dark = (micros(record.begins), micros(record.ends))
    found = conditions(record.said, record.ends)
    runs, plannings = runs_of(record.said, record.ends), plannings_of(record.said, record.ends)
    ready = overlap([dark], merged(found.ready))
    quiet = without(ready, merged([*calibrations, *((run.begin, run.end) for run in runs)]))
    waits = overlap(quiet, merged(_alert_waits(record.said, runs)))
    taking_up = _taking_up(found, dark, runs, plannings)
    return Course(dark, found, runs, plannings, without(quiet, waits), waits, list(calibrations), taking_up)


def shares_of(record: NightRecord, course: Course, openings: Openings) -> dict[str, list[Span]]:
    """Return for each category the dark time that belongs to it."""
    return attribute(course.dark, _claims(record, course, openings(course)))


def _claims(record: NightRecord, course: Course, accepted: list[Span]) -> dict[str, list[Span]]:
    found, runs, shut_frames = course.conditions, course.runs, merged(course.calibrations)
    claims: dict[str, list[Span]] = {
        "exposing": _spans(record.exposures),
        "paused": [],
        "weather": [],
        "fault": accepted + planned_slots(course.plannings, runs),
        "alert_wait": course.alert_wait,
        "slewing": _spans(record.slews) + without(merged((run.begin, run.slewed) for run in runs), shut_frames),
        "readout": _spans(record.readouts) + without(merged((run.begin, run.end) for run in runs), shut_frames),
        "calibration": course.calibrations,
        "startup": _startup(record, course),
    }
    for span, cause in found.closed + course.taking_up:
        claims[cause].append(span)
    for span, cause in found.warned:
        claims[cause] += overlap(course.idle, [span])
    claims["fault"] = overlap(course.idle, merged(claims["fault"]))
    claims["fault"] = without(claims["fault"], merged(span for span, _ in course.taking_up))
    claims["fault"] += _faults(record, course, claims)
    return claims


def _startup(record: NightRecord, course: Course) -> list[Span]:
    """Return the first minutes of the night in which the dome was not open yet and nothing was against it."""
    first_ready = [at for at, _ in course.conditions.taken_up[:1]]
    until = min([course.dark[0] + int(STARTUP_S * SECOND), *first_ready])
    waiting = merged([*course.conditions.shut, *_unheard(record, course)])
    return overlap(merged([(course.dark[0], until)]), waiting)


def _unheard(record: NightRecord, course: Course) -> list[Span]:
    """Return the dark time before the first word of any actor."""
    return [(course.dark[0], micros(record.said[0].at) if record.said else course.dark[1])]


def _faults(record: NightRecord, course: Course, claims: dict[str, list[Span]]) -> list[Span]:
    """Return the faults that need no planning to be seen."""
    found = course.conditions
    running = merged([*course.calibrations, *((run.begin, run.end) for run in course.runs)])
    broken = merged([*found.down, *_away(record.said), *_dome_not_open(record, found)])
    unplanned = without(course.idle, merged((planned.begin, planned.end) for planned in course.plannings))
    taken = merged([*claims["startup"], *(span for span, _ in course.taking_up)])
    return [
        *(span for span, cause in found.closed + course.taking_up if cause == "fault"),
        *without(without(merged([*found.shut, *_unheard(record, course), *unplanned, *broken]), running), taken),
        *_stalls(record, course.runs, course.calibrations),
    ]


def _spans(times: Sequence[tuple[datetime, datetime]]) -> list[Span]:
    return [(micros(begin), micros(end)) for begin, end in times]


# -- sequences and plannings -----------------------------------------------------------------------------------------


def runs_of(said: Sequence[Said], until: datetime) -> list[Run]:
    """Return every execution of a sequence in order; one whose end nobody announced lasts until the next begins."""
    runs: list[Run] = []
    running: Run | None = None
    end_us = micros(until)
    for one in said:
        at = micros(one.at)
        match one.message:
            case SequenceStarted(sequence_id=sequence_id, name=name, alert_id=alert_id):
                if running is not None:
                    running.end = at
                running = Run(sequence_id, name, alert_id, at, max(at, end_us), progress=at)
                runs.append(running)
            case SequenceEnded() as ended if running is not None and ended.sequence_id == running.sequence_id:
                running.end, running.outcome, running.cause = at, ended.outcome, ended.cause
                running.exposed_s = ended.exposed_s
                running = None
            case Pointed() as pointed if running is not None and pointed.sequence_id == running.sequence_id:
                running.pointed = running.progress = micros(pointed.settled_at)
            case ShutterOpened() as opened if running is not None and opened.sequence_id == running.sequence_id:
                running.first_shutter = running.first_shutter or micros(opened.start)
                running.progress = micros(opened.start) + int(opened.exposure_s * SECOND)
            case ImageTaken() as image if running is not None and image.sequence_id == running.sequence_id:
                running.progress = at
            case _:
                pass
    return runs


def plannings_of(said: Sequence[Said], until: datetime) -> list[Planned]:
    """Return each planning with the time for which it was the last one."""
    made = [(micros(one.at), one.message) for one in said if isinstance(one.message, ScheduleMade)]
    ends = [at for at, _ in made[1:]] + [micros(until)]
    return [Planned(at, max(at, end), message) for (at, message), end in zip(made, ends, strict=False)]


def planned_slots(plannings: Sequence[Planned], runs: Sequence[Run]) -> list[Span]:
    """Return the time that the last planning gave to sequences that were not begun in it."""
    slots: list[Span] = []
    for planned in plannings:
        for place in planned.made.placed:
            begin, end = _slot(place)
            begun = [run.begin for run in runs if run.sequence_id == place.sequence_id and run.begin >= planned.begin]
            slots.append((max(begin, planned.begin), min([end, planned.end, *begun])))
    return slots


def _slot(place: PlannedSequence) -> Span:
    """From the planned start to the planned end, or to the latest start where that is later."""
    begin = micros(place.start)
    return begin, max(micros(place.end), begin + int(place.delta_tr_s * SECOND))


def _taking_up(found: Conditions, dark: Span, runs: list[Run], plannings: list[Planned]) -> list[tuple[Span, str]]:
    """Return the time from each taking up of the observing to the next planning or sequence, and whose it is."""
    marks = sorted([run.begin for run in runs] + [planned.begin for planned in plannings])
    taking_up: list[tuple[Span, str]] = []
    for begin, cause in found.taken_up:
        following = next((mark for mark in marks if mark >= begin), dark[1])
        if cause is not None:
            taking_up.append(((begin, min(following, begin + int(TAKING_UP_S * SECOND))), cause))
        elif begin <= dark[0] + int(STARTUP_S * SECOND):
            latest = max(begin, dark[0]) + int(STARTUP_S * SECOND)
            taking_up.append(((max(begin, dark[0]), min(following, latest)), "startup"))
    return taking_up


def _alert_waits(said: Sequence[Said], runs: Sequence[Run]) -> list[Span]:
    """Return the time between an alert (or what ran before) and its sequence, where that followed at once."""
    opened = {one.message.alert_id: micros(one.at) for one in said if isinstance(one.message, AlertOpened)}
    waits: list[Span] = []
    for run in runs:
        if run.alert_id is None or run.alert_id not in opened:
            continue
        earlier = [other.end for other in runs if other.end <= run.begin and other is not run]
        since = max([opened[run.alert_id], *earlier])
        if run.begin - since <= ALERT_WAIT_S * SECOND:
            waits.append((since, run.begin))
    return waits


# -- faults ----------------------------------------------------------------------------------------------------------


def _away(said: Sequence[Said]) -> list[Span]:
    """Return when an actor that observing needs was away."""
    failed: dict[str, int] = {}
    away: list[Span] = []
    for one in said:
        match one.message:
            case ActorFailed(actor=actor):
                failed.setdefault(actor, micros(one.at))
            case ActorRestarted(actor=actor, away_s=away_s):
                begin = failed.pop(actor, micros(one.at) - int(away_s * SECOND))
                if actor not in BYSTANDERS and not actor.startswith("listener"):
                    away.append((begin, micros(one.at)))
            case _:
                pass
    return away


def _stalls(record: NightRecord, runs: Sequence[Run], calibrations: Sequence[Span]) -> list[Span]:
    """Return the time within sequences in which nothing went on: the end of an interrupted one, and long gaps."""
    tails = [(run.progress, run.end) for run in runs if run.outcome == "INTERRUPTED"]
    busy = merged([*_spans(record.exposures), *_spans(record.slews), *_spans(record.readouts), *calibrations])
    gaps = without(merged((run.slewed, run.end) for run in runs), busy)
    return without(merged(tails), busy) + [gap for gap in gaps if gap[1] - gap[0] > STALL_S * SECOND]


def _dome_not_open(record: NightRecord, found: Conditions) -> list[Span]:
    """Return when majordome observed under a dome that the observer did not see open."""
    if not record.dome:
        return []
    marks = [(micros(as_instant(change["t"])), change["to"] == "open") for change in record.dome]
    ends = [at for at, _ in marks[1:]] + [micros(record.ends)]
    unopened = [(at, end) for (at, is_open), end in zip(marks, ends, strict=True) if not is_open]
    return overlap(merged(found.ready), merged(unopened))
