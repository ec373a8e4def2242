"""The morning's page: report.html, one file that says in half a minute what happened in the night.

No script and nothing from elsewhere: styles, drawings and previews stand in the file.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from pyros.cli.night import charts
from pyros.cli.night.alerts_report import STEPS
from pyros.cli.night.attribution import CATEGORIES, as_instant, instant
from pyros.cli.night.record import NightRecord
from pyros.cli.night.report import Findings
from pyros.sky.coordinates import separation_deg

MOST_PREVIEWS = 4
"""Previews shown for an alert."""
MOST_PREVIEW_BYTES = 600_000
FAULT_SHARE = 0.01
"""Share of the dark time above which faults are something to look at."""

LEGS = (
    ("the satellite and the network", "t0", "received"),
    ("our software", "received", "slew_commanded"),
    ("slewing and settling", "slew_commanded", "settled"),
    ("to the first shutter", "settled", "first_shutter"),
    ("exposure, readout and analysis", "first_shutter", "first_result"),
)
"""The legs of an alert's way: name, first and last step."""


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"clock": _clock, "duration": duration, "number": _number, "words": charts.words}
    return environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def render(findings: Findings, record: NightRecord) -> str:
    """Return report.html."""
    report = findings.report
    axis = charts.axis_of(findings.night, record.begins, record.ends)
    return _template().render(
        report=report,
        headline=headline(report),
        attention=attention(report),
        begins=record.begins,
        ends=record.ends,
        categories=CATEGORIES,
        closures=closures(report["states"], record.ends),
        alerts=[_card(alert, findings, record.state_folder / "images") for alert in report["alerts"]],
        heard=len(record.said),
        **_drawings(findings, record, axis),
    )


def _drawings(findings: Findings, record: NightRecord, axis: charts.Axis) -> dict[str, Any]:
    report = findings.report
    night = findings.night._replace(begins=record.begins, ends=record.ends)
    return {
        "hours": axis.hours(),
        "twilights": charts.twilights(axis, findings.night, record.begins, record.ends),
        "rows": [
            ("Weather", charts.steps(axis, charts.weather_changes(record.said), "")),
            ("Dome", charts.steps(axis, charts.changes_of(report["dome"]), "closed")),
            ("State", charts.steps(axis, charts.changes_of(report["states"]), "closed")),
            ("Sequences", charts.run_bars(axis, findings.course.runs)),
            ("Time", charts.ledger_bars(axis, findings.shares)),
        ],
        "bursts": [(axis.x(as_instant(alert["times"]["t0"])), alert["name"]) for alert in report["alerts"]],
        "restarts": charts.marks(axis, report["restarts"], "actor"),
        "violations": charts.marks(axis, report["violations"], "rule"),
        "sky": charts.sky_paths(axis, findings.site, night, _targets(findings)),
        "sky_height": charts.SKY_HEIGHT,
        "altitudes": [(altitude, charts.sky_y(altitude)) for altitude in (0, 30, 60, 90)],
        "dark": (axis.x(record.begins), axis.x(record.ends)),
        "shares": charts.shares_bars(findings.shares),
    }


def _targets(findings: Findings) -> list[charts.Target]:
    trees = {tree.id: tree for tree in findings.trees}
    targets: list[charts.Target] = []
    for run in findings.course.runs:
        tree = trees.get(run.sequence_id)
        if tree is not None and tree.ra_deg is not None and tree.dec_deg is not None:
            span = instant(run.begin), instant(run.end)
            targets.append(charts.Target(run.name, tree.ra_deg, tree.dec_deg, *span, run.alert_id is not None))
    return targets


# -- words -----------------------------------------------------------------------------------------------------------


def headline(report: dict[str, Any]) -> str:
    """Return what happened, in one sentence."""
    sequences, lost = report["sequences"], report["lost_s"]
    parts = [_alerts_told(report["alerts"]), f"{_count(len(sequences['executed']), 'sequence')} executed"]
    if sequences["aborted"]:
        parts[-1] += f", {len(sequences['aborted'])} broken off"
    parts.append(
        f"the shutter open for {100 * report['utilisation']:.0f} % of {duration(report['dark_s'])} of dark time"
    )
    causes = (("weather", "weather"), ("fault", "faults"), ("paused", "pauses"))
    losses = [f"{duration(lost[name])} to {word}" for name, word in causes if lost[name] >= 1]
    parts += ["lost: " + ", ".join(losses)] if losses else []
    return f"{'; '.join(parts)}."


def _alerts_told(alerts: Sequence[dict[str, Any]]) -> str:
    waits = [seconds_from(alert["times"], "received", "first_shutter") for alert in alerts]
    known = [wait for wait in waits if wait is not None]
    if not alerts:
        return "No alert came"
    if not known:
        return f"{_count(len(alerts), 'alert')}, none observed"
    if len(alerts) == 1:
        return f"One alert, its first shutter {known[0]:.1f} s after the notice"
    return f"{len(known)} of {len(alerts)} alerts observed, the fastest {min(known):.1f} s after its notice"


def attention(report: dict[str, Any]) -> list[str]:
    """Return what a person should look at, most serious first; empty after a good night."""
    found = [f"{_clock(one['t'])} UTC: {one['rule']}: {one['detail']}" for one in report["violations"]]
    lost_s = report["lost_s"]["fault"]
    if lost_s > FAULT_SHARE * report["dark_s"]:
        share = 100 * lost_s / report["dark_s"]
        found.append(f"{duration(lost_s)} ({share:.1f} % of the dark time) lost to faults of the observatory itself")
    found += [
        f"{one['name']} broke off at {_clock(one['end'])} UTC: {one['cause']}"
        for one in report["sequences"]["aborted"]
        if one["outcome"] == "INTERRUPTED"
    ]
    found += [
        f"alert {one['name']} was not observed: {one['status']} {one['reason']}"
        for one in report["alerts"]
        if not one["images"]
    ]
    found += [f"{one['actor']} was restarted at {_clock(one['t'])} UTC: {one['cause']}" for one in report["restarts"]]
    return found


