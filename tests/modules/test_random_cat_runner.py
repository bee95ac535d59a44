"""random_cat_runner: numbers, densities, and maps."""

import healsparse
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.astro import ldac
from shapepipe.errors import ConfigurationError
from shapepipe.modules.random_cat_runner import random_cat_runner
from shapepipe.testing import trial


@pytest.fixture
def tile(tmp_path):
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (210.0, 52.0), (100, 100)
    solution.wcs.cd = np.array([[-1e-3, 0], [0, 1e-3]])
    flags = np.zeros((200, 200), np.int16)
    flags[:100] = 2
    fits.writeto(tmp_path / "image.fits", np.zeros((200, 200), np.float32), solution.to_header())
    fits.writeto(tmp_path / "flag.fits", flags)
    return tmp_path


def run(tile, folder=None, **options):
    inputs = {"image": tile / "image.fits", "flag": tile / "flag.fits"}
    return trial(random_cat_runner, inputs, options, "-277-282", folder or tile)


def test_positions_have_the_coordinates_of_their_pixels(tile):
    outcome = run(tile, N_RANDOM="500")
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    found = ldac.read(product, "RANDOMS")
    assert product.name == "random_cat-277-282.fits" and len(found) == 500
    assert found["y"].min() > 100.4 and set(found["TILE_ID"]) == {"277.282"}
    x, y = WCS(fits.getheader(tile / "image.fits")).all_world2pix(found["RA"], found["DEC"], 1)
    assert np.allclose(x, found["x"]) and np.allclose(y, found["y"])
    assert outcome.metrics["good_ratio"] == 0.5


def test_a_density_counts_the_unmasked_area(tile):
    outcome = run(tile, N_RANDOM="50000", DENSITY="True")
    assert outcome.metrics["n_random"] == 1000  # 0.02 deg2


def test_the_same_image_gives_the_same_positions_and_map(tile, tmp_path):
    options = {"N_RANDOM": "50", "SAVE_MASK_AS_HEALPIX": "True", "HEALPIX_OUT_NSIDE": "4096"}
    first, second = (run(tile, tmp_path / name, **options).products for name in "ab")
    assert [path.name for path in first] == ["random_cat-277-282.fits", "coverage-277-282.hsp"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    made = healsparse.HealSparseMap.read(str(first[1]))
    assert made.nside_sparse == 4096 and 0.99 < made[made.valid_pixels].max() <= 1


def test_a_masked_image_is_empty(tile):
    with fits.open(tile / "flag.fits", mode="update") as hdus:
        hdus[0].data[:] = 1
    assert run(tile, N_RANDOM="5").status == "empty"


def test_mistakes_are_named(tile):
    fits.writeto(tile / "flag.fits", np.zeros((9, 9), np.int16), overwrite=True)
    outcome = run(tile, N_RANDOM="5")
    assert outcome.status == "failed" and "as the image" in outcome.error
    with pytest.raises(ConfigurationError):
        run(tile, N_RANDOM="5", HEALPIX_OUT_NSIDE="1000")
