"""What spoils an image, piece by piece."""

from __future__ import annotations

import numpy as np
import pytest

from shapepipe.simulate import detector


def test_charge_flows_along_columns_and_none_is_lost():
    image = np.full((60, 5), 10.0)
    image[30, 2] = 5000.0
    image[20:22, 3] = 400.0
    before = image.sum()
    full = detector.bleed(image, 100.0)
    assert image.sum() == pytest.approx(before)
    assert image.max() <= 100.0
    assert np.array_equal(image[:, :2], np.full((60, 2), 10.0))
    rows = np.flatnonzero(full[:, 2])
    assert len(rows) == 55 and rows.mean() == pytest.approx(30.0, abs=1.0)
    assert full[:, 3].sum() == 8 and full[20:22, 3].all()


def test_charge_leaves_at_the_edge():
    image = np.zeros((10, 1))
    image[1] = 1000.0
    detector.bleed(image, 100.0)
    assert image[:7, 0] == pytest.approx([100.0] * 6 + [50.0])


def test_noise_is_poisson_of_electrons_plus_read_noise():
    image = np.full((600, 500), 50.0, dtype=np.float32)
    detector.add_noise(image, 2.0, 3.0, np.random.default_rng(1))
    assert image.mean() == pytest.approx(50.0, abs=0.05)
    assert image.var() == pytest.approx(50.0 / 2.0 + (3.0 / 2.0) ** 2, rel=0.01)


def noise_of(expected, law):
    image = np.full((600, 500), expected, dtype=np.float32)
    detector.add_noise(image, 2.0, 3.0, np.random.default_rng(1), law)
    return image - expected


def test_normal_noise_differs_only_in_size_between_twins():
    noise = noise_of(50.0, "normal")
    assert noise.mean() == pytest.approx(0.0, abs=0.05)
    assert noise.var() == pytest.approx(50.0 / 2.0 + (3.0 / 2.0) ** 2, rel=0.01)
    assert noise_of(50.0, "reversed") == pytest.approx(-noise, abs=1e-4)
    louder = np.sqrt((80.0 / 2.0 + 2.25) / (50.0 / 2.0 + 2.25))
    assert noise_of(80.0, "normal") == pytest.approx(louder * noise, abs=1e-4)


def test_cosmic_rays_stay_in_the_light_and_are_marked():
    image = np.zeros((300, 200))
    hit = detector.add_cosmic_rays(image, (20, 180, 0, 250), 30.0, 1.5, np.random.default_rng(2))
    assert np.array_equal(hit, image > 0)
    assert 50 < hit.sum() < 1000
    assert not hit[250:].any() and not hit[:, :20].any() and not hit[:, 180:].any()


@pytest.mark.parametrize("slope", [0.3, 4.0])
def test_trail_has_its_brightness_and_width_across(slope):
    image = np.zeros((400, 400), np.float32)
    x = np.linspace(-50, 450, 30)
    touched = detector.add_trail(image, x, slope * (x - 200) + 200, 100.0, 2.0)
    assert image.max() == pytest.approx(100.0, rel=0.02)
    line = image[150:250].sum(axis=0) if slope > 1 else image[:, 150:250].sum(axis=1)
    length = 100 * np.hypot(1.0, slope if slope < 1 else 1 / slope)
    assert line.sum() == pytest.approx(100.0 * 2.0 * np.sqrt(2 * np.pi) * length, rel=0.01)
    assert image[~touched].max() < 0.1


def test_sky_expands_without_a_shift():
    y, x = np.mgrid[0:5, 0:5] / 4.0
    fine = detector.expand(100 + 10 * x + 20 * y, (90, 50))
    assert fine[0, 0] == 100 and fine[-1, -1] == 130
    assert fine[:, 10] == pytest.approx(100 + 10 * 10 / 49 + 20 * np.arange(90) / 89, rel=1e-5)


def test_bad_columns_are_in_the_light():
    bad = detector.bad_columns((100, 80), (10, 70, 0, 90), 5.0, np.random.default_rng(3))
    assert bad.any() and not bad[90:].any() and not bad[:, :10].any() and not bad[:, 70:].any()
