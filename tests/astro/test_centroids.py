"""Windowed centroids: exact for what is symmetric, and between peak and mean for what is not."""

import galsim
import numpy as np

from shapepipe.astro import centroids


def stamp(profile):
    return profile.drawImage(nx=41, ny=41, scale=0.187).array


def test_a_shifted_star_is_where_it_was_put():
    star = galsim.Moffat(beta=3.5, fwhm=0.7)
    shifts = [(0.0, 0.0), (0.05, -0.03), (-0.09, 0.08)]  # arcsec
    stamps = [stamp(star.shift(*shift)) for shift in shifts]
    x, y = centroids.windowed_centroids(stamps, np.full(3, 1.6))
    np.testing.assert_allclose(np.column_stack([x, y]), 20 + np.array(shifts) / 0.187, atol=2e-4)


def test_the_window_prefers_the_core_of_a_lopsided_star():
    core, flare = galsim.Moffat(beta=3.5, fwhm=0.7), galsim.Moffat(beta=3.5, fwhm=0.7)
    lopsided = 0.8 * core + 0.2 * flare.shift(0.3, 0.0)
    x, y = centroids.windowed_centroids([stamp(lopsided)], 1.6)
    mean = 20 + 0.2 * 0.3 / 0.187
    assert 20 < x[0] < mean - 0.01
    assert abs(y[0] - 20) < 1e-4


def test_window_of_a_half_light_radius():
    assert np.isclose(centroids.window_sigma(1.0), 2 / 2.3548200450309493)
