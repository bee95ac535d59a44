"""Classes and mean shear of made-up catalogues whose truth is known by construction."""

import numpy as np
import pytest
from astropy.table import Table

from shapepipe.astro.finalcat import SpreadClass, classify
from shapepipe.judge import classes, shear
from shapepipe.shear.calibrate import cut
from shapepipe.simulate.sky import GALAXY, STAR

N = 4000
LIMITS = {"star": 0.003, "galaxy": 0.01, "factor": 5 / 3}


@pytest.fixture
def truth():
    """Stars and galaxies side by side."""
    rng = np.random.default_rng(8)
    return Table({"ra": 120 + 0.5 * rng.random(N), "dec": 30 + 0.5 * rng.random(N),
                  "mag": 18 + 6 * rng.random(N),
                  "kind": np.where(np.arange(N) % 4 == 0, STAR, GALAXY)})  # fmt: skip


@pytest.fixture
def catalogue(truth):
    """All of them; each tenth star is taken for a galaxy, each twentieth galaxy for a star."""
    star = np.asarray(truth["kind"]) == STAR
    label = np.where(star, SpreadClass.STAR, SpreadClass.GALAXY)
    label[np.flatnonzero(star)[::10]] = SpreadClass.GALAXY
    label[np.flatnonzero(~star)[::20]] = SpreadClass.STAR
    label[np.flatnonzero(~star)[1::20]] = SpreadClass.OTHER
    zero = np.zeros(N, int)
    return Table({"XWIN_WORLD": truth["ra"], "YWIN_WORLD": truth["dec"], "MAG_AUTO": truth["mag"],
                  "FWHM_IMAGE": np.where(star, 3.5, 5.0), "FLAGS": zero, "IMAFLAGS_ISO": zero,
                  "SPREAD_MODEL": np.where(star, 0.0, 0.02), "SPREADERR_MODEL": np.full(N, 1e-3),
                  "SPREAD_FLAG": zero, "SPREAD_CLASS": label})  # fmt: skip


def test_completeness_and_contamination_are_what_was_put_in(catalogue, truth):
    figures = classes.summarise(classes.with_truth(catalogue, truth), LIMITS)
    assert figures["n_stars"] == 1000
    assert figures["n_galaxies"] == 3000
    assert figures["star_completeness"] == pytest.approx(0.9)
    assert figures["galaxy_completeness"] == pytest.approx(0.9)
    assert figures["star_contamination"] == pytest.approx(150 / 1050)
    assert figures["galaxy_contamination"] == pytest.approx(100 / 2800)
    assert figures["unclassified"] == pytest.approx(150 / 4000)


def test_tables_add_up(catalogue, truth):
    table = classes.tabulate(classes.with_truth(catalogue, truth), LIMITS)
    assert table["n_stars"].sum() == 1000
    assert table["n_as_galaxy"].sum() == 2800
    assert np.nansum(table["n_as_star"] * table["star_contamination"]) == pytest.approx(150)


def test_what_noise_alone_costs_is_what_classify_loses():
    rng = np.random.default_rng(6)
    error = np.full(200000, 0.0015)
    label = classify(error * rng.standard_normal(error.size), error, np.zeros(error.size, int),
                     *LIMITS.values())  # fmt: skip
    expected = classes.chance_of_star(error, LIMITS)[0]
    assert 0.5 < expected < 0.7
    assert (label == SpreadClass.STAR).mean() == pytest.approx(expected, abs=0.004)
    assert classes.chance_of_star([0.0, 1e-5], LIMITS) == pytest.approx([1, 1])


def test_a_flipped_sky_has_no_truth(catalogue, truth):
    catalogue["XWIN_WORLD"] = 240.5 - catalogue["XWIN_WORLD"]
    assert (classes.with_truth(catalogue, truth)["kind"] >= 0).mean() < 0.02


def test_separable_as_far_as_the_values_differ():
    rng = np.random.default_rng(5)
    mag = 20 + 4 * rng.random(20000)
    kind = rng.integers(0, 2, 20000)
    model = 0.01 * kind + np.where(mag < 22, 0.002, 0.02) * rng.standard_normal(20000)
    assert classes.best_possible(model, kind, mag) == {"separable_mag_10": 22.0}


def sample(true_shear, response=0.8, n=20000, seed=2):
    """Galaxies whose measured shape is the response times intrinsic shape and shear."""
    rng = np.random.default_rng(seed)
    intrinsic = 0.25 * rng.standard_normal((n, 2))
    noise = 0.05 * rng.standard_normal((n, 2))
    s2n = 15 + 50 * rng.random(n)
    tables = {}
    for kind, push in {"noshear": (0, 0), "1p": (0.01, 0), "1m": (-0.01, 0),
                       "2p": (0, 0.01), "2m": (0, -0.01)}.items():  # fmt: skip
        g = response * (intrinsic + true_shear + push) + noise
        tables[kind] = {"g1": g[:, 0], "g2": g[:, 1], "flags": np.zeros(n, int), "s2n": s2n,
                        "T": np.ones(n), "Tpsf": np.ones(n)}  # fmt: skip
    return shear.Sample(tables, np.broadcast_to(true_shear, (n, 2)).astype(float), intrinsic)


def test_mean_shear_comes_back_and_shape_noise_goes():
    figures = shear.compare(sample((0.02, -0.01)), cut())
    assert figures["R11"] == pytest.approx(0.8)
    for name, true in (("g1", 0.02), ("g2", -0.01)):
        assert figures[f"{name}_true"] == pytest.approx(true)
        assert abs(figures[name] - true) < 4 * figures[f"{name}_err"]
        assert abs(figures[f"{name}_quiet"] - true) < 4 * figures[f"{name}_quiet_err"]
        assert figures[f"{name}_err"] == pytest.approx(0.25 / np.sqrt(20000), rel=0.3)
        assert figures[f"{name}_quiet_err"] < 0.3 * figures[f"{name}_err"]


def test_a_flipped_component_is_seen():
    flipped = sample((0.02, -0.01))
    for table in flipped.tables.values():
        table["g2"] = -table["g2"]
    # as a mirror image shows it: shapes and artificial shears are turned over alike
    flipped.tables["2p"], flipped.tables["2m"] = flipped.tables["2m"], flipped.tables["2p"]
    figures = shear.compare(flipped, cut())
    assert figures["g2_quiet"] - figures["g2_true"] > 10 * figures["g2_quiet_err"]
    assert abs(figures["g1_quiet"] - figures["g1_true"]) < 4 * figures["g1_quiet_err"]
