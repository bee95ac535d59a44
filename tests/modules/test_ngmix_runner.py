"""ngmix_runner: shapes on the sky from turned CCDs, shares of rows, objects without epochs."""

import subprocess
import sys

import galsim
import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import jacobians, ldac, stamps, stampstore
from shapepipe.modules.ngmix_runner import ORDER, join_shares, ngmix_runner
from shapepipe.shear import ShapeFlag, calibrate
from shapepipe.shear.halves import HALF_COLUMNS, halves_of
from shapepipe.testing import trial

SIZE, N = 41, 9
LOST = 4  # row of the object that no exposure sees
PSF = galsim.Moffat(beta=3.5, fwhm=0.7).shear(g1=0.02, g2=-0.01)
SKY = 7.0


def ccd(turn, scale=0.187):
    """WCS of a CCD that is turned by some angle, with a little shear."""
    angle = np.deg2rad(turn)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (30.0, 60.0), (500, 500)
    solution.wcs.cd = matrix @ np.diag([-1.01, 0.99]) * scale / 3600
    return solution


EXPOSURES = {"100": (ccd(3.0), 1.0), "101": (ccd(180.0), 4.0), "102": (ccd(88.0), 1.0)}


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    """Gaussian galaxies of known shape on three exposures; NUMBER runs backwards."""
    folder = tmp_path_factory.mktemp("tile")
    rng = np.random.default_rng(4)
    numbers = np.arange(N, 0, -1)
    ra, dec = 30 + rng.uniform(-0.02, 0.02, N), 60 + rng.uniform(-0.01, 0.01, N)
    shapes = rng.normal(scale=0.15, size=(N, 2))
    stores = {name: [(int(n), {}) for n in numbers] for name in STORES}
    for exposure, (solution, scale) in EXPOSURES.items():
        x, y = solution.all_world2pix(ra, dec, 0)
        for i in (i for i in range(N) if i != LOST):
            local = galsim.AstropyWCS(wcs=solution).local(galsim.PositionD(x[i] + 1, y[i] + 1))
            galaxy = galsim.Gaussian(half_light_radius=0.4, flux=1000 / scale)
            galaxy = galaxy.shear(g1=shapes[i, 0], g2=shapes[i, 1])
            offset = (x[i] - stamps.middle_pixel(x[i]), y[i] - stamps.middle_pixel(y[i]))
            image = draw(galsim.Convolve(galaxy, PSF), local, offset)
            image += rng.normal(size=image.shape) * 0.02 / scale
            flag = np.zeros(image.shape, np.int16)
            flag[:, 3] = 64
            image[:, 3] = 1e5
            entry = {"image": image + SKY, "background": np.full_like(image, SKY), "flag": flag,
                     "psf": draw(PSF, local, (0, 0)),
                     "weight": np.full_like(image, (scale / 0.02) ** 2)}  # fmt: skip
            for name, values in entry.items():
                stores[name][i][1][f"{exposure}-0"] = {"VIGNET": values}
    for name, entries in stores.items():
        with stampstore.StampWriter(folder / f"{name}.sqlite") as store:
            store.add(entries)
    table = Table({"NUMBER": numbers, "XWIN_WORLD": ra, "YWIN_WORLD": dec})
    ldac.write(folder / "sexcat.fits", table, header=ccd(0).to_header())
    with SqliteDict(folder / "log.sqlite") as log:
        for exposure, (solution, scale) in EXPOSURES.items():
            cards = f"FSCALE  = {scale}".ljust(80)
            log[exposure] = np.array([{"WCS": solution, "header": cards}])
        log.commit()
    return folder, shapes


STORES = ("image", "background", "psf", "weight", "flag")


def draw(profile, local, offset):
    image = galsim.ImageF(SIZE, SIZE, wcs=local)
    return profile.drawImage(image=image, offset=offset).array


def run(tile, folder, share=None, **options):
    inputs = {name: tile / f"{name}.sqlite" for name in STORES}
    inputs["catalogue"] = tile / "sexcat.fits"
    options = {"LOG_WCS": str(tile / "log.sqlite")} | options
    outcome = trial(ngmix_runner, inputs, options, number="-1-1", folder=folder, share=share)
    assert outcome.status == "ok", outcome.error
    return outcome


def read(path):
    return {kind: ldac.read(path, hdu=kind.upper()) for kind in ORDER}


