"""The last guard: may this device do that now? Pure functions; each returns None for yes or the reason for no.

They look only at what the device's actor itself can see at this moment, whoever sends the command: the latest verdict,
permit, PLC state and night times, each with its age by the monotonic clock, and the sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyros.clock import Clock
from pyros.config import Settings
from pyros.messages.devices import PlcState
from pyros.messages.night import MonitorState, Permit, SafetyVerdict
from pyros.sky import coordinates
from pyros.sky.site import Site

PERMIT_MAX_AGE_S = 10.0
LEAST_REAL_S = 5.0
"""On a faster clock no safety time is shorter than this in real seconds: the machine is not faster there."""


def safety_s(clock: Clock, seconds: float) -> float:
    """Return a safety time in clock seconds: as configured at speed 1 and on the virtual clock."""
    return seconds if clock.speed <= 1.0 else clock.at_least_real(seconds, LEAST_REAL_S)


@dataclass(frozen=True)
class Seen:
    """What a device's actor sees when it is asked to act. Ages in clock seconds; None where nothing was ever said."""

    now: datetime
    verdict: SafetyVerdict | None
    verdict_age_s: float
    permit: Permit | None
    permit_age_s: float
    plc: PlcState | None
    plc_age_s: float
    monitor: MonitorState | None
    verdict_max_age_s: float
    """Holds for the PLC's state too: both are renewed at every reading of the PLC."""
    permit_max_age_s: float = PERMIT_MAX_AGE_S


def refuse_slew(
    seen: Seen, settings: Settings, site: Site, sequence_id: int, ra_deg: float, dec_deg: float
) -> str | None:
    """Say why the telescope may not go to an ICRS position now."""
    return (
        _refuse_light(seen, sequence_id)
        or _refuse_hour(seen, settings.night.pointing_before_s)
        or _refuse_place(seen, settings, site, ra_deg, dec_deg)
    )


def refuse_exposure(seen: Seen, sequence_id: int, early_s: float = 0.0) -> str | None:
    """Say why no exposure of the sky may be taken; the shutter opens in the night only, `early_s` is waited for."""
    return _refuse_light(seen, sequence_id) or _refuse_hour(seen, early_s)


def refuse_calibration(seen: Seen, sequence_id: int) -> str | None:
    """Say why no frame behind the closed shutter (dark, bias) may be taken now: the weather does not matter."""
    if seen.permit is not None and seen.permit.calibration and seen.permit_age_s <= seen.permit_max_age_s:
        return None
    return _refuse_permit(seen, sequence_id)


def refuse_park(seen: Seen) -> str | None:
    """Say why the telescope may not even park: somebody may be near it. An unknown key does not bar what is safer."""
    if seen.plc is not None and seen.plc.local_key:
        return "the local key is set"
    return "the emergency stop is set" if seen.plc is not None and seen.plc.emergency_stop else None


def refuse_open(seen: Seen, settings: Settings) -> str | None:
    """Say why the dome may not open now; `seen.plc` has just been read."""
    refusal = _refuse_verdict(seen)
    if refusal is not None:
        return refusal
    if seen.permit is None or not seen.permit.open_dome:
        return "majordome has given no permit to open"
    if seen.permit_age_s > seen.permit_max_age_s:
        return f"majordome's permit is {seen.permit_age_s:.1f} s old; at most {seen.permit_max_age_s:g} s are allowed"
    return _refuse_dome_hardware(seen.plc) or _refuse_open_hour(seen, settings)


def _refuse_dome_hardware(plc: PlcState | None) -> str | None:
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
    return "the dome is closing" if plc.dome == "closing" else None


def _refuse_open_hour(seen: Seen, settings: Settings) -> str | None:
    monitor = seen.monitor
    if monitor is None or monitor.opens is None or monitor.ends is None:
        return "the night's times are unknown, or there is no dark time"
    if seen.now < monitor.opens:
        limit_deg = settings.night.open_sun_altitude_deg
        return f"the Sun is above {limit_deg:g}°; opening from {monitor.opens:%H:%M:%S} on"
    return "the night is over" if seen.now >= monitor.ends else None


def _refuse_light(seen: Seen, sequence_id: int) -> str | None:
    """What slews and exposures of the sky have in common."""
    return _refuse_verdict(seen) or _refuse_permit(seen, sequence_id) or _refuse_dome(seen)


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
    if seen.plc_age_s > seen.verdict_max_age_s:
        return f"the PLC's last word is {seen.plc_age_s:.1f} s old, so the dome is unknown"
    if seen.plc.desired == "closed":
        return "the dome is to be closed"
    return f"the dome is {seen.plc.dome}" if seen.plc.dome != "open" else None


def _refuse_hour(seen: Seen, early_s: float) -> str | None:
    monitor = seen.monitor
    if monitor is None or monitor.begins is None or monitor.ends is None:
        return "the night's times are unknown, or there is no dark time"
    left_s = (monitor.begins - seen.now).total_seconds() - early_s
    if left_s > 0:
        return (
            f"the night begins at {monitor.begins:%H:%M:%S}; allowed {early_s:g} s before, which is in {left_s:.0f} s"
        )
    return f"the night ended at {monitor.ends:%H:%M:%S}" if seen.now >= monitor.ends else None


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
