"""Masters and what applying them leaves."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from analyzer_frames import calibration_frames, header_of
from analyzer_sky import BIAS, GAIN, READ_NOISE, Camera, after

from pyros.actors.analyzer.calibration import MasterPixels, calibrate
from pyros.actors.analyzer.frame import read_frame, write_frame
from pyros.actors.analyzer.masters import choose, list_masters, load, make_masters

SHAPE = (512, 512)


def test_masters_show_the_detector(night):
    pixels = load(choose(list_masters(night.masters), header_of(), SHAPE))
    flat = night.camera.flat / np.median(night.camera.flat)
    assert abs(float(np.median(pixels.bias)) - BIAS) < 1
    assert float(np.median(pixels.dark)) == pytest.approx(0.1 / GAIN, abs=0.02)
    assert float(np.std(pixels.flat - flat)) < 0.004


def test_calibrating_leaves_less_than_the_noise(night):
    """AN-P1, AN-T1: a flat field, calibrated, is flat to within its noise, and its noise is what was predicted."""
    light = np.full(SHAPE, 2000.0)
    raw = night.camera.read_out(light, 30.0, seed=9)
    image = calibrate(raw, header_of(), load(choose(list_masters(night.masters), header_of(), SHAPE)))
    good = ~image.bad
    level = float(np.median(image.pixels[good]))
    residual = image.pixels - level
    assert level == pytest.approx(2000.0 / GAIN * np.median(night.camera.flat), rel=0.005)
    pull = (residual / np.sqrt(image.variance))[good]
    assert 0.9 < float(1.4826 * np.median(np.abs(pull - np.median(pull)))) < 1.1
    corners = residual.reshape(4, 128, 4, 128).mean((1, 3))
    assert np.abs(corners).max() < 0.1 * np.sqrt(2000 + READ_NOISE**2) / GAIN
    assert image.bad.sum() >= 0.9 * (night.camera.dark > 1).sum()


def test_calibration_changes_neither_frame_nor_masters(night):
    raw = night.camera.read_out(np.full(SHAPE, 100.0), 30.0, seed=3)
    masters = load(choose(list_masters(night.masters), header_of(), SHAPE))
    before = raw.copy(), masters.bias.copy(), masters.flat.copy()
    calibrate(raw, header_of(), masters)
    assert all((a == b).all() for a, b in zip(before, (raw, masters.bias, masters.flat), strict=True))


def test_a_master_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        calibrate(np.zeros((4, 4), np.uint16), header_of(), MasterPixels(bias=np.zeros((5, 4), np.float32)))


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"camera": "nir"}, {"bias", "dark", "flat"}),
        ({"filter": "z"}, {"flat"}),
        ({"ccd_temperature_c": -10.0}, {"bias", "dark"}),
        ({"started_at": after(0) + timedelta(days=60)}, {"bias", "dark", "flat"}),
        ({"binning_x": 2}, {"bias", "dark", "flat"}),
        ({"ccd_temperature_c": None}, set()),
    ],
)
def test_masters_are_chosen_by_camera_filter_temperature_and_age(night, change, missing):
    """AN-P1: what does not fit is not applied, and that is said."""
    chosen = choose(list_masters(night.masters), msgspec.structs.replace(header_of(), **change), SHAPE)
    assert {kind for kind in ("bias", "dark", "flat") if getattr(chosen, kind) is None} == missing
    assert len(chosen.problems) == len(missing)


def test_the_nearest_master_in_time_wins(night, tmp_path):
    for hours in (1, 30, 50):
        header = header_of("masterbias", after(hours * 3600), 0.0)
        write_frame(tmp_path / f"master_bias_{hours}.fits", np.ones((8, 8), np.float32), header)
    chosen = choose(list_masters(tmp_path), header_of(started_at=after(29 * 3600)), (8, 8))
    assert chosen.bias.path.name == "master_bias_30.fits"


def test_unusable_calibration_frames_are_named_and_the_rest_is_used(night, tmp_path):
    (tmp_path / "broken.fits").write_text("nonsense")
    frames = [tmp_path / "broken.fits", *night.calibration[:7], *night.calibration[7:9], night.frames[0]]
    made = make_masters(frames, tmp_path / "masters")
    assert [m.kind for m in made.masters] == ["bias"]
    assert len(made.problems) == 3
    assert any("2 dark frames" in p for p in made.problems)


def test_masters_are_added_and_never_replaced(night, tmp_path):
    for _ in range(2):
        make_masters(night.calibration[:7], tmp_path)
    assert len(list_masters(tmp_path)) == 2


def test_darks_without_any_bias_make_no_master(tmp_path):
    frames = calibration_frames(tmp_path, Camera(pixels=64))[7:14]
    made = make_masters(frames, tmp_path / "m")
    assert not made.masters
    assert "needs a master bias" in made.problems[0]


def test_a_master_says_of_how_many_frames_it_is(night):
    path = next(m.path for m in list_masters(night.masters) if m.kind == "dark")
    assert read_frame(path).header.image_type == "masterdark"
