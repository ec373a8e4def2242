"""From raw frames to a report: the one call that the analyzer runs in another process. Paths in, report out.

Two steps, whose results and failures are apart (AN-E1): calibration makes a product, measuring and searching read it.
Nothing that is wrong with a frame, a master or the catalogue raises; it stands in `problems`.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from pyros.actors.analyzer.calibration import Calibrated, calibrate
from pyros.actors.analyzer.frame import Card, Frame, FrameHeader, read_frame, write_frame
from pyros.actors.analyzer.masters import MasterSet, choose, list_masters, load
from pyros.actors.analyzer.measurement import Measured, measure
from pyros.actors.analyzer.preview import write_preview
from pyros.actors.analyzer.search import Candidate, ErrorCircle, coverage, search

MAX_POINTING_ERROR_ARCSEC = 150.0
FRAMES_KEPT = 3


class AnalysisJob(Struct, frozen=True, kw_only=True):
    """What to analyse. Without a circle the images are calibrated and measured only (AN-T2)."""

    frames: tuple[str, ...]
    output: str
    """Folder for the products."""
    masters: str | None = None
    catalogue: str | None = None
    circle: ErrorCircle | None = None
    preview: bool = True
    max_pointing_error_arcsec: Annotated[float, Meta(gt=0, le=3600)] = MAX_POINTING_ERROR_ARCSEC


class ImageReport(Struct, frozen=True, kw_only=True):
    """What is known about one frame; what could not be measured is None and `problems` says why."""

    file: str
    calibrated: str | None = None
    preview: str | None = None
    started_at: datetime | None = None
    exposure_s: float | None = None
    filter: str | None = None
    masters: tuple[str, ...] = ()
    datasum: str | None = None
    """DATASUM of the calibrated product."""
    ra_deg: float | None = None
    dec_deg: float | None = None
    """Of the centre, ICRS."""
    pixel_scale_arcsec: float | None = None
    n_stars: int = 0
    """Matched with the catalogue."""
    n_sources: int = 0
    rms_arcsec: float | None = None
    zero_point: float | None = None
    zero_point_err: float | None = None
    fwhm_arcsec: float | None = None
    limiting_mag: float | None = None
    noise_ratio: float | None = None
    """Measured noise of the background over the one that gain and read noise explain."""
    problems: tuple[str, ...] = ()


class AnalysisReport(Struct, frozen=True, kw_only=True):
    """The result. `limiting_mag` (5 sigma) is that of the first measured image, in which magnitudes are quoted."""

    images: tuple[ImageReport, ...]
    candidates: tuple[Candidate, ...] = ()
    limiting_mag: float | None = None
    covered: float | None = None
    """Share of the circle that lies in the images and was searched, 0 to 1; None without a circle."""
    problems: tuple[str, ...] = ()


def analyse(job: AnalysisJob) -> AnalysisReport:
    """Calibrate, measure and, with an error circle, search; nothing in a frame or missing beside it raises."""
    reports: list[ImageReport] = []
    images: list[Measured] = []
    problems: list[str] = []
    for path in job.frames:
        report, image = _processed(path, msgspec.structs.replace(job, frames=(), circle=None))
        reports.append(report)
        problems += [f"{Path(path).name}: {problem}" for problem in report.problems]
        if image is not None:
            images.append(image)
    candidates, covered, told = _search(images, job.circle)
    first = min(images, key=lambda image: image.started_at, default=None)
    return AnalysisReport(
        images=tuple(reports),
        candidates=candidates,
        limiting_mag=first.limiting_mag if first else None,
        covered=covered,
        problems=(*problems, *told),
    )


def _search(
    images: list[Measured], circle: ErrorCircle | None
) -> tuple[tuple[Candidate, ...], float | None, tuple[str, ...]]:
    """Return the candidates, the share of the circle that was searched, and what is to be said about it."""
    if circle is None:
        return (), None, ()
    if not images:
        return (), 0.0, ("nothing was searched: no image could be measured",)
    try:
        covered = coverage(images, circle)
        candidates = search(images, circle)
    except Exception as error:  # noqa: BLE001 - the images' own results must reach the night whatever breaks here
        return (), 0.0, (_one_line("search", error),)
    if covered < 0.995:
        return candidates, covered, (f"only {covered:.0%} of the error circle lies in the images",)
    return candidates, covered, ()


@lru_cache(maxsize=FRAMES_KEPT)
def _processed(path: str, job: AnalysisJob) -> tuple[ImageReport, Measured | None]:
    """Calibrate and measure a frame; kept, because a burst's frames are searched again with each one that follows."""
    return _process(Path(path), job)