def test_shapes_on_the_sky(tile, tmp_path):
    folder, shapes = tile
    found = read(run(folder, tmp_path).products[0])
    table = found["noshear"]
    seen = np.arange(N) != LOST
    assert list(table["id"]) == list(range(N, 0, -1))
    assert (table["n_epoch_model"] == np.where(seen, 3, 0)).all()
    np.testing.assert_allclose(table["g1"][seen], shapes[seen, 0], atol=4e-3)
    np.testing.assert_allclose(table["g2"][seen], shapes[seen, 1], atol=4e-3)
    square = (shapes[seen] ** 2).sum(axis=1)
    sheared = 0.4 * np.sqrt((1 + square) / (1 - square))  # shear keeps the determinant, not T
    np.testing.assert_allclose(table["r50"][seen], sheared, rtol=0.02)
    np.testing.assert_allclose(table["flux"][seen], 1000, rtol=0.02)
    np.testing.assert_allclose(table["mag"][seen], 22.5, atol=0.02)
    np.testing.assert_allclose(table["g1_psfo_ngmix"][seen], 0.02, atol=2e-3)
    step = (found["1p"]["g1"] - found["1m"]["g1"])[seen] / 0.02
    np.testing.assert_allclose(step, table["R1_g1"][seen], atol=1e-3)
    assert table["flags"][LOST] == ShapeFlag.NO_EPOCH and np.isnan(table["g1"][LOST])
    assert table["T"].unit == "arcsec2" and "area" in table["T"].description


def test_halves_stand_beside_their_average(tile, tmp_path):
    (path,) = run(tile[0], tmp_path).products
    found = read(path)
    good = np.arange(N) != LOST
    for table in found.values():
        for name in ("g1", "g2", "T", "flux", "s2n"):
            mean = (table[f"{name}_a"] + table[f"{name}_b"]) / 2
            np.testing.assert_allclose(mean[good], table[name][good], rtol=1e-10)
        assert (table["g1_a"][good] != table["g1_b"][good]).all()
        for name in ("flags_a", "flags_b"):
            assert (table[name][good] == 0).all()
            assert table[name][LOST] == ShapeFlag.NO_EPOCH
    assert found["1p"]["T_a"].unit == "arcsec2" and "noise" in found["1p"]["g1_b"].description
    cut = calibrate.cut(10.0, 0.1)
    mean = calibrate.mean_shear(found, cut, groups=4)
    sums = sum(calibrate.group_sums(part, cut, 1) for part in halves_of(found))
    np.testing.assert_allclose(mean.shear, calibrate.solve(sums[0], 0.01)[0], rtol=1e-9)
    assert mean.count == N - 1
    masked = {kind: Table.read(path, kind.upper()) for kind in ORDER}  # NaN becomes masked there
    np.testing.assert_array_equal(calibrate.mean_shear(masked, cut, groups=4).shear, mean.shear)


def test_one_noise_field_has_no_halves(tile, tmp_path):
    table = read(run(tile[0], tmp_path, ANTITHETIC="False").products[0])["1m"]
    assert not {f"{name}_a" for name in HALF_COLUMNS} & set(table.colnames)


@pytest.mark.parametrize("count", [2, 7])
def test_shares_of_rows_give_the_same_table(tile, tmp_path, count):
    whole = read(run(tile[0], tmp_path / "whole").products[0])
    parts = [run(tile[0], tmp_path / str(k), share=(k, count)).products[0] for k in range(count)]
    join_shares(parts, tmp_path / "joined.fits")
    joined = read(tmp_path / "joined.fits")
    for kind in ORDER:
        for name in whole[kind].colnames:
            np.testing.assert_array_equal(joined[kind][name], whole[kind][name], err_msg=name)


def test_bounds_of_number(tile, tmp_path):
    outcome = run(tile[0], tmp_path, ID_OBJ_MIN="3", ID_OBJ_MAX="6")
    assert list(read(outcome.products[0])["1p"]["id"]) == [6, 5, 4, 3]
    assert outcome.metrics["n_objects"] == 4


def test_moments_have_a_response(tile, tmp_path):
    table = read(run(tile[0], tmp_path, ENGINE="moments").products[0])["noshear"]
    good = np.arange(N) != LOST
    assert (table["flags"][good] == 0).all()
    assert (table["R1_g1"][good] > 0.2).all()


