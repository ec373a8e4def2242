"""Scenarios: a TOML file of what goes wrong in a night, read with every fault named, and played on the clock.

`Scenario.load(path)` reads and checks; `scenario.play(world, transports)` sets a timer for each event of the simulated
world and returns what is not the world's business (actors, operators, PyROS's own machine) for the caller to play.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from simulators.notices import render, trigger_id_for
from simulators.physics_frames import displaced
from simulators.scenario_check import ScenarioError, check
from simulators.scenario_notice import moved_to
from simulators.world import Transient, World

__all__ = ["Event", "Scenario", "ScenarioError"]

Send = Callable[[bytes], object]
OURS = ("weather", "sensor", "grb", "notice", "device", "environment")
ENVIRONMENT_OF_WORLD = ("mains", "ups_percent", "network")
RADIUS_90_IN_SIGMA = 2.146


@dataclass(frozen=True)
class Event:
    """One event: `after` the evening's end or `instant`, its kind and keys, and the line on which it begins."""

    kind: str
    line: int
    keys: dict[str, Any]
    after: timedelta | None = None
    instant: datetime | None = None

    def at(self, night_start: datetime) -> datetime:
        """Return the instant of the event in a night whose evening ends at `night_start`."""
        return self.instant or night_start + (self.after or timedelta())


@dataclass(frozen=True)
class Scenario:
    """A checked scenario; `folder` is what the paths in it are relative to."""

    name: str = "a quiet night"
    seed: int | None = None
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    events: tuple[Event, ...] = ()
    folder: Path = Path()

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """Read a file.

        Raises
        ------
        ScenarioError
            If it cannot be read or breaks a rule; the message has one line for each fault, with its line number.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: cannot be read: {error}") from None
        return cls.parse(text, path.parent, str(path))

    @classmethod
    def parse(cls, text: str, folder: Path = Path(), where: str = "scenario") -> Scenario:
        """Read a scenario from its text; see `load`."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"{where}: not TOML: {error}") from None
        events = tuple(
            Event(kind, line, keys, after, instant)
            for kind, line, keys, after, instant in check(tables, text, folder, where)
        )
        overrides = {section: dict(keys) for section, keys in tables.get("override", {}).items()}
        return cls(tables.get("name", path_name(where)), tables.get("seed"), overrides, events, folder)

    def play(self, world: World, transports: Mapping[str, Send] | None = None) -> list[tuple[datetime, dict[str, Any]]]:
        """Set the clock's timers for every event of the simulated world.

        Parameters
        ----------
        world : World
        transports : mapping of str to callable
            How notices are sent, by the name of the transport: `{"vtp": broker.send}`.

        Returns
        -------
        list of (datetime, dict)
            Events for the caller to play, in order of time: of kinds actor, process and operator, and of environment
            what is not in this world (clock_jump_s, disk_full, centre); each dict has `kind` and the event's keys.

        Raises
        ------
        ScenarioError
            If a notice wants a transport that is not there; nothing has been set then.
        """
        sends = dict(transports or {})
        self._need_transports(sends)
        left: list[tuple[datetime, dict[str, Any]]] = []
        for number, event in enumerate(self.events, start=1):
            at = event.at(world.night_start)
            machines = _for_the_caller(event)
            if machines:
                left.append((at, {"kind": event.kind, **machines}))
            if event.kind not in OURS:
                continue
            if event.kind == "grb":
                self._play_grb(world, event, at, number, sends)
            else:
                world.clock.call_at(at, _action(world, event, self.folder, sends))
        return sorted(left, key=lambda item: item[0])

    def _need_transports(self, sends: Mapping[str, Send]) -> None:
        there = ", ".join(sends) or "none"
        faults = [
            f"line {event.line}: {event.kind} wants the transport {via!r}; there is {there}"
            for event in self.events
            for via in _transports(event)
            if via not in sends
        ]
        if faults:
            raise ScenarioError("\n".join(faults))

    def _play_grb(self, world: World, event: Event, t0: datetime, number: int, sends: Mapping[str, Send]) -> None:
        keys = event.keys
        name = f"GRB {t0:%y%m%d}-{number}"
        burst = Transient(keys["ra_deg"], keys["dec_deg"], keys["mag_at_60s"], keys["alpha"], t0, name)
        world.transients.append(burst)
        for rank, notice in enumerate(keys.get("notices", [])):
            sent = t0 + timedelta(seconds=notice["delay_s"])
            draw = random.Random(f"{world.seed} {number} {rank}")
            ra_deg, dec_deg = scattered(burst.ra_deg, burst.dec_deg, notice["error_deg"], draw)
            trigger = trigger_id_for(notice["form"], t0, number)
            xml = render(notice["form"], t0, sent, ra_deg, dec_deg, notice["error_deg"], trigger)
            world.clock.call_at(sent, lambda send=sends[notice["via"]], xml=xml: _discard(send(xml)))


