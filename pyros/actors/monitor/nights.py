"""Which night it is, its phases, and what the store has to be told of it: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pyros.messages.night import NightEnded, NightStarted, Phase
from pyros.messages.store import Change, Insert
from pyros.sky.night import Night, crossing, night_of
from pyros.sky.site import Site


@dataclass(frozen=True)
class NightRow:
    """A night as the store has it."""

    id: int
    date: str
    ends: datetime | None
    status: str


@dataclass(frozen=True)
class NightStep:
    """A write, and what is published once the store has it: so it is said once, whoever restarts in between."""

    write: Insert | Change
    event: NightStarted | NightEnded
    row: NightRow
    """The row as it is then; its id is 0 for a new one."""


def tonight(
    site: Site, on: date, sun_altitude_max_deg: float, open_sun_altitude_deg: float
) -> tuple[Night, datetime | None]:
    """Return a night, and from when on its dome may be open (None without dark time).

    Where the Sun stays below `open_sun_altitude_deg` all day the dome may open from noon on.
    """
    night = night_of(site, on, sun_altitude_max_deg)
    if night.begins is None:
        return night, None
    return night, crossing(site, on, open_sun_altitude_deg)[0] or night.noon_before


def phase_at(night: Night, now: datetime) -> Phase:
    """Tell the phase of a night: by its dark time, and by sunset and sunrise around it."""
    if night.begins is not None and night.ends is not None:
        if now < night.begins:
            return "evening twilight" if night.sunset is None or now >= night.sunset else "day"
        if now < night.ends:
            return "night"
        return "morning twilight" if night.sunrise is None or now < night.sunrise else "day"
    middle = night.noon_before + timedelta(hours=12)
    if night.sunset is None or night.sunrise is None or not night.sunset <= now < night.sunrise:
        return "day"
    return "evening twilight" if now < middle else "morning twilight"


def step_due(known: Sequence[NightRow], night: Night, now: datetime) -> NightStep | None:
    """Return the beginning or end of a night that the store has not been told of yet; past nights first."""
    tonight_is = str(night.date)
    for row in known:
        if row.status == "BEGUN" and (row.date != tonight_is or row.ends is None or now >= row.ends):
            write = Change(table="night", key=row.id, values={"status": "ENDED"}, expect={"status": "BEGUN"})
            return NightStep(write, NightEnded(night=row.date), NightRow(row.id, row.date, row.ends, "ENDED"))
    if night.begins is None or night.ends is None or not night.begins <= now < night.ends:
        return None
    row = next((row for row in known if row.date == tonight_is), None)
    if row is not None and row.status != "COMING":
        return None
    values = {"begins": night.begins, "ends": night.ends, "status": "BEGUN"}
    write = (
        Insert(table="night", values={"date": tonight_is, **values})
        if row is None
        else Change(table="night", key=row.id, values=values, expect={"status": "COMING"})
    )
    begun = NightRow(row.id if row else 0, tonight_is, night.ends, "BEGUN")
    return NightStep(write, NightStarted(night=tonight_is, ends=night.ends), begun)
