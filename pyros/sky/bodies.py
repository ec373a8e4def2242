"""Where the Sun and the Moon stand, seen from the site: unit vectors in the frame of date.

Ephemerides: ERFA's `epv00` (the Earth to 0.01 arcsecond) and `moon98` (Meeus, the Moon to 10 arcseconds), the same
theories as astropy's built-in ephemeris.
"""

from __future__ import annotations

from typing import Any

import erfa
import numpy as np

from pyros.sky.earth import Epoch, Equator, Floats, observer_m
from pyros.sky.site import Site

AU_M = 149_597_870_700.0


def sun_direction(site: Site, when: Epoch, equator: Equator) -> Floats:
    """Apparent topocentric directions of the Sun, shape (..., 3)."""
    astrom = equator.astrom
    earth = erfa.epv00(*when.tt())[0]["p"]
    geometric = _topocentric(-earth * AU_M, site, when, equator)
    # The Sun is seen where it was 8 minutes ago relative to us: annual aberration, 20 arcseconds along the ecliptic.
    velocity = np.asarray(astrom["bpn"]) @ np.asarray(astrom["v"])
    return erfa.ab(geometric, velocity, 1.0, float(astrom["bm1"]))


def moon_direction(site: Site, when: Epoch, equator: Equator) -> Floats:
    """Apparent topocentric directions of the Moon, shape (..., 3); its parallax reaches a degree."""
    return _topocentric(erfa.moon98(*when.tt())["p"] * AU_M, site, when, equator)


def _topocentric(geocentric_m: Any, site: Site, when: Epoch, equator: Equator) -> Floats:
    seen = geocentric_m @ np.asarray(equator.astrom["bpn"]).T - observer_m(site, when.rotation_rad())
    return seen / np.linalg.norm(seen, axis=-1, keepdims=True)
