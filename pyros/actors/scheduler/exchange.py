"""The schedule exchange format: a JSON instance to a `Problem`, a `Planning` to a JSON answer.

Julian dates (UTC, one number) live here and nowhere else. Every number has a range, and all faults of a file are named
at once, one line each: where, the value, and the rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from pyros.actors.scheduler.problem import Fixed, Planning, Problem, Request
from pyros.sky.earth import DAY_S, instant, julian_date
from pyros.sky.night import night_between
from pyros.sky.site import Site

Document = Mapping[str, Any]


class InstanceError(ValueError):
    """An instance has faults; `faults` holds one line for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class _Number(NamedTuple):
    """What a number must be."""

    low: float
    high: float
    whole: bool = False
    optional: bool = False

    def fault(self, value: object) -> str | None:
        """Say what is wrong, or None."""
        if value is None and self.optional:
            return None
        kind = "a whole number" if self.whole else "a number"
        rule = f"it must be {kind} between {self.low:g} and {self.high:g}" + (" or null" if self.optional else "")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"is {_shown(value)}; {rule}"
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            return f"is {_shown(value)}; {rule}"
        return None


_JD = _Number(2_400_000, 2_500_000)
_SECONDS = _Number(0, 86_400)
_SITE = {"lon_deg": _Number(-180, 360), "lat_deg": _Number(-90, 90), "height_m": _Number(-500, 9000)}
_NIGHT = {"jd_start": _JD, "jd_end": _JD, "sun_altitude_max_deg": _Number(-90, 90)}
_FIXED = {"start_jd": _JD, "end_jd": _JD}
_REQUEST = {
    "ra_deg": _Number(0, 360),
    "dec_deg": _Number(-90, 90),
    "priority": _Number(1, 100),
    "duration_s": _Number(1, 86_400, whole=True),
    "jd_earliest": _JD,
    "jd_latest": _JD,
    "t_preferred": _JD._replace(optional=True),
    "delta_left_s": _SECONDS,
    "delta_right_s": _SECONDS,
    "min_altitude_deg": _Number(-90, 90),
    "moon_separation_deg": _Number(0, 180),
}


