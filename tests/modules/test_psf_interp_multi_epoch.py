"""psf_interp_runner in MULTI-EPOCH mode: the PSF of every exposure at every object of a stack."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import ldac, psfmodel, stampstore
from shapepipe.errors import BadInput, ConfigurationError
from shapepipe.modules.psf_interp_runner import psf_interp_runner
from shapepipe.testing import trial

SIZE, N = 21, 40
CENTRES = {("100", 0): (30.0, 10.0), ("100", 1): (30.0, 10.1), ("101", 0): (30.02, 10.03)}


def sky(centre, turn=1):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = centre, [1000, 1000]
    wcs.wcs.cd = np.array([[-5e-5, 0], [0, 5e-5]]) * turn
    return wcs


def write_model(path, seed, accepted=50):
    """Model of degree 1 with basis images of its own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    profile = np.exp(-0.5 * (rows**2 + columns**2 * rng.uniform(0.8, 1.2)) / 4)
    basis = np.array([profile, 0.05 * profile * columns**2 / 9, 0.05 * profile * rows**2 / 9])
    column = fits.Column("PSF_MASK", f"{basis.size}E", dim=f"({SIZE},{SIZE},3)", array=basis[None])
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    hdu.header.update({
        "LOADED": 60, "ACCEPTED": accepted, "CHI2": 1.0, "POLNAXIS": 2, "POLNGRP": 1,
        "POLNAME1": "XWIN_IMAGE", "POLZERO1": 1000.0, "POLSCAL1": 2000.0,
        "POLNAME2": "YWIN_IMAGE", "POLZERO2": 1000.0, "POLSCAL2": 2000.0, "POLDEG1": 1,
        "PSF_SAMP": 1.0,
    })  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


@pytest.fixture
def stack(tmp_path):
    """Catalogue with EPOCH tables, models and WCS; one CCD of exposure 101 is turned by 180 deg."""
    rng = np.random.default_rng(9)
    numbers = rng.permutation(np.arange(1, N + 1))
    objects = Table({"NUMBER": numbers, "XWIN_WORLD": 30 + rng.uniform(-0.03, 0.03, N),
                     "YWIN_WORLD": 10.03 + rng.uniform(-0.04, 0.1, N)})  # fmt: skip
    north = objects["YWIN_WORLD"] > 10.05
    tables = {}
    for i, (exposure, ccd) in enumerate((("100", np.where(north, 1, 0)),
                                         ("101", np.where(north, -1, 0)),
                                         ("100", np.where(north, 1, 0)))):  # fmt: skip
        tables[f"EPOCH_{i}"] = Table({
            "NUMBER": numbers, "EXP_NAME": np.full(N, exposure), "CCD_N": ccd.astype(np.int32),
        })  # fmt: skip
    tables["EPOCH_1"]["CCD_N"][-1] = tables["EPOCH_0"]["CCD_N"][-1] = -1
    tables["EPOCH_2"]["CCD_N"][-1] = -1
    ldac.write(tmp_path / "sexcat-277-282.fits", objects, extra=tables)
    (tmp_path / "psf").mkdir()
    for seed, (exposure, ccd) in enumerate(CENTRES):
        write_model(tmp_path / "psf" / f"star_selection-{exposure}-{ccd}.psf", seed)
    with SqliteDict(tmp_path / "log.sqlite") as log:
        for exposure in ("100", "101"):
            log[exposure] = np.array(
                [{"WCS": sky(centre, -1 if exposure == "101" else 1), "header": ""}
                 for (name, _), centre in CENTRES.items() if name == exposure])  # fmt: skip
        log.commit()
    return tmp_path


def run(stack, folder=None, **options):
    options = {"MODE": "MULTI-EPOCH", "ME_DOT_PSF_DIR": str(stack / "psf"),
               "ME_LOG_WCS": str(stack / "log.sqlite")} | options  # fmt: skip
    return trial(psf_interp_runner, {"stack": stack / "sexcat-277-282.fits"}, options,
                 number="-277-282", folder=folder or stack)  # fmt: skip


