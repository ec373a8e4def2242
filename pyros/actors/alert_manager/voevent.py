"""Reads VOEvent 2.0 from bytes that a stranger sent, and moves a notice's times so that it can be replayed.

Two passes: a hardened lxml pass refuses what is too large, has a DOCTYPE (the door to entity bombs and to local files)
or is not XML; then voevent-parse reads what is left. Nothing here opens a file or a URL that a notice names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import voeventparse
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

MAX_BYTES = 1 << 20
ROLES = ("observation", "prediction", "utility", "test")
UNITS = ("deg", "deg deg", "deg-deg", "degrees")
_IVORN = re.compile(r"ivo://[\w.~-]+(/[\w./~+:-]*)?#\S.*")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_DOCTYPE_REFUSED = "notice refused: it has a DOCTYPE, which no VOEvent needs and entity bombs do"
_TJD_EPOCH = datetime(1968, 5, 24, tzinfo=UTC)
"""Truncated Julian Day 0 (JD 2440000.5), in which GCN's notices count days."""


class NoticeError(ValueError):
    """A notice that cannot be read; the message is one line that says why."""


class Citation(msgspec.Struct, frozen=True):
    """An earlier notice that this one speaks of."""

    ivorn: str
    cite: str
    """followup, supersedes or retraction."""


class Voevent(msgspec.Struct, frozen=True, kw_only=True):
    """A VOEvent's content, before any mission's meaning. Degrees; aware UTC; None is "not there or not usable"."""

    ivorn: str
    role: str
    version: str
    author: str = ""
    sent: datetime | None = None
    params: dict[str, str] = {}
    """Value by name; of a grouped Param by `Group/Name`. The first of several equal names counts."""
    isotime: datetime | None = None
    ra_deg: float | None = None
    dec_deg: float | None = None
    error_deg: float | None = None
    citations: tuple[Citation, ...] = ()
    importance: float | None = None
    concept: str = ""
    description: str = ""
    problems: tuple[str, ...] = ()


def parse_xml(raw: bytes) -> Any:
    """Return the root element of untrusted XML.

    Raises
    ------
    NoticeError
        If it is empty, larger than `MAX_BYTES`, not well-formed, or has a DOCTYPE.
    """
    if len(raw) > MAX_BYTES:
        raise NoticeError(f"notice of {len(raw)} bytes refused: at most {MAX_BYTES} are read")
    if not raw.strip():
        raise NoticeError("notice is empty")
    if raw.lstrip()[:1] in b"{[":
        raise NoticeError("notice is JSON, not XML: only VOEvent 2.0 is read here")
    if b"<!DOCTYPE" in raw:
        raise NoticeError(_DOCTYPE_REFUSED)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, dtd_validation=False
    )
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise NoticeError(f"notice is not well-formed XML: {_one_line(error)}") from error
    if root.getroottree().docinfo.internalDTD is not None:  # in an encoding that hid it from the search above
        raise NoticeError(_DOCTYPE_REFUSED)
    return root


def read(raw: bytes) -> Voevent:
    """Read one VOEvent 2.0.

    Raises
    ------
    NoticeError
        If it cannot be read at all, or has no IVORN. Anything less is a line in `problems`.
    """
    root = parse_xml(raw)
    if etree.QName(root).localname != "VOEvent":
        raise NoticeError(f"root element is {etree.QName(root).localname!r:.60}, not VOEvent")
    if root.get("version") != "2.0":
        raise NoticeError(f"VOEvent version {root.get('version')!r:.20} refused: only 2.0 is read")
    ivorn = root.get("ivorn", "").strip()
    if not 1 <= len(ivorn) <= 1000:
        raise NoticeError(f"notice has an ivorn of {len(ivorn)} characters; it must have 1 to 1000 to be told apart")
    try:
        event = voeventparse.loads(raw)
    except (etree.XMLSyntaxError, ValueError, KeyError, AttributeError) as error:
        raise NoticeError(f"voevent-parse cannot read it: {_one_line(error)}") from error
    return _content(event, ivorn)


def _content(event: Any, ivorn: str) -> Voevent:
    problems: list[str] = []
    if ".." in ivorn or not _IVORN.fullmatch(ivorn):
        problems.append(f"ivorn {ivorn[:80]!r} is not of the form ivo://authority/stream#name")
    role = event.get("role", "observation")
    if role not in ROLES:
        problems.append(f"role {role[:40]!r} is none of {', '.join(ROLES)}")
    ra_deg, dec_deg, error_deg = _position(event, problems)
    return Voevent(
        ivorn=ivorn,
        role=role,
        version=event.get("version"),
        author=_text(event, "Who/AuthorIVORN"),
        sent=_sent(event, problems),
        params=dict(_params(event)),
        isotime=_isotime(event, problems),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        error_deg=error_deg,
        citations=tuple(
            Citation((element.text or "").strip(), element.get("cite", ""))
            for element in event.iterfind("Citations/EventIVORN")
        ),
        importance=number(event.find("Why").get("importance")) if event.find("Why") is not None else None,
        concept=_text(event, "Why/Inference/Concept"),
        description=_text(event, "What/Description") or _text(event, "Description"),
        problems=tuple(problems),
    )


