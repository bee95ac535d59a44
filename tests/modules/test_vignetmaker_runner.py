"""vignetmaker_runner: stamps of an image, and of all CCDs that see the objects of a stack."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import ldac, wcs
from shapepipe.errors import ConfigurationError
from shapepipe.modules.vignetmaker_runner import vignetmaker_runner
from shapepipe.testing import trial

SIZE, N = 11, 60
NY, NX = 120, 100
TURN = {("100", 0): 1, ("101", 4): -1}
KINDS = {"image": np.float32, "weight": np.float32, "flag": np.int16, "sexcat_background": ">f4"}


def sky(turn):
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (30.0, 10.0), (50.5, 60.5)
    solution.wcs.cd = turn * np.array([[-5e-5, 0], [0, 5e-5]])
    return solution


@pytest.fixture
def stack(tmp_path):
    """Objects of a stack, two exposures of which one is turned by 180 deg, images of four kinds."""
    rng = np.random.default_rng(8)
    x, y = rng.uniform(-0.4, NX - 0.6, N), rng.uniform(-0.4, NY - 0.6, N)
    ra, dec = wcs.pixel_to_world(sky(1), x, y)
    numbers = rng.permutation(np.arange(1, N + 1))
    objects = Table({"NUMBER": numbers, "XWIN_IMAGE": x + 1, "YWIN_IMAGE": y + 1,
                     "XWIN_WORLD": ra, "YWIN_WORLD": dec})  # fmt: skip
    stamps = rng.normal(size=(N, 5, 5)).astype(np.float32)
    stamps[:, 0, 1] = -1e30
    objects["VIGNET"] = stamps
    tables = {
        f"EPOCH_{i}": Table({"NUMBER": numbers, "EXP_NAME": np.full(N, exposure),
                             "CCD_N": np.full(N, ccd, np.int32)})
        for i, (exposure, ccd) in enumerate(TURN)
    }  # fmt: skip
    tables["EPOCH_1"]["CCD_N"][0] = tables["EPOCH_0"]["CCD_N"][:2] = -1
    ldac.write(tmp_path / "sexcat-277-282.fits", objects, extra=tables)
    for folder in ("ccds", "backgrounds"):
        (tmp_path / folder).mkdir()
    for (exposure, ccd), turn in TURN.items():
        for kind, dtype in KINDS.items():
            pixels = (rng.normal(size=(NY, NX)) * 50).astype(dtype)
            folder = "backgrounds" if "back" in kind else "ccds"
            path = tmp_path / folder / f"{kind}-{exposure}-{ccd}.fits"
            fits.writeto(path, pixels, sky(turn).to_header())
    with SqliteDict(tmp_path / "log.sqlite") as log:
        log["100"] = np.array([{"WCS": sky(1), "header": ""}])
        log["101"] = np.array([{"WCS": sky(-1), "header": ""}] * 5)
        log.commit()
    return tmp_path


def run(stack, inputs=None, **options):
    if options.get("MODE") == "MULTI-EPOCH":
        options = {"ME_IMAGE_DIR": f"{stack}/ccds, {stack}/backgrounds",
                   "ME_LOG_WCS": str(stack / "log.sqlite")} | options  # fmt: skip
    return trial(vignetmaker_runner, {"catalogue": stack / "sexcat-277-282.fits"} | (inputs or {}),
                 {"STAMP_SIZE": str(SIZE)} | options, number="-277-282", folder=stack)  # fmt: skip


def slice_by_hand(pixels, x, y, fill):
    row, column, reach = round(float(y)), round(float(x)), SIZE // 2
    padded = np.pad(pixels, SIZE, constant_values=fill)
    rows = slice(row + SIZE - reach, row + SIZE + reach + 1)
    return padded[rows, column + SIZE - reach : column + SIZE + reach + 1]


def test_every_epoch_is_the_slice_of_its_ccd_to_the_bit(stack):
    outcome = run(stack, MODE="MULTI-EPOCH")
    assert outcome.status == "ok", outcome.error
    assert sorted(path.name for path in outcome.products) == sorted(
        f"{kind}_vignet-277-282.sqlite" for kind in KINDS
    )
    objects = ldac.read(stack / "sexcat-277-282.fits")
    for kind, dtype in KINDS.items():
        folder = "backgrounds" if "back" in kind else "ccds"
        with SqliteDict(stack / "output" / f"{kind}_vignet-277-282.sqlite", flag="r") as store:
            assert list(store) == [str(number) for number in objects["NUMBER"]]
            for row, seen in enumerate(store.values()):
                assert list(seen) == [[], ["101-4"], ["100-0", "101-4"]][min(row, 2)]
                for label, entry in seen.items():
                    exposure, ccd = label.split("-")
                    path = stack / folder / f"{kind}-{label}.fits"
                    world = objects["XWIN_WORLD"][row], objects["YWIN_WORLD"][row]
                    x, y = WCS(fits.getheader(path)).all_world2pix(*world, 0)
                    fill = 1024 if kind == "flag" else 0
                    expected = slice_by_hand(fits.getdata(path), x, y, fill)
                    assert np.array_equal(entry["VIGNET"], expected)
                    assert entry["VIGNET"].dtype == np.dtype(dtype).newbyteorder("=")
    assert outcome.metrics["n_stamps"] == 4 * (2 * N - 3)


def test_a_missing_ccd_costs_its_epochs_and_is_counted(stack):
    (stack / "ccds" / "weight-101-4.fits").unlink()
    outcome = run(stack, MODE="MULTI-EPOCH")
    assert outcome.status == "ok" and outcome.metrics["n_ccds_missing"] == 1
    with SqliteDict(stack / "output" / "weight_vignet-277-282.sqlite", flag="r") as store:
        assert len(store) == N
        assert {label for seen in store.values() for label in seen} == {"100-0"}


def test_an_exposure_without_wcs_costs_its_epochs_and_is_counted(stack):
    with SqliteDict(stack / "log.sqlite") as log:
        del log["101"]
        log.commit()
    outcome = run(stack, MODE="MULTI-EPOCH")
    assert outcome.status == "ok" and outcome.metrics["n_without_wcs"] == N - 1


def test_one_directory_may_serve_all_kinds(stack):
    outcome = run(stack, MODE="MULTI-EPOCH", ME_IMAGE_DIR=str(stack / "ccds"),
                  ME_IMAGE_PATTERN="image, weight")  # fmt: skip
    assert outcome.metrics["n_ccds_missing"] == 0


@pytest.mark.parametrize("coordinates", ["PIX", "SPHE"])
def test_stamps_of_an_image_have_the_rows_of_the_catalogue(stack, coordinates):
    image = stack / "ccds" / "weight-100-0.fits"
    outcome = run(stack, {"image_1": image}, COORD=coordinates, PREFIX="weight")
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    assert product.name == "weight_vignet-277-282.fits"
    objects, found = ldac.read(stack / "sexcat-277-282.fits"), ldac.read(product)
    pixels = fits.getdata(image)
    for row in range(N):
        x, y = objects["XWIN_IMAGE"][row] - 1, objects["YWIN_IMAGE"][row] - 1
        assert np.array_equal(found["VIGNET"][row], slice_by_hand(pixels, x, y, 0))


def test_masked_pixels_get_the_value_asked_for(stack):
    outcome = run(stack, MASKING="True", MASK_VALUE="-5")
    (product,) = outcome.products
    assert product.name == "cat_vignet-277-282.fits"
    found, before = ldac.read(product), ldac.read(stack / "sexcat-277-282.fits")
    assert (found["VIGNET"][:, 0, 1] == -5).all()
    assert np.array_equal(found["VIGNET"][:, 1:], before["VIGNET"][:, 1:])
    assert found.colnames == before.colnames


@pytest.mark.parametrize("options", [{"STAMP_SIZE": "50"}, {"POSITION_PARAMS": "X"},
                                     {"MODE": "MULTI-EPOCH", "COORD": "PIX"},
                                     {"MODE": "MULTI-EPOCH", "ME_LOG_WCS": ""}])  # fmt: skip
def test_options_that_cannot_be_are_refused(stack, options):
    with pytest.raises(ConfigurationError):
        run(stack, **options)


def test_a_catalogue_without_objects_gives_stores_without_objects(stack):
    path = stack / "sexcat-277-282.fits"
    tables = {name: ldac.read(path, name)[:0] for name in ("EPOCH_0", "EPOCH_1")}
    ldac.write(path, ldac.read(path)[:0], extra=tables)
    outcome = run(stack, MODE="MULTI-EPOCH")
    assert outcome.status == "ok", outcome.error
    with SqliteDict(stack / "output" / "image_vignet-277-282.sqlite", flag="r") as store:
        assert len(store) == 0
    outcome = run(stack, {"image_1": stack / "ccds" / "weight-100-0.fits"})
    assert outcome.status == "ok" and len(ldac.read(outcome.products[0])) == 0
