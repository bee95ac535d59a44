"""Tables beside the images."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.astro import starcat


def test_tables_tell_units_and_meaning(clean_folder):
    table = Table.read(clean_folder / "truth/epochs-2366993.fits")
    assert str(table["psf_fwhm"].unit) == "arcsec" and str(table["ra"].unit) == "deg"
    objects = Table.read(clean_folder / "truth/objects.fits")
    assert len(np.unique(objects["id"])) == len(objects)
    exposures = Table.read(clean_folder / "truth/exposures.fits")
    assert list(exposures["number"]) == [2366993, 2366994]
    assert {"zero_point", "fscale", "psf_fwhm", "PV1_7"} <= set(exposures.colnames)


def test_star_catalogue_holds_the_bright_stars(clean_folder, clean_survey):
    stars = Table.read(clean_folder / "star_cat.fits")
    limit = clean_survey.stars.catalogue_limit
    objects = Table.read(clean_folder / "truth/objects.fits")
    bright = objects[objects["mag"] < limit]
    assert len(bright) > 5 and stars["mag"].max() < limit
    for row in bright:
        assert np.any((stars["ra"] == row["ra"]) & (stars["dec"] == row["dec"]))


def test_star_text_of_each_ccd_reads_as_gsc(clean_folder):
    """Stars on the CCD are in its text, at the same place as in the table."""
    truth = Table.read(clean_folder / "truth/epochs-2366993.fits")
    with fits.open(clean_folder / "exposures/image-2366993.fits") as hdus:
        headers = [hdu.header for hdu in hdus[1:]]
    for ccd, header in enumerate(headers):
        stars = starcat.read_gsc(clean_folder / f"star_cat/star_cat-2366993-{ccd}.cat")
        x, y = WCS(header).all_world2pix(stars.ra, stars.dec, 0)
        on_ccd = (x > -0.5) & (x < 399.5) & (y > -0.5) & (y < 359.5)
        expected = truth[(truth["ccd"] == ccd) & (truth["mag"] < 19.0)]
        assert np.sort(x[on_ccd]) == pytest.approx(np.sort(expected["x"]), abs=0.01)
        assert len(stars) > on_ccd.sum()  # haloes reach in from outside
