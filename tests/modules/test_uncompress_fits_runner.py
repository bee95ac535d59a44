"""uncompress_fits_runner: one HDU of each file, to the bit."""

import numpy as np
import pytest
from astropy.io import fits

from shapepipe.errors import ConfigurationError
from shapepipe.modules.uncompress_fits_runner import uncompress_fits_runner
from shapepipe.testing import trial


@pytest.fixture
def packed(tmp_path):
    pixels = np.random.default_rng(1).normal(size=(30, 40)).astype(np.float32)
    pixels[:5] = 0
    cards = fits.Header({"CRVAL1": 210.5, "OBJECT": "CFIS.277.282"})
    hdu = fits.CompImageHDU(pixels, cards, compression_type="GZIP_2", quantize_level=0)
    path = tmp_path / "CFIS_weight-277-282.fitsfz"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path, pixels


def run(folder, inputs, **options):
    return trial(uncompress_fits_runner, inputs, options, number="-277-282", folder=folder)


def test_pixels_and_header_come_out_plain(tmp_path, packed):
    path, pixels = packed
    outcome = run(tmp_path, {"file_1": path}, OUTPUT_PATTERN="CFIS_weight", HDU_DATA="1")
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    assert product.name == "CFIS_weight-277-282.fits"
    with fits.open(product) as hdus:
        assert len(hdus) == 1 and np.array_equal(hdus[0].data, pixels)
        assert hdus[0].header["CRVAL1"] == 210.5 and "ZIMAGE" not in hdus[0].header


def test_each_input_has_its_own_name(tmp_path, packed):
    path, pixels = packed
    outcome = run(tmp_path, {"file_1": path, "file_2": path}, OUTPUT_PATTERN="a, b", HDU_DATA="1")
    assert sorted(p.name for p in outcome.products) == ["a-277-282.fits", "b-277-282.fits"]


def test_an_hdu_that_is_not_there_is_named(tmp_path, packed):
    outcome = run(tmp_path, {"file_1": packed[0]}, OUTPUT_PATTERN="a", HDU_DATA="4")
    assert outcome.status == "failed" and "HDU 4 is missing" in outcome.error
    with pytest.raises(ConfigurationError):
        run(tmp_path, {"file_1": packed[0]}, OUTPUT_PATTERN="a, b, c, d, e")
