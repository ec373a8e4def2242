"""Right ascension and declination as mounts write them. Pure; rounding carries, and the sign of −00° survives."""

from __future__ import annotations

import re

_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d{1,3})[:*\xdf°](?P<minutes>\d\d(?:\.\d+)?)(?:[:'](?P<seconds>\d\d(?:\.\d+)?))?"
)


def parse_sexagesimal(text: str) -> float:
    """Return hours or degrees of ``HH:MM:SS[.s]``, ``HH:MM.M``, ``sDD*MM`` or ``sDD°MM:SS[.s]``.

    Raises
    ------
    ValueError
        If it has another form, or 60 or more minutes or seconds.
    """
    match = _SEXAGESIMAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a sexagesimal number such as 12:34:56 or -00*15:30")
    minutes, seconds = float(match["minutes"]), float(match["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{text!r} has 60 or more minutes or seconds")
    size = int(match["whole"]) + minutes / 60 + seconds / 3600
    return -size if match["sign"] == "-" else size


def is_low_precision(text: str) -> bool:
    """Tell ``HH:MM.M`` and ``sDD*MM`` from the forms with seconds."""
    match = _SEXAGESIMAL.fullmatch(text.strip())
    return match is not None and match["seconds"] is None


def format_ra(ra_deg: float, decimals: int) -> str:
    """Return ``HH:MM:SS[.ss]`` of a right ascension in degrees; 24 h is 0 h."""
    ticks = round(ra_deg / 15 * 3600 * 10**decimals) % (24 * 3600 * 10**decimals)
    return "{:02d}:{:02d}:{}".format(*_split(ticks, decimals))


def format_dec(dec_deg: float, decimals: int) -> str:
    """Return ``sDD*MM:SS[.s]`` of a declination in degrees; the sign stands also before 00."""
    ticks = round(abs(dec_deg) * 3600 * 10**decimals)
    sign = "-" if dec_deg < 0 and ticks else "+"
    return sign + "{:02d}*{:02d}:{}".format(*_split(ticks, decimals))


def _split(ticks: int, decimals: int) -> tuple[int, int, str]:
    minutes, ticks = divmod(ticks, 60 * 10**decimals)
    seconds, fraction = divmod(ticks, 10**decimals)
    return minutes // 60, minutes % 60, f"{seconds:02d}" + (f".{fraction:0{decimals}d}" if decimals else "")
