"""Frames on disk that several tests read: rendered once a session, the same each time."""

from __future__ import annotations

import pytest
from analyzer_frames import Night, calibration_frames, expose
from analyzer_sky import Camera, Sky, afterglow_mag

from pyros.actors.analyzer.masters import make_masters


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """Three frames of a burst of magnitude 15.5 at one minute, masters, a catalogue to magnitude 20."""
    folder = tmp_path_factory.mktemp("night")
    camera, sky = Camera(), Sky()
    calibration = calibration_frames(folder, camera)
    make_masters(calibration, folder / "masters")
    truth = (sky.ra + 0.031, sky.dec - 0.022)
    frames = []
    for k, t_s in enumerate((60, 100, 300)):
        centre = (sky.ra + 0.002 * k, sky.dec - 0.001 * k)
        extra = [(*truth, afterglow_mag(15.5, t_s + 15))]
        frames.append(expose(folder / f"grb_{k}.fits", camera, sky, centre, t_s=t_s, seed=100 + k, extra=extra))
    catalogue = sky.write_catalogue(folder / "stars.csv")
    return Night(folder, folder / "masters", catalogue, camera, sky, frames, truth, (sky.ra, sky.dec), calibration)