def test_every_epoch_has_the_psf_at_its_pixel(stack):
    outcome = run(stack)
    assert outcome.status == "ok", outcome.error
    assert [path.name for path in outcome.products] == ["galaxy_psf-277-282.sqlite"]
    objects = ldac.read(stack / "sexcat-277-282.fits")
    with SqliteDict(outcome.products[0], flag="r") as table:
        assert list(table) == [str(number) for number in objects["NUMBER"]]
        for row in range(N - 1):
            ra, dec = objects["XWIN_WORLD"][row], objects["YWIN_WORLD"][row]
            seen = table[str(objects["NUMBER"][row])]
            assert set(seen) == ({"100-1"} if dec > 10.05 else {"100-0", "101-0"})
            for label, entry in seen.items():
                exposure, ccd = label.split("-")
                wcs = sky(CENTRES[exposure, int(ccd)], -1 if exposure == "101" else 1)
                x, y = wcs.all_world2pix(ra, dec, 0)
                model = psfmodel.read_psf(stack / "psf" / f"star_selection-{label}.psf")
                expected = model.evaluate([x], [y])[0]
                assert np.abs(entry["VIGNET"] - expected).max() < 1e-6 * expected.max()
                assert entry["SHAPES"]["FLAG_PSF_HSM"] == 0
                assert 1.7 < entry["SHAPES"]["SIGMA_PSF_HSM"] < 2.4
        assert table[str(objects["NUMBER"][-1])] == {}
    assert outcome.metrics["n_without_psf"] == 1
    assert outcome.metrics["n_objects"] == N


def test_lost_epochs_are_logged_and_counted(stack):
    (stack / "psf" / "star_selection-101-0.psf").unlink()
    (stack / "psf" / "star_selection-100-1.psf").unlink()
    write_model(stack / "psf" / "star_selection-100-1.psf", 1, accepted=5)
    outcome = run(stack)
    assert outcome.status == "ok"
    assert "101-0: no PSF model found" in outcome.log
    assert "100-1: PSF model rejected: 5 stars" in outcome.log
    assert outcome.metrics["n_ccds_rejected"] == 2
    labels = {label for _, entry in stampstore.read_stamps(outcome.products[0]) for label in entry}
    assert labels == {"100-0"}


def test_same_input_gives_the_same_store(stack):
    first, second = run(stack, stack / "a"), run(stack, stack / "b")
    assert first.products[0].read_bytes() == second.products[0].read_bytes()
    entries = [e for _, seen in stampstore.read_stamps(first.products[0]) for e in seen.values()]
    assert all(entry["VIGNET"].dtype == np.float32 for entry in entries)


def test_stamps_of_usual_size_cost_a_fifth_at_most(tmp_path):
    stamp = np.ones((51, 51), np.float32)
    with stampstore.StampWriter(tmp_path / "s.sqlite") as store:
        for number in range(300):
            store.add([(number, {f"100-{k}": {"VIGNET": stamp.copy()} for k in range(3)})])
    assert (tmp_path / "s.sqlite").stat().st_size < 1.2 * 900 * stamp.nbytes


def test_catalogue_without_epochs_is_named(stack):
    ldac.write(stack / "sexcat-277-282.fits", ldac.read(stack / "sexcat-277-282.fits"))
    outcome = run(stack)
    assert outcome.status == "failed"
    assert "EPOCH_0" in outcome.error and "MAKE_POST_PROCESS" in outcome.error


def test_unknown_exposure_loses_epochs_only(stack):
    with SqliteDict(stack / "log.sqlite") as log:
        del log["101"]
        log.commit()
    outcome = run(stack)
    assert outcome.status == "ok"
    assert outcome.metrics["n_psf"] < outcome.metrics["n_views"]


def test_places_of_the_exposures_are_required(stack):
    with pytest.raises(ConfigurationError, match="needs ME_DOT_PSF_DIR and ME_LOG_WCS"):
        run(stack, ME_DOT_PSF_DIR="")


def test_other_files_are_no_store(tmp_path):
    (tmp_path / "a.sqlite").write_text("not a database, but long enough to look like a file")
    with pytest.raises(BadInput, match="no store"):
        list(stampstore.read_stamps(tmp_path / "a.sqlite"))
    with pytest.raises(BadInput, match="no such file"):
        list(stampstore.read_stamps(tmp_path / "b.sqlite"))


def test_a_catalogue_without_objects_gives_a_store_without_objects(stack):
    path = stack / "sexcat-277-282.fits"
    tables = {f"EPOCH_{i}": ldac.read(path, f"EPOCH_{i}")[:0] for i in range(3)}
    ldac.write(path, ldac.read(path)[:0], extra=tables)
    outcome = run(stack)
    assert outcome.status == "ok", outcome.error
    assert list(stampstore.read_stamps(outcome.products[0])) == []