def read_instance(text: str) -> Problem:
    """Return the problem that an instance states.

    Raises
    ------
    InstanceError
        With every fault of the text.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InstanceError([f"not JSON: {error}"]) from None
    except RecursionError:
        raise InstanceError(["not an instance: nested too deep"]) from None
    if faults := list(_faults(document)):
        raise InstanceError(faults)
    return _problem(document)


def write_answer(problem: Problem, planning: Planning) -> list[dict[str, str | float]]:
    """Return the answer, one entry per request in the order asked."""
    duration_s = {r.id: r.duration_s for r in problem.requests}
    fixed = {f.id for f in problem.fixed}
    entries: dict[str, dict[str, str | float]] = {}
    for row in planning.placed:
        start_jd = julian_date(row.start)
        end_jd = julian_date(row.end) if row.id in fixed else start_jd + duration_s[row.id] / DAY_S
        entries[row.id] = {"id": row.id, "start_jd": start_jd, "end_jd": end_jd}
    for row in planning.rejected:
        entries[row.id] = {"id": row.id, "code": row.code.value, "reason": row.reason}
    return [entries[r.id] for r in problem.requests]


def _problem(document: Document) -> Problem:
    site, night = document["site"], document["night"]
    place = Site(str(site.get("name", "site")), site["lon_deg"], site["lat_deg"], site["height_m"])
    start, end = instant(night["jd_start"]), instant(night["jd_end"])
    now = document.get("now_jd")
    return Problem(
        site=place,
        night=night_between(place, start, end, night["sun_altitude_max_deg"]),
        requests=tuple(_request(r) for r in document["requests"]),
        overhead_s=document["overhead_s"],
        first_schedule=now is None,
        night_start=start,
        night_end=end,
        now=None if now is None else instant(now),
        fixed=tuple(Fixed(f["id"], instant(f["start_jd"]), instant(f["end_jd"])) for f in document.get("fixed") or []),
        quotas_s=dict(document.get("quotas_s") or {}),
    )


def _request(entry: Document) -> Request:
    preferred = entry["t_preferred"]
    return Request(
        id=entry["id"],
        ra_deg=entry["ra_deg"] % 360.0,
        dec_deg=entry["dec_deg"],
        priority=entry["priority"],
        duration_s=entry["duration_s"],
        earliest=instant(entry["jd_earliest"]),
        latest=instant(entry["jd_latest"]),
        t_preferred=None if preferred is None else instant(preferred),
        delta_left_s=entry["delta_left_s"],
        delta_right_s=entry["delta_right_s"],
        user=entry["user"],
        min_altitude_deg=entry["min_altitude_deg"],
        moon_separation_deg=entry["moon_separation_deg"],
    )


def _faults(document: object) -> Iterator[str]:
    if not isinstance(document, dict):
        yield f"the instance is {_shown(document)}; it must be an object with site, night, overhead_s and requests"
        return
    top = cast("Document", document)
    yield from _section_faults("site", top.get("site"), _SITE)
    yield from _section_faults("night", top.get("night"), _NIGHT)
    yield from _night_faults(top.get("night"))
    yield from _number_faults("", top, {"overhead_s": _SECONDS})
    yield from _number_faults("", {"now_jd": top.get("now_jd")}, {"now_jd": _JD._replace(optional=True)})
    yield from _quota_faults(top.get("quotas_s"))
    ids: list[str] = []
    yield from _request_faults(top.get("requests"), ids)
    yield from _fixed_faults(top.get("fixed"), ids)


def _section_faults(name: str, section: object, rules: Mapping[str, _Number]) -> Iterator[str]:
    if isinstance(section, dict):
        yield from _number_faults(f"{name}: ", cast("Document", section), rules)
    else:
        yield f"{name} is {_shown(section)}; it must be an object with {', '.join(rules)}"


def _number_faults(where: str, entry: Document, rules: Mapping[str, _Number]) -> Iterator[str]:
    for name, rule in rules.items():
        if name not in entry:
            yield f"{where}{name} is missing"
        elif fault := rule.fault(entry[name]):
            yield f"{where}{name} {fault}"


def _night_faults(night: object) -> Iterator[str]:
    if not isinstance(night, dict) or list(_section_faults("night", cast("Document", night), _NIGHT)):
        return
    days = night["jd_end"] - night["jd_start"]
    if not 0 < days <= 25 / 24:
        yield f"night: jd_end is {days:g} days after jd_start; they are the noons before and after one night"


def _quota_faults(quotas: object) -> Iterator[str]:
    if quotas is None:
        return
    if not isinstance(quotas, dict):
        yield f"quotas_s is {_shown(quotas)}; it must be null or an object of seconds by user"
        return
    for user, seconds in cast("Document", quotas).items():
        if fault := _Number(0, 1e9).fault(seconds):
            yield f"quotas_s: user {user} {fault}"


def _request_faults(requests: object, ids: list[str]) -> Iterator[str]:
    if not isinstance(requests, list):
        yield f"requests is {_shown(requests)}; it must be a list"
        return
    for k, entry in enumerate(cast("list[object]", requests)):
        where = f"request {k + 1}"
        if not isinstance(entry, dict):
            yield f"{where}: is {_shown(entry)}; it must be an object"
            continue
        request = cast("Document", entry)
        identity = request.get("id")
        if not isinstance(identity, str) or not identity:
            yield f"{where}: id is {_shown(identity)}; it must be a text that is not empty"
        else:
            where = f"request {identity}"
            if identity in ids:
                yield f"{where}: id is used twice; ids are unique"
            ids.append(identity)
        yield from _one_request_faults(where, request)


def _one_request_faults(where: str, request: Document) -> Iterator[str]:
    if not isinstance(request.get("user"), str):
        yield f"{where}: user is {_shown(request.get('user'))}; it must be a text"
    faults = list(_number_faults(f"{where}: ", request, _REQUEST))
    yield from faults
    if not faults and request["jd_latest"] < request["jd_earliest"]:
        yield f"{where}: jd_latest is {request['jd_latest']}, before jd_earliest {request['jd_earliest']}"


def _fixed_faults(fixed: object, ids: list[str]) -> Iterator[str]:
    if fixed is None:
        return
    if not isinstance(fixed, list):
        yield f"fixed is {_shown(fixed)}; it must be a list"
        return
    seen: list[str] = []
    for k, entry in enumerate(cast("list[object]", fixed)):
        row = cast("Document", entry) if isinstance(entry, dict) else {}
        identity = row.get("id")
        where = f"fixed {identity if isinstance(identity, str) else k + 1}"
        if not isinstance(identity, str) or identity not in ids or identity in seen:
            yield f"{where}: id is {_shown(identity)}; it must be that of one of the requests, once"
        else:
            seen.append(identity)
        faults = list(_number_faults(f"{where}: ", row, _FIXED))
        yield from faults
        if not faults and row["end_jd"] < row["start_jd"]:
            yield f"{where}: end_jd is {row['end_jd']}, before start_jd {row['start_jd']}"


def _shown(value: object) -> str:
    """Show a value in one short line."""
    text = "missing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
