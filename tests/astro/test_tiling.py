"""The grid of tiles, and lists of fields."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from shapepipe.astro import fieldlists, tiling, wcs
from shapepipe.errors import BadInput
from shapepipe.simulate.survey import tile_centre as simulated_centre

SCRIPT = Path(__file__).parents[2] / "scripts" / "cfis_field_select"


@given(st.floats(1.0, 359.0), st.floats(-80.0, 80.0))
def test_a_place_lies_in_its_tile(ra, dec):
    centre = tiling.tile_centre(tiling.tile_at(ra, dec))
    assert abs(centre[1] - dec) <= 0.25 + 1e-9
    assert wcs.separation(centre[0], centre[1], ra, centre[1]) <= 0.25 + 1e-6


def test_tiles_are_where_the_simulator_puts_them():
    assert tiling.tile_centre("277.282") == pytest.approx(simulated_centre("277.282"))
    assert tiling.tile_at(255.66, 34.05) == "424.248"
    assert tiling.tile_at(359.99, 0.0) == "000.180"
    with pytest.raises(ValueError, match="three digits"):
        tiling.tile_centre("27.2822")


def test_tiles_and_exposures_are_found_in_names():
    names = ["CFIS.277.282.r.fits", "CFIS.277.282.r.weight.fits.fz", "CFIS_image-276-282.fits", "x"]
    assert [field.id for field in tiling.tiles_of(names)] == ["277.282", "276.282"]
    names = ["2366993p.fits.fz", "2366993p.flag.fits.fz", "image-2366994.fitsfz", "README"]
    assert [field.id for field in tiling.exposures_of(names)] == ["2366993", "2366994"]


def test_names_of_types():
    tile, exposure = tiling.Field("277.282"), tiling.Field("2366993")
    assert tiling.file_name(tile, "weight.fz", "u") == "CFIS.277.282.u.weight.fits.fz"
    assert tiling.file_name(exposure, "exposure_flag.fz") == "2366993p.flag.fits.fz"


def test_areas_across_ra_0_hold_the_fields_that_touch_them():
    fields = [tiling.Field(str(ra), ra % 360, 10.0) for ra in (-2.0, -1.1, 0.0, 0.9, 2.0)]
    found = tiling.in_area(fields, (359.0, 9.0), (0.5, 11.0), 1.0)
    assert [field.id for field in found] == ["-1.1", "0.0", "0.9"]
    assert not tiling.in_area(fields, (359.0, 12.0), (0.5, 13.0), 1.0)


def test_exposures_that_touch_tiles():
    tile = tiling.Field("277.282", *tiling.tile_centre("277.282"))
    near = tiling.Field("1", tile.ra, tile.dec + 0.7)
    far = tiling.Field("2", tile.ra, tile.dec + 0.8)
    assert tiling.touching([near, far, tiling.Field("3")], [tile], 1.0, 0.5) == [near]


@pytest.fixture
def log(tmp_path):
    Table({"exposure": ["2366993p", "2366994p", "2366995p", "2366996p"],
           "ra": [10.0, 10.1, 10.2, 30.0], "dec": [5.0, 5.0, 5.0, 5.0],
           "exptime": [200.0, 90.0, 200.0, 200.0],
           "validation": ["V", "V", "D", "V"]}).write(tmp_path / "log.ecsv")  # fmt: skip
    return tmp_path / "log.ecsv"


def test_cuts_leave_out_short_and_invalid_exposures(log):
    assert [f.id for f in fieldlists.exposures_in_log(log)] == ["2366993", "2366996"]
    assert len(fieldlists.exposures_in_log(log, with_cuts=False)) == 4


def test_headers_tell_where_exposures_are(tmp_path):
    header = fits.Header({"RA_DEG": 10.5, "DEC_DEG": -3.0})
    fits.PrimaryHDU(header=header).writeto(tmp_path / "2366993p.fits.fz")
    assert fieldlists.exposures_in_headers(tmp_path) == [tiling.Field("2366993", 10.5, -3.0)]


def test_lists_are_read_by_column(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# tiles\n1 CFIS.277.282.r.fits\n2 CFIS.277.283.r.fits\n")
    assert fieldlists.names_in(path, 1) == ["CFIS.277.282.r.fits", "CFIS.277.283.r.fits"]
    with pytest.raises(BadInput, match="line 2 has 2 words"):
        fieldlists.names_in(path, 2)


def call(*words):
    command = [sys.executable, SCRIPT, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_the_tutorials_command_finds_the_tile_of_a_cluster(tmp_path):
    tiles = [f"CFIS.{x:03d}.{y:03d}.r.fits" for x in range(422, 427) for y in range(246, 251)]
    (tmp_path / "tiles.txt").write_text("\n".join(tiles))
    words = "--coord 255.66deg_34.05deg -t tile --out_name_only --out_number_only -s -o".split()
    status, _, said = call("-i", tmp_path / "tiles.txt", *words, tmp_path / "tile_numbers")
    assert status == 0, said
    assert (tmp_path / "tile_numbers.txt").read_text().split() == ["424.248"]


def test_the_exposures_of_tiles_come_from_their_headers(tmp_path):
    hdu = fits.PrimaryHDU(np.zeros((4, 4)))
    for name in ("2366994p.fits", "2366993p.fits"):
        hdu.header.add_history(f" input image {name} 40 extension(s)")
    hdu.writeto(tmp_path / "CFIS.277.282.r.fits")
    status, lines, _ = call("-i", tmp_path, "--tile", "-t", "exposure_flag.fz", "--out_name_only")
    assert status == 0
    assert lines == ["2366994p.flag.fits.fz", "2366993p.flag.fits.fz"]


def test_a_directory_that_is_not_there_is_said_to_be_missing(tmp_path):
    status, _, said = call("-i", tmp_path / "input_tiles", "--tile", "-t", "exposure")
    assert status == 2 and "no such file or directory" in said


def test_exposures_are_selected_by_area(log):
    status, lines, _ = call("-i", log, "--area", "9deg_4deg_11deg_6deg", "-t", "exposure")
    assert status == 0 and lines == ["# name ra dec", "2366993p.fits.fz 10.000000 5.000000"]
    assert call("-i", log, "--area", "9deg_4deg_11deg", "-t", "exposure")[0] == 2
    assert call("-i", log, "--number", "1234567", "-t", "exposure")[0] == 1


def test_tiles_and_exposures_that_touch_each_other(log, tmp_path):
    tile = tiling.tile_at(30.5, 5.4)
    (tmp_path / "tiles.txt").write_text(f"{tile}\n020.190\n")
    status, lines, _ = call("-i", log, "--touching", tmp_path / "tiles.txt", "-t", "exposure",
                            "--out_ID_only", "--no_cuts")  # fmt: skip
    assert (status, lines) == (0, ["2366993", "2366994", "2366995", "2366996"])
    status, lines, _ = call("-i", tmp_path / "tiles.txt", "--touching", log, "--out_ID_only")
    assert (status, sorted(lines)) == (0, sorted([tile, "020.190"]))
