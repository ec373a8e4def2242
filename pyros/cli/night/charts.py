"""The drawings of the night's page as plain geometry; the template turns them into SVG. Pure functions.

All share one time axis, `WIDTH` drawing units from half an hour before sunset to half an hour after sunrise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from pyros.cli.night.attribution import CATEGORIES, Span, as_instant, instant, total_s
from pyros.cli.night.course import Run
from pyros.cli.night.record import Said
from pyros.messages.night import SafetyVerdict
from pyros.sky.coordinates import moon
from pyros.sky.night import Night
from pyros.sky.site import Site
from pyros.sky.visibility import NightSky

WIDTH = 1000.0
SKY_HEIGHT = 240.0
CHARACTER = 6.2
"""Width of a label's character in drawing units."""
LEAST_WIDTH = 0.6
STEP_S = 300.0


@dataclass(frozen=True)
class Axis:
    """Maps instants to drawing units."""

    begin: datetime
    end: datetime

    def x(self, when: datetime) -> float:
        """Drawing units from the left edge, kept within the drawing."""
        share = (when - self.begin) / (self.end - self.begin)
        return round(min(max(share, 0.0), 1.0) * WIDTH, 2)

    def hours(self) -> list[tuple[float, str]]:
        """Return the full hours within, as (x, label)."""
        first = self.begin.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        count = int((self.end - first) / timedelta(hours=1)) + 1
        return [(self.x(hour), f"{hour:%H}") for hour in (first + timedelta(hours=k) for k in range(count))]


@dataclass(frozen=True)
class Bar:
    """A span in a row: `kind` is its class, `label` fits into it, `title` says it in full."""

    x: float
    width: float
    kind: str
    label: str
    title: str


@dataclass(frozen=True)
class Path:
    """A line of the sky's drawing: points of an SVG polyline."""

    points: str
    kind: str
    label: str
    label_x: float
    label_y: float
    title: str


def axis_of(night: Night, begins: datetime, ends: datetime) -> Axis:
    """Return the axis from before sunset to after sunrise."""
    margin = timedelta(minutes=30)
    return Axis(min(night.sunset or begins, begins) - margin, max(night.sunrise or ends, ends) + margin)


def twilights(axis: Axis, night: Night, begins: datetime, ends: datetime) -> list[Bar]:
    """Return day, twilight and dark time as bars over the whole axis."""
    sunset, sunrise = night.sunset or axis.begin, night.sunrise or axis.end
    marks = [axis.begin, sunset, begins, ends, sunrise, axis.end]
    kinds = ["day", "twilight", "dark", "twilight", "day"]
    return [
        bar(axis, a, b, kind, "", f"{kind} from {a:%H:%M} to {b:%H:%M} UTC")
        for a, b, kind in zip(marks[:-1], marks[1:], kinds, strict=True)
        if a < b
    ]


def bar(axis: Axis, begin: datetime, end: datetime, kind: str, label: str, title: str) -> Bar:
    """Return a bar; a label that does not fit is shortened, or left out."""
    x = axis.x(begin)
    width = max(round(axis.x(end) - x, 2), LEAST_WIDTH)
    return Bar(x, width, kind.replace(" ", "-"), fitting(label, width - 6), title)


def fitting(label: str, width: float) -> str:
    """Return as much of a label as fits into a width, or nothing when that would say nothing."""
    fits = int(width / CHARACTER)
    if len(label) <= fits:
        return label
    return label[: fits - 1] + "…" if fits >= 4 else ""


def steps(axis: Axis, changes: Sequence[tuple[datetime, str, str]], first: str) -> list[Bar]:
    """Return a quantity that changes at instants, given as (when, new value, why), as bars over the whole axis."""
    bars: list[Bar] = []
    at, value, why = axis.begin, first, ""
    for when, new, cause in [*changes, (axis.end, "", "")]:
        if when > at and value:
            told = f"{value} from {at:%H:%M:%S} to {min(when, axis.end):%H:%M:%S} UTC"
            bars.append(bar(axis, at, min(when, axis.end), value.lower(), value, f"{told}: {why}" if why else told))
        at, value, why = max(when, axis.begin), new, cause
    return bars


def weather_changes(said: Iterable[Said]) -> list[tuple[datetime, str, str]]:
    """Return the changes of the safety verdict."""
    return [
        (one.at, one.message.level, ", ".join(one.message.reasons))
        for one in said
        if isinstance(one.message, SafetyVerdict)
    ]


def changes_of(rows: Iterable[dict[str, Any]]) -> list[tuple[datetime, str, str]]:
    """Return the report's `dome` or `states` as changes."""
    return [(as_instant(row["t"]), row["to"], row["cause"]) for row in rows]


def ledger_bars(axis: Axis, shares: dict[str, list[Span]]) -> list[Bar]:
    """Return whose each dark second was, on the time axis."""
    bars: list[Bar] = []
    for category in CATEGORIES:
        for span in shares[category]:
            begin, end = instant(span[0]), instant(span[1])
            title = f"{words(category)} from {begin:%H:%M:%S} to {end:%H:%M:%S} UTC"
            bars.append(bar(axis, begin, end, category, "", title))
    return bars


def run_bars(axis: Axis, runs: Iterable[Run]) -> list[Bar]:
    """Return the executions of sequences."""
    return [
        bar(
            axis,
            instant(run.begin),
            instant(run.end),
            "alert" if run.alert_id is not None else run.outcome.lower(),
            run.name,
            f"{run.name}, {instant(run.begin):%H:%M} to {instant(run.end):%H:%M} UTC, {run.outcome.lower()}",
        )
        for run in runs
    ]


