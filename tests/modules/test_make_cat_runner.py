"""make_cat_runner: every detected object once, with what was measured and what was not."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, Table

from shapepipe.astro import finalcat, ldac, stampstore
from shapepipe.astro import fits as sp_fits
from shapepipe.errors import ConfigurationError
from shapepipe.modules.make_cat_runner import make_cat_runner
from shapepipe.testing import trial

NUMBERS = np.array([3, 1, 4, 2, 5])
MEASURED = [4, 3, 5]  # in an order of their own
KINDS = finalcat.SHEAR_TYPES


def shape_table(kind):
    n = len(MEASURED)
    base = np.array(MEASURED) + 10.0 * KINDS.index(kind)
    columns = {name: base / 100 + i for i, name in enumerate(
        ("g1", "g2", "g1_err", "g2_err", "T", "T_err", "Tpsf", "s2n", "flux", "flux_err", "mag",
         "mag_err", "g1_psfo_ngmix", "g2_psfo_ngmix", "T_psfo_ngmix", "R1_g1"))}  # fmt: skip
    flags_a = Column(np.array([0, 0, 256], np.int32), description="of one half")
    columns |= {"g1_a": base + 1, "flags_a": flags_a}
    return Table({"id": MEASURED, "n_epoch_model": np.full(n, 2), "moments_fail": np.zeros(n, int),
                  "flags": np.array([0, 512, 0], np.int16), "mcal_flags": np.zeros(n, int),
                  **columns})  # fmt: skip


@pytest.fixture
def stack(tmp_path):
    objects = Table({"NUMBER": NUMBERS, "MAG_AUTO": NUMBERS + 17.0,
                     "VIGNET": np.zeros((5, 3, 3), np.float32)})  # fmt: skip
    objects["MAG_AUTO"].unit = "mag"
    objects["N_EPOCH"] = np.array([2, 1, 2, 0, 1], np.int32)
    ccds = {"2366993": [0, 7, 0, -1, -1], "2366994": [3, -1, 3, -1, 3]}
    tables = {f"EPOCH_{i}": Table({"NUMBER": NUMBERS, "EXP_NAME": np.full(5, name),
                                   "CCD_N": np.array(ccd, np.int32)})
              for i, (name, ccd) in enumerate(ccds.items())}  # fmt: skip
    header = fits.Header({"NAXIS1": 1600, "NAXIS2": 1500, "CRVAL1": 220.0, "FILTER": "r"})
    ldac.write(tmp_path / "sexcat.fits", objects, header=header, extra=tables)
    spread = Table({"NUMBER": NUMBERS, "SPREAD_MODEL": [0.0, 0.02, 0.005, -1.0, 0.0005],
                    "SPREADERR_MODEL": [0.001, 0.001, 0.002, 1.0, 0.002],
                    "SPREAD_FLAG": np.array([0, 0, 0, 1, 0], np.int16)})  # fmt: skip
    ldac.write(tmp_path / "sm.fits", spread)
    hdus = [fits.PrimaryHDU(), *(ldac.table_hdu(shape_table(kind), kind) for kind in KINDS)]
    sp_fits.write_hdus(tmp_path / "ngmix.fits", fits.HDUList(hdus))
    with stampstore.StampWriter(tmp_path / "psf.sqlite") as store:
        for number, seen in zip(NUMBERS, (["2366993-0", "2366994-3"], [], ["2366994-3"], [],
                                          ["2366994-3"]), strict=True):  # fmt: skip
            shapes = {"E1_PSF_HSM": 0.01 * number, "E2_PSF_HSM": -0.02, "SIGMA_PSF_HSM": 2.0,
                      "FLAG_PSF_HSM": 0}  # fmt: skip
            store.add([(number, {k: {"VIGNET": np.zeros((3, 3)), "SHAPES": shapes} for k in seen})])
    return tmp_path


def run(stack, **options):
    inputs = {"catalogue": stack / "sexcat.fits", "spread": stack / "sm.fits"}
    if options.get("SAVE_PSF_DATA"):
        inputs["psf"] = stack / "psf.sqlite"
    if options.get("SHAPE_MEASUREMENT_TYPE") != "":
        inputs["ngmix"] = stack / "ngmix.fits"
    return trial(make_cat_runner, inputs, options, number="-277-280", folder=stack)


def result(stack, **options):
    outcome = run(stack, **options)
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    return ldac.read(product, "RESULTS")


def test_every_detected_object_is_there_once_and_in_order(stack):
    table = result(stack)
    assert table["NUMBER"].tolist() == NUMBERS.tolist()
    assert "VIGNET" not in table.colnames and str(table["MAG_AUTO"].unit) == "mag"
    assert set(table["TILE_ID"]) == {"277.280"}


def test_shapes_stand_with_their_objects(stack):
    table = result(stack)
    for k, kind in enumerate(KINDS):
        for row, number in enumerate(NUMBERS):
            if number in MEASURED:
                base = (number + 10 * k) / 100
                assert table[f"NGMIX_ELL_{kind}"][row] == pytest.approx([base, base + 1])
                assert table[f"NGMIX_ELL_ERR_{kind}"][row] == pytest.approx([base + 2, base + 3])
                assert table[f"NGMIX_ELL_PSFo_{kind}"][row] == pytest.approx([base + 12, base + 13])
                assert table[f"NGMIX_R1_G1_{kind}"][row] == pytest.approx(base + 15)
                assert table[f"NGMIX_FLAGS_{kind}"][row] == (512 if number == 3 else 0)


def test_halves_of_the_noise_pair_are_passed_on(stack):
    table = result(stack)
    rows = [int(np.flatnonzero(NUMBERS == number)[0]) for number in MEASURED]
    for k, kind in enumerate(KINDS):
        expected = np.array(MEASURED) + 10.0 * k + 1
        assert table[f"NGMIX_G1_A_{kind}"][rows].tolist() == expected.tolist()
        assert table[f"NGMIX_FLAGS_A_{kind}"][rows].tolist() == [0, 0, 256]


def test_an_object_never_measured_is_flagged(stack):
    table, outcome = result(stack), run(stack)
    never = ~np.isin(NUMBERS, MEASURED)
    for kind in KINDS:
        assert (table[f"NGMIX_FLAGS_{kind}"][never] == finalcat.NOT_MEASURED).all()
        assert (table[f"NGMIX_ELL_{kind}"][never] == -10).all()
        assert (table[f"NGMIX_T_ERR_{kind}"][never] == 1e30).all()
        assert np.isnan(table[f"NGMIX_R1_G1_{kind}"][never]).all()
        assert (table[f"NGMIX_FLAGS_A_{kind}"][never] == finalcat.NOT_MEASURED).all()
    assert (table["NGMIX_MCAL_FLAGS"][never] == finalcat.NOT_MEASURED).all()
    assert table["NGMIX_N_EPOCH"].tolist() == [2, 0, 2, 0, 2]
    assert outcome.metrics["n_not_measured"] == 2 and outcome.metrics["n_shapes"] == 2


def test_epochs_keep_their_names(stack):
    table = result(stack)
    assert table["EXP_NAME_1"].tolist() == ["2366993", "2366993", "2366993", "", "2366994"]
    assert table["CCD_N_1"].tolist() == [0, 7, 0, -1, 3]
    assert table["EXP_NAME_2"].tolist() == ["2366994", "", "2366994", "", ""]
    assert table["CCD_N_2"].tolist() == [3, -1, 3, -1, -1]
    assert "EXP_NAME_3" not in table.colnames


def test_psfs_stand_with_their_epochs(stack):
    table = result(stack, SAVE_PSF_DATA="True")
    assert table["PSF_FLAG_1"].tolist() == [0, 1, 1, 1, 0]  # object 4 has a PSF in epoch 2 only
    assert table["PSF_FLAG_2"].tolist() == [0, 1, 0, 1, 1]
    assert table["PSF_ELL_2"][2] == pytest.approx([0.04, -0.02])
    assert table["PSF_ELL_1"][2].tolist() == [-10, -10] and table["PSF_FWHM_1"][2] == 0
    assert table["PSF_FWHM_1"][0] == pytest.approx(2 * 2.35482, rel=1e-5)


def test_classes_follow_the_formula(stack):
    assert result(stack)["SPREAD_CLASS"].tolist() == [0, 1, 2, 2, 2]
    table = result(stack, SM_ERROR_FACTOR="1", SM_STAR_STRESH="0.0026", SM_GAL_THRESH="0.006")
    assert table["SPREAD_CLASS"].tolist() == [0, 1, 1, 2, 0]
    assert "SPREAD_CLASS" not in result(stack, SM_DO_CLASSIFICATION="False").colnames


def test_the_header_tells_where_the_catalogue_comes_from(stack):
    (product,) = run(stack).products
    header = fits.getheader(product, "RESULTS")
    assert header["TILE_ID"] == "277.280" and header["SMSTAR"] == 0.003 and header["SPVERS"]
    assert "catalogue sexcat.fits" in [header[f"INPUT{i}"] for i in range(3)]
    primary = fits.getheader(product, 0)
    assert primary["CRVAL1"] == 220.0 and primary["STACKNX1"] == 1600 and primary["FILTER"] == "r"
    names = {header[f"TTYPE{i}"]: f"TCOMM{i}" in header for i in range(1, header["TFIELDS"] + 1)}
    own = ("NGMIX_E", "NGMIX_T", "NGMIX_F", "NGMIX_M", "EXP_NAME", "CCD_N", "SPREAD_C", "TILE_ID")
    assert all(described for name, described in names.items() if name.startswith(own))


def test_a_catalogue_without_shapes_can_be_made(stack):
    assert not any("NGMIX" in name for name in result(stack, SHAPE_MEASUREMENT_TYPE="").colnames)


@pytest.mark.parametrize("ids", [[4, 3, 9], [4, 3, 3]])
def test_shapes_of_other_objects_are_refused(stack, ids):
    hdus = [fits.PrimaryHDU()]
    for kind in KINDS:
        table = shape_table(kind)
        table["id"] = ids
        hdus.append(ldac.table_hdu(table, kind))
    sp_fits.write_hdus(stack / "ngmix.fits", fits.HDUList(hdus))
    outcome = run(stack)
    assert outcome.status == "failed" and f"object {ids[-1]}" in outcome.error


def test_thresholds_that_overlap_are_refused(stack):
    with pytest.raises(ConfigurationError):
        run(stack, SM_STAR_THRESH="0.02")


def test_a_catalogue_without_objects_gives_one(stack):
    def emptied(name, hdus):
        return {hdu: ldac.read(stack / name, hdu)[:0] for hdu in hdus}

    tables = emptied("sexcat.fits", ("LDAC_OBJECTS", "EPOCH_0", "EPOCH_1"))
    ldac.write(stack / "sexcat.fits", tables.pop("LDAC_OBJECTS"), extra=tables)
    ldac.write(stack / "sm.fits", ldac.read(stack / "sm.fits")[:0])
    shapes = [ldac.table_hdu(t, kind) for kind, t in emptied("ngmix.fits", KINDS).items()]
    sp_fits.write_hdus(stack / "ngmix.fits", fits.HDUList([fits.PrimaryHDU(), *shapes]))
    table = result(stack)
    assert len(table) == 0 and "NGMIX_ELL_1M" in table.colnames