def closures(states: Sequence[dict[str, Any]], ends: datetime) -> list[dict[str, Any]]:
    """Return each closing during the dark time: when, why, and how long until observing was taken up again."""
    found: list[dict[str, Any]] = []
    for place, state in enumerate(states):
        at = as_instant(state["t"])
        if state["to"] == "closing" and at < ends:
            opened = (as_instant(one["t"]) for one in states[place:] if one["to"] == "observing")
            again = next(opened, None)
            lasted_s = (min(again or ends, ends) - at).total_seconds()
            found.append({"t": state["t"], "cause": state["cause"], "again": again, "lasted_s": lasted_s})
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return a length of time as people say it, in one piece: 2.4 s, 7 min 30 s, 2 h 05 min."""
    if seconds < 59.5:
        return f"{seconds:.1f}\u00a0s" if seconds < 9.95 else f"{seconds:.0f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min\u00a0{rest:02d}\u00a0s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}\u00a0h\u00a0{minutes:02d}\u00a0min"


def _clock(when: datetime | str | None) -> str:
    return "–" if when is None else f"{as_instant(when):%H:%M:%S}"


def _number(value: float | None, digits: int = 1, unit: str = "") -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


# -- an alert's card -------------------------------------------------------------------------------------------------


def seconds_from(times: dict[str, Any], first: str, last: str) -> float | None:
    """Return how long it took from one step of an alert's way to another, seconds; None if either was not reached."""
    if times[first] is None or times[last] is None:
        return None
    return (as_instant(times[last]) - as_instant(times[first])).total_seconds()


def _card(alert: dict[str, Any], findings: Findings, images: Path) -> dict[str, Any]:
    return {
        "alert": alert,
        "observed": seconds_from(alert["times"], "received", "first_shutter"),
        "legs": _legs(alert["times"]),
        "ladder": _ladder(alert["times"]),
        "candidates": [_candidate(one, alert["truth"]) for one in alert["candidates"]],
        "previews": _previews(alert["images"], findings, images),
    }


def _legs(times: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the legs that were gone, with their place on a bar of `charts.WIDTH` units."""
    gone = [(name, seconds_from(times, a, b), seconds_from(times, "t0", a)) for name, a, b in LEGS]
    known = [
        (name, length, since)
        for name, length, since in gone
        if length is not None and since is not None and length >= 0
    ]
    whole_s = max((since + length for _, length, since in known), default=0.0)
    if whole_s <= 0:
        return []
    scale = charts.WIDTH / whole_s
    return [
        {
            "name": name,
            "seconds": length,
            "number": number,
            "x": round(since * scale, 2),
            "width": max(round(length * scale, 2), 2.0),
        }
        for number, (name, length, since) in enumerate(known, 1)
    ]


def _ladder(times: dict[str, Any]) -> list[dict[str, Any]]:
    rungs: list[dict[str, Any]] = []
    before: str | None = None
    for step in STEPS:
        reached = times[step] is not None
        rungs.append(
            {
                "step": charts.words(step) if step != "t0" else "T0",
                "t": times[step],
                "after_s": seconds_from(times, "t0", step),
                "since_s": seconds_from(times, before, step) if before else None,
            }
        )
        before = step if reached else before
    return rungs


def _candidate(one: dict[str, Any], truth: dict[str, float] | None) -> dict[str, Any]:
    off = None if truth is None else 3600 * separation_deg(one["ra"], one["dec"], truth["ra"], truth["dec"])
    return one | {
        "offset_arcsec": off,
        "found": off is not None and off <= 3.0,
        "place": sexagesimal(one["ra"], one["dec"]),
    }


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """Return a position as hours and degrees, to a tenth of an arcsecond."""
    centiseconds = round(ra_deg / 15 * 360_000) % (24 * 360_000)
    tenths = round(abs(dec_deg) * 36_000)
    hours, rest = divmod(centiseconds, 360_000)
    degrees, arc = divmod(tenths, 36_000)
    sign = "−" if dec_deg < 0 and tenths else "+"
    ra = f"{hours:02d}h{rest // 6000:02d}m{rest % 6000 / 100:05.2f}s"
    return f"{ra} {sign}{degrees:02d}°{arc // 600:02d}′{arc % 600 / 10:04.1f}″"


def _previews(files: Sequence[str], findings: Findings, images: Path) -> list[dict[str, str]]:
    """Return a few previews spread over an alert's images, as data URLs; what cannot be read is left out."""
    shown = [file for file in files if file in findings.previews]
    step = max(1, -(-len(shown) // MOST_PREVIEWS))
    rows = {row["file"]: row for row in findings.report["images"]}
    found: list[dict[str, str]] = []
    for file in shown[::step]:
        url = _data_url(images, findings.previews[file])
        if url is not None:
            row = rows[file]
            told = (
                f"{_clock(row['start'])} UTC, {row['filter'] or 'no filter'}, {row['exposure_s']:g} s, {row['camera']}"
            )
            found.append({"url": url, "caption": told, "file": file})
    return found


def _data_url(images: Path, preview: str) -> str | None:
    """Return a PNG as a data URL, unless it lies outside the image folder or is too large for a page."""
    path = (images / preview).resolve()
    if not path.is_relative_to(images.resolve()):
        return None
    try:
        if path.stat().st_size > MOST_PREVIEW_BYTES:
            return None
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return None
