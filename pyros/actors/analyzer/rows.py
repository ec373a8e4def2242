"""What an analysis says and writes: pure. An image is measured once; a second measurement of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyros.actors.analyzer.analysis import AnalysisReport
from pyros.messages.alerts import Analyse, Analysed, Candidate
from pyros.messages.codec import to_builtins
from pyros.messages.store import Change, Insert

MOST_DETECTIONS = 5
UNMEASURED: dict[str, Any] = {"quality": {}}
_TOLD = ("file", "camera", "filter", "start", "exposure_s")
"""Columns of an image that go with the news of its candidates."""


def analysed(message: Analyse, report: AnalysisReport) -> Analysed:
    """Return what was found, for whoever listens."""
    candidates = [
        Candidate(
            ra_deg=found.ra_deg,
            dec_deg=found.dec_deg,
            position_error_arcsec=found.position_error_arcsec,
            mag=found.mag,
            mag_err=found.mag_err,
            snr=found.snr,
        )
        for found in report.candidates[:MOST_DETECTIONS]
    ]
    return Analysed(
        image_id=message.image_ids[-1],
        alert_id=message.alert_id,
        candidates=candidates,
        limiting_mag=report.limiting_mag,
        zero_point=report.images[-1].zero_point,
        fwhm_arcsec=report.images[-1].fwhm_arcsec,
        problems=list(report.problems),
    )


def measured(report: AnalysisReport, event: Analysed, folder: Path) -> list[Any]:
    """Return the writes of an image's measurement and of the candidates in it; files relative to `folder`."""
    last = report.images[-1]
    quality = {
        "fwhm_arcsec": last.fwhm_arcsec,
        "zero_point": last.zero_point,
        "limiting_mag": last.limiting_mag,
        "n_stars": last.n_stars,
        "problems": list(last.problems),
    }
    preview = "" if last.preview is None else str(Path(last.preview).relative_to(folder))
    values: dict[str, Any] = {"quality": quality, "preview": preview}
    if last.ra_deg is not None and last.dec_deg is not None:
        values |= {"ra_deg": last.ra_deg, "dec_deg": last.dec_deg}
    image = Change(table="image", key=event.image_id, values=values, expect=UNMEASURED)
    return [image, *(_detection(event, found) for found in event.candidates)]


def _detection(event: Analysed, found: Candidate) -> Insert:
    values = {
        "image_id": event.image_id,
        "alert_id": event.alert_id,
        "ra_deg": found.ra_deg,
        "dec_deg": found.dec_deg,
        "position_error_arcsec": found.position_error_arcsec,
        "mag": found.mag,
        "mag_err": found.mag_err,
        "snr": found.snr,
    }
    return Insert(table="detection", values=values)


def failed(image_id: int, problem: str) -> Change:
    """Return the write of an image that cannot be measured."""
    return Change(table="image", key=image_id, values={"quality": {"problems": [problem]}}, expect=UNMEASURED)


def told(event: Analysed, image: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the news of an image's candidates."""
    return to_builtins(event) | {"image": {name: image[name] for name in _TOLD}}
