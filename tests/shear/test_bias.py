"""Bias of the shear: what was put into tables comes out, with errors that tell."""

from __future__ import annotations

import numpy as np
import pytest

from shapepipe.shear import SHEAR_TYPES, bias, calibrate

SCENES = np.array([[0.02, -0.01], [-0.02, 0.01], [0.02, -0.01], [-0.02, 0.01]])
M, C, RESPONSE, COUNT = (0.03, -0.02), (4e-4, -7e-4), 0.8, 4000


def tables(shear, turned, seed=1, noise=0.3):
    """Shapes of the same galaxies in one scene; turned ones have the reverse noise as well."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, noise, (2, COUNT)) * (-1 if turned else 1)
    size = rng.uniform(0, 2, COUNT)
    made = {}
    for kind in SHEAR_TYPES:
        extra = np.zeros(2)
        if kind != "noshear":
            extra[int(kind[0]) - 1] = 0.01 if kind[1] == "p" else -0.01
        true = (1 + np.array(M)) * shear + C + extra
        g = own + RESPONSE * true[:, None]
        made[kind] = {"g1": g[0], "g2": g[1], "size": size + 5 * (g**2).sum(axis=0),
                      "flags": np.zeros(COUNT, int)}  # fmt: skip
    return made


def sums(weight=None, seed=1):
    patches = np.arange(COUNT) % 40
    return np.stack(
        [bias.scene_sums(tables(s, i > 1, seed), patches, 41, weight)
         for i, s in enumerate(SCENES)], axis=1,
    )  # fmt: skip


def test_bias_that_was_put_in_comes_out():
    found = bias.shear_bias(sums(), SCENES)
    assert found.m == pytest.approx(M, abs=1e-9)
    assert found.c == pytest.approx(C, abs=1e-9)
    assert found.mean_m == pytest.approx(np.mean(M), abs=1e-9)
    assert found.response == pytest.approx(RESPONSE * np.eye(2), abs=1e-9)
    assert found.m_error.max() < 1e-9 and found.c_error.max() < 1e-9


def test_a_cut_that_depends_on_shear_is_corrected_within_the_errors():
    def large(table):
        return table["size"] > 1.0

    one, two = (sums(large, seed) for seed in (1, 2))
    found = bias.shear_bias(np.concatenate([one, two]), SCENES)
    assert abs(found.response[0, 0] - RESPONSE) > 0.05
    assert 1e-5 < found.m_error.max() < 0.1
    assert np.all(np.abs(found.m - M) < 4 * found.m_error)
    assert np.all(np.abs(found.c - C) < 4 * found.c_error + 1e-5)


def test_scenes_of_one_patch_are_as_one_mean_shear():
    scene = tables(SCENES[0], False)
    summed = bias.scene_sums(scene, np.zeros(COUNT, int), 1)
    assert calibrate.solve(summed[0], 0.01)[0] == pytest.approx(
        calibrate.mean_shear(scene).shear, abs=1e-12
    )
