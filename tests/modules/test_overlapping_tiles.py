"""Two stacks of the same sky, overlapping: detected, made to catalogues, joined in all formats."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from shapepipe.astro import crossmatch, finalmerge, ldac, wcs
from shapepipe.modules.make_cat_runner import make_cat_runner
from shapepipe.modules.merge_headers_runner import merge_headers_runner
from shapepipe.modules.random_cat_runner import random_cat_runner
from shapepipe.modules.sextractor_runner import sextractor_runner
from shapepipe.modules.split_exp_runner import split_exp_runner
from shapepipe.simulate import read_survey, simulate_survey
from shapepipe.testing import trial

pytestmark = pytest.mark.programs("sextractor", "swarp")
CONFIG = Path(__file__).parents[2] / "example" / "config"
TILES = ("277-282", "278-282")
SURVEY = """
[SURVEY]
SEED = 12
TILES = 277.282, 278.282
RA = 0
DEC = 20
[CAMERA]
COLUMNS = 2
ROWS = 1
WIDTH = 600
HEIGHT = 600
GAP = 20
[EXPOSURES]
DITHER = 0
[STARS]
DENSITY = 60
MAG_BRIGHT = 18
MAG_FAINT = 21
[GALAXIES]
DENSITY = 0
[DETECTOR]
TRAILS = 0
COSMIC_RAYS = 0
[STACK]
MAKE = True
SIZE = 500
SPACING = 0.015
"""


def done(outcome):
    """First product of a job that went well."""
    assert outcome.status == "ok", outcome.error
    return outcome.products[0]


def write_log(folder):
    """Table of the WCS of the exposure."""
    mosaic = {"image": folder / "sky" / "exposures" / "image-2366993.fits.fz"}
    options = {"N_HDU": "2", "OUTPUT_SUFFIX": "image"}
    done(trial(split_exp_runner, mosaic, options, "-2366993", folder))
    headers = {"-2366993": folder / "output" / "headers-2366993.npy"}
    return done(trial(merge_headers_runner, {"headers": headers}, {}, "", folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Final catalogues of two tiles to the left and right of RA = 0."""
    folder = tmp_path_factory.mktemp("tiles")
    (folder / "survey.ini").write_text(SURVEY)
    simulate_survey(read_survey(folder / "survey.ini"), folder / "sky")
    names = {"SEX": "default_tile.sex", "PARAM": "default.param", "CONV": "default.conv"}
    options = {f"DOT_{kind}_FILE": str(CONFIG / name) for kind, name in names.items()}
    options |= {"WEIGHT_IMAGE": "False", "FLAG_IMAGE": "False", "MAKE_POST_PROCESS": "True",
                "LOG_WCS": str(write_log(folder)), "CCD_SIZE": "0, 599, 0, 599"}  # fmt: skip
    for tile in TILES:
        image = {"image": folder / "sky" / "tiles" / f"CFIS_image-{tile}.fits"}
        detected = done(trial(sextractor_runner, image, options, f"-{tile}", folder))
        numbers = ldac.read(detected)["NUMBER"]
        spread = Table({"NUMBER": numbers, "SPREAD_MODEL": 0.0 * numbers,
                        "SPREADERR_MODEL": 1.0 + 0 * numbers})  # fmt: skip
        spread["SPREAD_FLAG"] = 0 * numbers
        ldac.write(folder / "sm.fits", spread)
        inputs = {"catalogue": detected, "spread": folder / "sm.fits"}
        none = {"SHAPE_MEASUREMENT_TYPE": ""}
        done(trial(make_cat_runner, inputs, none, f"-{tile}", folder))
    return folder


@pytest.fixture(scope="module")
def joined(folder):
    """The joined catalogue, and how many rows each tile has."""
    paths = [folder / "output" / f"final_cat-{tile}.fits" for tile in TILES]
    finalmerge.merge(paths, folder / "all.fits")
    return ldac.read(folder / "all.fits", "RESULTS"), [len(ldac.read(p, 1)) for p in paths]


