"""Idle time in which a request that the last planning did not place could have been observed all the same.

A request that stands in the planning waits for its turn; this looks at the others: those that the planning rejected or
did not know yet. One that is above its altitude limit, far enough from the Moon, within its window and short enough to
end before the next planned start would have been accepted: that second is the observatory's fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyros.cli.night.attribution import SECOND, Span, merged, micros
from pyros.cli.night.course import Course, Openings, Planned
from pyros.cli.night.record import NightRecord
from pyros.sky.night import date_of, night_of
from pyros.sky.site import Site
from pyros.sky.visibility import NightSky, windows
from pyros.store.repositories import SequenceTree

ALIVE = frozenset({"OBSERVABLE", "PLANNED", "EXECUTING", "EXECUTED"})
"""What a request that could have been observed tonight is at the night's end."""
NOT_THE_SKYS = frozenset({"QUOTA"})
"""Rejections that a free telescope does not lift."""
LEAST_S = 5.0
"""Idle time shorter than this is the loop's own turn-around, and no request is looked for."""


@dataclass(frozen=True)
class _Request:
    """A sequence with the spans in which it may lie as a whole."""

    tree: SequenceTree
    windows: list[Span]
    length: int


def openings(record: NightRecord, site: Site, horizon_deg: float, trees: Sequence[SequenceTree]) -> Openings:
    """Return the function that finds such time in a course.

    Parameters
    ----------
    site, horizon_deg
        The site and the altitude below which nothing is observed there.
    trees : sequence of SequenceTree
        Every sequence of the store.
    """

    def find(course: Course) -> list[Span]:
        free = [span for span in course.free() if span[1] - span[0] >= LEAST_S * SECOND]
        wanted = [tree for tree in trees if tree.status in ALIVE and tree.ra_deg is not None]
        if not free or not wanted:
            return []
        requests = _requests(record, site, horizon_deg, wanted)
        return merged(opening for span in free for request in requests for opening in _within(course, span, request))

    return find


def _requests(record: NightRecord, site: Site, horizon_deg: float, trees: Sequence[SequenceTree]) -> list[_Request]:
    sky = _sky(record, site)
    found = windows(
        sky,
        [tree.ra_deg or 0.0 for tree in trees],
        [tree.dec_deg or 0.0 for tree in trees],
        [max(tree.min_altitude_deg, horizon_deg) for tree in trees],
        [tree.moon_separation_deg for tree in trees],
    )
    return [
        _Request(tree, _own(tree, [(micros(sky.instant(a)), micros(sky.instant(b))) for a, b in spans]), _length(tree))
        for tree, spans in zip(trees, found, strict=True)
    ]


def _sky(record: NightRecord, site: Site) -> NightSky:
    """Return the night's sky, with the dark time that the record has."""
    night = night_of(site, date_of(site, record.begins))
    return NightSky(site, night._replace(begins=record.begins, ends=record.ends))


def _length(tree: SequenceTree) -> int:
    return int((tree.duration_s + tree.overhead_s) * SECOND)


def _own(tree: SequenceTree, spans: list[Span]) -> list[Span]:
    """Cut the sky's windows to the request's own: earliest, latest, and around the preferred instant."""
    begin = micros(tree.earliest) if tree.earliest else 0
    end = micros(tree.latest) if tree.latest else 1 << 62
    if tree.t_preferred is not None:
        middle, half = micros(tree.t_preferred), _length(tree) // 2
        begin = max(begin, middle - int(tree.delta_left_s * SECOND) - half)
        end = min(end, middle + int(tree.delta_right_s * SECOND) + half)
    return [(max(a, begin), min(b, end)) for a, b in spans]


def _within(course: Course, free: Span, request: _Request) -> list[Span]:
    """Return the part of a free span in which the request could have been begun."""
    tree = request.tree
    found: list[Span] = []
    for planned in course.plannings:
        begin, end = max(free[0], planned.begin), min(free[1], planned.end)
        if begin >= end or not _waits(course, planned, tree, begin):
            continue
        following = [micros(place.start) for place in planned.made.placed if micros(place.start) >= begin]
        until = min([course.dark[1], *following])
        first = max(begin, micros(tree.created_at))
        found += [(max(first, a), min(end, min(b, until) - request.length)) for a, b in request.windows]
    return found


def _waits(course: Course, planned: Planned, tree: SequenceTree, at: int) -> bool:
    """Tell whether a sequence was OBSERVABLE and without a place at an instant of a planning."""
    if any(place.sequence_id == tree.id for place in planned.made.placed):
        return False
    codes = [rejected.code for rejected in planned.made.rejected if rejected.sequence_id == tree.id]
    done = any(run.sequence_id == tree.id and run.outcome == "EXECUTED" and run.end <= at for run in course.runs)
    return not done and not NOT_THE_SKYS & set(codes)
