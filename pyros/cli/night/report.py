"""The night's report: report.json, and report.html made from it.

What happened is read from the store, from what the actors said and from the independent observer; nothing is asked of
the actors. Two reports of the same night differ in `wall_s` and `cpu_s` only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pyros.cli.night.alerts_report import alerts_of
from pyros.cli.night.attribution import CATEGORIES, Span, as_instant, instant, micros, total_s
from pyros.cli.night.course import Course, Run, course_of, shares_of
from pyros.cli.night.openings import openings
from pyros.cli.night.record import NightRecord
from pyros.messages.base import Refused
from pyros.messages.night import ModeChanged
from pyros.messages.store import GetRows
from pyros.messages.system import ActorRestarted
from pyros.sky.night import Night, night_of
from pyros.sky.site import Site
from pyros.store.database import Reader, open_reader
from pyros.store.history import rows
from pyros.store.lives import statuses
from pyros.store.repositories import SequenceTree, observable_sequences, schedule_entries

PAGE_ROWS = 1000
BROKEN = frozenset({"ABORTED", "INTERRUPTED"})


@dataclass(frozen=True)
class Findings:
    """The report, and what its page draws beside it."""

    report: dict[str, Any]
    shares: dict[str, list[Span]]
    course: Course
    night: Night
    site: Site
    trees: list[SequenceTree]
    previews: dict[str, str]
    """Preview of each image that has one; both relative to the image folder."""


def build_report(record: NightRecord) -> dict[str, Any]:
    """Return report.json as a dict; times as ISO-8601 text ending in Z.

    Raises
    ------
    StoreError
        If the record's folder has no store.
    """
    return find(record).report


def write_report(record: NightRecord, folder: Path) -> dict[str, Any]:
    """Write report.json and report.html into `folder`, each whole or not at all, and return the report.

    Raises
    ------
    StoreError
        If the record's folder has no store.
    OSError
        If the disk refuses.
    """
    from pyros.cli.night.page import render

    findings = find(record)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "report.json", as_json(findings.report))
    _write(folder / "report.html", render(findings, record))
    return findings.report


def as_json(report: dict[str, Any]) -> str:
    """Return the report's text."""
    return json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def find(record: NightRecord) -> Findings:
    """Read the store, attribute the dark time, and put the report together."""
    site = site_of(record)
    night = night_of(site, date.fromisoformat(record.night))
    with open_reader(record.state_folder) as reader:
        trees = observable_sequences(reader, tuple(statuses("sequence")))
        images = [row for row in _all(reader, "image") if night.noon_before <= row["start"] < night.noon_after]
        plannings = _plannings(reader, record.night)
        alerts = alerts_of(reader, record)
    course = course_of(record, [_span(row) for row in images if row["kind"] != "light"])
    horizon_deg = float(record.site.get("horizon_deg", 0.0))
    shares = shares_of(record, course, openings(record, site, horizon_deg, trees))
    report = _head(record, shares)
    report["sequences"] = _sequences(course.runs, trees, plannings, [alert["id"] for alert in alerts])
    report["images"] = [_image(row) for row in sorted(images, key=lambda row: (row["start"], row["id"]))]
    report["alerts"] = alerts
    report |= _happenings(record)
    report["plannings"] = [_planning(row) for row in plannings]
    report |= {"wall_s": round(record.wall_s, 3), "cpu_s": round(record.cpu_s, 3)}
    previews = {row["file"]: row["preview"] for row in images if row["preview"]}
    return Findings(_finite(report), shares, course, night, site, trees, previews)


def site_of(record: NightRecord) -> Site:
    """Return the site that a record names; what it leaves out is the default site's."""
    return Site(**{field.name: record.site[field.name] for field in fields(Site) if field.name in record.site})


def iso(when: datetime | None) -> str | None:
    """ISO-8601 text ending in Z."""
    return None if when is None else as_instant(when).isoformat().replace("+00:00", "Z")


