"""merge_sep_cats_runner: the parts of a stack in one catalogue."""

from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

from shapepipe.astro import ldac
from shapepipe.errors import BadInput
from shapepipe.modules.merge_sep_cats_runner import merge_sep_cats_runner, part_paths
from shapepipe.testing import trial

NAME = "ngmix_runner/output/ngmix-271-112.fits"


@pytest.fixture
def parts(tmp_path):
    """Three parts below directories whose names hold more than one 1."""
    folder = tmp_path / "run_1_2020-11-01"
    for k in (1, 2, 3):
        path = folder / f"run_sp_tile_ngmix_Ng{k}u" / NAME
        path.parent.mkdir(parents=True)
        tables = [ldac.table_hdu(Table({"id": [2 * k, 2 * k + 1], "g1": [j * 1.0, k]}), name)
                  for j, name in enumerate(("1M", "NOSHEAR"))]  # fmt: skip
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
    return folder / "run_sp_tile_ngmix_Ng1u" / NAME


def run(first, folder, **options):
    options = {"N_SPLIT_MAX": "3"} | options
    return trial(merge_sep_cats_runner, {"part": first}, options, "-271-112", folder)


def test_rows_of_all_parts_follow_each_other(parts, tmp_path):
    outcome = run(parts, tmp_path)
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    assert product.name == "ngmix-271-112.fits"
    for j, name in enumerate(("1M", "NOSHEAR")):
        table = ldac.read(product, name)
        assert table["id"].tolist() == [2, 3, 4, 5, 6, 7]
        assert table["g1"].tolist() == [j, 1, j, 2, j, 3]


def test_a_missing_part_is_an_error_unless_told_otherwise(parts, tmp_path):
    outcome = run(parts, tmp_path, N_SPLIT_MAX="4")
    assert outcome.status == "failed" and "Ng4u" in outcome.error
    outcome = run(parts, tmp_path, N_SPLIT_MAX="4", WARNING="always")
    assert outcome.status == "ok" and outcome.metrics["n_missing"] == 1


def test_one_part_is_itself(parts, tmp_path):
    outcome = run(parts, tmp_path, N_SPLIT_MAX="1")
    assert outcome.metrics == {"n_parts": 1, "n_missing": 0, "n_objects": 2}


def test_a_path_without_number_is_a_clear_error():
    with pytest.raises(BadInput, match="no number 1"):
        part_paths(Path("/data/2113737/run_Ng11u/ngmix.fits"), 3)
