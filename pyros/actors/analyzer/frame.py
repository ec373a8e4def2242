"""Writes and reads the FITS files of the observatory: one image, its header, its checksums, all or nothing.

A frame that was written is never overwritten. It appears under its name only when it is complete and on the disk.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

ImageType = Literal["bias", "dark", "flat", "light", "masterbias", "masterdark", "masterflat"]
Degrees360 = Annotated[float, Meta(ge=0, le=360)]
Degrees90 = Annotated[float, Meta(ge=-90, le=90)]
Card = tuple[str, str | float | int | bool, str]
"""Keyword, value, comment."""

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
_CARD_TEXT = 68


class FrameError(Exception):
    """A frame cannot be read or written; the text is one line for a person."""


class LinearWcs(Struct, frozen=True, kw_only=True):
    """A tangential (TAN) projection: reference point in ICRS degrees, its one-based pixel, degrees per pixel."""

    crval1: Degrees360
    crval2: Degrees90
    crpix1: float
    crpix2: float
    cd1_1: float
    cd1_2: float
    cd2_1: float
    cd2_2: float


class FrameHeader(Struct, frozen=True, kw_only=True):
    """All that is known about a frame when its shutter closes. `started_at` is the aware UTC of the opening."""

    started_at: Annotated[datetime, Meta(tz=True)]
    exposure_s: Annotated[float, Meta(ge=0, le=86_400)]
    image_type: ImageType
    camera: Annotated[str, Meta(min_length=1, max_length=_CARD_TEXT)]
    filter: str | None = None
    object: str | None = None
    ra_deg: Degrees360 | None = None
    dec_deg: Degrees90 | None = None
    airmass: Annotated[float, Meta(ge=1, le=100)] | None = None
    gain_e_adu: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    read_noise_e: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    saturation_adu: Annotated[float, Meta(gt=0, le=1e9)] = 65_535.0
    ccd_temperature_c: Annotated[float, Meta(ge=-273, le=100)] | None = None
    set_temperature_c: Annotated[float, Meta(ge=-273, le=100)] | None = None
    binning_x: Annotated[int, Meta(ge=1, le=64)] = 1
    binning_y: Annotated[int, Meta(ge=1, le=64)] = 1
    telescope: str | None = None
    observer: str | None = None
    origin: str | None = None
    site: str | None = None
    latitude_deg: Degrees90 | None = None
    longitude_deg: Annotated[float, Meta(ge=-360, le=360)] | None = None
    height_m: Annotated[float, Meta(ge=-500, le=10_000)] | None = None
    focus_position: float | None = None
    trigger_id: str | None = None
    wcs: LinearWcs | None = None
    """Where the frame is expected to look; the analysis solves it."""


class Frame(Struct, frozen=True):
    """Pixels (rows, columns), row 0 at the bottom of the sky image, and what is known about them."""

    pixels: NDArray[Any]
    header: FrameHeader


_CARDS: tuple[tuple[str, str, str], ...] = (
    ("exposure_s", "EXPTIME", "[s] exposure time"),
    ("image_type", "IMAGETYP", "bias, dark, flat, light or a master of them"),
    ("filter", "FILTER", "filter in the beam"),
    ("object", "OBJECT", "name of the target"),
    ("ra_deg", "RA", "[deg] where the mount pointed"),
    ("dec_deg", "DEC", "[deg] where the mount pointed"),
    ("airmass", "AIRMASS", "at the start of the exposure"),
    ("gain_e_adu", "GAIN", "[electron/adu]"),
    ("read_noise_e", "RDNOISE", "[electron] read noise"),
    ("saturation_adu", "SATURATE", "[adu] full well or end of the converter"),
    ("ccd_temperature_c", "CCD-TEMP", "[degC] detector"),
    ("set_temperature_c", "SET-TEMP", "[degC] cooler's set point"),
    ("binning_x", "XBINNING", "detector pixels per image pixel"),
    ("binning_y", "YBINNING", "detector pixels per image pixel"),
    ("telescope", "TELESCOP", ""),
    ("camera", "INSTRUME", "camera"),
    ("observer", "OBSERVER", ""),
    ("origin", "ORIGIN", ""),
    ("site", "SITENAME", ""),
    ("latitude_deg", "SITELAT", "[deg]"),
    ("longitude_deg", "SITELONG", "[deg] east positive"),
    ("height_m", "SITEELEV", "[m]"),
    ("focus_position", "FOCUSPOS", "focuser"),
    ("trigger_id", "TRIGID", "alert that asked for the frame"),
)
_IMAGE_TYPES = {
    "lightframe": "light",
    "object": "light",
    "science": "light",
    "biasframe": "bias",
    "zero": "bias",
    "darkframe": "dark",
    "flatfield": "flat",
    "flatframe": "flat",
    "skyflat": "flat",
    "domeflat": "flat",
}
"""Other people's spellings, without spaces and in small letters."""


