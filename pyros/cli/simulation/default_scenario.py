"""The night that is simulated when nobody names a scenario: two bursts and a shower, placed by the seed.

The first burst stands high when it goes off, a tenth into the night; SVOM and Swift both tell of it.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from pyros.sky.coordinates import sidereal_time_deg
from pyros.sky.site import Site

_TEMPLATE = """
name = "two bursts and a shower"
seed = {seed}
[[event]]
at = "{first:%Y-%m-%dT%H:%M:%SZ}"
kind = "grb"
ra_deg = {ra_deg:.4f}
dec_deg = {dec_deg:.4f}
mag_at_60s = {mag:.2f}
alpha = {alpha:.2f}
notices = [
  {{form = "fermi_gbm_flt", delay_s = 28, error_deg = 6.0, via = "vtp"}},
  {{form = "svom_eclairs", delay_s = 62, error_deg = 0.12, via = "vtp"}},
  {{form = "swift_bat", delay_s = 75, error_deg = 0.05, via = "vtp"}},
]
[[event]]
at = "{rain:%Y-%m-%dT%H:%M:%SZ}"
kind = "weather"
rain = true
[[event]]
at = "{dry:%Y-%m-%dT%H:%M:%SZ}"
kind = "weather"
rain = false
[[event]]
at = "{second:%Y-%m-%dT%H:%M:%SZ}"
kind = "grb"
ra_deg = {ra2_deg:.4f}
dec_deg = {dec2_deg:.4f}
mag_at_60s = {mag2:.2f}
alpha = 1.1
notices = [{{form = "swift_bat", delay_s = 41, error_deg = 0.05, via = "vtp"}}]
"""


def default_scenario(
    seed: int, site: Site, begins: datetime, ends: datetime, first_after: timedelta | None = None
) -> str:
    """Return the scenario's text for a night whose dark time is from `begins` to `ends`."""
    draw = random.Random(f"default scenario {seed}")
    length = ends - begins
    first = begins + (first_after or length * draw.uniform(0.08, 0.15))
    rain = begins + length * draw.uniform(0.40, 0.50)
    second = begins + length * draw.uniform(0.75, 0.85)
    places = [_high_place(site, at, draw) for at in (first, second)]
    return _TEMPLATE.format(
        seed=seed,
        first=first,
        ra_deg=places[0][0],
        dec_deg=places[0][1],
        mag=draw.uniform(13.5, 14.5),
        alpha=draw.uniform(1.0, 1.2),
        rain=rain,
        dry=rain + timedelta(minutes=12),
        second=second,
        ra2_deg=places[1][0],
        dec2_deg=places[1][1],
        mag2=draw.uniform(13.5, 14.5),
    )


def _high_place(site: Site, at: datetime, draw: random.Random) -> tuple[float, float]:
    """Return a place east of the meridian that stays high for two hours."""
    ra_deg = (sidereal_time_deg(site, at) + draw.uniform(5, 25)) % 360
    return ra_deg, max(-89.0, min(89.0, site.latitude_deg + draw.uniform(-15, 15)))
