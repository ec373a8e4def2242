"""Makes master bias, dark and flat frames and chooses the ones that fit a frame by camera, age, temperature, filter.

A master that is missing is a remark in the report, never a failure: the image of an afterglow without a flat is still
an image of an afterglow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from pyros.actors.analyzer.calibration import Image, MasterPixels
from pyros.actors.analyzer.frame import Card, FrameError, FrameHeader, parse_header, read_frame, write_frame

MAX_AGE = timedelta(days=30)
MAX_TEMPERATURE_DIFFERENCE_C = 2.0
MIN_FRAMES = 3
MAX_FRAMES = 200
"""Of one kind in one master: each keeps a file open."""
_BAND_PIXELS = 1 << 17
"""Pixels of one frame in a row band: the stack of a band stays small, whatever the number of frames."""


class Master(Struct, frozen=True):
    """A master frame on disk."""

    path: Path
    kind: str
    header: FrameHeader
    shape: tuple[int, int]
    datasum: str


class MasterSet(Struct, frozen=True):
    """The masters chosen for one frame; `problems` says which are missing and why."""

    bias: Master | None = None
    dark: Master | None = None
    flat: Master | None = None
    problems: tuple[str, ...] = ()


class MastersMade(Struct, frozen=True):
    """What `make_masters` wrote, and what it could not use."""

    masters: tuple[Master, ...]
    problems: tuple[str, ...]


class _Raw(Struct, frozen=True):
    path: Path
    header: FrameHeader
    shape: tuple[int, int]


def make_masters(frames: Iterable[str | Path], folder: str | Path) -> MastersMade:
    """Combine raw bias, dark and flat frames into masters in `folder`; masters already there may serve as bias or dark.

    Frames are grouped by camera, shape, binning, temperature (to a degree) and, for flats, filter; each group of at
    least three gives one master. Bad frames are named in `problems` and left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    raws, problems = _read_raws(frames)
    made: list[Master] = []
    for kind in ("bias", "dark", "flat"):
        for group in _groups([raw for raw in raws if raw.header.image_type == kind]):
            if len(group) < MIN_FRAMES:
                problems.append(f"{len(group)} {kind} frames of {_setup(group[0])}: a master needs {MIN_FRAMES}")
                continue
            try:
                made.append(_make_master(kind, group[:MAX_FRAMES], folder))
            except (FrameError, ValueError, OSError) as error:
                problems.append(f"master {kind} of {_setup(group[0])}: {error}")
    return MastersMade(tuple(made), tuple(problems))


def list_masters(folder: str | Path) -> tuple[Master, ...]:
    """Return the masters in a folder in the order of their names; files that are no masters are passed over."""
    found = []
    for path in sorted(Path(folder).glob("master_*.fits")):
        try:
            status = path.stat()
            found.append(_describe(path, status.st_mtime_ns, status.st_size))
        except (FrameError, OSError):
            continue
    return tuple(found)


def choose(masters: Sequence[Master], header: FrameHeader, shape: tuple[int, int]) -> MasterSet:
    """Choose for each kind the master nearest in temperature (to a degree), then in time.

    A master must be of the same camera, shape and binning, at most `MAX_AGE` away and, for bias and dark, within
    `MAX_TEMPERATURE_DIFFERENCE_C` where both temperatures are known; a flat must be of the same filter.
    """
    chosen: dict[str, Master | None] = {}
    problems = []
    for kind in ("bias", "dark", "flat"):
        fitting = [m for m in masters if m.kind == kind and m.shape == shape and _fits(m, header)]
        chosen[kind] = min(fitting, key=lambda m: _distance(m.header, header), default=None)
        if chosen[kind] is None:
            wanted = f" in {header.filter or 'no filter'}" if kind == "flat" else ""
            problems.append(f"no master {kind}{wanted} for {header.camera}, {shape[1]} × {shape[0]}: not applied")
    return MasterSet(**chosen, problems=tuple(problems))


def load(masters: MasterSet) -> MasterPixels:
    """Read the pixels of the chosen masters; they stay cached in the process."""
    chosen = masters.bias, masters.dark, masters.flat
    return MasterPixels(*(None if master is None else _pixels(master.path, master.datasum) for master in chosen))


@lru_cache(maxsize=6)
def _pixels(path: Path, _datasum: str) -> Image:
    return np.ascontiguousarray(read_frame(path).pixels, np.float32)


def _read_raws(frames: Iterable[str | Path]) -> tuple[list[_Raw], list[str]]:
    raws: list[_Raw] = []
    problems: list[str] = []
    for path in sorted({Path(frame) for frame in frames}):
        try:
            header, cards = parse_header(path)
        except FrameError as error:
            problems.append(str(error))
            continue
        if header.image_type not in {"bias", "dark", "flat"}:
            problems.append(f"{path} is a {header.image_type} frame; masters are made of bias, dark and flat frames")
        elif header.image_type != "bias" and header.exposure_s <= 0:
            problems.append(f"{path} is a {header.image_type} of {header.exposure_s} s; its exposure must be above 0")
        else:
            raws.append(_Raw(path, header, (int(cards.get("NAXIS2", 0)), int(cards.get("NAXIS1", 0)))))
    return raws, problems


def _groups(raws: list[_Raw]) -> list[list[_Raw]]:
    groups: dict[str, list[_Raw]] = {}
    for raw in raws:
        groups.setdefault(_setup(raw), []).append(raw)
    return [groups[key] for key in sorted(groups)]


