"""match_external_runner: columns of the nearest neighbour."""

import numpy as np
import pytest
from astropy.table import Table

from shapepipe.astro import ldac
from shapepipe.errors import ConfigurationError
from shapepipe.modules.match_external_runner import match_external_runner
from shapepipe.testing import trial


@pytest.fixture
def catalogue(tmp_path):
    objects = Table({"NUMBER": [1, 2, 3, 4], "XWIN_WORLD": [10.0, 10.01, 10.02, 10.03],
                     "YWIN_WORLD": np.zeros(4)})  # fmt: skip
    epoch = Table({"NUMBER": [1, 2, 3, 4], "EXP_NAME": ["7"] * 4, "CCD_N": [0, 1, 2, 3]})
    ldac.write(tmp_path / "sexcat.fits", objects, extra={"EPOCH_0": epoch})
    external = Table({"ra": [10.02001, 10.0, 10.0301], "dec": [0.0, 0.00001, 0.0],
                      "z": np.array([0.3, 0.1, 0.9], np.float32), "id": np.array([33, 11, 99]),
                      "name": ["c", "a", "d"]})  # fmt: skip
    external["z"].description = "redshift"
    external.write(tmp_path / "external.fits")
    external.write(tmp_path / "external.ecsv")
    return tmp_path


def run(folder, **options):
    options = {
        "TOLERANCE": "0.3",
        "EXTERNAL_CAT_PATH": str(folder / "external.fits"),
        "EXTERNAL_COL_MATCH": "ra, dec",
        "EXTERNAL_COL_COPY": "z, id, name",
    } | options
    inputs = {"catalogue": folder / "sexcat.fits"}
    return trial(match_external_runner, inputs, options, number="-277-282", folder=folder)


@pytest.mark.parametrize("name", ["external.fits", "external.ecsv"])
def test_matched_objects_get_the_columns(catalogue, name):
    outcome = run(catalogue, EXTERNAL_CAT_PATH=str(catalogue / name), OUTPUT_DISTANCE="True")
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    found = ldac.read(product, "MATCHED")
    assert product.name == "cat_matched-277-282.fits"
    assert found["NUMBER"].tolist() == [1, 3] and found["id"].tolist() == [11, 33]
    assert found["name"].tolist() == ["a", "c"]
    assert found["z"].description == ("redshift" if name.endswith("ecsv") else None)
    assert found["distance"].tolist() == pytest.approx([0.036, 0.036], rel=1e-3)
    assert outcome.metrics == {"n_objects": 4, "n_matched": 2, "n_rows": 2}


def test_others_are_kept_with_a_mark(catalogue):
    (product,) = run(catalogue, MARK_NON_MATCHED="-99", MODE="MULTI-EPOCH").products
    found = ldac.read(product, "MATCHED")
    assert found["id"].tolist() == [11, -99, 33, -99]
    assert found["z"].tolist() == pytest.approx([0.1, -99, 0.3, -99])
    assert len(ldac.read(product, "EPOCH_0")) == 4


def test_epochs_keep_the_rows_of_the_objects(catalogue):
    (product,) = run(catalogue, MODE="MULTI-EPOCH").products
    assert ldac.read(product, "EPOCH_0")["CCD_N"].tolist() == [0, 2]


def test_no_match_at_all_is_no_usable_data(catalogue):
    assert run(catalogue, TOLERANCE="0.001").status == "empty"


def test_mistakes_are_named(catalogue):
    outcome = run(catalogue, EXTERNAL_COL_COPY="zz")
    assert outcome.status == "failed" and "column zz is missing" in outcome.error
    with pytest.raises(ConfigurationError):
        run(catalogue, EXTERNAL_COL_MATCH="ra")
