"""Mean shear of a toy catalogue with a known response, with and without cuts and weights."""

import numpy as np
import pytest

from shapepipe.shear import SHEAR_TYPES, calibrate

SHEAR = np.array([0.02, -0.01])
STEPS = {"noshear": (0, 0), "1p": (0.01, 0), "1m": (-0.01, 0), "2p": (0, 0.01), "2m": (0, -0.01)}


@pytest.fixture(scope="module")
def tables():
    """Shapes respond by 0.7; the size depends on shape and shear, so that cuts select shears."""
    rng = np.random.default_rng(5)
    n = 200_000
    intrinsic = rng.normal(scale=0.2, size=(n // 2, 2))
    intrinsic = np.concatenate([intrinsic, -intrinsic])
    size = np.tile(rng.uniform(0.5, 1.5, n // 2), 2)
    made = {}
    for kind in SHEAR_TYPES:
        e = intrinsic + 0.7 * (SHEAR + STEPS[kind])
        made[kind] = {
            "g1": e[:, 0],
            "g2": e[:, 1],
            "T": size + 2.0 * e[:, 0],
            "T_psf": np.full(n, 1.0),
            "s2n": np.full(n, 20.0),
            "g1_err": np.full(n, 0.1),
            "g2_err": 0.1 + 0.2 * np.abs(e[:, 1]),
            "flags": np.zeros(n, int),
        }
    return made


def test_without_cuts(tables):
    found = calibrate.mean_shear(tables, groups=50)
    np.testing.assert_allclose(found.response, 0.7 * np.eye(2), atol=1e-9)
    np.testing.assert_allclose(found.selection, 0, atol=1e-9)
    np.testing.assert_allclose(found.shear, SHEAR, atol=1e-9)
    assert found.count == len(tables["noshear"]["g1"])


def test_cut_needs_the_selection_response(tables):
    found = calibrate.mean_shear(tables, calibrate.cut(10.0, 0.9), groups=50)
    assert found.selection[0, 0] < -0.1
    offset = calibrate.mean_shear(
        {k: {**t, "g1": t["g1"] - 0.7 * SHEAR[0], "T": t["T"] - 1.4 * SHEAR[0]}
         for k, t in tables.items()}, calibrate.cut(10.0, 0.9)).raw[0]  # fmt: skip
    shear = (found.raw[0] - offset) / (found.response + found.selection)[0, 0]
    assert abs(shear / SHEAR[0] - 1) < 0.05
    assert abs((found.raw[0] - offset) / found.response[0, 0] / SHEAR[0] - 1) > 0.06


def test_weights_that_depend_on_shear(tables):
    found = calibrate.mean_shear(tables, calibrate.inverse_variance(0.2))
    np.testing.assert_allclose(found.shear, SHEAR, rtol=0.03)
    assert abs(found.selection[1, 1]) > 1e-3


@pytest.mark.parametrize("errors", ["jackknife", "bootstrap"])
def test_errors_of_the_mean(tables, errors):
    rng = np.random.default_rng(1)
    shuffled = {k: {n: c[rng_order(len(c))] for n, c in t.items()} for k, t in tables.items()}
    found = calibrate.mean_shear(shuffled, groups=200, errors=errors, rng=rng)
    expected = 0.2 / 0.7 / np.sqrt(200_000)
    np.testing.assert_allclose(found.error, expected, rtol=0.25)


def rng_order(n):
    return np.random.default_rng(9).permutation(n)


def test_failed_objects_are_left_out(tables):
    spoiled = {k: {n: c.copy() for n, c in t.items()} for k, t in tables.items()}
    spoiled["2m"]["flags"][:1000] = 512
    spoiled["2m"]["g1"][:1000] = np.nan
    found = calibrate.mean_shear(spoiled)
    assert found.count == 199_000
    assert np.isfinite(found.shear).all()


def test_bootstrap_needs_a_generator(tables):
    with pytest.raises(ValueError, match="random generator"):
        calibrate.mean_shear(tables, errors="bootstrap")
