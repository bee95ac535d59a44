"""spread_model_runner: PSFs of turned CCDs, weights of the epochs, objects without PSF."""

import galsim
import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import ldac, stampstore
from shapepipe.modules.spread_model_runner import spread_model_runner
from shapepipe.testing import trial

SIZE, N = 31, 12
PSF = galsim.Moffat(beta=3.5, fwhm=3.4)
COMA = PSF + 0.4 * PSF.shift(1.6, 0.7)  # looks different when it is turned
WIDE = COMA.dilate(1.3)


def sky(turn):
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (30.0, 10.0), (500, 500)
    solution.wcs.cd = turn * np.array([[-5e-5, 0], [0, 5e-5]])
    return solution


def draw(profile, dx=0.0, dy=0.0):
    return profile.drawImage(nx=SIZE, ny=SIZE, scale=1, offset=(dx, dy), dtype=np.float32).array


@pytest.fixture
def stack(tmp_path):
    """Stars of a stack of a CCD as it is and a wider epoch on a turned one; the last has no PSF."""
    rng = np.random.default_rng(3)
    dx, dy = rng.uniform(-0.45, 0.45, (2, N))
    # counts of the second exposure are worth four times as much: its weight counts 1/16
    weights = np.array([1.0, 8.0 / 16])
    total = (weights[0] * COMA + weights[1] * WIDE) / weights.sum() * 1e4
    stars = np.array([draw(total, *place) for place in zip(dx, dy, strict=True)])
    x, y = 500 + dx, 510 + dy
    ra, dec = sky(1).all_pix2world(x, y, 1)
    table = Table({"NUMBER": np.arange(N, 0, -1), "MAG_AUTO": np.full(N, 20.0), "X_IMAGE": x,
                   "Y_IMAGE": y, "XWIN_IMAGE": x, "YWIN_IMAGE": y, "XWIN_WORLD": ra,
                   "YWIN_WORLD": dec, "VIGNET": stars})  # fmt: skip
    ldac.write(tmp_path / "sexcat.fits", table, header=sky(1).to_header())
    ldac.write(tmp_path / "weight.fits", Table({"VIGNET": np.ones_like(stars)}))
    turned = {"VIGNET": draw(WIDE)[::-1, ::-1], "SHAPES": {"SIGMA_PSF_HSM": 2.4}}
    plain = {"VIGNET": draw(COMA), "SHAPES": {"SIGMA_PSF_HSM": 2.0}}
    one, eight = (np.full((SIZE, SIZE), value, np.float32) for value in (1, 8))
    for name, first, second in (("psf", plain, turned),
                                ("weights", {"VIGNET": one}, {"VIGNET": eight})):  # fmt: skip
        with stampstore.StampWriter(tmp_path / f"{name}.sqlite") as store:
            store.add((number, {"100-0": first, "101-0": second}) for number in range(N, 1, -1))
            store.add([(1, {})])
    with SqliteDict(tmp_path / "log.sqlite") as log:
        log["100"] = np.array([{"WCS": sky(1), "header": "FSCALE  = 1.0".ljust(80)}])
        log["101"] = np.array([{"WCS": sky(-1), "header": "FSCALE  = 4.0".ljust(80)}])
        log.commit()
    return tmp_path


def run(stack, **options):
    inputs = {"catalogue": stack / "sexcat.fits", "psf": stack / "psf.sqlite",
              "weight": stack / "weight.fits"}  # fmt: skip
    if options.get("EPOCH_WEIGHTS"):
        inputs["epoch_weight"] = stack / "weights.sqlite"
    return trial(spread_model_runner, inputs, options, number="-277-282", folder=stack)


def spread(outcome):
    assert outcome.status == "ok", outcome.error
    return np.asarray(ldac.read(outcome.products[0])["SPREAD_MODEL"])[:-1]


def test_stars_are_at_zero_when_epochs_are_turned_and_weighed(stack):
    log = str(stack / "log.sqlite")
    assert np.abs(spread(run(stack, EPOCH_WEIGHTS="True", LOG_WCS=log))).max() < 5e-5
    assert np.abs(spread(run(stack, EPOCH_WEIGHTS="True"))).max() > 5e-4
    assert np.abs(spread(run(stack, LOG_WCS=log))).max() > 5e-4


def test_every_object_comes_out_and_one_without_psf_is_flagged(stack):
    outcome = run(stack, LOG_WCS=str(stack / "log.sqlite"))
    assert outcome.products[0].name == "sexcat_sm-277-282.fits"
    found = ldac.read(outcome.products[0])
    assert found.colnames == ["NUMBER", "MAG", "SPREAD_MODEL", "SPREADERR_MODEL", "SPREAD_FLAG"]
    assert found["NUMBER"].tolist() == list(range(N, 0, -1))
    assert found["SPREAD_FLAG"].tolist() == [0] * (N - 1) + [1]
    assert found["SPREAD_MODEL"][-1] == -1 and found["SPREADERR_MODEL"][-1] == 1
    assert outcome.metrics["n_without_psf"] == 1


def test_the_whole_catalogue_is_kept_on_demand(stack):
    (product,) = run(stack, OUTPUT_MODE="add", PREFIX="a", PSF_MODEL="GAUSS").products
    found = ldac.read(product)
    assert product.name == "a_sexcat_sm-277-282.fits"
    assert found.colnames[:2] == ["NUMBER", "MAG_AUTO"] and found.colnames[-1] == "SPREAD_FLAG"
    assert np.array_equal(found["VIGNET"], ldac.read(stack / "sexcat.fits")["VIGNET"])


def test_stores_of_other_objects_are_refused(stack):
    with stampstore.StampWriter(stack / "other.sqlite") as store:
        store.add((number, {}) for number in range(1, N + 1))
    (stack / "other.sqlite").replace(stack / "psf.sqlite")
    outcome = run(stack)
    assert outcome.status == "failed"
    assert "object 1 stands where the catalogue has 12" in outcome.error


def test_a_catalogue_without_objects_gives_one(stack):
    table = ldac.read(stack / "sexcat.fits")[:0]
    ldac.write(stack / "sexcat.fits", table, header=sky(1).to_header())
    ldac.write(stack / "weight.fits", ldac.read(stack / "weight.fits")[:0])
    (product,) = run(stack).products
    assert len(ldac.read(product)) == 0
