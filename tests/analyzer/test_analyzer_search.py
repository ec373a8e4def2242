"""The search for the afterglow, from raw frames to the report."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from analyzer_frames import expose
from analyzer_sky import Camera, Sky, afterglow_mag
from astropy.io import fits

from pyros.actors.analyzer.analysis import AnalysisJob, analyse
from pyros.actors.analyzer.preview import encode_png, stretch
from pyros.actors.analyzer.search import ErrorCircle


def job_of(night, tmp_path, frames=None, **change):
    circle = ErrorCircle(ra_deg=night.centre[0], dec_deg=night.centre[1], radius_arcmin=5.0)
    basic = {
        "masters": str(night.masters),
        "catalogue": str(night.catalogue),
        "circle": circle,
        "output": str(tmp_path),
    }
    return AnalysisJob(frames=tuple(str(f) for f in frames or night.frames), **(basic | change))


def offset_arcsec(candidate, truth):
    east = (candidate.ra_deg - truth[0]) * np.cos(np.radians(truth[1]))
    return 3600 * float(np.hypot(east, candidate.dec_deg - truth[1]))


def test_the_afterglow_is_found_first_and_fades(night, tmp_path):
    """AN-T3: place to 2″, magnitude to its error, light curve."""
    report = analyse(job_of(night, tmp_path))
    best = report.candidates[0]
    assert report.problems == ()
    assert offset_arcsec(best, night.truth) < 2
    assert best.mag == pytest.approx(afterglow_mag(15.5, 75), abs=0.06)
    assert best.fading_sigma > 10
    assert [m.mag for m in best.light_curve] == sorted(m.mag for m in best.light_curve)
    assert len(report.candidates) == 1


def test_a_single_frame_shows_the_afterglow(night, tmp_path):
    report = analyse(job_of(night, tmp_path, night.frames[:1]))
    assert [offset_arcsec(c, night.truth) < 2 for c in report.candidates] == [True]
    assert report.limiting_mag == report.images[0].limiting_mag


def test_empty_fields_are_empty_whatever_the_cosmic_rays(night, tmp_path):
    """AN-T3: nothing in 8 blank fields of three frames with 60 cosmic rays each, under a catalogue that is complete."""
    found = []
    for k in range(8):
        sky = Sky(seed=40 + k)
        frames = [
            expose(
                tmp_path / f"b{k}_{j}.fits",
                night.camera,
                sky,
                (sky.ra, sky.dec),
                t_s=60 * j,
                seed=k * 9 + j,
                cosmic_rays=60,
            )
            for j in range(3)
        ]
        catalogue = str(sky.write_catalogue(tmp_path / f"stars_{k}.csv", limit_mag=21.0))
        report = analyse(job_of(night, tmp_path, frames, catalogue=catalogue, preview=False))
        assert report.covered == 1
        found += report.candidates
    assert found == []


def test_bursts_are_found_at_ten_sigma_also_between_stars(night, tmp_path):
    """AN-T3: ten bursts at S/N 10 to 40 on a crowded sky, positions to 2″."""
    rng = np.random.default_rng(5)
    found, offsets = 0, []
    for k in range(10):
        sky = Sky(seed=70 + k, per_deg2_at_20=8000.0)
        truth = (sky.ra + rng.uniform(-0.05, 0.05), sky.dec + rng.uniform(-0.05, 0.05))
        frames = [
            expose(
                tmp_path / f"c{k}_{t}.fits",
                night.camera,
                sky,
                (sky.ra, sky.dec),
                t_s=t,
                seed=k + t,
                extra=[(*truth, m)],
            )
            for t, m in ((60, 17.0 + 0.08 * k), (100, 17.5 + 0.08 * k))
        ]
        catalogue = str(sky.write_catalogue(tmp_path / f"crowd_{k}.csv"))
        candidates = analyse(job_of(night, tmp_path, frames, catalogue=catalogue, preview=False)).candidates
        near = [offset_arcsec(c, truth) for c in candidates if offset_arcsec(c, truth) < 4]
        found += bool(near)
        offsets += near[:1]
    assert found >= 9
    assert max(offsets) < 2


def test_a_routine_frame_is_calibrated_and_measured_only(night, tmp_path):
    """AN-T2."""
    report = analyse(job_of(night, tmp_path, circle=None))
    assert report.covered is None
    assert report.candidates == ()
    assert all(image.zero_point for image in report.images)


def test_the_product_carries_what_was_found(night, tmp_path):
    image = analyse(job_of(night, tmp_path, night.frames[:1])).images[0]
    header = fits.getheader(image.calibrated)
    assert header["CALSTAT"] == "BDF"
    assert header["BIAS"] == image.masters[0]
    assert header["DATASUM"] == image.datasum
    assert (header["ZEROPT"], header["LIMMAG"]) == pytest.approx((image.zero_point, image.limiting_mag), abs=1e-3)
    assert header["CTYPE1"] == "RA---TAN-SIP"
    assert Path(image.preview).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"catalogue": "/nowhere/stars.csv"}, "does not exist"),
        ({"catalogue": None}, "no star catalogue"),
        ({"masters": None}, "no masters are configured"),
        ({"masters": "/nowhere"}, "no master flat"),
    ],
)
def test_what_is_missing_is_told_and_the_calibrated_product_kept(night, tmp_path, change, told):
    """AN-E1, AN-P1: the second step's failure leaves the first one's product; a missing master is not fatal."""
    report = analyse(job_of(night, tmp_path, night.frames[:1], **change))
    assert Path(report.images[0].calibrated).exists()
    assert any(told in problem for problem in report.problems)


def test_a_bad_frame_does_not_take_the_good_ones_with_it(night, tmp_path):
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE = nonsense")
    blank = expose(
        tmp_path / "closed.fits", night.camera, Sky(per_deg2_at_20=1e-9), night.centre, t_s=500, cosmic_rays=0
    )
    frames = [tmp_path / "broken.fits", tmp_path / "absent.fits", blank, night.calibration[0], *night.frames]
    report = analyse(job_of(night, tmp_path, frames))
    assert [image.limiting_mag is not None for image in report.images] == [False] * 4 + [True] * 3
    assert len(report.problems) >= 4
    assert all("\n" not in problem for problem in report.problems)
    assert offset_arcsec(report.candidates[0], night.truth) < 2


def test_a_circle_off_the_image_finds_nothing(night, tmp_path):
    far = ErrorCircle(ra_deg=200.0, dec_deg=-20.0, radius_arcmin=5.0)
    report = analyse(job_of(night, tmp_path, circle=far))
    assert report.candidates == ()
    assert report.covered == 0
    assert any("circle" in problem for problem in report.problems)


def test_job_and_report_travel_between_processes(night, tmp_path):
    report = analyse(pickle.loads(pickle.dumps(job_of(night, tmp_path))))
    assert pickle.loads(pickle.dumps(report)) == report
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
    assert {"ra", "dec"} <= msgspec.to_builtins(report)["candidates"][0].keys()


def test_the_same_frames_give_the_same_report_under_another_hash_seed(night, tmp_path):
    code = "import sys, msgspec\nfrom pyros.actors.analyzer.analysis import *\n"
    code += "print(msgspec.json.encode(analyse(msgspec.json.decode(sys.argv[1], type=AnalysisJob))).decode())"
    job = msgspec.json.encode(job_of(night, tmp_path)).decode()
    answers = [
        subprocess.run(
            [sys.executable, "-c", code, job], capture_output=True, check=True, timeout=60, env=os.environ | e
        ).stdout
        for e in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    ]
    assert answers[0] == answers[1]


def test_a_preview_of_nothing_is_black_and_whole():
    assert not stretch(np.full((4, 4), np.nan, np.float32)).any()
    assert encode_png(np.zeros((3, 5), np.uint8)).endswith(b"IEND\xaeB`\x82")


def test_a_full_frames_camera_finds_the_burst_as_well(night, tmp_path):
    camera = Camera(pixels=1024, scale=1.52, fwhm_arcsec=2.5)
    frames = [
        expose(
            tmp_path / f"full_{t}.fits",
            camera,
            night.sky,
            night.centre,
            t_s=t,
            seed=t,
            extra=[(*night.truth, 16.0 + t / 100)],
        )
        for t in (60, 110)
    ]
    report = analyse(job_of(night, tmp_path, frames, masters=None))
    assert offset_arcsec(report.candidates[0], night.truth) < 0.5
