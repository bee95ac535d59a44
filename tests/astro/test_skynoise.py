"""Noise of the sky and its correlation."""

import numpy as np
import pytest

from shapepipe.astro import skynoise


def bilinear(noise, fx, fy):
    """Noise as interpolation at a fraction of a pixel leaves it."""
    noise = (1 - fy) * noise[1:] + fy * noise[:-1]
    return (1 - fx) * noise[:, 1:] + fx * noise[:, :-1]


def test_variance_factor_of_interpolated_noise():
    noise = np.random.default_rng(1).normal(0, 7, (601, 601))
    fx, fy = 0.5, 0.3
    expected = 1 / ((fx**2 + (1 - fx) ** 2) * (fy**2 + (1 - fy) ** 2))
    image = bilinear(noise, fx, fy)
    usable = np.ones(image.shape, bool)
    assert skynoise.variance_factor(image, usable, 1) == pytest.approx(expected, rel=0.02)
    assert skynoise.variance_factor(image, usable, 2) == pytest.approx(expected, rel=0.04)
    blocks = image[:600, :600].reshape(60, 10, 60, 10).sum(axis=(1, 3))
    assert blocks.var() / (100 * image.var()) == pytest.approx(expected, rel=0.2)


def test_objects_and_flagged_pixels_are_no_sky():
    rng = np.random.default_rng(2)
    image = rng.normal(0, 1, (300, 300))
    flag = np.zeros(image.shape, int)
    flag[:, :40] = 4
    image[:, :40] = 100
    image[100:120, 100:120] = 0  # an object, blanked
    image[96:124, 96:100] = 5  # its outskirts
    usable = skynoise.sky_pixels(image, flag)
    assert not usable[98, 98] and not usable[110, 110] and not usable[10, 10] and usable[200, 200]
    assert skynoise.variance_factor(image, usable, 1) == pytest.approx(1, abs=0.03)


def test_without_sky_there_is_no_factor():
    image = np.zeros((20, 20))
    assert np.isnan(skynoise.variance_factor(image, np.zeros(image.shape, bool), 1))
    assert np.isnan(skynoise.variance_factor(image, np.ones(image.shape, bool), 1))


def test_no_noise_has_no_weight():
    assert skynoise.inverse_variance([2.0, 0.0, -1.0]).tolist() == [0.25, 0, 0]
