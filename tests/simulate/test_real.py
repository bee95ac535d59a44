"""Simulated pixels on headers that are given as text, with given bad pixels."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.errors import BadInput
from shapepipe.simulate import Survey
from shapepipe.simulate.real import read_headers, simulate_on_headers
from shapepipe.simulate.survey import GalaxySection, StarSection

SHAPE = (150, 132)


def ccd_header(index, sign):
    """Compressed HDU as CFHT writes it: a small frame with overscan on both sides."""
    cards = fits.Header()
    cards["XTENSION"], cards["BITPIX"] = "BINTABLE", 8
    cards["NAXIS"], cards["NAXIS1"], cards["NAXIS2"] = 2, 8, SHAPE[0]
    cards["ZIMAGE"], cards["ZNAXIS1"], cards["ZNAXIS2"] = True, SHAPE[1], SHAPE[0]
    cards["EXTNAME"], cards["CCDNICK"] = f"ccd{index:02d}", "Martinien"
    cards["DATASEC"] = "[11:122,1:140]"
    cards["GAIN"], cards["RDNOISE"], cards["SATURATE"] = 1.5 + 0.1 * index, 5, 69913
    cards["EXPTIME"], cards["BZERO"], cards["BSCALE"] = 200.1, 32668.0, 1.0
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TAN", "DEC--TAN"
    cards["CRVAL1"], cards["CRVAL2"] = 351.5589, 18.0463
    cards["CRPIX1"], cards["CRPIX2"] = 66.0 + sign * 100.0, 75.0
    cards["CD1_1"], cards["CD1_2"] = sign * 5.19e-5, 3.0e-7
    cards["CD2_1"], cards["CD2_2"] = 2.0e-7, -sign * 5.19e-5
    return cards


@pytest.fixture
def text(tmp_path):
    primary = fits.Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 0), ("EXPNUM", 2452990)])
    primary["OBJECT"] = "19A_ad_0422"
    units = [primary, ccd_header(0, 1), ccd_header(1, -1)]
    path = tmp_path / "2452990p.fits.header.gz"
    with gzip.open(path, "wt") as file:
        file.write("# HDU 0 in 2452990p.fits.fz:\n")
        file.write("".join(unit.tostring(sep="\n", endcard=True, padding=False) + "\n"
                           for unit in units))  # fmt: skip
    return path


@pytest.fixture
def bad_pixels(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for index in range(2):
        good = np.ones(SHAPE, np.int16)
        good[20 + index, 30:60] = 0
        hdus.append(fits.ImageHDU(good))
    fits.HDUList(hdus).writeto(tmp_path / "badpix.fits.gz")
    return tmp_path / "badpix.fits.gz"


def test_pixels_are_put_on_the_headers(text, bad_pixels, tmp_path):
    survey = Survey(stars=StarSection(density=60), galaxies=GalaxySection(density=0))
    number = simulate_on_headers(survey, text, tmp_path / "out", bad_pixels)
    assert number == 2452990
    with fits.open(tmp_path / "out/exposures/image-2452990.fits.fz") as images:
        assert images[0].header["OBJECT"] == "19A_ad_0422"
        assert [hdu.shape for hdu in images[1:]] == [SHAPE, SHAPE]
        header = images[1].header
        assert header["CCDNICK"] == "Martinien" and header["GAIN"] == 1.5
        assert header["CRPIX1"] == 166.0 and "FSCALE" in header
        pixels = images[1].data.astype(float)
    assert not pixels[:, :10].any() and not pixels[140:].any()
    truth = Table.read(tmp_path / "out/truth/epochs-2452990.fits")
    assert set(truth["ccd"]) == {0, 1}
    bright = truth[(truth["ccd"] == 0) & (truth["mag"] < 21)]
    x, y = WCS(header).all_world2pix(bright["ra"], bright["dec"], 0)
    assert x == pytest.approx(bright["x"], abs=1e-6)
    assert all(pixels[round(b), round(a)] > np.median(pixels) for a, b in zip(x, y, strict=True))


def test_flags_are_the_given_bad_pixels_and_the_overscan(text, bad_pixels, tmp_path):
    simulate_on_headers(Survey(), text, tmp_path / "out", bad_pixels)
    with (
        fits.open(tmp_path / "out/exposures/flag-2452990.fits.fz") as flags,
        fits.open(tmp_path / "out/exposures/weight-2452990.fits.fz") as weights,
    ):
        for index in range(2):
            flag = flags[index + 1].data
            rows, columns = np.nonzero(flag & 1)
            assert set(rows) == {20 + index} and set(columns) == set(range(30, 60))
            dark = np.ones(SHAPE, bool)
            dark[:140, 10:122] = False
            assert np.array_equal((flag & 512) != 0, dark)
            assert not weights[index + 1].data[dark | ((flag & 1) != 0)].any()


def test_some_ccds_only(text, tmp_path):
    simulate_on_headers(Survey(), text, tmp_path / "out", ccds=[1])
    with fits.open(tmp_path / "out/exposures/image-2452990.fits.fz") as images:
        assert [hdu.name for hdu in images[1:]] == ["ccd01"]


def test_bad_pixels_of_another_camera(text, tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 3)))]).writeto(tmp_path / "b.fits")
    with pytest.raises(BadInput, match="HDU 1 has shape"):
        simulate_on_headers(Survey(), text, tmp_path / "out", tmp_path / "b.fits")


def test_text_without_extensions(tmp_path):
    (tmp_path / "a.header").write_text("SIMPLE  =                    T\nEND\n")
    with pytest.raises(BadInput, match="1 header"):
        read_headers(tmp_path / "a.header")
