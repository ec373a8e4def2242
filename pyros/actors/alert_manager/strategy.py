"""What to do about an alert: strategies are TOML, and a request is made from a strategy and a notice, by rule only.

Exposures lengthen with the time since the burst, in steps (an afterglow fades as a power law, so equal steps in log
time are worth equally much). A single field is pointed at if it holds the source with 90 % probability; an alert that
no strategy takes is recorded only.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib import resources
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pyros.actors.alert_manager.notice import Notice, Position, position_of
from pyros.actors.alert_manager.tables import TableError, typed

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,60}$")]
TEMPLATE_FIELDS = ("trigger", "mission", "instrument")
FIELD_OF_VIEW_DEG = 26.0 / 60.0


class ExposureTier(msgspec.Struct, frozen=True, kw_only=True):
    """How long to expose until so long after the burst. `[[strategy.exposures]]`."""

    until_s: Annotated[float, Meta(gt=0, le=30 * 86_400)]
    exposure_s: Annotated[float, Meta(gt=0, le=3600)]
    max_count: Annotated[int, Meta(ge=1, le=500)] = 50
    """At most so many frames of this step, all filters together."""


class AlbumRule(msgspec.Struct, frozen=True, kw_only=True):
    """One camera's part. `[[strategy.albums]]`."""

    camera: Name
    filters: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=20)]
    """In the order of use; the first step uses the first alone, the later ones all of them in turn."""
    repeats: Annotated[int, Meta(ge=1, le=20)] = 1
    """Rounds through the filters in each step."""
    readout_s: Annotated[float, Meta(ge=0, le=120)] = 3.0
    filter_change_s: Annotated[float, Meta(ge=0, le=120)] = 4.0


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a strategy."""

    name: Name
    version: Annotated[int, Meta(ge=1, le=1_000_000)]
    missions: Annotated[tuple[str, ...], Meta(min_length=1)]
    instruments: tuple[str, ...] = ()
    """Of these only; empty: of all."""
    max_error_deg: Annotated[float, Meta(gt=0, le=180)]
    max_field_fraction: Annotated[float, Meta(gt=0, le=10)] = 0.5
    """The 90 % radius may be at most this part of the field of view."""
    valid_hours: Annotated[float, Meta(gt=0, le=720)]
    priority: Annotated[int, Meta(ge=1, le=100)] = 100
    """High is important."""
    may_interrupt: bool = True
    min_altitude_deg: Annotated[float, Meta(ge=0, le=90)] = 20.0
    moon_separation_deg: Annotated[float, Meta(ge=0, le=180)] = 10.0
    max_duration_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """The sequence ends here at the latest; what is left of the burst's time is for the next one."""
    start_delay_s: Annotated[float, Meta(ge=0, le=3600)] = 20.0
    """From the request to the first shutter: slew, settle, filter."""
    target: str = "{trigger} GRB"
    exposures: Annotated[tuple[ExposureTier, ...], Meta(min_length=1, max_length=50)]
    albums: Annotated[tuple[AlbumRule, ...], Meta(min_length=1, max_length=10)]


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """So many exposures through one filter."""

    filter: str
    exposure_s: float
    count: int


class AlbumRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One camera's plans, in order."""

    camera: str
    plans: tuple[PlanRequest, ...]
    duration_s: float


class StrategyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to observe of an alert: one sequence, its albums side by side."""

    strategy: str
    version: int
    target_name: str
    ra_deg: float
    dec_deg: float
    priority: int
    may_interrupt: bool
    min_altitude_deg: float
    moon_separation_deg: float
    earliest: datetime
    latest: datetime
    """The last instant at which it is of use: the burst's plus the strategy's hours."""
    duration_s: float
    albums: tuple[AlbumRequest, ...]


def parse(text: str) -> list[Strategy]:
    """Read strategies from TOML: `[[strategy]]` tables, or one strategy's keys alone.

    Raises
    ------
    TableError
        Naming every fault of the text at once.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError([f"strategies are not TOML: {error}"]) from error
    rows: Any = document.pop("strategy", None) if "strategy" in document else [document]
    faults = [f"{key} stands outside of [[strategy]]" for key in document] if rows != [document] else []
    if not isinstance(rows, list):
        raise TableError([*faults, "strategy is not a list: write [[strategy]]"])
    strategies: list[Strategy] = []
    for number, row in enumerate(rows, 1):
        name = row.get("name", number) if isinstance(row, dict) else number
        strategy, found = typed(Strategy, row, f"strategy[{name}]")
        faults += found
        if strategy is not None:
            faults += _contradictions(strategy)
            strategies.append(strategy)
    names = [strategy.name for strategy in strategies]
    faults += [f"strategy[{name}] stands there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if faults:
        raise TableError(faults)
    return strategies


def defaults() -> list[Strategy]:
    """Return the strategies that PyROS comes with."""
    return parse(resources.files("pyros.actors.alert_manager").joinpath("strategies.toml").read_text("utf-8"))


def dump(strategy: Strategy) -> str:
    """Return the strategy as TOML that `parse` reads back; for the store and the editor."""
    plain = msgspec.to_builtins(strategy)
    tables = {key: plain.pop(key) for key in ("exposures", "albums")}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for key, rows in tables.items():
        for row in rows:
            lines += ["", f"[[{key}]]", *(f"{name} = {_toml(value)}" for name, value in row.items())]
    return "\n".join(lines) + "\n"


def choose(
    strategies: Sequence[Strategy], notice: Notice, field_of_view_deg: float = FIELD_OF_VIEW_DEG
) -> Strategy | None:
    """Return the first strategy that takes the notice, None if it is to be recorded only."""
    return next((strategy for strategy in strategies if not why_not(strategy, notice, field_of_view_deg)), None)


def why_not(strategy: Strategy, notice: Notice, field_of_view_deg: float = FIELD_OF_VIEW_DEG) -> str:
    """Return why a strategy does not take a notice; nothing when it does."""
    position = position_of(notice)
    if notice.retraction:
        return "a retraction"
    if notice.mission not in strategy.missions:
        return f"not for {notice.mission or notice.stream}"
    if strategy.instruments and notice.instrument not in strategy.instruments:
        return f"not for {notice.instrument}"
    if position is None:
        return "no trusted position"
    if position.error_deg > strategy.max_error_deg:
        return f"radius {position.error_deg:.3g}° above {strategy.max_error_deg:g}°"
    limit_deg = strategy.max_field_fraction * field_of_view_deg
    if position.r90_deg > limit_deg:
        return (
            f"90 % radius {position.r90_deg:.3g}° above {limit_deg:.3g}°, {strategy.max_field_fraction:g} of the field"
        )
    return ""


def request_for(
    strategy: Strategy,
    notice: Notice,
    now: datetime,
    *,
    t0: datetime | None = None,
    position: Position | None = None,
    cameras: Sequence[str] | None = None,
) -> StrategyRequest | None:
    """Make the request of a strategy for a notice, at `now`.

    Parameters
    ----------
    strategy, notice, now
        `t0` and `position` replace the notice's own, for an alert that knows better from another notice.
    cameras
        Those fitted; albums of others are left out. None: all.

    Returns
    -------
    StrategyRequest or None
        None if nothing can be observed: no position, no time, too late, or none of the cameras.
    """
    t0 = t0 or notice.reference
    position = position or position_of(notice)
    if t0 is None or position is None:
        return None
    latest = t0 + timedelta(hours=strategy.valid_hours)
    start_s = max(0.0, (now - t0).total_seconds()) + strategy.start_delay_s
    end_s = min(start_s + strategy.max_duration_s, strategy.valid_hours * 3600)
    rules = [rule for rule in strategy.albums if cameras is None or rule.camera in cameras]
    albums = tuple(album for rule in rules if (album := _album(strategy.exposures, rule, start_s, end_s)).plans)
    if not albums:
        return None
    return StrategyRequest(
        strategy=strategy.name,
        version=strategy.version,
        target_name=_fill(strategy.target, notice),
        ra_deg=position.ra_deg,
        dec_deg=position.dec_deg,
        priority=strategy.priority,
        may_interrupt=strategy.may_interrupt,
        min_altitude_deg=strategy.min_altitude_deg,
        moon_separation_deg=strategy.moon_separation_deg,
        earliest=now,
        latest=latest,
        duration_s=max(album.duration_s for album in albums) + strategy.start_delay_s,
        albums=albums,
    )


def _album(tiers: Sequence[ExposureTier], rule: AlbumRule, start_s: float, end_s: float) -> AlbumRequest:
    """Lay out one camera's frames between two times since the burst, step by step."""
    plans: list[PlanRequest] = []
    at_s = start_s
    for number, tier in enumerate(tiers):
        filters = rule.filters[:1] if number == 0 else rule.filters * rule.repeats
        for plan in _plans(tier, filters, rule, min(tier.until_s, end_s) - at_s):
            plans.append(plan)
            at_s += rule.filter_change_s + plan.count * (plan.exposure_s + rule.readout_s)
    return AlbumRequest(camera=rule.camera, plans=tuple(plans), duration_s=at_s - start_s)


def _plans(tier: ExposureTier, filters: Sequence[str], rule: AlbumRule, room_s: float) -> Iterator[PlanRequest]:
    """Share the room of one step among the filters; those for which no frame is left are left out."""
    frame_s = tier.exposure_s + rule.readout_s
    fitting = math.floor((room_s - rule.filter_change_s) / (frame_s + rule.filter_change_s)) if room_s > 0 else 0
    filters = filters[: max(1, min(len(filters), fitting, tier.max_count))]
    room_s -= rule.filter_change_s * len(filters)
    frames = min(tier.max_count, math.floor(room_s / frame_s)) if room_s > 0 else 0
    for number, name in enumerate(filters):
        count = frames // len(filters) + (number < frames % len(filters))
        if count:
            yield PlanRequest(filter=name, exposure_s=tier.exposure_s, count=count)


def _contradictions(strategy: Strategy) -> list[str]:
    faults: list[str] = []
    ends = [tier.until_s for tier in strategy.exposures]
    if ends != sorted(set(ends)):
        faults.append(f"strategy[{strategy.name}].exposures: until_s must rise from step to step, it is {ends}")
    fields = re.findall(r"{([^{}]*)}", strategy.target)
    faults += [
        f"strategy[{strategy.name}].target: {{{field}}} is none of {', '.join(TEMPLATE_FIELDS)}"
        for field in fields
        if field not in TEMPLATE_FIELDS
    ]
    cameras = [album.camera for album in strategy.albums]
    if len(dict.fromkeys(cameras)) < len(cameras):
        faults.append(f"strategy[{strategy.name}].albums: a camera stands there twice: {', '.join(cameras)}")
    return faults


def _fill(template: str, notice: Notice) -> str:
    """Put the notice's own words into the target's name; a plain replacement, nothing is evaluated."""
    return re.sub(r"{(\w+)}", lambda found: str(getattr(notice, found[1])), template)[:200]


def _toml(value: Any) -> str:
    """Write a TOML value; JSON's strings, numbers, booleans and lists are TOML's too."""
    return msgspec.json.encode(value).decode()
