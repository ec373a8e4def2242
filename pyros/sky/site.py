"""Where the observatory stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Site:
    """A place on the Earth (WGS84), by default the observatory of San Pedro Mártir.

    Parameters
    ----------
    name : str
    longitude_deg : float
        East positive, -180 to 360.
    latitude_deg : float
        Geodetic, -90 to 90.
    height_m : float
        Above the ellipsoid, -500 to 9000.

    Raises
    ------
    ValueError
        If a number is out of its range or not a number.
    """

    name: str = "San Pedro Mártir"
    longitude_deg: float = -115.4637
    latitude_deg: float = 31.0442
    height_m: float = 2830.0

    def __post_init__(self) -> None:
        for field, low, high in (
            ("longitude_deg", -180, 360),
            ("latitude_deg", -90, 90),
            ("height_m", -500, 9000),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"site {self.name}: {field} is {value}; it must be between {low} and {high}")
