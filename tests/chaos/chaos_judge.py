"""Brings a chaos night before its judges: the observer of the world, the auditor of the store, the clock of hours."""

from __future__ import annotations

import hashlib
from pathlib import Path

from chaos_nights import MOST_SHUT, Result

from pyros.cli.night.report import find
from pyros.messages.night import NightEnded, NightStarted
from pyros.messages.system import ActorRestarted
from simulators.observer import CLOSING_ALLOWED_S, IN_RAIN, PARKING_ALLOWED_S
from simulators.observer_books import Books, audit
from simulators.observer_hours import CLOSED_S, RESTART_S, STEP_S, Span, closed_by_people, hours, spoiled_by
from simulators.physics_timeline import from_unix_s, to_unix_s
from simulators.scenario import Scenario

DAEMON = "daemon"
OBEYED_S = 300.0
"""From an acknowledged lockdown, pause or stop to the closed switch, the dead-man's way included."""


def judged(drawn, record, observatory, folder: Path) -> Result:
    """Return what became of a night, with every rule that was broken in a line."""
    observer, world = observatory.observer, observatory.world
    scenario = Scenario.parse(drawn.text)
    dark = (to_unix_s(record.begins), to_unix_s(record.ends))
    orders = [(to_unix_s(one.at), one.command) for one in record.orders if one.answer == "Done"]
    spoiled = spoiled_by(scenario, world, orders, dark[1])
    found = hours(observer, dark, spoiled)
    faulty = find(record).shares["fault"]
    restarts = [one.message for one in record.said if isinstance(one.message, ActorRestarted)]
    books = Books(
        folder=folder,
        exposures=observer.exposures,
        offsets_s=_offsets(scenario),
        troubles=_troubles(scenario, world, record),
        announced=_announced(record),
        taken=record.news,
        acknowledged=[one.ivorn for one in observatory.broker.answers if one.role == "ack"],
    )
    broken = [one for one in observer.violations if not _is_nobodys_fault(one, observer)] + audit(books)
    return Result(
        seed=drawn.seed,
        night=record.night,
        restarts=sum(1 for one in restarts if one.actor != DAEMON),
        deaths=sum(1 for one in restarts if one.actor == DAEMON),
        frames=len(record.exposures),
        dark_s=found.dark_s,
        fair_s=found.fair_s,
        open_s=found.open_s,
        notices=len(books.acknowledged),
        idle_s=STEP_S * sum(1 for at_s in found.fair if any(begin <= at_s * 1e6 < end for begin, end in faulty)),
        violations=[f"{one.t:%Y-%m-%dT%H:%M:%S} {one.rule}: {one.detail}" for one in broken]
        + disobeyed(observer, orders)
        + causeless(observer, spoiled),
        shut=[f"{from_unix_s(at_s):%Y-%m-%dT%H:%M:%S}" for at_s in found.shut[:MOST_SHUT]],
        events=hashlib.sha256((folder / "events.jsonl").read_bytes()).hexdigest(),
    )


def _is_nobodys_fault(violation, observer) -> bool:
    """Tell whether it rained into a dome that could not close."""
    at_s = to_unix_s(violation.t)
    return violation.rule == IN_RAIN and observer.hindered(at_s - CLOSING_ALLOWED_S - PARKING_ALLOWED_S, at_s)


def _offsets(scenario) -> list[float]:
    offsets = [0.0]
    for event in sorted(scenario.events, key=lambda event: event.instant):
        if "clock_jump_s" in event.keys:
            offsets.append(offsets[-1] + event.keys["clock_jump_s"])
    return offsets


def _troubles(scenario, world, record) -> list[Span]:
    """Return when something went wrong, so that a frame may have been lost to it, and for how long."""
    events = [
        (to_unix_s(event.at(world.night_start)), float(event.keys.get("for_s", 0.0)))
        for event in scenario.events
        if event.kind != "grb"
    ]
    ended = [(to_unix_s(change["t"]), 0.0) for change in record.dome]
    return [*events, *ended]


def _announced(record) -> list[tuple[float, str]]:
    return [
        (to_unix_s(one.at), f"{type(one.message).__name__} {one.message.night}")
        for one in record.said
        if isinstance(one.message, NightStarted | NightEnded)
    ]


def disobeyed(observer, orders) -> list[str]:
    """Return the acknowledged orders to close under which the dome was open all the same."""
    wanted = closed_by_people(orders, observer.world.unix_s())
    return [
        f"{from_unix_s(begin_s):%Y-%m-%dT%H:%M:%S} dome open against an order of people"
        for begin_s, end_s in wanted
        if not observer.hindered(begin_s, end_s)
        and any(observer.plc.open_fraction(t) > 0 for t in _steps(begin_s + OBEYED_S, end_s))
    ]


def _steps(begin_s: float, end_s: float):
    return [begin_s + 10.0 * step for step in range(int((end_s - begin_s) / 10.0) + 1)]


def causeless(observer, spoiled) -> list[str]:
    """Return the deaths of the process that no trouble accounts for."""
    return [
        f"{gone.start:%Y-%m-%dT%H:%M:%S} the process died without a cause"
        for gone in observer.absences
        if not any(begin - 1.0 <= to_unix_s(gone.start) <= end + RESTART_S + CLOSED_S for begin, end in spoiled)
    ]
