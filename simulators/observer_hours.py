"""How much of the time that was safe and fault-free the dome was open: what troubles cost beyond what they must.

A second of the dark time counts as *safe and fault-free* when the weather has been good, by limits of its own,
for a hold-off and an opening; when nothing that the scenario did is going on or within its documented time of recovery;
when no order of a person keeps the dome closed; and when the PLC holds no latch that only a person may reset. Nothing
of this is taken from what PyROS says of itself. Times are seconds of UTC since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulators.observer import Observer
from simulators.physics_timeline import to_unix_s
from simulators.scenario import Scenario
from simulators.world import World

STEP_S = 10.0
OPENING_S = 150.0
"""From the last thing against it to the open switch: a decision, the dome's own time, and a refusal tried again."""
HOLD_OFF_S = 600.0
RAIN_HOLD_OFF_S = 900.0
CLOSED_S = HOLD_OFF_S + OPENING_S
RESTART_S = 60.0
"""Until a process that died is up again; also the longest pause between the restarts of an actor."""
HANG_S = 60.0
"""Until an actor that hangs is noticed, or the watchdog ends the process."""
GOOD = {"wind_m_s": 11.0, "gust_m_s": 15.0, "humidity_percent": 83.0}
SPREAD_C = 2.5
COLDEST_C = -19.0
CHAIN = ("plc", "weather", "monitor", "majordome", "archivist")
"""Actors whose absence for seconds may close the dome."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Hours:
    """Seconds of the dark time, of what was safe and fault-free in it, and of that under an open dome."""

    dark_s: float
    fair_s: float
    open_s: float
    fair: tuple[float, ...] = ()
    """The instants, ten seconds apart, that stand for the safe and fault-free time."""
    shut: tuple[float, ...] = ()
    """Those of them under a dome that was not open."""


def hours(observer: Observer, dark: Span, spoiled: Sequence[Span]) -> Hours:
    """Return how the dark time was used; `spoiled` are the times that faults and people's orders account for."""
    world = observer.world
    latched = [(to_unix_s(one.start), to_unix_s(one.end) + CLOSED_S) for one in observer.latched]
    against = [*spoiled, *latched]
    fair: list[float] = []
    good_since_s = dark[0] - 7200.0
    instant_s = good_since_s
    while instant_s < dark[1]:
        if not _is_good(world, instant_s):
            good_since_s = instant_s + (RAIN_HOLD_OFF_S - HOLD_OFF_S if world.rain.at(instant_s) else 0.0)
        settled = instant_s >= good_since_s + CLOSED_S
        if instant_s >= dark[0] and settled and not any(begin <= instant_s <= end for begin, end in against):
            fair.append(instant_s)
        instant_s += STEP_S
    shut = tuple(at_s for at_s in fair if observer.plc.open_fraction(at_s) < 1.0)
    return Hours(dark[1] - dark[0], STEP_S * len(fair), STEP_S * (len(fair) - len(shut)), tuple(fair), shut)


def _is_good(world: World, unix_s: float) -> bool:
    weather = world.weather(unix_s)
    if world.rain.at(unix_s) or any(weather[name] > limit for name, limit in GOOD.items()):
        return False
    dry = weather["temperature_c"] - weather["dew_point_c"] >= SPREAD_C
    return dry and weather["temperature_c"] > COLDEST_C


def spoiled_by(scenario: Scenario, world: World, orders: Iterable[tuple[float, str]], until_s: float) -> list[Span]:
    """Return the time that a scenario's faults and the orders of people (instant, command) account for."""
    spans = [
        (begin_s, begin_s + lasts_s)
        for event in scenario.events
        if (lasts_s := _lasts_s(event.kind, event.keys)) > 0.0
        for begin_s in (to_unix_s(event.at(world.night_start)),)
    ]
    return spans + [(begin_s, end_s + OPENING_S) for begin_s, end_s in closed_by_people(orders, until_s)]


def _lasts_s(kind: str, keys: Mapping[str, Any]) -> float:
    """Return how long an event may keep the dome from being open, its recovery included; 0 where it must not."""
    for_s = float(keys.get("for_s", 0.0))
    match kind:
        case "actor":
            return _actor_s(str(keys["actor"]), str(keys["fault"]), for_s)
        case "process":
            return RESTART_S + CLOSED_S
        case "device":
            return for_s + (CLOSED_S + RESTART_S if keys["device"] in {"plc", "power"} else 0.0)
        case "sensor":
            return for_s + CLOSED_S
        case "environment":
            return _environment_s(keys, for_s)
        case _:
            return 0.0


def _actor_s(actor: str, fault: str, for_s: float) -> float:
    if actor == "supervisor" or fault == "hang":  # a fourth hang in a process's life ends it
        return HANG_S + RESTART_S + CLOSED_S
    vital = actor.partition(":")[0] in CHAIN
    if fault == "die_in_start":
        return for_s + RESTART_S + (RESTART_S + CLOSED_S if vital else 0.0)
    return RESTART_S


def _environment_s(keys: Mapping[str, Any], for_s: float) -> float:
    if "clock_jump_s" in keys:
        return RESTART_S + CLOSED_S
    if "mains" in keys or "ups_percent" in keys:
        return for_s + CLOSED_S
    return for_s + RESTART_S if "disk_full" in keys else 0.0


def closed_by_people(orders: Iterable[tuple[float, str]], until_s: float) -> list[Span]:
    """Return when people wanted the dome closed.

    Parameters
    ----------
    orders
        Instant and command of each order that was acknowledged: a lockdown holds until its release, whatever else is
        ordered; a stop until a start; a pause until either a resume or a start.
    until_s
        When the night is over.
    """
    spans: list[Span] = []
    wish, locked, since_s = "run", False, 0.0
    for at_s, command in [*orders, (until_s, "end")]:
        was_closed = locked or wish != "run"
        word = command.split()[0]
        if word in {"lockdown", "release"}:
            locked = word == "lockdown"
        elif word == "stop" or (word == "pause" and wish == "run"):
            wish = word
        elif word == "start" or (word == "resume" and wish == "pause"):
            wish = "run"
        is_closed = (locked or wish != "run") and word != "end"
        if is_closed and not was_closed:
            since_s = at_s
        elif was_closed and not is_closed:
            spans.append((since_s, at_s))
    return spans