def test_noise_that_is_known_up_to_a_factor(tile, tmp_path):
    as_is = read(run(tile[0], tmp_path / "a").products[0])["noshear"]
    scaled = read(run(tile[0], tmp_path / "b", NOISE="scaled").products[0])["noshear"]
    good = np.arange(N) != LOST
    np.testing.assert_allclose(scaled["s2n"][good], as_is["s2n"][good], rtol=0.6)


@pytest.mark.ngmix
def test_engine_ngmix_agrees(tile, tmp_path):
    native = read(run(tile[0], tmp_path / "a", ANTITHETIC="False").products[0])["1p"]
    other = read(run(tile[0], tmp_path / "b", ANTITHETIC="False", ENGINE="ngmix").products[0])["1p"]
    good = np.arange(N) != LOST
    np.testing.assert_allclose(native["g1"][good], other["g1"][good], atol=5e-5)


@pytest.mark.parametrize("turn", [0.0, 37.0, 180.0])
def test_local_jacobian_is_that_of_galsim(turn):
    solution = ccd(turn)
    local = galsim.AstropyWCS(wcs=solution).local(galsim.PositionD(301.0, 801.0))
    ours = jacobians.local_jacobians(solution, [300.0], [800.0])[0]
    np.testing.assert_allclose(ours.ravel(), [local.dudx, local.dudy, local.dvdx, local.dvdy],
                               atol=2e-7)  # fmt: skip


def test_a_catalogue_without_objects_gives_tables_without_rows(tile, tmp_path):
    folder, _ = tile
    for name in STORES:
        with stampstore.StampWriter(tmp_path / f"{name}.sqlite") as store:
            store.add([])
    ldac.write(tmp_path / "sexcat.fits", ldac.read(folder / "sexcat.fits")[:0])
    found = read(run(tmp_path, tmp_path, LOG_WCS=str(folder / "log.sqlite")).products[0])
    whole = read(run(folder, tmp_path / "whole", ID_OBJ_MAX="1").products[0])
    for kind in ORDER:
        assert len(found[kind]) == 0 and found[kind].colnames == whole[kind].colnames


CHAIN = """
[DEFAULT]
RUN_NAME = {name}
RUN_DATETIME = False
VERBOSE = False
[EXECUTION]
MODULE = ngmix_runner
MODE = {mode}
[FILE]
INPUT_DIR = {inputs}
OUTPUT_DIR = {folder}
NUMBERING_SCHEME = -000-000
[JOB]
SMP_BATCH_SIZE = 2
[NGMIX_RUNNER]
FILE_PATTERN = sexcat, image, background, psf, weight, flag
FILE_EXT = .fits, .sqlite, .sqlite, .sqlite, .sqlite, .sqlite
LOG_WCS = {log}
CHUNKS = {chunks}
"""


@pytest.fixture(scope="module")
def whole(tile, tmp_path_factory):
    """The table that one job makes, and the chain's inputs under their names."""
    folder, _ = tile
    inputs = tmp_path_factory.mktemp("inputs")
    for path in [folder / f"{name}.sqlite" for name in STORES] + [folder / "sexcat.fits"]:
        (inputs / f"{path.stem}-277-282{path.suffix}").symlink_to(path)
    return run(folder, tmp_path_factory.mktemp("whole")).products[0].read_bytes(), inputs


@pytest.mark.parametrize(
    ("mode", "chunks"),
    [
        ("smp", 1),
        ("smp", 7),
        pytest.param("mpi", 2, marks=pytest.mark.mpi),
        pytest.param("dask", 2, marks=pytest.mark.dask),
    ],
)
def test_chunks_and_pools_give_the_same_bytes(tile, whole, tmp_path, mode, chunks):
    expected, inputs = whole
    ini = tmp_path / "chain.ini"
    ini.write_text(CHAIN.format(name="made", mode=mode, inputs=inputs, folder=tmp_path,
                                log=tile[0] / "log.sqlite", chunks=chunks))  # fmt: skip
    words = [sys.executable, "-m", "shapepipe", "run", "-c", str(ini)]
    words = ["mpiexec", "-n", "3", *words] if mode == "mpi" else words
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "made" / "ngmix_runner" / "output" / "ngmix-277-282.fits"
    assert made.read_bytes() == expected
