"""Render frames: sky, optics and detector put together into what a camera would have read out.

A frame is a function of its `Exposure` and of (seed, camera name, exposure number), never of when it is rendered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from simulators.frame_detector import DARK_E_S, LAMP_E_S, READ_NOISE_E, Detector, Frame, Window
from simulators.frame_optics import Plate, draw_stars, fwhm_px, offset, pixel_positions, pointing_error_arcsec
from simulators.frame_scene import Sample, Transient, electrons_per_s, mean_electrons_per_s
from simulators.sky import SyntheticSky, tiles_around

Array = NDArray[np.float64]
Image = NDArray[np.float32]

EDGE_PX = 50
"""Stars this far outside still throw their halo into the frame."""
STILL_PX = 0.1
"""Pointing that stays within this is drawn once; beyond it stars trail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """All that a frame depends on besides the camera itself; `samples` is empty while the shutter stays shut."""

    number: int
    start: datetime
    duration_s: float
    window: Window
    samples: tuple[Sample, ...] = ()
    lamp: bool = False
    readout_s: float = 3.0
    ccd_temperature_c: float = -20.0
    electrons_per_adu: float = 1.5


class FrameRenderer:
    """One camera's eye.

    Parameters
    ----------
    name, seed : str, int
        Choose the detector's pattern and the noise; the seed also the mount's pointing error.
    pixels, field_arcmin : int, float
        Size of the square frame in pixels and on the sky.
    sky : SyntheticSky
        The stars.
    """

    def __init__(
        self, name: str, *, seed: int, sky: SyntheticSky, pixels: int = 512, field_arcmin: float = 26.0
    ) -> None:
        if not 1.0 <= field_arcmin <= 300.0:
            raise ValueError(f"camera {name} has a field of {field_arcmin} arcmin; it must be 1 to 300")
        self.plate = Plate(pixels, field_arcmin * 60.0 / pixels)
        self.detector = Detector(seed, name, pixels)
        self._seed = seed
        self.sky = sky

    def centre(self, sample: Sample) -> tuple[float, float]:
        """Return the ICRS place, in degrees, that falls on the middle of the frame."""
        east, north = pointing_error_arcsec(self._seed, sample.ra_deg, sample.dec_deg)
        return offset(sample.ra_deg, sample.dec_deg, east, north)

    def tiles(self, exposure: Exposure) -> list[tuple[int, int]]:
        """Return (i, j) of the sky's tiles that may show in a frame, each once."""
        around = [tiles_around(*self.centre(each), self._radius_deg()) for each in _distinct(exposure.samples)]
        return list(dict.fromkeys(tile for tiles in around for tile in tiles))

    def render(self, exposure: Exposure, transients: Sequence[Transient] = ()) -> Frame:
        """Return the frame as `image[y, x]` of uint16."""
        return self.detector.read_out(
            exposure.number,
            self._light_e(exposure, transients),
            exposure.duration_s,
            readout_s=exposure.readout_s,
            ccd_temperature_c=exposure.ccd_temperature_c,
            electrons_per_adu=exposure.electrons_per_adu,
            window=exposure.window,
        )

    def _radius_deg(self) -> float:
        return (self.plate.pixels / math.sqrt(2.0) + EDGE_PX) * self.plate.arcsec_per_px / 3600.0

    def _light_e(self, exposure: Exposure, transients: Sequence[Transient]) -> Image | float:
        lamp_e = LAMP_E_S * exposure.duration_s if exposure.lamp else 0.0
        if not exposure.samples:
            return 0.0
        sky_e_s = sum(each.sky_e_s_arcsec2 for each in exposure.samples) / len(exposure.samples)
        even_e = lamp_e + sky_e_s * self.plate.arcsec_per_px**2 * exposure.duration_s
        open_samples = [each for each in exposure.samples if each.throughput > 0.0]
        if not open_samples or exposure.duration_s <= 0.0:
            return even_e
        stars = self._stars_e(exposure, open_samples, transients, even_e)
        stars += np.float32(even_e)
        return stars

    def _stars_e(
        self, exposure: Exposure, samples: Sequence[Sample], transients: Sequence[Transient], even_e: float
    ) -> Image:
        noise_e = math.sqrt(even_e + DARK_E_S * exposure.duration_s + READ_NOISE_E**2)
        fwhm = fwhm_px(sum(each.seeing_arcsec for each in samples) / len(samples), self.plate)
        drawn: list[Array] = []
        for place, throughput in self._positions(samples):
            ra, dec, rate = self._sources(place, exposure, transients)
            x, y = pixel_positions(ra, dec, place, self.plate)
            drawn.append(np.stack([x, y, rate * (throughput * exposure.duration_s / len(exposure.samples))]))
        x, y, electrons = np.concatenate(drawn, axis=1)
        return draw_stars(self.plate.pixels, x, y, electrons, fwhm=fwhm, noise_e=noise_e)

    def _positions(self, samples: Sequence[Sample]) -> list[tuple[tuple[float, float], float]]:
        """Return the places the frame's middle was at, each with the throughput summed over its samples."""
        centres = [self.centre(each) for each in samples]
        moved = [_separation_deg(centres[0], each) * 3600.0 / self.plate.arcsec_per_px for each in centres]
        if max(moved) <= STILL_PX:
            return [(centres[len(centres) // 2], sum(each.throughput for each in samples))]
        return [(centre, each.throughput) for centre, each in zip(centres, samples, strict=True)]

    def _sources(
        self, centre: tuple[float, float], exposure: Exposure, transients: Sequence[Transient]
    ) -> tuple[Array, Array, Array]:
        ra, dec, mag = self.sky.stars(*centre, self._radius_deg())
        near = [
            each for each in transients if _separation_deg((each.ra_deg, each.dec_deg), centre) < self._radius_deg()
        ]
        flares = [mean_electrons_per_s(each, exposure.start, exposure.duration_s) for each in near]
        return (
            np.append(ra, [each.ra_deg for each in near]),
            np.append(dec, [each.dec_deg for each in near]),
            np.append(electrons_per_s(0.0) * 10.0 ** (-0.4 * mag), flares),
        )


def _distinct(samples: Sequence[Sample]) -> list[Sample]:
    return list({(each.ra_deg, each.dec_deg): each for each in samples if each.throughput > 0.0}.values())


def _separation_deg(one: tuple[float, float], other: tuple[float, float]) -> float:
    dec1, dec2 = math.radians(one[1]), math.radians(other[1])
    half_ra = math.radians(one[0] - other[0]) / 2.0
    haversine = math.sin((dec1 - dec2) / 2.0) ** 2 + math.cos(dec1) * math.cos(dec2) * math.sin(half_ra) ** 2
    return math.degrees(2.0 * math.asin(math.sqrt(min(1.0, haversine))))
