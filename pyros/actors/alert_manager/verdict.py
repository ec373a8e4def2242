"""Is a notice worth a slew? A list of plain filters, each of which says why not, with figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pyros.actors.alert_manager.notice import Notice, galactic_latitude_deg
from pyros.actors.alert_manager.tables import TableError, typed

Visibility = Callable[[float, float], str]
"""Takes ra_deg, dec_deg; returns why the telescope cannot see it soon enough, or nothing when it can."""


class AlertPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is of interest: the plain keys of `[alerts]`. The defaults are those of `pyros.config`."""

    missions: tuple[str, ...] = ("Swift", "Fermi", "SVOM")
    max_error_deg: Annotated[float, Meta(gt=0, le=180)] = 1.0
    max_age_s: Annotated[float, Meta(gt=0, le=30 * 86_400)] = 21_600.0
    max_future_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """How far ahead of our clock a burst may seem to be."""
    min_significance: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    min_class_probability: Annotated[float, Meta(ge=0, le=100)] = 50.0
    """Percent; below it a mission's own "GRB" is not believed."""
    min_galactic_latitude_deg: Annotated[float, Meta(ge=0, le=90)] = 0.0
    accept_tests: bool = False
    accept_catalogue_sources: bool = False
    accept_not_identified: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """Whether a notice is acted upon, and why."""

    accepted: bool
    reason: str
    burst: bool = False
    """Whether it is a real burst by its origin and its class, be its position of use or not: for `associate`."""


_FLAGS = {
    "star_tracker_lost": ("the star tracker had lost lock, so the position is not known", ""),
    "catalogue_source": ("the source is in a catalogue of known ones", "accept_catalogue_sources"),
    "not_identified": ("the mission did not identify it as a GRB", "accept_not_identified"),
    "not_a_grb": ("the mission says that it is not a GRB", ""),
    "subthreshold": ("it is a subthreshold trigger", ""),
}


NOT_POLICY = ("source", "strategies", "local_ivorn", "association")
_NO_OBJECTION = ("", "GRB", "not identified")
"""Classifications against which nothing is to be said here; "not identified" has its flag."""


def policy_from(table: Mapping[str, Any]) -> AlertPolicy:
    """Read the keys of `[alerts]` that are about notices; those of `NOT_POLICY` are for others to read.

    Raises
    ------
    TableError
        Naming every fault at once.
    """
    policy, faults = typed(AlertPolicy, {key: table[key] for key in table if key not in NOT_POLICY}, "alerts")
    if policy is None:
        raise TableError(faults)
    return policy


def judge(
    notice: Notice,
    policy: AlertPolicy,
    now: datetime,
    visibility: Visibility | None = None,
    *,
    earlier_class: str = "",
) -> Verdict:
    """Judge a notice received at `now`.

    `earlier_class` is what the same trigger was taken for before, for notices that do not say it themselves.
    """
    unreal = next(_of_nature(notice, policy, earlier_class), "")
    objection = unreal or next(_of_use(notice, policy, now), "")
    if objection:
        return Verdict(accepted=False, reason=objection, burst=not unreal)
    if visibility is not None and notice.ra_deg is not None and notice.dec_deg is not None:
        unseen = visibility(notice.ra_deg, notice.dec_deg)
        if unseen:
            return Verdict(accepted=False, reason=f"not visible: {unseen}", burst=True)
    return Verdict(accepted=True, reason=_praise(notice, policy, now), burst=True)


def _of_nature(notice: Notice, policy: AlertPolicy, earlier_class: str) -> Iterator[str]:
    """Whatever speaks against its being a burst at all, the most fundamental first."""
    yield from _of_origin(notice, policy)
    yield from _of_source(notice, policy, earlier_class)


def _of_use(notice: Notice, policy: AlertPolicy, now: datetime) -> Iterator[str]:
    """Whatever speaks against looking at it."""
    yield from _of_time(notice, policy, now)
    yield from _of_position(notice, policy)


