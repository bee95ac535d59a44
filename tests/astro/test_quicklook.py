"""A quick look recovers sky, noise, saturation and seeing of simulated images."""

from __future__ import annotations

import numpy as np
import pytest

from shapepipe.astro import quicklook

SKY, NOISE = 1000.0, 8.0


def field(fwhm, n_stars=60, shape=(500, 600), seed=5, top=None, hot=0):
    """Stars of one size on a sloping sky, with galaxies half again as large and hot pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.normal(SKY, NOISE, shape) + 0.02 * x
    for k in range(n_stars + n_stars // 3):
        size = fwhm if k < n_stars else 1.7 * fwhm
        x0, y0 = rng.uniform(30, shape[1] - 30), rng.uniform(30, shape[0] - 30)
        peak = 10 ** rng.uniform(2.3, 4.5)
        part = np.s_[int(y0) - 25 : int(y0) + 26, int(x0) - 25 : int(x0) + 26]
        r2 = (x[part] - x0) ** 2 + (y[part] - y0) ** 2
        image[part] += peak * np.exp(-4 * np.log(2) * r2 / size**2)
    image.ravel()[rng.integers(0, image.size, hot)] += 5000
    return image if top is None else np.minimum(image, top)


@pytest.mark.parametrize("fwhm", [2.5, 4.0, 6.5])
def test_seeing_is_found(fwhm):
    found = quicklook.look(field(fwhm))
    assert found.fwhm == pytest.approx(fwhm, rel=0.15)
    assert 30 <= found.n_stars <= 65
    assert found.sky == pytest.approx(SKY + 6, abs=3)
    assert found.noise == pytest.approx(NOISE, rel=0.15)
    assert found.saturation is None


def test_hot_pixels_are_no_stars():
    found = quicklook.look(field(3.0, hot=400))
    assert found.fwhm == pytest.approx(3.0, rel=0.15)


def test_saturation_is_seen_and_saturated_stars_are_left_out():
    image = field(4.0, n_stars=150, top=6000.0)
    found = quicklook.look(image)
    assert 5500 < found.saturation <= 6000
    assert found.fwhm == pytest.approx(4.0, rel=0.15)


def test_places_are_those_of_the_whole_image():
    image = np.random.default_rng(2).normal(0, 1, (2300, 2200))
    image[1200:1203, 1500:1503] += 500
    found = quicklook.look(image)
    assert [1201, 1501] in found.places.tolist()


def test_flag_bits_of_objects_are_told_from_those_of_defects():
    places = np.stack([np.arange(20), np.arange(20)], axis=-1)
    flags = np.zeros((20, 20), np.int16)
    flags[places[:, 0], places[:, 1]] = 16
    flags[:4] |= 1
    assert quicklook.object_bits(flags, places) == 16
    assert quicklook.object_bits(flags, places[:5]) == 0


@pytest.mark.parametrize("image", [np.full((40, 40), np.nan), np.zeros((60, 60))])
def test_nothing_is_seen_in_nothing(image):
    found = quicklook.look(image)
    assert found.fwhm is None
    assert found.n_stars == 0


def test_clipping_leaves_stars_out():
    values = np.random.default_rng(3).normal(10, 2, 20000)
    values[:600] = 1000
    level, noise = quicklook.clipped(values)
    assert level == pytest.approx(10, abs=0.1)
    assert noise == pytest.approx(2, rel=0.05)
