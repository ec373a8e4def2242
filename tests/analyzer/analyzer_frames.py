"""How the tests write frames: as a camera does, with a header that says where the mount thinks it points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from analyzer_sky import GAIN, READ_NOISE, Camera, Sky, after

from pyros.actors.analyzer.frame import FrameHeader, estimate_wcs, write_frame


class Night(NamedTuple):
    folder: Any
    masters: Any
    catalogue: Any
    camera: Camera
    sky: Sky
    frames: list
    truth: tuple
    centre: tuple
    calibration: list


EXPOSURE_S = 30.0


def header_of(kind="light", started_at=None, exposure_s=EXPOSURE_S, **more):
    basic = {"camera": "vis", "gain_e_adu": GAIN, "read_noise_e": READ_NOISE, "ccd_temperature_c": -20.0, "filter": "r"}
    return FrameHeader(started_at=started_at or after(0), exposure_s=exposure_s, image_type=kind, **(basic | more))


def expose(path, camera, sky, centre, *, t_s=60, seed=1, extra=(), cosmic_rays=12, mount=None, exposure_s=EXPOSURE_S):
    """Take a frame whose header says where the mount thinks it points, an arcminute off."""
    mount = mount or (centre[0] + 0.9 / 60 / np.cos(np.radians(centre[1])), centre[1] - 0.4 / 60)
    pixels = camera.read_out(camera.light(sky, centre, exposure_s, extra), exposure_s, seed, cosmic_rays)
    wcs = estimate_wcs(mount[0], mount[1], pixels.shape, camera.scale)
    header = header_of(
        started_at=after(t_s), exposure_s=exposure_s, object="GRB", ra_deg=mount[0] % 360, dec_deg=mount[1], wcs=wcs
    )
    write_frame(path, pixels, header)
    return path


def calibration_frames(folder, camera):
    rng = np.random.default_rng(77)
    paths = []
    for kind, exposure_s, light in (("bias", 0.0, 0.0), ("dark", 60.0, 0.0), ("flat", 5.0, 40_000.0)):
        for k in range(7):
            pixels = camera.read_out(np.full((camera.pixels,) * 2, light), exposure_s, int(rng.integers(1 << 30)))
            paths.append(folder / f"{kind}_{k}.fits")
            write_frame(paths[-1], pixels, header_of(kind, after(-3600 + k), exposure_s))
    return paths
