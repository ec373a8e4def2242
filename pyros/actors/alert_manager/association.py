"""Is it a burst that we know already? One burst seen by several satellites is one alert.

The rules and their thresholds were measured on 279 Swift and 1,579 located Fermi triggers: below 60 s, 46 of 49 pairs
lie within three sigma where 0.15 are expected by chance. They hold for notices that passed the filters of `verdict`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from pyros.actors.alert_manager.notice import Notice, Position, position_of, separation_deg


class AssociationRules(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds: the keys of `[alerts.association]`."""

    same_instant_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    incompatible_deg: Annotated[float, Meta(gt=0, le=180)] = 60.0
    near_s: Annotated[float, Meta(ge=0, le=3600)] = 180.0
    far_s: Annotated[float, Meta(ge=0, le=86_400)] = 7200.0
    far_error_deg: Annotated[float, Meta(gt=0, le=30)] = 5.0
    precise_error_deg: Annotated[float, Meta(gt=0, le=5)] = 0.2
    precise_s: Annotated[float, Meta(ge=0, le=7 * 86_400)] = 86_400.0
    sigmas: Annotated[float, Meta(gt=0, le=10)] = 3.0


class KnownAlert(msgspec.Struct, frozen=True, kw_only=True):
    """What association needs to know of an alert."""

    alert_id: int
    triggers: tuple[tuple[str, str], ...]
    """(mission, normalised identifier) of every trigger that belongs to it."""
    t0s: tuple[datetime, ...] = ()
    """The triggering instruments' instants."""
    position: Position | None = None
    """The best trusted position so far."""
    burst: bool = True
    """Whether one of its notices was judged a real burst (`Verdict.burst`)."""
    ivorns: tuple[str, ...] = ()


class Association(msgspec.Struct, frozen=True):
    """Which alert a notice belongs to (None: a new one), by which rule, in words."""

    alert_id: int | None
    rule: int
    """1 identifier or citation, 2 same instant, 3 near in time and sky, 4 farther in time, 5 none."""
    explanation: str


class _Match(msgspec.Struct, frozen=True, order=True):
    """How a notice matches one alert; the smallest is the best."""

    rule: int
    lag_s: float
    distance_deg: float
    alert_id: int
    explanation: str


def known_alert(alert_id: int, notices: Sequence[Notice], *, burst: bool = True) -> KnownAlert:
    """Return the alert that these notices, in the order of their arrival, make up."""
    best: Position | None = None
    for position in filter(None, map(position_of, notices)):
        best = position if better_position(best, position) else best
    return KnownAlert(
        alert_id=alert_id,
        triggers=tuple(dict.fromkeys((n.mission, n.trigger) for n in notices if n.trigger)),
        t0s=tuple(dict.fromkeys(n.t0 for n in notices if n.t0 is not None)),
        position=best,
        burst=burst,
        ivorns=tuple(dict.fromkeys(n.ivorn for n in notices)),
    )


def better_position(old: Position | None, new: Position | None) -> bool:
    """Whether to go on with the new one: only if it holds the source within a smaller radius (90 %)."""
    return new is not None and (old is None or new.r90_deg < old.r90_deg)


def moved_deg(old: Position, new: Position) -> float:
    """Return how far the new position lies from the old one, degrees."""
    return separation_deg(old.ra_deg, old.dec_deg, new.ra_deg, new.dec_deg)


def associate(
    notice: Notice,
    open_alerts: Sequence[KnownAlert],
    rules: AssociationRules | None = None,
    *,
    burst: bool = True,
) -> Association:
    """Find the alert that a notice belongs to.

    `burst` is the verdict's: a real burst by its origin and its class, be its position of use or not. A retraction is
    matched by identifier and citation alone. Of several alerts that match, the one by the lowest rule counts, then the
    nearest in time, then on the sky.
    """
    rules = rules or AssociationRules()
    matches = [match for alert in open_alerts if (match := _match(notice, alert, rules, burst=burst)) is not None]
    if not matches:
        return Association(None, 5, f"no open alert matches {notice.mission} {notice.trigger}: a new one")
    best = min(matches)
    return Association(best.alert_id, best.rule, best.explanation)


def _match(notice: Notice, alert: KnownAlert, rules: AssociationRules, *, burst: bool) -> _Match | None:
    named = _by_name(notice, alert)
    if named:
        return _Match(1, 0.0, 0.0, alert.alert_id, named)
    if notice.retraction or notice.t0 is None or not alert.t0s:
        return None
    lag_s = min(abs((notice.t0 - t0).total_seconds()) for t0 in alert.t0s)
    position = position_of(notice)
    if position is None or alert.position is None:
        if lag_s > rules.same_instant_s:
            return None
        return _Match(2, lag_s, 0.0, alert.alert_id, f"T0 differs by {lag_s:.1f} s and nothing is known to contradict")
    return next(_by_sky(position, alert.position, lag_s, rules, alert, burst=burst), None)


def _by_name(notice: Notice, alert: KnownAlert) -> str:
    if notice.mission and notice.trigger and (notice.mission, notice.trigger) in alert.triggers:
        return f"same trigger {notice.mission} {notice.trigger}"
    cited = next((ivorn for ivorn in notice.citations if ivorn in alert.ivorns), "")
    return f"it cites {cited}" if cited else ""


def _by_sky(
    position: Position, other: Position, lag_s: float, rules: AssociationRules, alert: KnownAlert, *, burst: bool
) -> Iterator[_Match]:
    distance_deg = moved_deg(position, other)
    limit_deg = rules.sigmas * math.hypot(position.sigma_deg, other.sigma_deg)
    larger_deg = max(position.error_deg, other.error_deg)
    reach_s = rules.precise_s if larger_deg < rules.precise_error_deg else rules.far_s
    near = distance_deg < limit_deg
    figures = f"T0 differs by {lag_s:.1f} s, positions by {distance_deg:.2f}° (limit {{:.2f}}°)"
    if lag_s <= rules.same_instant_s and distance_deg <= rules.incompatible_deg:
        yield _Match(2, lag_s, distance_deg, alert.alert_id, figures.format(rules.incompatible_deg))
    if lag_s <= rules.near_s and near:
        yield _Match(3, lag_s, distance_deg, alert.alert_id, figures.format(limit_deg))
    if lag_s <= reach_s and near and burst and alert.burst and larger_deg <= rules.far_error_deg:
        yield _Match(4, lag_s, distance_deg, alert.alert_id, figures.format(limit_deg))
