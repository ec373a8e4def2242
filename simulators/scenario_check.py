"""The rules of scenario files: which keys an event has and what they may be. Every fault is found at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from simulators.faults import KINDS as DEVICE_FAULTS
from simulators.notices import FORMS
from simulators.physics_sensors import FAULTS as SENSOR_FAULTS
from simulators.physics_weather import RANGES

SECTIONS = (
    "site", "night", "safety", "store", "devices", "dome", "alerts", "gateway", "web", "users", "scheduler", "analyzer",
    "courier", "log",
)  # fmt: skip
TRANSPORTS = ("vtp", "kafka", "folder")
DAY_S = 86400.0
_AFTER = re.compile(r"\+(\d{1,2}):([0-5]\d):([0-5]\d(?:\.\d+)?)")
_DEVICE = re.compile(r"telescope|plc|power|(camera|filter_wheel|focuser|weather):[\w-]+")
_HEADING = re.compile(r"\s*\[\[?\s*([\w.\s\"-]+?)\s*\]?\]")
_KEY = re.compile(r"\s*([\w-]+)\s*=")
CheckedEvent = tuple[str, int, dict[str, Any], timedelta | None, datetime | None]


class ScenarioError(ValueError):
    """A scenario breaks a rule; one line for each fault."""


@dataclass(frozen=True)
class Rule:
    """What a value must be: `wants` completes "must be ..."."""

    wants: str
    holds: Callable[[Any], bool]
    required: bool = False


def _number(low: float, high: float, *, required: bool = False) -> Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    return Rule(f"a number from {low:g} to {high:g}", holds, required)


def _one_of(*words: str, required: bool = False) -> Rule:
    return Rule(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words, required)


def _text(*, required: bool = False) -> Rule:
    return Rule("a text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()), required)


_BOOLEAN = Rule("true or false", lambda value: isinstance(value, bool))
_DURATION = _number(0.001, 7 * DAY_S)
_NOTICE: dict[str, Rule] = {
    "form": _one_of(*FORMS, required=True),
    "delay_s": _number(0, 7 * DAY_S, required=True),
    "error_deg": _number(0, 180, required=True),
    "via": _one_of(*TRANSPORTS),
}
RULES: dict[str, dict[str, Rule]] = {
    "weather": {
        "rain": _BOOLEAN,
        **{name: _number(*limits) for name, limits in RANGES.items() if name != "pressure_hpa"},
    },
    "sensor": {
        "station": _text(required=True),
        "fault": _one_of(*SENSOR_FAULTS, required=True),
        "value": _number(-1000, 1000),
        "for_s": _DURATION,
    },
    "grb": {
        "ra_deg": Rule(
            "a number from 0 to below 360", lambda value: _number(0, 360).holds(value) and value < 360, True
        ),
        "dec_deg": _number(-90, 90, required=True),
        "mag_at_60s": _number(-10, 40, required=True),
        "alpha": _number(-5, 10, required=True),
        "notices": Rule("a list of tables", lambda value: isinstance(value, list)),
    },
    "notice": {
        "file": _text(required=True),
        "delay_s": _number(-DAY_S, 7 * DAY_S, required=True),
        "via": _one_of(*TRANSPORTS),
    },
    "device": {
        "device": Rule(
            "telescope, plc, power, camera:NAME, filter_wheel:NAME, focuser:NAME or weather:NAME",
            lambda value: isinstance(value, str) and bool(_DEVICE.fullmatch(value)),
            required=True,
        ),
        "fault": _one_of(*DEVICE_FAULTS, required=True),
        "for_s": _DURATION,
    },
    "actor": {
        "actor": _text(required=True),
        "fault": _one_of("raise", "exit", "hang", "die_in_start", required=True),
        "for_s": _DURATION,
    },
    "process": {"fault": _one_of("kill", required=True)},
    "environment": {
        "mains": _BOOLEAN,
        "network": _BOOLEAN,
        "ups_percent": _number(0, 100),
        "clock_jump_s": _number(-DAY_S, DAY_S),
        "disk_full": _BOOLEAN,
        "centre": _one_of("IC", "FSC", "smtp"),
        "up": _BOOLEAN,
        "for_s": _DURATION,
    },
    "operator": {"command": _text(required=True)},
}


class _Lines:
    """Where the headings and keys of a TOML text stand."""

    def __init__(self, text: str) -> None:
        self.events: list[int] = []
        self._keys: dict[tuple[str, str], int] = {}
        section = ""
        for number, line in enumerate(text.splitlines(), start=1):
            heading, key = _HEADING.match(line), _KEY.match(line)
            if heading and not key:
                section = heading[1].replace(" ", "")
                if section == "event" and line.lstrip().startswith("[["):
                    self.events.append(number)
                    section = f"event {len(self.events)}"
                self._keys.setdefault((section, ""), number)
            elif key:
                self._keys.setdefault((section, key[1]), number)

    def of(self, section: str, key: str = "") -> int:
        """Line of a key, else of its section's heading, else 1."""
        return self._keys.get((section, key)) or self._keys.get((section, "")) or 1