def estimate_wcs(
    ra_deg: float,
    dec_deg: float,
    shape: tuple[int, int],
    pixel_scale_arcsec: float,
    *,
    position_angle_deg: float = 0.0,
    mirrored: bool = False,
) -> LinearWcs:
    """Return the WCS of a frame of `shape` (rows, columns) centred on the mount's position.

    `position_angle_deg` is that of the frame's +y axis, north through east; `mirrored` frames have east on the right.
    """
    scale, angle = pixel_scale_arcsec / 3600, math.radians(position_angle_deg)
    east = scale if mirrored else -scale
    cos, sin = math.cos(angle), math.sin(angle)
    return LinearWcs(
        crval1=ra_deg % 360,
        crval2=dec_deg,
        crpix1=(shape[1] + 1) / 2,
        crpix2=(shape[0] + 1) / 2,
        cd1_1=east * cos,
        cd1_2=scale * sin,
        cd2_1=-east * sin,
        cd2_2=scale * cos,
    )


def write_frame(
    path: str | Path, pixels: NDArray[Any], header: FrameHeader, cards: Iterable[Card] = (), *, replace: bool = False
) -> str:
    """Write a FITS file and return its DATASUM.

    Parameters
    ----------
    pixels
        (rows, columns), uint16 as a camera delivers it (BITPIX 16, BZERO 32768), or float32 for products.
    cards
        More header cards; one with a keyword of `header` wins over it.
    replace
        Products that can be made again may be replaced; raw frames never are.

    Raises
    ------
    FrameError
        If the file exists, the disk refuses, or the pixels are of another shape or type.
    """
    from astropy.io import fits

    path = Path(path)
    if pixels.ndim != 2 or pixels.dtype not in {np.dtype(np.uint16), np.dtype(np.float32)}:
        raise FrameError(f"{path}: pixels are {pixels.dtype} {pixels.shape}; a frame is 2-D uint16 or float32")
    hdu = fits.PrimaryHDU(pixels)
    for keyword, value, comment in (*_header_cards(header), *cards):
        hdu.header[keyword] = (_fits_value(path, keyword, value), comment)
    hdu.add_checksum()
    try:
        _write_durably(path, hdu, replace=replace)
    except FileExistsError:
        raise FrameError(f"{path} exists already; frames are never overwritten") from None
    except OSError as error:
        raise FrameError(f"{path} cannot be written: {error.strerror or error}") from error
    return str(hdu.header["DATASUM"])


def read_frame(path: str | Path) -> Frame:
    """Return the first image of a FITS file (also fpacked) and its header.

    Raises
    ------
    FrameError
        If there is no such file, no image in it, it is damaged, or it lacks what an analysis needs.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False, uint=True, ignore_missing_simple=False) as hdus:
            for hdu in cast("Any", hdus):
                if hdu.is_image and hdu.header.get("NAXIS") == 2:
                    return Frame(np.asarray(hdu.data), _parse_header(path, hdu.header))
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise FrameError(f"{path} cannot be read as FITS: {' '.join(str(error).split())}") from error
    raise FrameError(f"{path} holds no two-dimensional image")


def read_header(path: str | Path) -> FrameHeader:
    """Return the header alone; see `read_frame`."""
    return parse_header(path)[0]


def parse_header(path: str | Path) -> tuple[FrameHeader, dict[str, Any]]:
    """Return the typed header of a file's primary image and all its cards as they stand; raises `FrameError`."""
    from astropy.io import fits

    try:
        cards = fits.getheader(path)
        return _parse_header(path, cards), dict(cards)
    except (OSError, ValueError, TypeError, IndexError, fits.VerifyError) as error:
        raise FrameError(f"{path} cannot be read as FITS: {' '.join(str(error).split())}") from error