def _setup(raw: _Raw) -> str:
    header = raw.header
    temperature = "" if header.ccd_temperature_c is None else f" at {round(header.ccd_temperature_c)} °C"
    band = f" in {header.filter}" if header.image_type == "flat" else ""
    shape = f"{raw.shape[1]} × {raw.shape[0]} binned {header.binning_x} × {header.binning_y}"
    return f"{header.camera} {shape}{temperature}{band}"


def _make_master(kind: str, group: list[_Raw], folder: Path) -> Master:
    typical = group[len(group) // 2].header
    earlier = choose(list_masters(folder), typical, group[0].shape)
    if kind != "bias" and earlier.bias is None:
        raise ValueError("needs a master bias; give bias frames too")
    of_kind = {"bias": MasterSet(), "dark": MasterSet(bias=earlier.bias), "flat": earlier}[kind]
    pixels = msgspec.structs.replace(load(of_kind), flat=None)
    combined = _combine(group, kind, pixels)
    temperatures = [r.header.ccd_temperature_c for r in group if r.header.ccd_temperature_c is not None]
    header = msgspec.structs.replace(
        typical,
        image_type=f"master{kind}",
        exposure_s=1.0 if kind == "dark" else typical.exposure_s,
        ccd_temperature_c=median(temperatures) if temperatures else None,
        wcs=None,
        object=None,
        trigger_id=None,
    )
    cards: list[Card] = [("NCOMBINE", len(group), "frames combined")]
    if kind == "dark":
        cards.append(("BUNIT", "adu/s", ""))
    path = _free_name(folder, kind, header)
    write_frame(path, combined, header, cards)
    return _describe(path)


def _combine(group: list[_Raw], kind: str, masters: MasterPixels) -> Image:
    """Median of the frames, reduced one by one, in row bands."""
    from astropy.io import fits

    rows, columns = group[0].shape
    exposures = [raw.header.exposure_s for raw in group]
    band = max(1, _BAND_PIXELS // columns)
    combined = np.empty((rows, columns), np.float32)
    with ExitStack() as stack:
        images: list[Any] = [stack.enter_context(fits.open(raw.path))[0] for raw in group]
        scales = [_scale(kind, image, t, masters) for image, t in zip(images, exposures, strict=True)]
        for first in range(0, rows, band):
            part = slice(first, first + band)
            reduced = [
                _reduce(image.section[part, :], exposure_s, masters, part) / np.float32(scale)
                for image, exposure_s, scale in zip(images, exposures, scales, strict=True)
            ]
            combined[part] = np.median(np.stack(reduced), axis=0)
    return combined


def _reduce(raw: Any, exposure_s: float, masters: MasterPixels, part: slice) -> Image:
    band = np.asarray(raw, np.float32)
    if masters.bias is not None:
        band = band - masters.bias[part]
    if masters.dark is not None:
        band = band - masters.dark[part] * np.float32(exposure_s)
    return band


def _scale(kind: str, image: Any, exposure_s: float, masters: MasterPixels) -> float:
    """Return what a frame is divided by: a dark becomes a rate, a flat is normalised by its median."""
    if kind != "flat":
        return exposure_s if kind == "dark" else 1.0
    level = float(np.median(_reduce(image.section[:, :], exposure_s, masters, slice(None))[::7, ::7]))
    if level < 100:
        raise ValueError(f"a flat of {level:.0f} ADU is too faint; 100 at least")
    return level


def _free_name(folder: Path, kind: str, header: FrameHeader) -> Path:
    camera = "".join(c if c.isalnum() else "-" for c in header.camera)
    band = "_" + "".join(c if c.isalnum() else "-" for c in header.filter or "none") if kind == "flat" else ""
    stem = f"master_{kind}_{camera}{band}_{header.started_at:%Y%m%dT%H%M%S}"
    names = (folder / f"{stem}{f'_{n}' if n else ''}.fits" for n in range(1000))
    return next(path for path in names if not path.exists())


@lru_cache(maxsize=256)
def _describe(path: Path, _mtime_ns: int = 0, _size: int = 0) -> Master:
    header, cards = parse_header(path)
    if not header.image_type.startswith("master"):
        raise FrameError(f"{path} is a {header.image_type} frame, no master")
    shape = (int(cards["NAXIS2"]), int(cards["NAXIS1"]))
    return Master(path, header.image_type.removeprefix("master"), header, shape, str(cards.get("DATASUM", "")))


def _fits(master: Master, header: FrameHeader) -> bool:
    of = master.header
    same = (of.camera, of.binning_x, of.binning_y) == (header.camera, header.binning_x, header.binning_y)
    young = abs(of.started_at - header.started_at) <= MAX_AGE
    if master.kind == "flat":
        return same and young and of.filter == header.filter
    return same and young and _warmth(of, header) <= MAX_TEMPERATURE_DIFFERENCE_C


def _warmth(one: FrameHeader, other: FrameHeader) -> float:
    if one.ccd_temperature_c is None or other.ccd_temperature_c is None:
        return 0.0
    return abs(one.ccd_temperature_c - other.ccd_temperature_c)


def _distance(one: FrameHeader, other: FrameHeader) -> tuple[int, timedelta]:
    return round(_warmth(one, other)), abs(one.started_at - other.started_at)
