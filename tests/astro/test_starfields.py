"""Star catalogues for each image of a directory, and the command that writes them."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.astro import starcat, starfields
from shapepipe.errors import BadInput

SCRIPT = Path(__file__).parents[2] / "scripts" / "create_star_cat"
SCALE = 0.2 / 3600


def image(ra, dec=1.0, shape=(200, 100)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, dec], [50, 100]
    wcs.wcs.cdelt = [-SCALE, SCALE]
    return fits.ImageHDU(np.zeros(shape, "f4"), wcs.to_header())


@pytest.fixture
def folders(tmp_path):
    """Two exposures of three CCDs, 0.1 deg apart, and a catalogue with a star in each CCD."""
    (tmp_path / "in").mkdir()
    centres = []
    for k, number in enumerate(("2113737", "2113738")):
        ras = [(k + 0.1 * i) % 360 for i in (-1, 0, 1)]
        hdus = [fits.PrimaryHDU(), *(image(ra) for ra in ras)]
        fits.HDUList(hdus).writeto(tmp_path / "in" / f"image-{number}.fits")
        centres += ras
    (tmp_path / "in" / "weight-2113737.fits").write_bytes(b"")
    table = Table({"ra": centres, "dec": np.ones(6), "mag": [8.0, 9, np.nan, 11, 12, 25]})
    table.write(tmp_path / "stars.fits")
    return tmp_path


def create_star_cat(*arguments):
    return runpy.run_path(str(SCRIPT))["main"]([str(a) for a in arguments])


def test_each_ccd_of_an_exposure_gets_its_catalogue(folders, capsys):
    status = create_star_cat(folders / "in", folders / "out", "exp",
                             "--catalogue", folders / "stars.fits", "--margin", 1)  # fmt: skip
    assert status == 0
    names = sorted(path.name for path in (folders / "out").iterdir())
    assert names == [f"star_cat-{e}-{ccd}.cat" for e in (2113737, 2113738) for ccd in (0, 1, 2)]
    mags = [starcat.read(folders / "out" / name).mag.tolist() for name in names]
    np.testing.assert_equal(mags, [[8.0], [9.0], [np.nan], [11.0], [12.0], []])
    assert "star_cat-2113738-2.cat: 0 stars" in capsys.readouterr().out


def test_without_exp_each_file_is_one_image(folders):
    assert create_star_cat(folders / "in", folders / "out",
                           "--catalogue", folders / "stars.fits") == 0  # fmt: skip
    names = sorted(path.name for path in (folders / "out").iterdir())
    assert names == ["star_cat-2113737.cat", "star_cat-2113738.cat"]


def test_stars_outside_the_image_are_written_within_the_margin(folders):
    path = folders / "in" / "image-2113737.fits"
    source = starfields.from_catalogue(starcat.read(folders / "stars.fits"))
    for margin, n in ((0.05, 1), (0.1, 2)):
        assert next(starfields.write_fields(path, folders, source, margin, True))[1] == n


def test_a_broken_file_is_named_and_the_others_are_written(folders, capsys):
    (folders / "in" / "image-1.fits").write_bytes(b"SIMPLE  =")
    assert create_star_cat(folders / "in", folders / "out", "exp",
                           "--catalogue", folders / "stars.fits") == 1  # fmt: skip
    assert "image-1.fits" in capsys.readouterr().err
    assert len(list((folders / "out").iterdir())) == 6


def test_nothing_to_do_is_said(folders, capsys):
    assert create_star_cat(folders / "in", folders / "out", "--pattern", "picture",
                           "--catalogue", folders / "stars.fits") == 2  # fmt: skip
    assert "no FITS image has 'picture' in its name" in capsys.readouterr().err


@pytest.mark.parametrize("name, number", [
    ("image-2113737.fits", "-2113737"), ("image-2113737-18.fits.fz", "-2113737-18"),
    ("CFIS_image-277-282.fitsfz", "-277-282"), ("image_17.fits", "_17"),
])  # fmt: skip
def test_numbers_are_read_from_file_names(name, number):
    assert starfields.number_of(Path(name)) == number


def test_a_file_without_number_is_refused():
    with pytest.raises(BadInput, match="no number"):
        starfields.number_of(Path("image.fits"))
