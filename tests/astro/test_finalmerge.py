"""Catalogues of many stacks in one: all rows, and marks where stacks overlap."""

import importlib.util

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.astro import finalmerge, ldac, wcs
from shapepipe.errors import BadInput

SIZE = 600
CENTRES = {"277-282": (0.0, 51.0), "278-282": (0.8, 51.0), "277-283": (0.0, 51.5)}


def sky(ra, dec):
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (ra, dec), (SIZE / 2, SIZE / 2)
    solution.wcs.cd = np.array([[-1e-3, 0], [0, 1e-3]])  # 0.6 deg wide: they overlap
    return solution


@pytest.fixture
def catalogues(tmp_path):
    """Three stacks across RA = 0 with the same objects of the sky where they overlap."""
    rng = np.random.default_rng(6)
    ra, dec = rng.uniform(-0.6, 1.4, 4000) % 360, rng.uniform(50.6, 51.9, 4000)
    for epochs, (tile, centre) in enumerate(CENTRES.items(), 1):
        x, y = wcs.world_to_pixel(sky(*centre), ra, dec)
        inside = (x > -0.5) & (x < SIZE - 0.5) & (y > -0.5) & (y < SIZE - 0.5)
        table = Table({"NUMBER": np.arange(inside.sum()) + 1, "XWIN_WORLD": ra[inside],
                       "YWIN_WORLD": dec[inside], "SKY_ID": np.flatnonzero(inside),
                       "TILE_ID": np.full(inside.sum(), tile.replace("-", "."))})  # fmt: skip
        table["XWIN_WORLD"].unit = "deg"
        for i in range(1, epochs + 1):
            table[f"EXP_NAME_{i}"] = [f"{10**epochs}"] * len(table)
            table[f"PSF_ELL_{i}"] = rng.normal(size=(len(table), 2))
        primary = fits.PrimaryHDU(header=sky(*centre).to_header())
        primary.header["STACKNX1"] = primary.header["STACKNX2"] = SIZE
        hdus = fits.HDUList([primary, ldac.table_hdu(table, "RESULTS")])
        hdus.writeto(tmp_path / f"final_cat-{tile}.fits")
    return sorted(tmp_path.glob("final_cat-*.fits"))


def test_all_rows_are_there_as_they_were(catalogues, tmp_path):
    figures = finalmerge.merge(catalogues, tmp_path / "all.fits")
    found = ldac.read(tmp_path / "all.fits", "RESULTS")
    parts = [ldac.read(path, 1) for path in catalogues]
    assert figures["objects"] == len(found) == sum(len(part) for part in parts)
    start = 0
    for part in parts:
        rows = found[start : start + len(part)]
        start += len(part)
        for name in part.colnames:
            assert np.array_equal(rows[name], part[name]), name
        for name in set(found.colnames) - set(part.colnames) - {"N_TILES", "IS_PRIMARY"}:
            assert (np.asarray(rows[name]) == ("" if "NAME" in name else -10)).all()
    assert str(found["XWIN_WORLD"].unit) == "deg" and found["N_TILES"].description


def test_every_object_is_primary_once(catalogues, tmp_path):
    figures = finalmerge.merge(catalogues, tmp_path / "all.fits")
    found = ldac.read(tmp_path / "all.fits", "RESULTS")
    ids, counts = np.unique(found["SKY_ID"], return_counts=True)
    assert np.array_equal(np.unique(found["SKY_ID"][found["IS_PRIMARY"]]), ids)
    assert found["IS_PRIMARY"].sum() == len(ids)
    assert np.array_equal(counts[np.searchsorted(ids, found["SKY_ID"])], found["N_TILES"])
    assert counts.max() >= 2 and figures["shared"] == (found["N_TILES"] > 1).sum() > 100


def test_columns_can_be_chosen(catalogues, tmp_path):
    finalmerge.merge(catalogues, tmp_path / "some.fits", ["NUMBER", "EXP_NAME_3"])
    found = ldac.read(tmp_path / "some.fits", "RESULTS")
    assert found.colnames == ["NUMBER", "EXP_NAME_3", "N_TILES", "IS_PRIMARY"]
    with pytest.raises(BadInput, match="MAGG is missing"):
        finalmerge.merge(catalogues, tmp_path / "none.fits", ["MAGG"])


def test_a_damaged_catalogue_is_named_and_nothing_is_left(catalogues, tmp_path):
    catalogues[1].write_bytes(catalogues[1].read_bytes()[:-20000])
    with pytest.raises(BadInput, match="277-283"):
        finalmerge.merge(catalogues, tmp_path / "all.fits")
    assert not list(tmp_path.glob("*all.fits"))


def test_the_same_catalogues_give_the_same_bytes(catalogues, tmp_path):
    for name in ("a.fits", "b.fits"):
        finalmerge.merge(catalogues, tmp_path / name)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


@pytest.mark.parametrize("name, package", [("all.h5", "h5py"), ("all.parquet", "pyarrow")])
def test_other_formats_need_their_package(catalogues, tmp_path, name, package):
    if importlib.util.find_spec(package) is None:
        with pytest.raises(BadInput, match=f"{package} is not installed"):
            finalmerge.merge(catalogues, tmp_path / name)
        return
    finalmerge.merge(catalogues, tmp_path / "all.fits")
    finalmerge.merge(catalogues, tmp_path / name)
    expected = ldac.read(tmp_path / "all.fits", "RESULTS")
    if package == "h5py":
        with pytest.importorskip("h5py").File(tmp_path / name) as file:
            found = {key: np.asarray(values) for key, values in file["RESULTS"].items()}
            assert file["RESULTS"]["XWIN_WORLD"].attrs["unit"] == "deg"
    else:
        table = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / name)
        found = {key: np.array(table[key].to_pylist()) for key in table.column_names}
    assert set(found) == set(expected.colnames)
    for key in expected.colnames:
        assert np.array_equal(found[key].astype(expected[key].dtype), expected[key]), key


def test_an_unknown_extension_is_refused(catalogues, tmp_path):
    with pytest.raises(BadInput, match="npy"):
        finalmerge.merge(catalogues, tmp_path / "all.npy")