def path_name(where: str) -> str:
    """Name a scenario that has no name after its file."""
    return Path(where).stem


def scattered(ra_deg: float, dec_deg: float, error_deg: float, draw: random.Random) -> tuple[float, float]:
    """Draw a measured position around the true one: Gaussian, 90 % within the error radius and all within twice it."""
    sigma = error_deg / RADIUS_90_IN_SIGMA
    distance = min(2.0 * error_deg, sigma * abs(complex(draw.gauss(0.0, 1.0), draw.gauss(0.0, 1.0))))
    return displaced(ra_deg, dec_deg, draw.uniform(0.0, 360.0), distance)


def _discard(result: object) -> None:
    del result


def _for_the_caller(event: Event) -> dict[str, Any]:
    """Return the keys of an event that this world cannot play; `for_s` alone is none."""
    if event.kind != "environment":
        return {} if event.kind in OURS else event.keys
    keys = {key: value for key, value in event.keys.items() if key not in ENVIRONMENT_OF_WORLD}
    return keys if keys.keys() - {"for_s"} else {}


def _transports(event: Event) -> list[str]:
    if event.kind == "notice":
        return [event.keys["via"]]
    return [notice["via"] for notice in event.keys.get("notices", [])] if event.kind == "grb" else []


def _action(world: World, event: Event, folder: Path, sends: Mapping[str, Send]) -> Callable[[], None]:
    """Return what happens at the event's instant."""
    keys = event.keys
    if event.kind == "weather":
        return lambda: world.set_weather(**keys)
    if event.kind == "device":
        return lambda: world.faults.start(keys["device"], keys["fault"], keys.get("for_s"))
    if event.kind == "sensor":
        return lambda: _sensor(world, keys)
    if event.kind == "environment":
        return lambda: _environment(world, keys)
    content = (folder / keys["file"]).read_bytes()
    delay = timedelta(seconds=keys["delay_s"])
    return lambda: _discard(sends[keys["via"]](moved_to(content, world.clock.now() - delay)))


def _sensor(world: World, keys: Mapping[str, Any]) -> None:
    station = world.station(keys["station"])
    station.set_fault(world.unix_s(), keys["fault"], keys.get("value", 0.0))
    if "for_s" in keys:
        world.clock.call_later(keys["for_s"], lambda: station.set_fault(world.unix_s(), None))


def _environment(world: World, keys: Mapping[str, Any]) -> None:
    undo: list[Callable[[], None]] = []
    for name in ("mains", "network"):
        if name in keys:
            world.set_switch(name, keys[name])
            undo.append(lambda name=name: world.set_switch(name, not keys[name]))
    if "ups_percent" in keys:
        world.set_ups_percent(keys["ups_percent"])
        undo.append(lambda: world.set_ups_percent(None))
    if "for_s" in keys:
        for step in undo:
            world.clock.call_later(keys["for_s"], step)
