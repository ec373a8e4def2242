"""Each alert of a night for the report: its notices, its times, its images, what was found, and the truth beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pyros.cli.night.attribution import as_instant
from pyros.cli.night.record import NightRecord
from pyros.messages.alerts import Analysed
from pyros.messages.base import Refused
from pyros.messages.store import GetRows
from pyros.sky.coordinates import separation_deg
from pyros.store.database import Reader
from pyros.store.history import rows
from pyros.store.repositories import alerts_of_night, images_of, notices_of_alert

STEPS = ("t0", "sent", "received", "stored", "decided", "slew_commanded", "settled", "first_shutter", "first_result")
"""The steps of an alert's way, in order."""
SAME_SOURCE_ARCSEC = 3.0
SAME_BURST_S = 120.0
"""How far an alert's instant may be from that of the burst that it is about."""


def alerts_of(reader: Reader, record: NightRecord) -> list[dict[str, Any]]:
    """Return the alerts of the record's night, oldest first."""
    return [_alert(reader, record, row) for row in alerts_of_night(reader, record.night)]


def _alert(reader: Reader, record: NightRecord, row: dict[str, Any]) -> dict[str, Any]:
    images = images_of(reader, alert_id=row["id"])
    notices = sorted(notices_of_alert(reader, row["id"]), key=lambda notice: notice["id"])
    times = {"t0": row["t0"]} | {step: as_instant(at) for step, at in row["times"].items()}
    analysed = [
        one.message for one in record.said if isinstance(one.message, Analysed) and one.message.alert_id == row["id"]
    ]
    return {
        "id": row["id"],
        "name": row["name"],
        "triggers": [trigger["identifier"] for trigger in row["triggers"]],
        "notices": [notice["ivorn"] for notice in notices],
        "status": row["status"],
        "reason": row["reason"],
        "strategy": _strategy(reader, row["strategy_id"]),
        "ra_deg": row["ra_deg"],
        "dec_deg": row["dec_deg"],
        "error_deg": row["error_deg"],
        "times": {step: _iso(times.get(step)) for step in STEPS},
        "images": [image["file"] for image in images],
        "candidates": _candidates(reader, images, analysed),
        "limiting_mag": _limiting_mag(images, analysed),
        "truth": truth_of(record.transients, row, times.get("first_shutter")),
    }


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat().replace("+00:00", "Z")


def _strategy(reader: Reader, strategy_id: int | None) -> str:
    if strategy_id is None:
        return ""
    found = rows(reader, GetRows(table="strategy", where={"id": strategy_id}, limit=1))
    if isinstance(found, Refused) or not found.rows:
        return ""
    return f"{found.rows[0]['name']} {found.rows[0]['version']}"


def _candidates(reader: Reader, images: Sequence[dict[str, Any]], analysed: Sequence[Analysed]) -> list[dict[str, Any]]:
    """Return the sources found, from the store, or from the analyzer's words where the store has none."""
    found: list[dict[str, Any]] = []
    for image in images:
        page = rows(reader, GetRows(table="detection", where={"image_id": image["id"]}, limit=1000, ascending=True))
        if not isinstance(page, Refused):
            found += [_candidate(row, image["file"]) for row in page.rows]
    if not found:
        files = {image["id"]: image["file"] for image in images}
        for message in analysed:
            file = files.get(message.image_id)
            for one in message.candidates:
                found.append(_candidate({name: getattr(one, name) for name in one.__struct_fields__}, file))
    return merge_sources(found)


def _candidate(row: dict[str, Any], file: str | None) -> dict[str, Any]:
    return {
        "ra": row["ra_deg"],
        "dec": row["dec_deg"],
        "position_error_arcsec": row["position_error_arcsec"],
        "mag": row["mag"],
        "mag_err": row["mag_err"],
        "snr": row["snr"],
        "verdict": row.get("verdict", "candidate"),
        "image": file,
    }


def merge_sources(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one detection for each source, that with the best signal, and in how many images it was seen.

    Detections within 3 arcseconds of the best one are the same source; strongest sources come first.
    """
    sources: list[tuple[dict[str, Any], list[str | None]]] = []
    for one in sorted(found, key=lambda row: (-row["snr"], row["ra"], row["dec"])):
        for best, seen_in in sources:
            apart_arcsec = 3600 * separation_deg(best["ra"], best["dec"], one["ra"], one["dec"])
            if apart_arcsec <= SAME_SOURCE_ARCSEC:
                seen_in.append(one["image"])
                break
        else:
            sources.append((one, [one["image"]]))
    return [best | {"frames": len(dict.fromkeys(seen_in))} for best, seen_in in sources]


def _limiting_mag(images: Sequence[dict[str, Any]], analysed: Sequence[Analysed]) -> float | None:
    """Return the deepest 5-sigma limit reached."""
    limits = [image["quality"].get("limiting_mag") for image in images] + [one.limiting_mag for one in analysed]
    return max((limit for limit in limits if limit is not None), default=None)


def truth_of(
    transients: Sequence[dict[str, Any]], alert: dict[str, Any], seen_at: datetime | None
) -> dict[str, float] | None:
    """Return where the burst of an alert really is, and how bright when it was first looked at (60 s after T0 if not).

    The burst is the one nearest in time, within two minutes; of several, the one nearest on the sky.
    """
    apart: list[tuple[float, float, dict[str, Any]]] = []
    for one in transients:
        late_s = abs((as_instant(one["t0"]) - alert["t0"]).total_seconds())
        if late_s <= SAME_BURST_S:
            far_deg = separation_deg(alert["ra_deg"], alert["dec_deg"], one["ra_deg"], one["dec_deg"])
            apart.append((round(late_s, 1), far_deg, one))
    if not apart:
        return None
    burst = min(apart, key=lambda entry: entry[:2])[2]
    t0 = as_instant(burst["t0"])
    age_s = max(((seen_at or t0 + timedelta(seconds=60)) - t0).total_seconds(), 1.0)
    mag = burst["mag_at_60s"] + 2.5 * burst["alpha"] * math.log10(age_s / 60.0)
    return {"ra": burst["ra_deg"], "dec": burst["dec_deg"], "mag": round(mag, 3)}