def _header_cards(header: FrameHeader) -> Iterable[Card]:
    start, exposure = header.started_at.astimezone(UTC), timedelta(seconds=header.exposure_s)
    yield "DATE-OBS", _iso(start), "UTC, start of the exposure"
    yield "DATE-END", _iso(start + exposure), "UTC, end of the exposure"
    yield "DATE-AVG", _iso(start + exposure / 2), "UTC, middle of the exposure"
    yield "MJD-OBS", (start - MJD_ZERO) / timedelta(days=1), "[d] start of the exposure, UTC"
    yield "TIMESYS", "UTC", ""
    for field, keyword, comment in _CARDS:
        value = getattr(header, field)
        if value is not None:
            yield keyword, value, comment
    yield "BUNIT", "adu", ""
    yield "SWCREATE", "PyROS", ""
    if header.ra_deg is not None or header.wcs is not None:
        yield "RADESYS", "ICRS", ""
        yield "EQUINOX", 2000.0, ""
    if header.wcs is not None:
        yield from wcs_cards(header.wcs)


def wcs_cards(wcs: LinearWcs, projection: str = "TAN") -> Iterable[Card]:
    """Return the cards of a projection; `projection` is "TAN" or "TAN-SIP"."""
    yield "CTYPE1", f"RA---{projection}", ""
    yield "CTYPE2", f"DEC--{projection}", ""
    for axis in (1, 2):
        yield f"CUNIT{axis}", "deg", ""
        yield f"CRVAL{axis}", getattr(wcs, f"crval{axis}"), "[deg]"
        yield f"CRPIX{axis}", getattr(wcs, f"crpix{axis}"), ""
    for name in ("cd1_1", "cd1_2", "cd2_1", "cd2_2"):
        yield name.upper(), getattr(wcs, name), "[deg/pixel]"


def _iso(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _fits_value(path: Path, keyword: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise FrameError(f"{path}: {keyword} is {value}; FITS keeps finite numbers only, leave it out if unknown")
    if isinstance(value, str):
        return "".join(c if " " <= c <= "~" else "?" for c in value)[:_CARD_TEXT]
    return value


def _write_durably(path: Path, hdu: Any, *, replace: bool) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            hdu.writeto(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename it refuses, in one step, to take the place of another file
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse_header(path: str | Path, cards: Any) -> FrameHeader:
    fields = {field: cards[keyword] for field, keyword, _ in _CARDS if _known(cards.get(keyword))}
    for keyword, field in (("DATE-OBS", "started_at"), ("EXPTIME", "exposure_s")):
        if not _known(cards.get(keyword)):
            raise FrameError(f"{path} has no {keyword}; a frame needs it ({field})")
    fields["started_at"] = _aware(path, str(cards["DATE-OBS"]))
    kind = str(fields.get("image_type", "light")).lower().replace(" ", "").replace("_", "")
    fields["image_type"] = _IMAGE_TYPES.get(kind, kind)
    fields.setdefault("camera", "unknown")
    names = ("crval1", "crval2", "crpix1", "crpix2", "cd1_1", "cd1_2", "cd2_1", "cd2_2")
    wcs = {name: cards[name.upper()] for name in names if _known(cards.get(name.upper()))}
    fields["wcs"] = wcs if len(wcs) == len(names) else None
    for keyword in ("ra_deg", "dec_deg"):
        if not isinstance(fields.get(keyword), int | float):
            fields.pop(keyword, None)  # sexagesimal text in foreign frames: the WCS says it better
    try:
        return msgspec.convert(fields, FrameHeader, strict=False)
    except msgspec.ValidationError as error:
        raise FrameError(f"{path} has a bad header: {error}") from None


def _known(value: Any) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _aware(path: str | Path, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise FrameError(f"{path}: DATE-OBS is {text!r}; it must be an ISO date and time in UTC") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
