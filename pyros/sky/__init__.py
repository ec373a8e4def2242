"""Pure astronomy: where we stand, when it is night, where things are, when they can be observed.

Airless altitudes throughout, azimuth from north through east, ICRS degrees in and out, instants as aware UTC
datetimes. Nothing here acts, waits or asks the time, and nothing is downloaded: Earth orientation comes from the table
packaged with astropy. Positions come from ERFA (the IAU's SOFA routines) directly, because astropy's frames take
milliseconds per call; astropy is the oracle of the tests.
"""

from __future__ import annotations

from functools import cache


@cache
def configure_iers() -> None:
    """Keep astropy off the network and let it use its packaged Earth-orientation table at any age.

    Call this before any alt-azimuth work with astropy itself; everything in `pyros.sky` does. Without the second
    setting astropy refuses every such conversion as soon as the packaged table is a month old.
    """
    from astropy.utils import iers

    iers.conf.auto_download = False
    iers.conf.auto_max_age = None
