"""What a daemon that died left in the image folder: raw frames that have no row, and files that were never finished.

A frame is on disk a moment before its row is in the store. Whoever starts next enters such a frame, if it is the next
one of a plan that is still EXECUTING and its checksum holds; else he sets it aside. So none is lost or counted twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyros.actors import observation_rows as rows
from pyros.actors.analyzer.frame import FrameError, FrameHeader, parse_header
from pyros.messages.devices import Exposed
from pyros.messages.store import Insert
from pyros.store.repositories import AlbumTree, PlanTree, SequenceTree

SET_ASIDE = "set_aside"
"""Folder below the image folder for frames that nobody can account for."""
NEWEST_NIGHTS = 2
"""Every start looks at what the one before it can have left: the last night's folder, and the one before midnight."""
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"(?P<camera>[a-z]\w*)_(?P<sequence>\d{6,})_(?P<plan>\d{6,})_\d{6}_(?P<number>\d{3,})\.fits")


@dataclass(frozen=True)
class LooseFrame:
    """A raw frame by its file, relative to the image folder; which exposure it was is in the name."""

    file: str
    camera: str
    sequence_id: int
    plan_id: int
    number: int


@dataclass(frozen=True)
class Entry:
    """A loose frame that is entered: whose it is, and the writes that make it recorded."""

    tree: SequenceTree
    album: AlbumTree
    plan: PlanTree
    exposed: Exposed
    writes: list[Any]


# -- pure ------------------------------------------------------------------------------------------------------------


def frame_file(night: str, camera: str, sequence_id: int, plan_id: int, start: datetime, number: int) -> str:
    """Return the file of a raw frame, relative to the image folder; `camera` without "camera:"."""
    return f"{night}/{camera}_{sequence_id:06d}_{plan_id:06d}_{start:%H%M%S}_{number:03d}.fits"


def frame_of(file: str) -> LooseFrame | None:
    """Return which exposure a file is, or None if it is no raw frame."""
    night, _, name = file.rpartition("/")
    found = _NAME.fullmatch(name)
    if found is None or not _NIGHT.fullmatch(night):
        return None
    return LooseFrame(file, found["camera"], int(found["sequence"]), int(found["plan"]), int(found["number"]))


def wanted_by(frame: LooseFrame, executing: Iterable[SequenceTree]) -> tuple[SequenceTree, AlbumTree, PlanTree] | None:
    """Return the plan that lacks exactly this frame, with its album and sequence, all of them EXECUTING; else None."""
    for tree in executing:
        for album in tree.albums:
            for plan in album.plans:
                mine = (tree.id, album.camera, plan.id) == (frame.sequence_id, frame.camera, frame.plan_id)
                if mine and (plan.status, plan.done_count) == ("EXECUTING", frame.number):
                    return tree, album, plan
    return None


def differs(header: FrameHeader, plan: PlanTree) -> str:
    """Say in what a frame is not what its plan asks for, or ''."""
    pairs = (
        ("kind", header.image_type, plan.kind),
        ("filter", header.filter or "", plan.filter),
        ("exposure_s", header.exposure_s, plan.exposure_s),
    )
    return ", ".join(f"its {name} is {has!r}, the plan's {wants!r}" for name, has, wants in pairs if has != wants)


def entry_of(
    frame: LooseFrame, header: FrameHeader, datasum: str, place: tuple[SequenceTree, AlbumTree, PlanTree]
) -> Entry:
    """Return what the camera and the observation manager would have said of a frame, had they lived."""
    tree, album, plan = place
    exposed = Exposed(
        file=frame.file,
        datasum=datasum,
        camera=header.camera,
        filter=plan.filter,
        frame=plan.kind,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # checked by the store
        start=header.started_at,
        end=header.started_at + timedelta(seconds=header.exposure_s),
        exposure_s=header.exposure_s,
    )
    pointed = header.ra_deg is not None and header.dec_deg is not None
    aim = (header.ra_deg, header.dec_deg) if pointed else (tree.ra_deg, tree.dec_deg)
    return Entry(tree, album, plan, exposed, rows.frame_done(tree, plan, exposed, frame.number, aim))


def note_of(file: str, reason: str, actor: str, now: datetime) -> Insert:
    """Return the line in the store's log that says where a frame has gone, and why."""
    text = f"frame {file} was not recorded when the daemon died and is set aside below {SET_ASIDE}: {reason}"
    return Insert(table="log_entry", values={"at": now, "level": "WARNING", "actor": actor, "text": text[:1000]})


# -- what acts on files ----------------------------------------------------------------------------------------------


def raw_frames(images: Path) -> list[LooseFrame]:
    """Return every raw frame of the newest nights, in order of the names."""
    files = [path for night in _newest(images) for path in sorted(night.glob("*.fits"))]
    found = [frame_of(path.relative_to(images).as_posix()) for path in files]
    return [frame for frame in found if frame is not None]


def sweep(images: Path) -> int:
    """Remove what was never finished in the newest nights' folders; return how many files. Only before cameras run."""
    unfinished = [path for night in _newest(images) for path in night.glob(".*.part")]
    for path in unfinished:
        path.unlink(missing_ok=True)
    return len(unfinished)


def read_sound(path: Path) -> tuple[FrameHeader, str]:
    """Return a frame's header and its DATASUM, which its pixels have been checked against.

    Raises
    ------
    FrameError
        If it cannot be read, or its checksum does not hold.
    """
    from astropy.io import fits

    header, _ = parse_header(path)
    try:
        with fits.open(path, memmap=False) as hdus:
            primary: Any = hdus[0]
            if primary.verify_datasum() != 1:
                raise FrameError(f"{path}: its DATASUM does not hold")
            return header, str(primary.header["DATASUM"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FrameError(f"{path} cannot be read as FITS: {error}") from error


def account_for(images: Path, frame: LooseFrame, executing: Iterable[SequenceTree]) -> Entry:
    """Return how a loose frame is entered.

    Raises
    ------
    FrameError
        If it cannot be: why. It has been set aside then, unless the disk refuses that too.
    """
    try:
        return _entry(images, frame, executing)
    except FrameError as error:
        raise FrameError(f"{error}{_move_aside(images, frame.file)}") from None


def _entry(images: Path, frame: LooseFrame, executing: Iterable[SequenceTree]) -> Entry:
    place = wanted_by(frame, executing)
    if place is None:
        raise FrameError(f"no plan under way waits for frame {frame.number} of plan {frame.plan_id}")
    header, datasum = read_sound(images / frame.file)
    if fault := differs(header, place[2]):
        raise FrameError(fault)
    return entry_of(frame, header, datasum, place)


def _move_aside(images: Path, file: str) -> str:
    target = images / SET_ASIDE / file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        (images / file).rename(target)
    except OSError as error:
        return f"; and it could not be moved: {error.strerror}"
    return ""


def _newest(images: Path) -> Iterator[Path]:
    nights = sorted(path for path in images.glob("????-??-??") if _NIGHT.fullmatch(path.name))
    yield from nights[-NEWEST_NIGHTS:]
