"""The last guard: may this device do that now? Pure functions; each returns None for yes or the reason for no.

They look only at what the device's actor itself can see at this moment, whoever sends the command: the latest verdict
and permit with their ages, the dome's switches, the sky, the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pyros.config import Settings
from pyros.messages.devices import PlcState
from pyros.messages.night import MonitorState, Permit, SafetyVerdict
from pyros.sky import coordinates
from pyros.sky.site import Site

PERMIT_MAX_AGE_S = 10.0
CLOSE_TO_NIGHT_S = 1.0


@dataclass(frozen=True)
class Seen:
    """What a device's actor sees when it is asked to act. Ages in clock seconds; None where nothing was ever said."""

    now: datetime
    verdict: SafetyVerdict | None
    verdict_age_s: float
    permit: Permit | None
    permit_age_s: float
    plc: PlcState | None
    monitor: MonitorState | None
    verdict_max_age_s: float
    permit_max_age_s: float = PERMIT_MAX_AGE_S


def refuse_light(seen: Seen, sequence_id: int) -> str | None:
    """Say why no light may be let in for this sequence: what slews and light exposures have in common."""
    return _refuse_verdict(seen) or _refuse_permit(seen, sequence_id) or _refuse_dome(seen)


def refuse_slew(
    seen: Seen, settings: Settings, site: Site, sequence_id: int, ra_deg: float, dec_deg: float
) -> str | None:
    """Say why the telescope may not go to an ICRS position now."""
    return refuse_light(seen, sequence_id) or _refuse_hour(seen, settings) or _refuse_place(
        seen, settings, site, ra_deg, dec_deg
    )


def refuse_exposure(seen: Seen, settings: Settings, sequence_id: int) -> str | None:
    """Say why no light exposure may begin now: also, the shutter opens in the night only."""
    refusal = refuse_light(seen, sequence_id)
    if refusal is not None:
        return refusal
    monitor = seen.monitor
    if monitor is None or monitor.begins is None or monitor.ends is None:
        return "the night's times are unknown"
    if seen.now < monitor.begins:
        return f"the night begins at {monitor.begins:%H:%M:%S}; no shutter opens before"
    if seen.now > monitor.ends:
        return f"the night ended at {monitor.ends:%H:%M:%S}; no shutter opens after (limit {settings.night.sun_altitude_max_deg}°)"
    return None


def refuse_open(seen: Seen, settings: Settings) -> str | None:
    """Say why the dome may not open now."""
    refusal = _refuse_verdict(seen)
    if refusal is not None:
        return refusal
    if seen.permit is None or not seen.permit.open_dome or seen.permit_age_s > seen.permit_max_age_s:
        return "majordome has given no fresh permit to open"
    plc = seen.plc
    if plc is None or plc.link != "up":
        return "the PLC does not answer"
    if plc.latched:
        return f"the PLC is latched: {', '.join(plc.latched)}"
    if plc.local_key is not False or plc.emergency_stop is not False:
        return "the local key or the emergency stop is set, or their state is unknown"
    if plc.rain is not False:
        return "it rains, or the rain contact is unknown"
    if plc.dome == "unknown":
        return "the dome's limit switches make no sense"
    monitor = seen.monitor
    if monitor is None or monitor.opens is None or seen.now < monitor.opens:
        return f"the Sun is above {settings.night.open_sun_altitude_deg}°"
    if monitor.ends is not None and seen.now >= monitor.ends:
        return "the night is over"
    return None


def _refuse_verdict(seen: Seen) -> str | None:
    if seen.verdict is None:
        return "there is no safety verdict yet"
    if seen.verdict_age_s > seen.verdict_max_age_s:
        return f"the safety verdict is {seen.verdict_age_s:.1f} s old; at most {seen.verdict_max_age_s:g} s are allowed"
    if seen.verdict.level != "SAFE":
        return f"it is {seen.verdict.level}: {', '.join(seen.verdict.reasons)}"
    return None


def _refuse_permit(seen: Seen, sequence_id: int) -> str | None:
    permit = seen.permit
    if permit is None or permit.sequence_id != sequence_id:
        return f"majordome has given no permit for sequence {sequence_id}"
    if seen.permit_age_s > seen.permit_max_age_s:
        return f"majordome's permit is {seen.permit_age_s:.1f} s old; at most {seen.permit_max_age_s:g} s are allowed"
    return None


def _refuse_dome(seen: Seen) -> str | None:
    if seen.plc is None or seen.plc.link != "up":
        return "the PLC does not answer, so the dome is unknown"
    if seen.plc.dome != "open":
        return f"the dome is {seen.plc.dome}"
    return None


def _refuse_hour(seen: Seen, settings: Settings) -> str | None:
    monitor = seen.monitor
    if monitor is None or monitor.begins is None or monitor.ends is None:
        return "the night's times are unknown"
    early_s = (monitor.begins - seen.now).total_seconds() - settings.night.pointing_before_s
    if early_s > 0:
        return f"pointing may begin {settings.night.pointing_before_s:g} s before the night, which is in {early_s:.0f} s"
    if seen.now > monitor.ends:
        return "the night is over"
    return None


def _refuse_place(seen: Seen, settings: Settings, site: Site, ra_deg: float, dec_deg: float) -> str | None:
    altitude_deg = coordinates.altaz(site, ra_deg, dec_deg, seen.now).altitude_deg
    if altitude_deg < settings.site.horizon_deg:
        return f"the target is at altitude {altitude_deg:.1f}°, below the limit of {settings.site.horizon_deg:g}°"
    sun_deg = coordinates.sun_separation_deg(site, ra_deg, dec_deg, seen.now)
    if sun_deg < settings.safety.sun_distance_min_deg:
        return f"the target is {sun_deg:.1f}° from the Sun; the limit is {settings.safety.sun_distance_min_deg:g}°"
    moon_deg = coordinates.moon_separation_deg(site, ra_deg, dec_deg, seen.now)
    if moon_deg < settings.safety.moon_distance_min_deg:
        return f"the target is {moon_deg:.1f}° from the Moon; the limit is {settings.safety.moon_distance_min_deg:g}°"
    return None


def with_plc(seen: Seen, plc: PlcState) -> Seen:
    """Return the same view with the PLC as it has just been read."""
    return replace(seen, plc=plc)
