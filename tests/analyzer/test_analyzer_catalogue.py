"""Star catalogues."""

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.analyzer.catalogue import CatalogueError, stars_near, tile_name


def write(path, rows):
    path.write_text("ra_deg,dec_deg,mag\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    return path


def test_only_stars_of_the_circle_are_returned_also_across_midnight_of_right_ascension(tmp_path):
    path = write(tmp_path / "c.csv", [(359.95, 60.0, 10), (0.05, 60.0, 11), (0.05, 60.5, 12), (180, 60, 13)])
    assert stars_near(path, 0.0, 60.0, 0.1).mag.tolist() == [10, 11]


def test_a_fits_table_serves_as_well(tmp_path):
    Table({"RA": [10.0, 11.0], "DEC": [5.0, 5.0], "VTmag": [9.0, 8.0]}).write(tmp_path / "c.fits")
    assert stars_near(tmp_path / "c.fits", 10.0, 5.0, 0.5).mag.tolist() == [9.0]


@given(ra=st.floats(0, 359.999), dec=st.floats(-89.9, 89.9), east=st.floats(-0.4, 0.4), north=st.floats(-0.4, 0.4))
def test_a_star_near_the_place_is_found_whatever_tile_it_is_in(tmp_path_factory, ra, dec, east, north):
    folder = tmp_path_factory.mktemp("tiles")
    star_dec = float(np.clip(dec + north, -90, 90))
    star_ra = (ra + east / max(np.cos(np.radians(abs(star_dec))), 1e-6)) % 360 if abs(star_dec) < 89 else ra
    write(folder / tile_name(star_ra, star_dec), [(star_ra, star_dec, 12.0)])
    assert len(stars_near(folder, ra, dec, 0.8)) == 1


def test_a_tile_that_comes_later_is_read_later(tmp_path):
    with pytest.raises(CatalogueError, match="does not exist"):
        stars_near(tmp_path, 100.5, 20.5, 0.1)
    write(tmp_path / tile_name(100.5, 20.5), [(100.5, 20.5, 14)])
    assert len(stars_near(tmp_path, 100.5, 20.5, 0.1)) == 1


def test_missing_tiles_are_told(tmp_path):
    write(tmp_path / tile_name(100.5, 20.99), [(100.5, 20.99, 14)])
    assert "catalogue tiles are missing" in stars_near(tmp_path, 100.5, 20.99, 0.1).problem
    assert stars_near(tmp_path, 100.5, 20.99, 0.1, needed_deg=0.005).problem is None


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "ra_deg,dec_deg,mag\n1,two,3\n", "ra_deg,dec_deg,mag\n"])
def test_a_bad_catalogue_is_one_line(tmp_path, text):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(CatalogueError) as told:
        stars_near(tmp_path / "c.csv", 1.0, 1.0, 1.0)
    assert "\n" not in str(told.value)
