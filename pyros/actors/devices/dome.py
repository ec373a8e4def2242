"""What a PLC's reading says of the dome, and whether it may move: pure, for the plc actor and for make safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pyros.config import Settings
from pyros.hardware.interfaces import PlcReading
from pyros.messages.devices import DomePosition


@dataclass(frozen=True)
class Closing:
    """Everything that closing needs to know: it is kept in the state directory for when there is no configuration."""

    plc_url: str
    telescope_url: str = ""
    parks_first: bool = False
    """Whether the telescope has to be parked before the dome may move: a roof that would touch the tube."""
    park_within_s: float = 90.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what a configuration says of it."""
        devices, dome = settings.devices, settings.dome
        return cls(devices.plc.url, devices.telescope.url, dome.parks_first, dome.park_within_s)


def dome_position(reading: PlcReading | None) -> DomePosition:
    """Tell where the dome is from its limit switches and motors alone; contradictions are "unknown"."""
    if reading is None or reading.closed_switch is None or reading.open_switch is None:
        return "unknown"
    if (reading.closed_switch and reading.open_switch) or reading.opening is None or reading.closing is None:
        return "unknown"
    if reading.opening or reading.closing:
        return "unknown" if reading.opening and reading.closing else "opening" if reading.opening else "closing"
    if reading.closed_switch:
        return "closed"
    return "open" if reading.open_switch else "between"


def tube_parked(reading: PlcReading | None, mount_says: bool | None) -> bool:
    """Tell whether the tube is out of the roof's way.

    The PLC's park switch decides where there is one, else the mount's own word. Without a readable status word nobody
    knows whether there is a switch, and the answer is no.
    """
    if reading is None or reading.local_key is None:
        return False
    return mount_says is True if reading.park_switch is None else reading.park_switch


def hands_on(reading: PlcReading | None) -> str:
    """Say in whose hands the dome is, if the local key or the emergency stop is set; else ""."""
    if reading is None:
        return ""
    return ", ".join(
        words
        for is_set, words in ((reading.emergency_stop, "emergency stop"), (reading.local_key, "local key"))
        if is_set
    )


def either(one: bool | None, other: bool | None) -> bool | None:
    """Tell whether one of two witnesses says yes; no only when both say no."""
    if one or other:
        return True
    return None if one is None or other is None else False


def latched_reasons(reading: PlcReading) -> list[str]:
    """Return why the PLC is latched; a latch without a reason, or an unknown one, has the reason "unknown"."""
    return list(reading.latch_reasons or ()) or (["unknown"] if reading.latch_set is not False else [])
