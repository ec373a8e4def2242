"""What closing the dome needs to know without the configuration: one small file in the state directory.

Written whenever the PLC first answers a daemon, from that daemon's configuration; read by `pyros close-dome` and
`pyros verify-closed`, which have to work when the configuration is broken or gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from pyros.actors.devices.dome import Closing
from pyros.config import ConfigError, Settings, load
from pyros.sky.site import Site

LAST_GOOD = "last_good.json"
_Url = Annotated[str, Meta(min_length=1, max_length=300)]


class LastGoodError(ValueError):
    """The file is there and cannot be used; one line says what is wrong with it."""


class LastGood(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The addresses at which the devices were last good, how the dome closes, and where the observatory stands."""

    format: Literal[1] = 1
    plc_url: _Url
    telescope_url: _Url
    parks_first: bool
    """Whether the telescope has to be parked before the dome may move."""
    park_within_s: Annotated[float, Meta(ge=10, le=600)]
    site_name: str = ""
    longitude_deg: Annotated[float, Meta(ge=-180, le=360)]
    latitude_deg: Annotated[float, Meta(ge=-90, le=90)]
    height_m: Annotated[float, Meta(ge=-500, le=9000)]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what a configuration says of it."""
        site = settings.site
        return cls(
            plc_url=settings.devices.plc.url,
            telescope_url=settings.devices.telescope.url,
            parks_first=settings.dome.parks_first,
            park_within_s=settings.dome.park_within_s,
            site_name=site.name,
            longitude_deg=site.longitude_deg,
            latitude_deg=site.latitude_deg,
            height_m=site.height_m,
        )

    @property
    def closing(self) -> Closing:
        """How the dome is closed."""
        return Closing(self.plc_url, self.telescope_url, self.parks_first, self.park_within_s)

    @property
    def site(self) -> Site:
        """Where the observatory stands."""
        return Site(self.site_name, self.longitude_deg, self.latitude_deg, self.height_m)


def remember(folder: Path, known: LastGood) -> None:
    """Write it durably and at once or not at all; the same again is not written.

    Raises
    ------
    OSError
        If the state directory cannot be written.
    """
    try:
        if last_good(folder) == known:
            return
    except LastGoodError:
        pass  # it is replaced
    new = folder / f"{LAST_GOOD}.new"
    with new.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(known)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / LAST_GOOD)
    place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def last_good(folder: Path) -> LastGood | None:
    """Return what a daemon has remembered in the state directory, or None if none has.

    Raises
    ------
    LastGoodError
        If the file cannot be read, or was not written by this version.
    """
    file = folder / LAST_GOOD
    try:
        return msgspec.json.decode(file.read_bytes(), type=LastGood)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LastGoodError(f"{file} cannot be read: {error.strerror}; name the configuration with --config") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LastGoodError(
            f"{file} cannot be used: {error}; name the configuration with --config; the next start writes it anew"
        ) from None


def candidates(config: Path | None, folder: Path, complain: Callable[[str], object]) -> list[LastGood]:
    """Return what closing may go by, the best first: the configuration's word, if it can be read, then the last good.

    Parameters
    ----------
    complain
        Called with a line about each source that is there and cannot be used.
    """
    found: list[LastGood] = []
    if config is not None:
        try:
            found.append(LastGood.of(load(config)))
        except ConfigError as error:
            complain(f"{str(error).splitlines()[0]}; using the last address that answered")
    try:
        known = last_good(folder)
    except LastGoodError as error:
        complain(str(error))
        known = None
    return found if known is None or known in found else [*found, known]