def check(tables: Mapping[str, Any], text: str, folder: Path, where: str) -> list[CheckedEvent]:
    """Check a scenario's tables and return its events.

    Raises
    ------
    ScenarioError
        With one line for each fault: file, line number, what is wrong and what is allowed.
    """
    lines = _Lines(text)
    faults: list[tuple[int, str]] = []
    for key in tables:
        if key not in {"name", "seed", "override", "event"}:
            line = lines.of(key) if isinstance(tables[key], (dict, list)) else lines.of("", key)
            faults.append((line, f"unknown key {key!r}; use name, seed, [override.SECTION] or [[event]]"))
    _check_head(tables, lines, faults)
    events = tables.get("event", [])
    checked: list[CheckedEvent] = []
    if not isinstance(events, list):
        faults.append((lines.of("event"), "event is a table; write [[event]] with two brackets"))
        events = []
    for number, event in enumerate(events, start=1):
        found = _check_event(event, f"event {number}", lines, folder, faults)
        if found is not None:
            checked.append(found)
    if faults:
        raise ScenarioError("\n".join(f"{where}, line {line}: {fault}" for line, fault in sorted(faults)))
    return checked


def _check_head(tables: Mapping[str, Any], lines: _Lines, faults: list[tuple[int, str]]) -> None:
    rules = {
        "name": _text(),
        "seed": Rule("a whole number from 0 to 4294967295", lambda value: type(value) is int and 0 <= value < 2**32),
    }
    for key, rule in rules.items():
        if key in tables and not rule.holds(tables[key]):
            faults.append((lines.of("", key), f"{key} is {tables[key]!r}; it must be {rule.wants}"))
    overrides = tables.get("override", {})
    if not isinstance(overrides, dict):
        faults.append((lines.of("", "override"), "override must be tables, [override.SECTION]"))
        return
    for section, keys in overrides.items():
        if section not in SECTIONS or not isinstance(keys, dict):
            line = lines.of(f"override.{section}", "") if isinstance(keys, dict) else lines.of("override", section)
            faults.append((line, f"unknown section [override.{section}]; use one of {', '.join(SECTIONS)}"))


def _check_event(
    event: Any, section: str, lines: _Lines, folder: Path, faults: list[tuple[int, str]]
) -> CheckedEvent | None:
    heading = lines.of(section)
    kind = event.get("kind")
    if kind not in RULES:
        faults.append((lines.of(section, "kind"), f"kind is {kind!r}; it must be one of {', '.join(RULES)}"))
        return None
    keys = {key: value for key, value in event.items() if key not in {"at", "kind"}}
    before = len(faults)
    after, instant = _check_at(event.get("at"), lines.of(section, "at"), faults)
    _check_keys(keys, RULES[kind], f"{kind} event", lambda key: lines.of(section, key), faults)
    _check_together(kind, keys, heading, folder, faults)
    if kind == "grb" and isinstance(keys.get("notices"), list):
        line = lines.of(section, "notices")
        for notice in keys["notices"]:
            if isinstance(notice, dict):
                _check_keys(notice, _NOTICE, "notice of a grb event", lambda _: line, faults)
            else:
                faults.append((line, f"notice is {notice!r}; it must be a table with {', '.join(_NOTICE)}"))
        keys["notices"] = [{"via": "vtp", **n} for n in keys["notices"] if isinstance(n, dict)]
    if kind == "notice":
        keys.setdefault("via", "vtp")
    return None if len(faults) > before else (kind, heading, keys, after, instant)


def _check_at(value: Any, line: int, faults: list[tuple[int, str]]) -> tuple[timedelta | None, datetime | None]:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return None, value.astimezone(UTC)
    if isinstance(value, str):
        found = _AFTER.fullmatch(value)
        if found:
            return timedelta(hours=int(found[1]), minutes=int(found[2]), seconds=float(found[3])), None
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            instant = None
        if instant is not None and instant.tzinfo is not None:
            return None, instant.astimezone(UTC)
    faults.append((line, f'at is {value!r}; it must be "+HH:MM:SS" or an instant such as "2026-11-22T22:41:03Z"'))
    return None, None


def _check_keys(
    keys: Mapping[str, Any],
    rules: Mapping[str, Rule],
    what: str,
    line: Callable[[str], int],
    faults: list[tuple[int, str]],
) -> None:
    for key, value in keys.items():
        if key not in rules:
            faults.append((line(key), f"unknown key {key!r} of a {what}; use {', '.join(rules)}"))
        elif not rules[key].holds(value):
            faults.append((line(key), f"{key} is {value!r}; it must be {rules[key].wants}"))
    for key, rule in rules.items():
        if rule.required and key not in keys:
            faults.append((line(""), f"a {what} needs {key}: {rule.wants}"))


def _check_together(kind: str, keys: Mapping[str, Any], line: int, folder: Path, faults: list[tuple[int, str]]) -> None:
    """Rules that hold between keys of an event."""
    if kind in {"weather", "environment"} and not keys.keys() - {"for_s"}:
        faults.append((line, f"this {kind} event changes nothing; use one of {', '.join(RULES[kind])}"))
    if kind == "environment" and ("up" in keys) != ("centre" in keys):
        faults.append((line, 'centre and up stand together: centre = "IC" with up = false'))
    if kind == "actor" and "for_s" in keys and keys.get("fault") != "die_in_start":
        faults.append((line, 'for_s stands with fault = "die_in_start": how long every start fails'))
    if kind == "sensor" and (keys.get("fault") == "offset") != ("value" in keys):
        faults.append((line, 'value stands with fault = "offset", and only with it'))
    if kind == "notice" and isinstance(keys.get("file"), str) and not (folder / keys["file"]).is_file():
        faults.append((line, f"file {keys['file']!r} does not exist (paths are relative to the scenario)"))
