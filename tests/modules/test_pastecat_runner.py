"""pastecat_runner: columns side by side."""

import numpy as np
import pytest
from astropy.table import Table

from shapepipe.astro import ldac
from shapepipe.modules.pastecat_runner import pastecat_runner
from shapepipe.testing import trial


@pytest.fixture
def folder(tmp_path):
    ldac.write(tmp_path / "a.fits", Table({"NUMBER": [1, 2, 3], "X": [0.1, 0.2, 0.3]}))
    ldac.write_plain(tmp_path / "b.fits", Table({"NUMBER": [1, 2, 3], "Y": [7, 8, 9]}), "RESULTS")
    ldac.write_plain(tmp_path / "c.fits", Table({"NUMBER": [1, 3, 2], "Z": [7, 8, 9]}))
    ldac.write_plain(tmp_path / "d.fits", Table({"NUMBER": [1], "Z": [7]}))
    return tmp_path


def run(folder, second, **options):
    inputs = {"catalogue_1": folder / "a.fits", "catalogue_2": folder / second}
    return trial(pastecat_runner, inputs, options, number="-277-282", folder=folder)


def test_columns_stand_side_by_side(folder):
    outcome = run(folder, "b.fits", HDU="2, RESULTS", CHECK_COL_NAME="NUMBER", EXT_NAME="ALL")
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    assert product.name == "cat_pasted-277-282.fits"
    found = ldac.read(product, "ALL")
    assert found.colnames == ["NUMBER", "X", "Y"]
    assert np.array_equal(found["Y"], [7, 8, 9]) and np.array_equal(found["X"], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("second, hdu, said", [
    ("c.fits", "2, 1", "row 2: NUMBER = 3"), ("d.fits", "2, 1", "has 1 rows"),
    ("b.fits", "2, 1, 1", "3 values"), ("b.fits", "2", "HDU 2 is missing"),
])  # fmt: skip
def test_catalogues_that_do_not_belong_together_are_refused(folder, second, hdu, said):
    outcome = run(folder, second, HDU=hdu, CHECK_COL_NAME="NUMBER")
    assert outcome.status == "failed" and said in outcome.error


def test_old_and_new_name_lead_to_it():
    assert "paste_cat_runner" in pastecat_runner.aliases