def test_stars_of_both_tiles_are_marked_in_both_and_kept_once(folder, joined):
    found, (n, _) = joined
    ra, dec = (np.asarray(found[f"{axis}WIN_WORLD"]) for axis in "XY")
    row, _ = crossmatch.nearest(ra[:n], dec[:n], ra[n:], dec[n:], 0.3)
    same = np.flatnonzero(row >= 0)
    first, second = found[:n][same], found[n:][row[same]]
    assert len(same) > 30
    assert (first["N_TILES"] == 2).all() and (second["N_TILES"] == 2).all()
    assert (first["IS_PRIMARY"] ^ second["IS_PRIMARY"]).all()
    assert first["IS_PRIMARY"].any() and second["IS_PRIMARY"].any()


def test_no_star_is_lost_or_kept_twice(folder, joined):
    """Bright stars on the two tiles against the truth."""
    found, _ = joined
    ours = found[found["IS_PRIMARY"]]
    truth = Table.read(folder / "sky" / "truth" / "objects.fits")
    truth = truth[truth["mag"] < 20]
    inside = np.zeros(len(truth), bool)
    for tile in TILES:
        solution = WCS(fits.getheader(folder / "sky" / "tiles" / f"CFIS_image-{tile}.fits"))
        weight = fits.getdata(folder / "sky" / "tiles" / f"CFIS_weight-{tile}.fits.fz")
        x, y = (np.rint(v).astype(int) for v in solution.all_world2pix(
            truth["ra"], truth["dec"], 0))  # fmt: skip
        on = (x >= 10) & (x < 490) & (y >= 10) & (y < 490)
        inside[on] |= weight[y[on], x[on]] > 0
    ra, dec = (np.asarray(ours[f"{axis}WIN_WORLD"]) for axis in "XY")
    row, apart = crossmatch.nearest(truth["ra"][inside], truth["dec"][inside], ra, dec, 0.5)
    assert inside.sum() > 40 and np.nanmedian(apart) < 0.05
    assert (row < 0).mean() < 0.1  # blends
    assert not cKDTree(wcs.unit_vectors(ra, dec)).query_pairs(np.radians(0.5 / 3600))


@pytest.mark.parametrize("name, package", [("all.h5", "h5py"), ("all.parquet", "pyarrow")])
def test_other_formats_hold_the_same_marks(folder, joined, name, package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; it comes with shapepipe[catalogues]")
    found, _ = joined
    finalmerge.merge([folder / "output" / f"final_cat-{tile}.fits" for tile in TILES],
                     folder / name)  # fmt: skip
    if package == "h5py":
        with pytest.importorskip("h5py").File(folder / name) as file:
            marks = np.asarray(file["RESULTS"]["IS_PRIMARY"])
    else:
        table = pytest.importorskip("pyarrow.parquet").read_table(folder / name)
        marks = np.array(table["IS_PRIMARY"].to_pylist())
    assert np.array_equal(marks, found["IS_PRIMARY"])


def test_random_positions_cover_the_tile_across_ra_zero(folder):
    tile = TILES[0]
    image = folder / "sky" / "tiles" / f"CFIS_image-{tile}.fits"
    flag = np.zeros((500, 500), np.int16)
    flag[:, :250] = 1
    fits.writeto(folder / f"flag-{tile}.fits", flag, overwrite=True)
    inputs = {"image": image, "flag": folder / f"flag-{tile}.fits"}
    table = ldac.read(done(trial(random_cat_runner, inputs, {"N_RANDOM": "1000"}, f"-{tile}",
                                 folder)), "RANDOMS")  # fmt: skip
    x, _ = WCS(fits.getheader(image)).all_world2pix(table["RA"], table["DEC"], 0)
    assert len(table) == 1000 and x.min() > 249.4 and x.max() < 499.6
    assert (np.asarray(table["RA"]) > 350).any()
