"""Values in words: ages, instants, coordinates, numbers with units, and events as one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pyros.messages import Event

UNKNOWN = "unknown"


def span_text(seconds: float) -> str:
    """Return a duration in at most two units: 8 s, 3 min 05 s, 2 h 10 min, 4 d. The page's script does the same."""
    whole = int(abs(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d"


def ago_text(at: datetime, now: datetime) -> str:
    """Return how long ago, or in how long, `at` is."""
    seconds = (now - at).total_seconds()
    return f"{span_text(seconds)} ago" if seconds > -1 else f"in {span_text(seconds)}"


def number(value: float | None, decimals: int = 0, unit: str = "") -> str:
    """Return a number with its unit, or that it is unknown; a real minus sign."""
    if value is None:
        return UNKNOWN
    text = f"{value:.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") + (f" {unit}" if unit else "")


def yes_no(value: bool | None, yes: str = "yes", no: str = "no") -> str:
    """Return one of two words, or that it is unknown."""
    return UNKNOWN if value is None else yes if value else no


def right_ascension(ra_deg: float | None) -> str:
    """Return a right ascension as hours, minutes and seconds, or that it is unknown."""
    if ra_deg is None:
        return UNKNOWN
    whole_s = round(ra_deg % 360 * 240) % 86_400
    return f"{whole_s // 3600:02d}h {whole_s // 60 % 60:02d}m {whole_s % 60:02d}s"


def declination(dec_deg: float | None) -> str:
    """Return a declination as degrees, minutes and seconds of arc, or that it is unknown."""
    if dec_deg is None:
        return UNKNOWN
    whole = round(abs(dec_deg) * 3600)
    sign = "\N{MINUS SIGN}" if dec_deg < 0 else "+"
    return f"{sign}{whole // 3600:02d}° {whole // 60 % 60:02d}′ {whole % 60:02d}″"


def error_radius(error_deg: float) -> str:
    """Return an error radius in the unit that suits it."""
    if error_deg >= 1:
        return f"{error_deg:.1f}°"
    if error_deg >= 1 / 60:
        return f"{error_deg * 60:.1f}′"
    return f"{error_deg * 3600:.1f}″"


def words(tag: str) -> str:
    """Return the words of a message's tag: `AlertOpened` is `Alert opened`."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in tag)
    return spaced.strip().capitalize()


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "AlertOpened": lambda e: f"New alert {e.name}, strategy {e.strategy}",
    "AlertUpdated": lambda e: f"Alert {e.alert_id} is {e.status}: {e.reason}",
    "NoticeJudged": lambda e: f"Notice {e.trigger or e.ivorn} {'taken' if e.accepted else 'left'}: {e.reason}",
    "Analysed": lambda e: f"Image {e.image_id} analysed: {len(e.candidates)} candidates",
    "ShutterOpened": lambda e: f"Shutter of {e.camera} opened for {e.exposure_s:g} s",
    "ImageTaken": lambda e: f"Image {e.image_id}: {e.exposure_s:g} s, {e.filter or 'no filter'}, {e.camera}",
    "DomeMoved": lambda e: f"Dome was {e.before}, now {e.after}: {e.cause}",
    "ModeChanged": lambda e: f"Was {e.before}, now {e.after}: {e.cause}",
    "NightStarted": lambda e: f"Night {e.night} has begun",
    "NightEnded": lambda e: f"Night {e.night} has ended",
    "SequenceStarted": lambda e: f"Sequence {e.sequence_id} ({e.name}) started",
    "PlanEnded": lambda e: f"Plan {e.plan_id} of sequence {e.sequence_id} {e.outcome}: {e.frames} frames",
    "SequenceEnded": lambda e: f"Sequence {e.sequence_id} {e.outcome}{f': {e.cause}' if e.cause else ''}",
    "ScheduleMade": lambda e: f"Planned: {len(e.placed)} placed, {len(e.rejected)} not ({e.trigger})",
    "ActorStarted": lambda e: f"{e.actor} takes messages",
    "ActorFailed": lambda e: f"{e.actor} broke on {e.message}: {e.cause}",
    "ActorRestarted": lambda e: f"{e.actor} is back after {e.away_s:.1f} s",
    "FlightRecorded": lambda e: f"Recorded in {e.file}: {e.cause}",
    "DeadLetter": lambda e: f"{e.message} to {e.to} was not handled: {e.reason}",
}


def describe(event: Event) -> str:
    """Return an event as one line of at most 240 characters; unknown kinds as their fields."""
    tag = type(event).__name__
    if tag in _SENTENCES:
        text = _SENTENCES[tag](event)
    else:
        fields = ", ".join(f"{field} {getattr(event, field)}" for field in event.__struct_fields__)
        text = f"{words(tag)}: {fields}" if fields else words(tag)
    line = " ".join(text.split())
    return line if len(line) <= 240 else line[:239] + "…"


def is_grave(event: Event) -> bool:
    """Tell whether somebody should look at the event."""
    return type(event).__name__ in {"ActorFailed", "DeadLetter"}
