"""Merging of star catalogues."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from shapepipe.astro import ldac, starmerge
from shapepipe.errors import BadInput


def validation_table(n, seed=0, without=()):
    rng = np.random.default_rng(seed)
    table = Table({name: rng.normal(size=n) for name in starmerge.PLACE})
    for name in starmerge.SHAPES:
        table[name] = np.zeros(n, int) if name.startswith("FLAG") else rng.normal(size=n)
    for name in ("MAG", "SNR", *starmerge.PIXELS):
        table[name] = rng.normal(size=n).astype(np.float32)
    table["ACCEPTED"], table["NUMBER"] = np.ones(n, np.int16), np.arange(1, n + 1)
    table.remove_columns(list(without))
    return table


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("-2366993-18", ("2366993", 18)),
        ("-2366993-0", ("2366993", 0)),
        ("-2366993", ("2366993", 0)),
        ("_7", ("7", 0)),
        ("-2020.11.21-r-3", ("2020.11.21-r", 3)),
        ("", ("", 0)),
    ],
)
def test_number_gives_exposure_and_ccd(number, expected):
    assert starmerge.split_number(number) == expected


def test_merged_table_holds_all_rows_in_order(tmp_path):
    merger = starmerge.Merger(tmp_path / "rows")
    sizes = {"-100-1": 5, "-100-12": 0, "-2366993-3": 7}
    width = starmerge.name_width(sizes)
    originals = []
    for seed, (number, n) in enumerate(sizes.items()):
        originals.append(validation_table(n, seed))
        ldac.write(tmp_path / "one.fits", originals[-1])
        table = starmerge.read_validation(tmp_path / "one.fits")
        merger.add(starmerge.label(table, number, width))
    merger.write(tmp_path / "all.fits")
    merged = ldac.read(tmp_path / "all.fits")
    assert list(merged["CCD_NB"]) == [1] * 5 + [3] * 7
    assert list(merged["EXP_NAME"].astype(str)) == ["100"] * 5 + ["2366993"] * 7
    np.testing.assert_array_equal(merged["RA"], np.concatenate([t["RA"] for t in originals]))
    assert merged["SIGMA_PSF_HSM"].unit == "pix"
    assert "reduced shear" in merged["E1_STAR_HSM"].description
    assert not (tmp_path / "rows").exists()
    with fits.open(tmp_path / "all.fits") as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS"]
    assert (tmp_path / "all.fits").stat().st_size % 2880 == 0


def test_older_catalogues_lack_pixel_residuals_and_are_read(tmp_path):
    ldac.write(tmp_path / "a.fits", validation_table(4, without=[*starmerge.PIXELS, "ACCEPTED"]))
    table = starmerge.read_validation(tmp_path / "a.fits")
    assert np.isnan(table["RMS_PIX"]).all()
    assert (table["ACCEPTED"] == -1).all()


def test_missing_shape_is_named(tmp_path):
    ldac.write(tmp_path / "a.fits", validation_table(4, without=["E2_STAR_HSM"]))
    with pytest.raises(BadInput, match="E2_STAR_HSM"):
        starmerge.read_validation(tmp_path / "a.fits")


def test_windowed_moments_give_ellipticities(tmp_path):
    a, b, theta = 3.0, 2.0, 0.4
    cos, sin = np.cos(theta), np.sin(theta)
    stars = Table({name: np.zeros(1) for name in (
        "XWIN_IMAGE", "YWIN_IMAGE", "XWIN_WORLD", "YWIN_WORLD", "FLUX_RADIUS", "MAG_AUTO",
        "SNR_WIN")})  # fmt: skip
    stars["FLAGS"] = np.zeros(1, np.int16)
    stars["X2WIN_IMAGE"] = a**2 * cos**2 + b**2 * sin**2
    stars["Y2WIN_IMAGE"] = a**2 * sin**2 + b**2 * cos**2
    stars["XYWIN_IMAGE"] = (a**2 - b**2) * cos * sin
    ldac.write(tmp_path / "a.fits", stars)
    found = starmerge.read_moments(tmp_path / "a.fits")
    epsilon, chi = (a - b) / (a + b), (a**2 - b**2) / (a**2 + b**2)
    assert found["EPS1"][0] == pytest.approx(epsilon * np.cos(2 * theta))
    assert found["EPS2"][0] == pytest.approx(epsilon * np.sin(2 * theta))
    assert found["CHI1"][0] == pytest.approx(chi * np.cos(2 * theta))
    assert found["CHI2"][0] == pytest.approx(chi * np.sin(2 * theta))


def test_flagged_stars_do_not_count():
    table = validation_table(6)
    table["FLAG_STAR_HSM"][2] = 4
    table["E1_PSF_HSM"][3] = np.nan
    assert starmerge.shape_residuals(table).shape == (4, 6)
