"""Sky levels of stars: found under neighbours and masks, taken off where nothing is masked."""

from __future__ import annotations

import numpy as np
import pytest

from shapepipe.astro.starlevels import rim_levels, take_off


def stars(level=3.0, flux=5e4):
    y, x = np.mgrid[:51, :51] - 25
    rng = np.random.default_rng(3)
    profile = (1 + (x**2 + y**2) / 3.9**2) ** -3.5
    stamps = flux * profile / profile.sum() + level + rng.normal(0, 10, (20, 51, 51))
    return stamps.astype(np.float32)


def test_level_is_that_of_the_rim_whatever_else_is_on_it():
    stamps = stars()
    stamps[:, 40:48, 40:48] += 300.0  # a neighbour
    stamps[:, :, :4] = -1e30
    levels = rim_levels(stamps, 18.0)
    error = 1.25 * 10 / np.sqrt(1300)
    assert levels.mean() == pytest.approx(3.0, abs=4 * error / np.sqrt(20) + 0.1)
    assert levels.std() == pytest.approx(error, rel=0.6)
    level = take_off(stamps, levels)
    assert level.dtype == np.float32 and np.all(level[:, :, :4] == np.float32(-1e30))
    assert np.median(level[:, 8:40, 8:12]) == pytest.approx(0.0, abs=1.0)


def test_too_few_pixels_leave_the_star_as_it_is():
    stamps = stars()
    stamps[:, :20], stamps[:, 31:] = -1e30, -1e30
    stamps[:, :, :10], stamps[:, :, 41:] = -1e30, -1e30
    assert not rim_levels(stamps, 18.0).any()
