"""sextractor_runner on a stack: EPOCH tables and N_EPOCH."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import ldac
from shapepipe.errors import ConfigurationError
from shapepipe.modules.sextractor_runner import sextractor_runner
from shapepipe.testing import trial

pytestmark = pytest.mark.programs("sextractor")
CONFIG = Path(__file__).parents[2] / "example" / "config"
SIZE = 400
NAMES = ["2366993", "2366994", "2366995"]


def sky(x, y):
    """WCS of an image whose pixel (x, y) is the centre of the stack."""
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (0.0, 51.0), (x, y)
    solution.wcs.cd = np.array([[-5.2e-5, 0], [0, 5.2e-5]])
    return solution


@pytest.fixture
def stack(tmp_path):
    """A stack of round sources across RA = 0, and two exposures; a third is not known."""
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32)
    rows, columns = np.indices((SIZE, SIZE))
    for x, y in ((x, y) for x in range(40, SIZE, 60) for y in range(40, SIZE, 60)):
        image += (60 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 12)).astype(np.float32)
    header = sky(SIZE / 2, SIZE / 2).to_header()
    for name in NAMES:
        header.add_history(f" input image {name}p.fits 2 extension(s)")
    fits.writeto(tmp_path / "CFIS_image-277-282.fits", image, header)
    with SqliteDict(tmp_path / "log.sqlite") as log:
        log[NAMES[0]] = np.array([{"WCS": sky(200, 200)}, {"WCS": sky(200, -300)}])
        log[NAMES[1]] = np.array([{"WCS": sky(5000, 5000)}, {"WCS": sky(300, 200)}])
        log.commit()
    return tmp_path


def run(stack, **options):
    inputs = {"image": stack / "CFIS_image-277-282.fits"}
    files = {
        f"DOT_{kind}_FILE": str(CONFIG / name)
        for kind, name in (
            ("SEX", "default_tile.sex"),
            ("PARAM", "default.param"),
            ("CONV", "default.conv"),
        )
    }
    options = {"WEIGHT_IMAGE": "False", "FLAG_IMAGE": "False", "PREFIX": "sexcat",
               "MAKE_POST_PROCESS": "True", "LOG_WCS": str(stack / "log.sqlite"),
               "CCD_SIZE": "0, 399, 0, 399"} | files | options  # fmt: skip
    return trial(sextractor_runner, inputs, options, number="-277-282", folder=stack)


def test_tables_tell_which_ccd_sees_an_object(stack):
    outcome = run(stack)
    assert outcome.status == "ok", outcome.error
    (path,) = outcome.products
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus][2:] == ["LDAC_OBJECTS", "EPOCH_0", "EPOCH_1", "EPOCH_2"]
        assert hdus["EPOCH_0"].columns["EXP_NAME"].format == "7A"
    objects = ldac.read(path)
    x = objects["XWIN_IMAGE"] - 1
    assert objects.colnames[-1] == "N_EPOCH" and len(objects) == 36
    seen = [ldac.read(path, f"EPOCH_{i}") for i in range(3)]
    for table, name in zip(seen, NAMES, strict=True):
        assert np.array_equal(table["NUMBER"], objects["NUMBER"])
        assert set(table["EXP_NAME"]) == {name.encode()} or set(table["EXP_NAME"]) == {name}
    assert (seen[0]["CCD_N"] == 0).all()
    assert np.array_equal(seen[1]["CCD_N"], np.where(x + 100 < 399, 1, -1))
    assert (seen[2]["CCD_N"] == -1).all()
    assert np.array_equal(objects["N_EPOCH"], 1 + (x + 100 < 399))
    assert outcome.metrics["n_exposures_unknown"] == 1


def test_everything_but_the_epochs_is_as_without_them(stack):
    (plain,) = run(stack, MAKE_POST_PROCESS="False").products
    before, header = ldac.read(plain), ldac.read_header(plain)
    (path,) = run(stack).products
    after = ldac.read(path)
    assert after.colnames[:-1] == before.colnames
    for name in before.colnames:
        assert np.array_equal(after[name], before[name]) and after[name].unit == before[name].unit
    assert ldac.read_header(path).tostring() == header.tostring()


def test_a_stack_without_history_is_a_clear_error(stack):
    with fits.open(stack / "CFIS_image-277-282.fits", mode="update") as hdus:
        del hdus[0].header["HISTORY"]
    outcome = run(stack)
    assert outcome.status == "failed"
    assert "CFIS_image-277-282.fits: no HISTORY card names an exposure" in outcome.error


def test_a_stack_whose_exposures_are_all_unknown_is_a_clear_error(stack):
    outcome = run(stack, EXP_PATTERN=r"extension\((s)\)")
    assert outcome.status == "failed" and "none of the exposures" in outcome.error


@pytest.mark.parametrize("options", [{"LOG_WCS": ""}, {"CCD_SIZE": "1, 2, 3"},
                                     {"CCD_SIZE": "5, 2, 1, 9"}, {"EXP_PATTERN": "("}])  # fmt: skip
def test_options_that_cannot_be_are_refused(stack, options):
    with pytest.raises(ConfigurationError):
        run(stack, **options)
