"""Adaptive moments of stamps with flags."""

import galsim
import numpy as np
import pytest

from shapepipe.astro import moments
from shapepipe.astro.moments import MomentFlag


def star(g1=0.05, g2=-0.03, sigma=2.2, dx=0.3, dy=-0.2, size=51, flux=1e4):
    profile = galsim.Gaussian(sigma=sigma, flux=flux).shear(g1=g1, g2=g2).shift(dx, dy)
    return profile.drawImage(nx=size, ny=size, scale=1, method="no_pixel").array


@pytest.fixture
def noise():
    return np.random.default_rng(5).normal(0, 0.02, (51, 51))


def measure_one(stamp):
    found = moments.measure(stamp[None])
    names = ("g1", "g2", "sigma", "x", "y", "flux", "flag")
    return {name: getattr(found, name)[0] for name in names}


def test_recovers_shape_size_and_place():
    found = measure_one(star())
    assert found["flag"] == 0
    assert (found["g1"], found["g2"]) == pytest.approx((0.05, -0.03), abs=1e-4)
    assert found["sigma"] == pytest.approx(2.2, rel=1e-3)
    assert (found["x"], found["y"]) == pytest.approx((25.3, 24.8), abs=1e-3)
    assert found["flux"] == pytest.approx(1e4, rel=1e-3)


@pytest.mark.parametrize("sigma", [0.85, 1.0, 4.0, 8.0])
def test_sizes_far_from_the_first_guess_converge(sigma):
    found = measure_one(star(sigma=sigma))
    assert found["flag"] == 0
    assert found["sigma"] == pytest.approx(sigma, rel=0.02)


def test_star_on_an_oversubtracted_background_is_measured(noise):
    stamp = star(flux=100) + noise - 0.06
    assert stamp.sum() < 0
    found = measure_one(stamp)
    assert found["flag"] == 0
    assert (found["g1"], found["g2"]) == pytest.approx((0.05, -0.03), abs=0.03)


def test_undersampled_object_is_flagged():
    found = measure_one(star(sigma=0.5))
    assert found["flag"] == MomentFlag.NOT_CONVERGED
    assert np.isnan(found["sigma"])


def test_masked_pixels_in_the_wings_do_no_harm(noise):
    stamp = star() + noise
    stamp[:8] = -1e30
    stamp[40:, 40:] = -1e30
    found = measure_one(stamp)
    assert found["flag"] == 0
    assert (found["g1"], found["g2"]) == pytest.approx((0.05, -0.03), abs=2e-3)


def test_masked_core_is_flagged(noise):
    stamp = star() + noise
    stamp[:, 26] = -1e30
    assert measure_one(stamp)["flag"] == MomentFlag.MASKED_CORE


@pytest.mark.parametrize(
    ("stamp", "flag"),
    [
        (np.full((51, 51), -1e30), MomentFlag.EMPTY),
        (np.full((51, 51), np.nan), MomentFlag.EMPTY),
        (np.zeros((51, 51)), MomentFlag.NO_SIGNAL),
        (-star(), MomentFlag.NO_SIGNAL),
    ],
)
def test_stamps_without_a_star_are_flagged(stamp, flag):
    found = measure_one(stamp)
    assert found["flag"] == flag
    assert np.isnan(found["g1"]) and np.isnan(found["sigma"])


def test_noise_alone_never_passes_as_a_star():
    rng = np.random.default_rng(8)
    stamps = rng.normal(0.01, 1, (30, 31, 31))
    found = moments.measure(stamps)
    good = found.flag == 0
    assert good.mean() < 0.5
    assert np.isfinite(found.sigma[good]).all()


def test_off_centre_and_too_large_are_flagged():
    assert measure_one(star(dx=14.5))["flag"] & MomentFlag.OFF_CENTRE
    assert measure_one(star(sigma=15))["flag"] & MomentFlag.TOO_LARGE


def test_no_stamps_give_empty_columns():
    found = moments.measure(np.zeros((0, 51, 51)))
    assert found.g1.shape == (0,) and found.flag.dtype == np.int32


def test_single_precision_stamps_give_the_same():
    found, single = measure_one(star()), measure_one(star().astype(np.float32))
    assert single["g1"] == pytest.approx(found["g1"], abs=1e-6)