def _process(path: Path, job: AnalysisJob) -> tuple[ImageReport, Measured | None]:
    report = ImageReport(file=str(path))
    try:
        frame = read_frame(path)
        if frame.header.image_type != "light":
            return _flag(report, f"is a {frame.header.image_type} frame; only light frames are analysed"), None
        masters = _choose(job, frame)
        image = calibrate(frame.pixels, frame.header, load(masters))
    except Exception as error:  # noqa: BLE001 - a bad frame must not take the others' results with it
        return _flag(report, _one_line("calibration", error)), None
    report = msgspec.structs.replace(
        report,
        started_at=frame.header.started_at,
        exposure_s=frame.header.exposure_s,
        filter=frame.header.filter,
        masters=tuple(m.path.name for m in (masters.bias, masters.dark, masters.flat) if m),
        problems=masters.problems,
    )
    report, measured = _measure(report, image, frame.header, job)
    cards = _master_cards(masters) + (measured.cards() if measured else [])
    return _write_products(report, image, frame.header, cards, job), measured


def _choose(job: AnalysisJob, frame: Frame) -> MasterSet:
    if job.masters is None:
        return MasterSet(problems=("no masters are configured: bias, dark and flat are not applied",))
    shape = (frame.pixels.shape[0], frame.pixels.shape[1])
    return choose(list_masters(job.masters), frame.header, shape)


def _measure(
    report: ImageReport, image: Calibrated, header: FrameHeader, job: AnalysisJob
) -> tuple[ImageReport, Measured | None]:
    if job.catalogue is None:
        return _flag(report, "no star catalogue is configured: not measured"), None
    try:
        found = measure(Path(report.file).name, image, header, job.catalogue, job.max_pointing_error_arcsec)
    except Exception as error:  # noqa: BLE001 - the calibrated product is kept whatever the analysis meets (AN-E1)
        return _flag(report, _one_line("measurement", error)), None
    if found.stars.problem:
        report = _flag(report, found.stars.problem)
    rows, columns = image.pixels.shape
    ra, dec = found.plate.to_sky((columns - 1) / 2, (rows - 1) / 2)
    return msgspec.structs.replace(
        report,
        ra_deg=float(ra[0]),
        dec_deg=float(dec[0]),
        pixel_scale_arcsec=found.plate.scale_arcsec,
        n_stars=found.plate.matches,
        n_sources=len(found.sources.fits.x),
        rms_arcsec=found.plate.rms_arcsec,
        zero_point=found.zero_point.magnitude,
        zero_point_err=found.zero_point.error,
        fwhm_arcsec=found.fwhm_arcsec,
        limiting_mag=found.limiting_mag,
        noise_ratio=_noise_ratio(image, found),
    ), found


def _noise_ratio(image: Calibrated, found: Measured) -> float:
    expected = float(np.sqrt(np.median(image.variance[::7, ::7])))
    return found.sources.sky_sigma_adu / max(expected, 1e-9)


def _write_products(
    report: ImageReport, image: Calibrated, header: FrameHeader, cards: list[Card], job: AnalysisJob
) -> ImageReport:
    path = Path(report.file)
    target = Path(job.output) / f"{path.stem}_cal.fits"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        datasum = write_frame(target, image.pixels, header, cards, replace=True)
        report = msgspec.structs.replace(report, calibrated=str(target), datasum=datasum)
        if job.preview:
            picture = target.with_name(f"{path.stem}.png")
            write_preview(picture, image.pixels)
            report = msgspec.structs.replace(report, preview=str(picture))
    except Exception as error:  # noqa: BLE001 - a full disk must not lose what was measured
        report = _flag(report, _one_line("writing the product", error))
    return report


def _master_cards(masters: MasterSet) -> list[Card]:
    chosen = [m for m in (masters.bias, masters.dark, masters.flat) if m is not None]
    cards: list[Card] = [("CALSTAT", "".join(m.kind[0].upper() for m in chosen), "B bias, D dark, F flat applied")]
    for master in chosen:
        cards.append((master.kind.upper(), master.path.name, "master applied"))
        cards.append((f"{master.kind.upper()}SUM", master.datasum, "its DATASUM"))
    return cards


def _flag(report: ImageReport, problem: str) -> ImageReport:
    return msgspec.structs.replace(report, problems=(*report.problems, problem))


def _one_line(what: str, error: Exception) -> str:
    return f"{what}: {' '.join(str(error).split()) or type(error).__name__}"
