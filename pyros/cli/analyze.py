"""`pyros analyze`: look for a burst's afterglow in frames, or make masters of calibration frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pyros.actors.analyzer.search import ErrorCircle

MAX_ALERT_BYTES = 1 << 20
MAX_RADIUS_ARCMIN = 600.0

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("frames", nargs=-1, required=True, type=_FILE)
@click.option("--calibrate", "calibrate_into", type=_FILE, metavar="DIR", help="Make masters of FRAMES in DIR.")
@click.option("--masters", type=_FILE, metavar="DIR", help="Folder of master bias, dark and flat frames.")
@click.option("--catalogue", type=_FILE, metavar="CSV", help="Known stars: CSV or FITS file, or a folder of tiles.")
@click.option("--alert", type=_FILE, metavar="JSON", help="Alert with ra_deg, dec_deg and error_deg.")
@click.option("--ra", type=click.FloatRange(0, 360, max_open=True), help="Centre of the error circle, ICRS degrees.")
@click.option("--dec", type=click.FloatRange(-90, 90), help="Centre of the error circle, ICRS degrees.")
@click.option("--radius-arcmin", type=click.FloatRange(0, MAX_RADIUS_ARCMIN, min_open=True), help="Its radius.")
@click.option("-o", "--output", type=_FILE, metavar="REPORT.json", help="Where the report goes; products beside it.")
def analyze(
    *,
    frames: tuple[Path, ...],
    calibrate_into: Path | None,
    masters: Path | None,
    catalogue: Path | None,
    alert: Path | None,
    ra: float | None,
    dec: float | None,
    radius_arcmin: float | None,
    output: Path | None,
) -> None:
    """Calibrate and measure FRAMES and search the alert's error circle for new sources; or make masters of them."""
    if calibrate_into is not None:
        if any(value is not None for value in (masters, catalogue, alert, ra, dec, radius_arcmin, output)):
            raise click.UsageError("--calibrate makes masters and takes no other option")
        _make_masters(frames, calibrate_into)
        return
    if output is None:
        raise click.UsageError("say where the report goes: -o REPORT.json")
    for folder in (masters, catalogue):
        if folder is not None and not folder.exists():
            raise click.ClickException(f"{folder} does not exist")
    circle = _circle(alert, ra, dec, radius_arcmin)
    _analyse(frames, masters, catalogue, circle=circle, output=output)


def _make_masters(frames: tuple[Path, ...], folder: Path) -> None:
    from pyros.actors.analyzer.masters import make_masters

    try:
        made = make_masters(frames, folder)
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be written: {error.strerror}") from error
    for problem in made.problems:
        click.echo(problem, err=True)
    for master in made.masters:
        click.echo(str(master.path))
    if not made.masters:
        raise click.ClickException(f"no master could be made of {len(frames)} frames")


def _circle(alert: Path | None, ra: float | None, dec: float | None, radius: float | None) -> ErrorCircle | None:
    from pyros.actors.analyzer.search import ErrorCircle

    given = [value is not None for value in (ra, dec, radius)]
    if alert is not None and any(given):
        raise click.UsageError("give either --alert or --ra, --dec and --radius-arcmin")
    if alert is not None:
        return _circle_of_alert(alert)
    if ra is None or dec is None or radius is None:
        if any(given):
            raise click.UsageError("an error circle needs --ra, --dec and --radius-arcmin")
        return None
    return ErrorCircle(ra_deg=ra, dec_deg=dec, radius_arcmin=radius)


def _circle_of_alert(path: Path) -> ErrorCircle:
    from pyros.actors.analyzer.search import ErrorCircle

    try:
        with path.open("rb") as stream:
            alert: Any = json.loads(stream.read(MAX_ALERT_BYTES))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.ClickException(f"{path} is not JSON: {error}") from error
    if not isinstance(alert, dict):
        raise click.ClickException(f"{path} must hold one JSON object with ra_deg, dec_deg and error_deg")
    ra = _number(path, alert, ("ra_deg", "ra"), 0, 360)
    dec = _number(path, alert, ("dec_deg", "dec"), -90, 90)
    radius_deg = _number(path, alert, ("error_deg",), 1e-5, MAX_RADIUS_ARCMIN / 60)
    return ErrorCircle(ra_deg=ra % 360, dec_deg=dec, radius_arcmin=radius_deg * 60)


def _number(path: Path, alert: Any, names: tuple[str, ...], low: float, high: float) -> float:
    value = next((alert[name] for name in names if name in alert), None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise click.ClickException(f"{path}: {names[0]} is {value!r}; it must be a number from {low:g} to {high:g}")
    return float(value)


def _analyse(
    frames: tuple[Path, ...],
    masters: Path | None,
    catalogue: Path | None,
    *,
    circle: ErrorCircle | None,
    output: Path,
) -> None:
    import msgspec

    from pyros.actors.analyzer.analysis import AnalysisJob, analyse

    job = AnalysisJob(
        frames=tuple(str(frame) for frame in frames),
        output=str(output.parent),
        masters=None if masters is None else str(masters),
        catalogue=None if catalogue is None else str(catalogue),
        circle=circle,
    )
    report = analyse(job)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    for problem in report.problems:
        click.echo(problem, err=True)
    measured = sum(image.limiting_mag is not None for image in report.images)
    if not measured:
        raise click.ClickException(f"none of {len(frames)} frames could be measured; see {output}")
    click.echo(f"{measured} of {len(frames)} frames measured, {len(report.candidates)} candidates; {output}")
