"""The seeded sky and the catalogue that belongs to it."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.frame_scene import sky_brightness_e_s_arcsec2
from simulators.sky import SyntheticSky, tile_at, tiles_around, tiles_in_band

RA = st.floats(0.0, 359.999999)
DEC = st.one_of(st.floats(-90.0, 90.0), st.floats(87.0, 90.0), st.floats(-90.0, -87.0))
ROOT = Path(__file__).parents[2]


def place_near(ra, dec, distance, angle):
    """Go `distance` degrees from a place in some direction, on the sphere."""
    ra, dec, d = math.radians(ra), math.radians(dec), math.radians(distance)
    sin_dec = math.sin(dec) * math.cos(d) + math.cos(dec) * math.sin(d) * math.cos(angle)
    dec2 = math.asin(max(-1.0, min(1.0, sin_dec)))
    d_ra = math.atan2(math.sin(angle) * math.sin(d) * math.cos(dec), math.cos(d) - math.sin(dec) * sin_dec)
    return math.degrees(ra + d_ra) % 360.0, math.degrees(dec2)


@given(RA, DEC, st.floats(0.01, 3.0), st.floats(0.0, 0.999), st.floats(0.0, 2 * math.pi))
def test_a_circle_on_the_sky_touches_the_tile_of_each_of_its_places(ra, dec, radius, part, angle):
    tiles = tiles_around(ra, dec, radius)
    assert tile_at(*place_near(ra, dec, part * radius, angle)) in tiles
    assert len(set(tiles)) == len(tiles)


@given(st.integers(0, 179))
def test_a_tile_is_about_one_square_degree_and_holds_only_its_own_stars(j):
    sky = SyntheticSky(3)
    i = tiles_in_band(j) // 2
    tile = sky.tile(i, j)
    assert {tile_at(ra, dec) for ra, dec in zip(tile.ra_deg, tile.dec_deg, strict=True)} == {(i, j)}


def test_a_place_shows_the_same_stars_from_wherever_it_is_seen():
    sky, ra0, dec0 = SyntheticSky(5), 359.9, 44.95
    wide = set(zip(*(column.tolist() for column in sky.stars(ra0, dec0, 0.6)), strict=True))
    narrow = set(zip(*(column.tolist() for column in SyntheticSky(5).stars(0.1, 45.05, 0.2)), strict=True))
    assert narrow
    assert narrow <= wide


def test_star_counts_follow_the_density_and_the_slope_asked_for():
    _, _, mag = SyntheticSky(1).stars(83.0, -5.0, 3.0)
    area = 2 * math.pi * (1 - math.cos(math.radians(3.0))) * math.degrees(1.0) ** 2
    assert (mag < 20.0).sum() / area == pytest.approx(2500, rel=0.02)
    assert math.log10((mag < 20.0).sum() / (mag < 17.0).sum()) / 3.0 == pytest.approx(0.32, abs=0.01)
    assert mag.min() >= 7.0
    assert mag.max() < 21.0


def test_the_catalogue_holds_exactly_the_stars_brighter_than_twenty(tmp_path):
    sky = SyntheticSky(2)
    i, j = tile_at(120.5, 22.1)
    path = sky.write_tile(tmp_path, i, j)
    assert path.name == f"tile_{j:03d}_{i:03d}.csv"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    lines = path.read_text().splitlines()
    assert lines[0] == "ra_deg,dec_deg,mag"
    rows = np.array([[float(part) for part in line.split(",")] for line in lines[1:]])
    tile = sky.tile(i, j)
    bright = np.round(tile.mag, 3) < 20.0
    assert rows[:, 0] == pytest.approx(tile.ra_deg[bright], abs=1e-7)
    assert rows[:, 1] == pytest.approx(tile.dec_deg[bright], abs=1e-7)
    assert rows[:, 2].max() < 20.0


def test_the_same_seed_writes_the_same_catalogue_and_another_seed_another(tmp_path):
    first, again, other = (SyntheticSky(seed).write_tile(tmp_path, 100, 100).read_bytes() for seed in (7, 7, 8))
    assert first == again != other


def test_frames_and_catalogue_do_not_depend_on_the_hash_seed(tmp_path):
    program = """
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from simulators.frame import Exposure, FrameRenderer
from simulators.frame_detector import Window
from simulators.frame_scene import PlainWorld, sample
from simulators.sky import SyntheticSky
sky, t = SyntheticSky(4), datetime(2026, 11, 22, tzinfo=UTC)
eye = FrameRenderer("vis", seed=4, sky=sky, pixels=128)
exposure = Exposure(number=3, start=t, duration_s=9.0, window=Window(0, 0, 128, 128),
                    samples=(sample(PlainWorld(10.0, 20.0), t),))
print(hashlib.sha256(eye.render(exposure).tobytes() + repr(eye.tiles(exposure)).encode()).hexdigest())
"""
    digests = [
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert digests[0] == digests[1]
    assert len(digests[0].strip()) == hashlib.sha256().digest_size * 2


@pytest.mark.parametrize(("seed", "density"), [(-1, 2500.0), (0, 0.0), (0, math.nan), (0, 1e9)])
def test_a_sky_out_of_range_is_refused_with_its_value(seed, density):
    with pytest.raises(ValueError, match=r"must be"):
        SyntheticSky(seed, density)


@given(st.floats(-90.0, 90.0), st.floats(0.0, 20.0), st.floats(0.0, 1.0))
def test_the_sky_never_darkens_as_the_sun_or_the_moonlight_rises(sun, higher, moon):
    dark = sky_brightness_e_s_arcsec2(sun, 0.0)
    assert sky_brightness_e_s_arcsec2(min(90.0, sun + higher), 0.0) >= dark
    assert sky_brightness_e_s_arcsec2(sun, moon) >= dark