def _finite(value: Any) -> Any:
    """Return the value with every number that JSON does not know as None."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _span(row: dict[str, Any]) -> Span:
    begin = micros(row["start"])
    return begin, begin + int(row["exposure_s"] * 1e6)


def _all(reader: Reader, table: str, **where: Any) -> list[dict[str, Any]]:
    """Return every row of a table in order of the ids."""
    found: list[dict[str, Any]] = []
    while True:
        last = found[-1]["id"] if found else 0
        page = rows(reader, GetRows(table=table, where=where, limit=PAGE_ROWS, before_id=last, ascending=True))
        if isinstance(page, Refused):
            raise TypeError(page.reason)
        found += page.rows
        if not page.more:
            return found


# -- parts of the report ---------------------------------------------------------------------------------------------


def _head(record: NightRecord, shares: dict[str, list[Span]]) -> dict[str, Any]:
    dark_s = total_s([(micros(record.begins), micros(record.ends))])
    exposing_s = total_s(shares["exposing"])
    return {
        "night": record.night,
        "seed": record.seed,
        "site": record.site,
        "dark_s": dark_s,
        "exposing_s": exposing_s,
        "utilisation": round(exposing_s / dark_s, 6) if dark_s > 0 else 0.0,
        "lost_s": {category: total_s(shares[category]) for category in CATEGORIES[1:]},
    }


def _image(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": row["file"],
        "sequence": row["sequence_id"],
        "plan": row["plan_id"],
        "start": iso(row["start"]),
        "exposure_s": row["exposure_s"],
        "filter": row["filter"],
        "camera": row["camera"],
    }


def _happenings(record: NightRecord) -> dict[str, Any]:
    modes = [(one.at, one.message) for one in record.said if isinstance(one.message, ModeChanged)]
    restarts = [(one.at, one.message) for one in record.said if isinstance(one.message, ActorRestarted)]
    return {
        "dome": [one | {"t": iso(one["t"])} for one in record.dome],
        "states": [{"t": iso(t), "from": m.before, "to": m.after, "cause": m.cause} for t, m in modes],
        "restarts": [
            {"t": iso(t), "actor": m.actor, "cause": m.cause, "ms": round(m.away_s * 1000, 3)} for t, m in restarts
        ],
        "violations": [one | {"t": iso(one["t"])} for one in record.violations],
    }


def _plannings(reader: Reader, night: str) -> list[dict[str, Any]]:
    made = _all(reader, "schedule", night=night)
    return [row | {"entries": schedule_entries(reader, row["id"])} for row in made]


def _planning(row: dict[str, Any]) -> dict[str, Any]:
    rejected = sum(1 for entry in row["entries"] if entry["reject_code"] is not None)
    placed = len(row["entries"]) - rejected
    return {
        "t": iso(row["created_at"]),
        "trigger": row["trigger"],
        "placed": placed,
        "rejected": rejected,
        "id": row["id"],
    }


# -- sequences: each of tonight's in exactly one of the three lists --------------------------------------------------


def _sequences(
    runs: Sequence[Run], trees: Sequence[SequenceTree], plannings: Sequence[dict[str, Any]], alerts: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    last = _last_entries(plannings)
    ran = {tree.id: [run for run in runs if run.sequence_id == tree.id] for tree in trees}
    tonight = [tree for tree in trees if ran[tree.id] or tree.id in last or tree.alert_id in alerts]
    done = [tree for tree in tonight if tree.status == "EXECUTED" or any(r.outcome == "EXECUTED" for r in ran[tree.id])]
    begun_only = [tree for tree in tonight if tree not in done and (ran[tree.id] or tree.status in BROKEN)]
    never = [tree for tree in tonight if tree not in done and tree not in begun_only]
    begun: Callable[[dict[str, Any]], Any] = lambda row: (row["start"] or "", row["id"])  # noqa: E731 - a sort key used twice
    return {
        "executed": sorted((_ran(tree, ran[tree.id]) for tree in done), key=begun),
        "aborted": sorted((_ran(tree, ran[tree.id]) for tree in begun_only), key=begun),
        "rejected": [_rejected(tree, last.get(tree.id)) for tree in never],
    }


def _last_entries(plannings: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return each sequence's last place, or the rejection by which it lost it.

    Later plannings reject it again, for less and less telling reasons: in the morning everything is too long.
    """
    last: dict[int, dict[str, Any]] = {}
    for planning in plannings:
        for entry in planning["entries"]:
            before = last.get(entry["sequence_id"])
            if before is None or before["reject_code"] is None or entry["reject_code"] is None:
                last[entry["sequence_id"]] = entry
    return last


def _ran(tree: SequenceTree, runs: Sequence[Run]) -> dict[str, Any]:
    """Return what became of a sequence that was begun; the store's word where nobody told of it."""
    final = next((run for run in runs if run.outcome == "EXECUTED"), runs[-1] if runs else None)
    return {
        "id": tree.id,
        "name": tree.target_name,
        "kind": tree.kind,
        "priority": tree.priority,
        "start": iso(instant(final.begin) if final else tree.started_at),
        "end": iso(instant(final.end) if final else tree.ended_at),
        "outcome": final.outcome if final else tree.status,
        "cause": final.cause if final else tree.reason,
        "exposed_s": sum(run.exposed_s for run in runs) if runs else tree.exposed_s,
        "attempts": max(len(runs), 1),
        "alert": tree.alert_id,
    }


def _rejected(tree: SequenceTree, entry: dict[str, Any] | None) -> dict[str, Any]:
    """Say why a sequence was not begun: the last planning's word, or what became of it."""
    if tree.status not in {"OBSERVABLE", "PLANNED"}:
        code, reason = tree.status, tree.reason or f"the sequence is {tree.status}"
    elif entry is not None and entry["reject_code"] is not None:
        code, reason = entry["reject_code"], entry["reject_reason"]
    elif entry is not None:
        code, reason = "NOT_STARTED", f"planned for {iso(entry['planned_start'])}, but not begun"
    else:
        code, reason = "NOT_PLANNED", "no planning took it up"
    return {"id": tree.id, "code": code, "reason": reason, "name": tree.target_name, "priority": tree.priority}