def shares_bars(shares: dict[str, list[Span]]) -> list[Bar]:
    """Return the whole dark time as one bar, divided by category."""
    dark_s = sum(total_s(spans) for spans in shares.values())
    bars: list[Bar] = []
    x = 0.0
    for category in CATEGORIES:
        seconds = total_s(shares[category])
        if seconds > 0:
            width = seconds / dark_s * WIDTH
            told = f"{100 * seconds / dark_s:.1f} %"
            label = fitting(f"{words(category)} {told}", width - 6)
            bars.append(Bar(round(x, 2), round(width, 2), category, label, f"{words(category)}: {told}"))
            x += width
    return bars


def words(category: str) -> str:
    """Return a category's name for people."""
    return category.replace("_", " ")


# -- the sky ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """What was observed, and when."""

    name: str
    ra_deg: float
    dec_deg: float
    begin: datetime
    end: datetime
    alert: bool


def sky_y(altitude_deg: float) -> float:
    """Drawing units from the top of an altitude, degrees."""
    return round((90.0 - altitude_deg) / 90.0 * SKY_HEIGHT, 2)


def sky_paths(axis: Axis, site: Site, night: Night, targets: Sequence[Target]) -> list[Path]:
    """Return the Moon's way and that of each target: faint over the night for alerts, strong while it was observed."""
    paths = [_moon_path(axis, site)]
    if not targets:
        return [path for path in paths if path.points]
    sky = NightSky(site, night)
    places = sky.places([target.ra_deg for target in targets], [target.dec_deg for target in targets])
    taken: list[tuple[float, float, float]] = []
    for number, target in enumerate(targets):
        one = type(places)(places.ra_rad[number : number + 1], places.dec_rad[number : number + 1])
        if target.alert:
            paths.append(_path(axis, sky, one, axis.begin, axis.end, "faint", "", f"way of {target.name}", taken))
        kind = "alert" if target.alert else "routine"
        title = f"{target.name}, observed from {target.begin:%H:%M} to {target.end:%H:%M} UTC"
        paths.append(_path(axis, sky, one, target.begin, target.end, kind, target.name, title, taken))
    return [path for path in paths if path.points]


def _path(
    axis: Axis,
    sky: NightSky,
    place: Any,
    begin: datetime,
    end: datetime,
    kind: str,
    label: str,
    title: str,
    taken: list[tuple[float, float, float]],
) -> Path:
    span_s = max((end - begin).total_seconds(), 1.0)
    after_s = np.linspace(0.0, span_s, max(2, int(span_s / STEP_S) + 2))
    altitudes = sky.altitudes_deg(place, sky.seconds(begin) + after_s)
    points = [
        (axis.x(begin + timedelta(seconds=float(s))), float(a))
        for s, a in zip(after_s, altitudes, strict=True)
        if a > 0
    ]
    shown, label_x, label_y = _label(points, label, taken)
    return Path(_polyline(points), kind, shown, label_x, label_y, title)


def _label(
    points: list[tuple[float, float]], label: str, taken: list[tuple[float, float, float]]
) -> tuple[str, float, float]:
    """Place a label above the middle of a line, or leave it out where another one stands."""
    if not points or not label:
        return "", 0.0, 0.0
    x, altitude_deg = points[len(points) // 2]
    shown = label if len(label) <= 18 else label[:17] + "…"
    half = len(shown) * CHARACTER / 2
    x = min(max(x, half), WIDTH - half)
    for y in (sky_y(altitude_deg) - 9, sky_y(altitude_deg) + 17):
        if 8 < y < SKY_HEIGHT and all(
            abs(x - other_x) > half + other + 8 or abs(y - other_y) > 13 for other_x, other_y, other in taken
        ):
            taken.append((x, y, half))
            return shown, round(x, 1), round(y, 1)
    return "", 0.0, 0.0


def _moon_path(axis: Axis, site: Site) -> Path:
    count = int((axis.end - axis.begin).total_seconds() / STEP_S) + 1
    instants = [axis.begin + timedelta(seconds=STEP_S * k) for k in range(count)]
    places = [(when, moon(site, when)) for when in instants]
    points = [(axis.x(when), place.altitude_deg) for when, place in places if place.altitude_deg > 0]
    lit = places[len(places) // 2][1].illuminated_fraction
    if not points:
        return Path("", "moon", "", 0.0, 0.0, "")
    x, altitude_deg = max(points, key=lambda point: point[1])
    x = min(max(x, 40.0), WIDTH - 40.0)
    return Path(
        _polyline(points),
        "moon",
        f"Moon {100 * lit:.0f} %",
        x,
        round(max(sky_y(altitude_deg) - 7, 12.0), 1),
        f"the Moon, {100 * lit:.0f} % lit",
    )


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{sky_y(altitude_deg):g}" for x, altitude_deg in points)


def marks(axis: Axis, rows: Iterable[dict[str, Any]], what: str) -> list[Bar]:
    """Return happenings of an instant (`t`) as narrow bars, titled by the value of `what`."""
    return [
        Bar(axis.x(at), LEAST_WIDTH, "mark", "", f"{at:%H:%M:%S} UTC: {row[what]}")
        for row in rows
        for at in [as_instant(row["t"])]
    ]
