"""The catalogue door for scripts: the tutorial's merging snippet, changes of columns, refusals."""

import numpy as np
import pytest
from astropy.io import fits as afits

from shapepipe.astro import ldac
from shapepipe.errors import BadInput
from shapepipe.pipeline import file_io as io

WRITE = io.BaseCatalog.OpenMode.ReadWrite


def table(first, n):
    """A small catalogue with a vector column and a text column."""
    rows = np.zeros(
        n, dtype=[("NUMBER", "i4"), ("MAG", "f4"), ("STAMP", "f4", (3, 2)), ("T", "U5")]
    )
    rows["NUMBER"] = np.arange(first, first + n)
    rows["MAG"] = 20 + rows["NUMBER"] / 10
    rows["STAMP"] = rows["NUMBER"][:, None, None]
    rows["T"] = "tile"
    return rows


def test_merging_snippet_of_the_tutorial_runs(tmp_path, monkeypatch):
    """Several catalogues are read, joined with numpy and saved as one."""
    monkeypatch.chdir(tmp_path)
    for name, first in (("a.fits", 1), ("b.fits", 11), ("c.fits", 21)):
        ldac.write_plain(name, table(first, 10), "RESULTS")
    names = sorted(path.name for path in tmp_path.iterdir())

    cat = io.FITSCatalog(names[0])
    cat.open()
    data = np.copy(cat.get_data())
    cat.close  # noqa: B018  as in the tutorial, which forgets the call
    for name in names[1:]:
        cat = io.FITSCatalog(name)
        cat.open()
        data = np.concatenate((data, np.copy(cat.get_data())))
        cat.close()
    final = io.FITSCatalog("final_cat.fits", open_mode=io.BaseCatalog.OpenMode.ReadWrite)
    final.save_as_fits(data, ext_name="RESULTS")

    with afits.open("final_cat.fits") as hdus:
        assert hdus[1].name == "RESULTS"
        assert list(hdus[1].data["NUMBER"]) == list(range(1, 31))
        assert hdus[1].data["STAMP"].shape == (30, 3, 2)
        assert set(hdus[1].data["T"]) == {"tile"}


def test_sextractor_switch_reads_and_writes_hdu_2_with_the_parent_header(tmp_path):
    parent, child = tmp_path / "parent.fits", tmp_path / "child.fits"
    ldac.write(parent, table(1, 4), header=afits.Header({"GAIN": 1.5}))
    old = io.FITSCatalog(parent, SEx_catalog=True)
    old.open()
    new = io.FITSCatalogue(child, open_mode=WRITE, SEx_catalog=True)
    new.save_as_fits(old.get_data()[:2], sex_cat_path=parent)
    assert ldac.count(child) == 2
    assert ldac.read_header(child)["GAIN"] == 1.5


def test_columns_and_cards_are_added_and_removed_on_disk(tmp_path):
    path = tmp_path / "cat.fits"
    cat = io.FITSCatalog(path, open_mode=WRITE)
    cat.save_as_fits({"A": np.arange(3.0), "B": np.arange(3)}, ext_name="OBJ")
    cat.add_col("C", np.arange(6).reshape(3, 2))
    cat.remove_col("B")
    cat.add_header_card("EXPNUM", 2366993, "exposure")
    cat.apply_mask(np.array([True, False, True]))
    cat.open()
    assert cat.get_col_names() == ["A", "C"]
    assert (cat.get_nb_rows(), cat.get_nb_cols()) == (2, 2)
    assert cat.get_data()["C"].tolist() == [[0, 1], [4, 5]]
    assert cat.get_header_value("EXPNUM") == 2366993
    assert [p.name for p in tmp_path.iterdir()] == ["cat.fits"]


def test_append_mode_adds_a_table(tmp_path):
    path = tmp_path / "cat.fits"
    ldac.write_plain(path, table(1, 2), "FIRST")
    cat = io.FITSCatalog(path, open_mode=io.BaseCatalog.OpenMode.Append)
    cat.save_as_fits([np.arange(5)], names=["N"], ext_name="SECOND")
    with afits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "FIRST", "SECOND"]


def test_images_are_saved_and_read(tmp_path):
    cat = io.FITSCatalog(tmp_path / "image.fits", hdu_no=0, open_mode=WRITE)
    cat.save_as_fits(np.eye(4, dtype=np.float32), image=True, image_header=afits.Header({"A": 1}))
    cat.open()
    assert np.array_equal(cat.get_data(), np.eye(4))
    assert cat.get_header()["A"] == 1


@pytest.mark.parametrize("act", [
    lambda cat: cat.save_as_fits({"A": [1]}),
    lambda cat: cat.add_col("B", [1]),
    lambda cat: cat.get_data(),
])  # fmt: skip
def test_read_only_and_unopened_catalogues_refuse(tmp_path, act):
    ldac.write_plain(tmp_path / "cat.fits", table(1, 1))
    with pytest.raises(io.CatalogError, match=r"cat\.fits"):
        act(io.FITSCatalog(tmp_path / "cat.fits"))


def test_missing_files_columns_and_names_are_named(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        io.FITSCatalog(tmp_path / "none.fits").open()
    cat = io.FITSCatalog(tmp_path / "cat.fits", open_mode=WRITE)
    with pytest.raises(io.CatalogError, match="without names"):
        cat.save_as_fits([np.arange(3)])
    cat.save_as_fits({"FLUX": [1.0]})
    with pytest.raises(BadInput, match="FLUXX is missing.*FLUX"):
        cat.remove_col("FLUXX")
    with pytest.raises(io.CatalogError, match="exists already"):
        cat.save_as_fits({"FLUX": [1.0]})