def _of_origin(notice: Notice, policy: AlertPolicy) -> Iterator[str]:
    if notice.test and not policy.accept_tests:
        yield f"a test (role {notice.role}, trigger {notice.trigger or 'without a number'})"
    if notice.role not in {"observation", "test"}:
        yield f"role is {notice.role[:40]}, not observation"
    if not notice.mission:
        yield f"stream {notice.stream[:80]} is unknown: stored, not acted upon"
    if notice.mission not in policy.missions:
        yield f"{notice.mission} is not among the missions acted upon ({', '.join(policy.missions)})"
    if notice.retraction:
        yield f"a retraction of {notice.trigger or 'a trigger without a number'}: it ends an alert and opens none"
    if not notice.trigger:
        yield "no trigger identifier: " + "; ".join(notice.problems)
    if not notice.acted_upon and notice.kind not in {"catalogue", "subthreshold"}:  # these two have flags of their own
        what = f"{notice.instrument} {notice.kind}".strip()
        yield f"{notice.mission} {what} (type {notice.packet_type or 'not told'}) is stored, not acted upon"


def _of_source(notice: Notice, policy: AlertPolicy, earlier_class: str) -> Iterator[str]:
    for flag in notice.flags:
        why, permit = _FLAGS[flag]
        if not (permit and getattr(policy, permit)):
            yield why + (f" ({notice.classification})" if notice.kind == "catalogue" else "")
    named = notice.classification or earlier_class
    if named not in _NO_OBJECTION and notice.kind != "catalogue":
        yield f"{notice.mission} {notice.instrument} takes it for: {named}" + _percent(notice.class_probability)
    probability = notice.class_probability
    if notice.classification == "GRB" and probability is not None and probability < policy.min_class_probability:
        yield f"a GRB with {probability:g} % only; at least {policy.min_class_probability:g} % are asked for"
    if notice.significance is not None and 0 < notice.significance < policy.min_significance:
        yield f"significance {notice.significance:g} is below {policy.min_significance:g}"


def _of_time(notice: Notice, policy: AlertPolicy, now: datetime) -> Iterator[str]:
    reference = notice.t0 or notice.observed_at
    if reference is None:
        yield "no usable time: " + "; ".join(notice.problems)
        return
    age_s = (now - reference).total_seconds()
    if age_s > policy.max_age_s:
        yield f"{_span(age_s)} old at reception; at most {_span(policy.max_age_s)} are allowed"
    if age_s < -policy.max_future_s:
        yield f"its time lies {_span(-age_s)} in the future; at most {_span(policy.max_future_s)} are allowed"


def _of_position(notice: Notice, policy: AlertPolicy) -> Iterator[str]:
    if notice.ra_deg is None or notice.dec_deg is None:
        yield "no position: " + ("; ".join(notice.problems) or "none told")
        return
    if notice.error_deg is None:
        yield "no usable error radius: " + ("; ".join(notice.problems) or "none told")
        return
    if not notice.position_trusted:
        yield f"the position of a {notice.mission} {notice.instrument} {notice.kind} is not to be trusted"
    if notice.error_deg > policy.max_error_deg:
        yield f"radius {notice.error_deg:.3g}° ({notice.error_meaning}) is above {policy.max_error_deg:g}°"
    latitude_deg = galactic_latitude_deg(notice.ra_deg, notice.dec_deg)
    if abs(latitude_deg) < policy.min_galactic_latitude_deg:
        yield f"galactic latitude {latitude_deg:+.1f}° is within {policy.min_galactic_latitude_deg:g}° of the plane"


def _praise(notice: Notice, policy: AlertPolicy, now: datetime) -> str:
    when = notice.t0 or notice.observed_at
    age = (
        ""
        if when is None
        else f", {_span((now - when).total_seconds())} after {'T0' if notice.t0 else 'exposure start'}"
    )
    return (
        f"{notice.mission} {notice.instrument} {notice.kind} of {notice.trigger}: radius {notice.error_deg:.3g}° "
        f"({notice.error_meaning}) within {policy.max_error_deg:g}°{age}"
    )


def _percent(probability: float | None) -> str:
    return "" if probability is None else f" ({probability:g} %)"


def _span(seconds: float) -> str:
    if abs(seconds) < 600:
        return f"{seconds:.0f} s"
    if abs(seconds) < 2 * 86_400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} days"
