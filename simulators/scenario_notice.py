"""Move a real notice in time, so that its trigger happened when a scenario wants it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"
_STAMP = re.compile(rf'(?<=[>"\'])(\s*)({_ISO})(Z|[+-]00:?00)?(?=\s*["\'<])')
_T0_PLACES = (
    re.compile(rf'Alert_Seq_T0["\'][^>]*?value=["\']({_ISO})'),
    re.compile(rf"<ISOTime>\s*({_ISO})"),
    re.compile(rf'"trigger_time"\s*:\s*"({_ISO})'),
    re.compile(rf'"time"\s*:\s*"({_ISO})'),
)
_TJD = re.compile(r'(Burst_TJD["\'][^>]*?value=["\'])(\d+)')
_SOD = re.compile(r'(Burst_SOD["\'][^>]*?value=["\'])([\d.]+)')
_TJD_ZERO = datetime(1968, 5, 24, tzinfo=UTC)


def _parse(iso: str) -> datetime:
    return datetime.fromisoformat(iso[:26]).replace(tzinfo=UTC)


def trigger_time(text: str) -> datetime | None:
    """Return T0 of a VOEvent or JSON notice; None if it has none that can be read."""
    for place in _T0_PLACES:
        found = place.search(text)
        if found:
            try:
                return _parse(found[1])
            except ValueError:
                return None
    return None


def moved_to(content: bytes, t0: datetime) -> bytes:
    """Shift every time that stands alone in a notice (never those within identifiers) so that its T0 becomes `t0`.

    A notice without a readable time is returned as it is: what is broken stays broken.
    """
    text = content.decode("utf-8", "surrogateescape")
    old = trigger_time(text)
    if old is None:
        return content
    shift = t0 - old
    text = _STAMP.sub(lambda found: found[1] + _shifted(found[2], shift) + (found[3] or ""), text)
    midnight = t0.replace(hour=0, minute=0, second=0, microsecond=0)
    text = _TJD.sub(lambda found: f"{found[1]}{(t0 - _TJD_ZERO).days}", text)
    text = _SOD.sub(lambda found: f"{found[1]}{(t0 - midnight).total_seconds():.2f}", text)
    return text.encode("utf-8", "surrogateescape")


def _shifted(iso: str, shift: timedelta) -> str:
    """Shift a time and keep the number of its decimals."""
    try:
        moved = _parse(iso) + shift
    except (ValueError, OverflowError):
        return iso
    decimals = len(iso.partition(".")[2])
    stamp = f"{moved:%Y-%m-%dT%H:%M:%S}"
    return f"{stamp}.{f'{moved:%f}'.ljust(decimals, '0')[:decimals]}" if decimals else stamp