def _params(event: Any) -> Iterator[tuple[str, str]]:
    """Names and values of `What`, the last first, so that in a dict the first of equal names wins."""
    for param in reversed(list(event.iterfind("What//Param"))):
        group = param.getparent()
        prefix = f"{group.get('name') or group.get('type') or ''}/" if group.tag == "Group" else ""
        value = param.get("value")
        yield prefix + (param.get("name") or ""), value.strip() if value is not None else _text(param, "Value")


def _isotime(event: Any, problems: list[str]) -> datetime | None:
    try:
        when = voeventparse.get_event_time_as_utc(event)
        if when is not None:
            return when.astimezone(UTC)
        problems.append("no time: WhereWhen has no ISOTime")
    except (ValueError, KeyError, OverflowError, NotImplementedError) as error:
        problems.append(f"time not usable: {_one_line(error)}")
    return None


def _sent(event: Any, problems: list[str]) -> datetime | None:
    text = _text(event, "Who/Date")
    sent = instant(text)
    if sent is None:
        problems.append(f"sending time {text[:40]!r} in Who/Date is not an ISO-8601 instant")
    return sent


def _position(event: Any, problems: list[str]) -> tuple[float | None, float | None, float | None]:
    position = event.find(".//{*}Position2D")
    if position is None:
        problems.append("no position: WhereWhen has no Position2D")
        return None, None, None
    if position.get("unit", "deg").strip() not in UNITS:
        problems.append(f"position in {position.get('unit')[:20]!r} is not used: only degrees are")
        return None, None, None
    names = _text(position, "{*}Name1").lower(), _text(position, "{*}Name2").lower()
    if names not in {("ra", "dec"), ("", "")}:
        problems.append(f"position axes {names!r:.60} are not RA and Dec")
        return None, None, None
    ra_deg = _ranged(_text(position, "{*}Value2/{*}C1"), "RA", 0.0, 360.0, problems)
    dec_deg = _ranged(_text(position, "{*}Value2/{*}C2"), "Dec", -90.0, 90.0, problems)
    error_deg = _ranged(_text(position, "{*}Error2Radius"), "error radius", 0.0, 180.0, problems)
    return (None if ra_deg is None or dec_deg is None else ra_deg % 360.0), dec_deg, error_deg


def _ranged(text: str, what: str, low: float, high: float, problems: list[str]) -> float | None:
    value = number(text)
    if value is None or not low <= value <= high:
        problems.append(f"{what} is {text[:40]!r}, not a number of {low:g} to {high:g} degrees")
        return None
    return value


def number(text: str | None) -> float | None:
    """Read a finite number; None if it is none."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(element: Any, path: str) -> str:
    return (element.findtext(path) or "").strip()


def instant(text: str) -> datetime | None:
    """Read an ISO-8601 instant; without a zone it is UTC, as the standard says; None if it is none."""
    try:
        when = datetime.fromisoformat(text.strip())
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def shift(raw: bytes, t0: datetime, sent: datetime, anchor: datetime | None = None) -> bytes:
    """Return the notice as if it had happened at another time.

    Its `anchor` (its own ISOTime unless given, as for a notice whose ISOTime is an exposure's) becomes `t0`; its other
    instants (ISO times and GCN's TJD and SOD among the Params) move by as much; Who/Date becomes `sent`.

    Raises
    ------
    NoticeError
        If it cannot be read, or has no time to move.
    """
    start = anchor or read(raw).isotime
    if start is None:
        raise NoticeError("notice has no usable ISOTime; it cannot be moved in time")
    moved_by = t0.astimezone(UTC) - start
    root = parse_xml(raw)
    for element in root.iterfind(".//{*}ISOTime"):
        element.text = _moved(element.text or "", moved_by)
    for element in root.iterfind("Who/Date"):
        element.text = _written_like(element.text or "", sent.astimezone(UTC))
    for param in root.iterfind("What//Param"):
        param.set("value", _moved(param.get("value", ""), moved_by))
    _move_tjd(root, moved_by)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _moved(text: str, moved_by: timedelta) -> str:
    before = instant(text) if _INSTANT.fullmatch(text.strip()) else None
    try:
        return text if before is None else _written_like(text.strip(), before + moved_by)
    except OverflowError:
        return text


def _written_like(text: str, when: datetime) -> str:
    """Write an instant with the fraction and the zone that the old text had."""
    digits = len(text.partition(".")[2].rstrip("Z").partition("+")[0])
    zone = "Z" if text.endswith("Z") else "+00:00" if "+" in text else ""
    whole = when.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{when.microsecond:06d}"[: len(whole) + 1 + min(digits, 6)].rstrip(".") + zone


def _move_tjd(root: Any, moved_by: timedelta) -> None:
    params = {param.get("name"): param for param in root.iterfind("What/Param")}
    for stem in ("Burst", "Event", "Slew", "Trigger"):
        day, second = params.get(f"{stem}_TJD"), params.get(f"{stem}_SOD")
        if day is None or second is None:
            continue
        tjd, sod = number(day.get("value")), number(second.get("value"))
        if tjd is None or sod is None or not 0 <= tjd < 1e5:
            continue
        try:
            since = _TJD_EPOCH + timedelta(days=tjd, seconds=sod) + moved_by - _TJD_EPOCH
        except OverflowError:
            continue
        day.set("value", str(since.days))
        second.set("value", f"{since.seconds + since.microseconds / 1e6:.2f}")
