import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.hardware.sexagesimal import format_dec, format_ra, is_low_precision, parse_sexagesimal


@given(st.floats(0, 360, exclude_max=True), st.integers(0, 2))
def test_a_right_ascension_survives_the_wire(ra_deg, decimals):
    back_deg = parse_sexagesimal(format_ra(ra_deg, decimals)) * 15
    difference_deg = abs((back_deg - ra_deg + 180) % 360 - 180)
    assert difference_deg <= 7.6 / 3600 / 10**decimals


@given(st.floats(-90, 90), st.integers(0, 2))
def test_a_declination_survives_the_wire(dec_deg, decimals):
    assert parse_sexagesimal(format_dec(dec_deg, decimals)) == pytest.approx(dec_deg, abs=0.51 / 3600 / 10**decimals)


@pytest.mark.parametrize(("dec_deg", "text"), [(-0.25, "-00*15:00"), (0.25, "+00*15:00"), (-0.0, "+00*00:00")])
def test_a_declination_just_south_of_the_equator_keeps_its_sign(dec_deg, text):
    assert format_dec(dec_deg, 0) == text
    assert parse_sexagesimal(text) == dec_deg


def test_rounding_carries_through_minutes_hours_and_the_full_circle():
    assert format_ra(359.9999, 0) == "00:00:00"
    assert format_ra(14.99999, 0) == "01:00:00"
    assert format_dec(-12.999999, 0) == "-13*00:00"


def test_classic_low_precision_is_recognised_and_read():
    assert is_low_precision("12:30.5")
    assert is_low_precision("-00\xdf15")
    assert not is_low_precision("12:30:05")
    assert parse_sexagesimal("12:30.5") == pytest.approx(12 + 30.5 / 60)
    assert parse_sexagesimal("-00\xdf15") == -0.25


@pytest.mark.parametrize("text", ["", "12", "12:60:00", "1O:00:00", "12:30:05#", "NaN", "+1234:00:00"])
def test_noise_is_not_taken_for_a_coordinate(text):
    with pytest.raises(ValueError, match=r"sexagesimal|60 or more"):
        parse_sexagesimal(text)
