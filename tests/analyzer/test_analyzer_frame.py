"""Frames on disk."""

import re
import shutil
import subprocess
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from analyzer_frames import header_of
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.actors.analyzer.frame import FrameError, FrameHeader, estimate_wcs, read_frame, write_frame

PIXELS = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21


def full_header():
    wcs = estimate_wcs(120.5, 22.1, PIXELS.shape, 3.05)
    more = {"ra_deg": 120.5, "dec_deg": 22.1, "airmass": 1.2, "trigger_id": "SVOM-319", "wcs": wcs, "object": "GRB é"}
    return header_of(started_at=datetime(2026, 11, 23, 4, 5, 6, 789_000, UTC), latitude_deg=31.04, **more)


def test_a_frame_reads_back_as_it_was_written(tmp_path):
    path = tmp_path / "f.fits"
    datasum = write_frame(path, PIXELS, full_header())
    frame = read_frame(path)
    assert frame.pixels.dtype == np.uint16
    assert (frame.pixels == PIXELS).all()
    assert frame.header.wcs.cd1_1 == pytest.approx(full_header().wcs.cd1_1, rel=1e-12)
    told = msgspec.structs.replace(frame.header, wcs=None)
    assert told == msgspec.structs.replace(full_header(), object="GRB ?", wcs=None)
    assert fits.getheader(path)["DATASUM"] == datasum
    with fits.open(path, do_not_scale_image_data=True) as hdus:
        assert (hdus[0].header["BITPIX"], hdus[0].header["BZERO"]) == (16, 32768)


def test_fitsverify_finds_nothing_to_say_about_a_frame(tmp_path):
    write_frame(tmp_path / "f.fits", PIXELS, full_header())
    tool = shutil.which("fitsverify")
    if tool is None:
        print("fitsverify is not installed: astropy's own verification only")
        fits.open(tmp_path / "f.fits", checksum=True).verify("exception")
        return
    answer = subprocess.run([tool, "-q", tmp_path / "f.fits"], capture_output=True, text=True, timeout=30, check=False)
    assert answer.stdout.startswith("verification OK"), answer.stdout


def test_a_frame_is_never_overwritten_and_leaves_no_scraps(tmp_path):
    write_frame(tmp_path / "f.fits", PIXELS, full_header())
    before = (tmp_path / "f.fits").read_bytes()
    with pytest.raises(FrameError, match="never overwritten"):
        write_frame(tmp_path / "f.fits", PIXELS // 2, full_header())
    assert (tmp_path / "f.fits").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.fits"]


def test_a_disk_that_refuses_is_named_in_one_line(tmp_path):
    with pytest.raises(FrameError, match=r"none/f.fits cannot be written: No such file") as told:
        write_frame(tmp_path / "none" / "f.fits", PIXELS, full_header())
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"not FITS at all", b"SIMPLE  =                    T" + b" " * 50])
def test_a_file_that_is_no_frame_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "f.fits").write_bytes(content)
    with pytest.raises(FrameError) as told:
        read_frame(tmp_path / "f.fits")
    assert "\n" not in str(told.value)


def test_a_truncated_frame_is_refused(tmp_path):
    write_frame(tmp_path / "f.fits", np.ones((200, 200), np.uint16), full_header())
    whole = (tmp_path / "f.fits").read_bytes()
    (tmp_path / "f.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameError):
        read_frame(tmp_path / "f.fits")


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [("EXPTIME", -3.0, "exposure_s"), ("DATE-OBS", "yesterday", "DATE-OBS"), ("IMAGETYP", "selfie", "image_type")],
)
def test_a_header_out_of_range_names_what_is_wrong(tmp_path, keyword, value, told):
    write_frame(tmp_path / "f.fits", PIXELS, full_header())
    fits.setval(tmp_path / "f.fits", keyword, value=value)
    with pytest.raises(FrameError, match=told):
        read_frame(tmp_path / "f.fits")


def test_what_is_not_a_number_is_not_written(tmp_path):
    with pytest.raises(FrameError, match="AIRMASS is nan"):
        write_frame(tmp_path / "f.fits", PIXELS, header_of(airmass=float("nan")))


def test_the_estimated_wcs_has_north_up_and_east_left():
    wcs = estimate_wcs(10.0, 60.0, (100, 100), 3.6)
    header = fits.Header([("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN")])
    header.update({k.upper(): v for k, v in msgspec.structs.asdict(wcs).items()})
    ra, dec = WCS(header).all_pix2world([49.5, 39.5, 49.5], [49.5, 49.5, 59.5], 0)
    assert (ra[0], dec[0]) == pytest.approx((10.0, 60.0), abs=1e-9)
    assert ra[1] > ra[0]
    assert dec[2] == pytest.approx(60.01, abs=1e-5)


# astropy takes a quote with a slash behind it for the end of a string, though the card is as FITS demands.
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60).map(str.strip)
READABLE = NAMES.filter(lambda name: re.search(r"' */", name) is None)


@settings(max_examples=25, deadline=None)
@given(
    exposure_s=st.integers(0, 86_400_000).map(lambda ms: ms / 1000),
    ra=st.integers(0, 359_999_999).map(lambda u: u / 1e6),
    gain=st.integers(1, 100_000).map(lambda g: g / 1000),
    name=READABLE,
)
def test_any_header_in_range_survives_the_round_trip(tmp_path_factory, exposure_s, ra, gain, name):
    path = tmp_path_factory.mktemp("f") / "f.fits"
    header = header_of(exposure_s=exposure_s, ra_deg=ra, dec_deg=-5.0, gain_e_adu=gain, object=name or None)
    write_frame(path, PIXELS, header)
    back = read_frame(path).header
    assert isinstance(back, FrameHeader)
    assert back == header
