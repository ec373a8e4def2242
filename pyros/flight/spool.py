"""The last ten minutes on disk, in segments that outlive the process.

Each write is one `write` to the page cache, which survives `kill -9`; nothing is synced, for a power cut takes the
machine's last seconds anyway and the store has what must not be lost. Used by one thread.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyros.flight.record import Publication, Record, packed
from pyros.flight.recording import Header, opening
from pyros.flight.ring import WINDOW_S

SEGMENT_S = 60.0
SEGMENT_BYTES = 8 << 20
MOST_BYTES = 64 << 20
SUFFIX = ".part"


@dataclass
class Segment:
    """One file of the spool. `until_s` is when it was closed, on the clock's monotonic count."""

    path: Path
    since_s: float
    size: int = 0
    until_s: float = float("inf")


def outdated(segments: Sequence[Segment], now_s: float, window_s: float, most_bytes: int = MOST_BYTES) -> int:
    """Return how many of the oldest segments may go; the one that is written stays."""
    count, total = 0, sum(segment.size for segment in segments)
    for segment in segments[:-1]:
        if segment.until_s >= now_s - window_s and total <= most_bytes:
            break
        count, total = count + 1, total - segment.size
    return count


def leftovers(folder: Path) -> list[list[Path]]:
    """Return the segments that earlier starts have left behind, start by start, each in order."""
    starts: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        starts.setdefault(path.name.partition("-")[0], []).append(path)
    return list(starts.values())


class Spool:
    """The segments of one start of the daemon.

    Parameters
    ----------
    standing
        Returns the last state of each actor, for the beginning of a segment.
    window_s, segment_s
        How long records are kept, and how long a segment is written, in clock seconds.
    """

    def __init__(
        self,
        folder: Path,
        header: Header,
        standing: Callable[[], Iterable[Publication]],
        window_s: float = WINDOW_S,
        segment_s: float = SEGMENT_S,
    ) -> None:
        self._folder = folder
        self._header = header
        self._standing = standing
        self._window_s = window_s
        self._segment_s = segment_s
        self._segments: list[Segment] = []
        self._file = -1
        self._count = 0

    def write(self, records: Sequence[Record], now_s: float) -> None:
        """Append records; begin a new segment where the present one is old or large enough.

        Raises
        ------
        OSError
            If the disk does not take them; then none of them is in the spool.
        """
        if self._file < 0:
            self._begin(now_s, records)
        self._append(packed(records))
        last = self._segments[-1]
        if now_s - last.since_s >= self._segment_s or last.size >= SEGMENT_BYTES:
            self._end(now_s)
            with suppress(OSError):  # the records are written; the next write tries again
                self._begin(now_s)
        for _ in range(outdated(self._segments, now_s, self._window_s)):
            self._segments.pop(0).path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the segments that are there, oldest first."""
        return [segment.path for segment in self._segments]

    def clear(self) -> None:
        """Remove everything: the daemon ends in order."""
        self._end(0.0)
        for segment in self._segments:
            segment.path.unlink(missing_ok=True)
        self._segments.clear()

    def _begin(self, now_s: float, records: Sequence[Record] = ()) -> None:
        """Begin a segment with what stood before `records`, which will be its first."""
        first_us = records[0].t_us if records else math.inf
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._count += 1
        path = self._folder / f"{self._header.boot:06d}-{self._count:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._segments.append(Segment(path, now_s))
        try:
            self._append(opening(self._header, [one for one in self._standing() if one.t_us < first_us]))
        except BaseException:
            self._end(now_s)
            self._segments.pop().path.unlink(missing_ok=True)
            raise

    def _append(self, raw: bytes) -> None:
        """Write all of it; what a full disk has taken of it is taken back."""
        segment = self._segments[-1]
        left = memoryview(raw)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, segment.size)
            os.lseek(self._file, segment.size, os.SEEK_SET)
            raise
        segment.size += len(raw)

    def _end(self, now_s: float) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._segments[-1].until_s = now_s
