"""Rho statistics of known residuals."""

import numpy as np
import pytest

from shapepipe.astro import rho


@pytest.fixture
def field():
    rng = np.random.default_rng(6)
    n = 3000
    return 30 + rng.uniform(-0.3, 0.3, n), rng.uniform(-0.3, 0.3, n), rng


def test_constant_residuals_have_known_correlations(field):
    ra, dec, _ = field
    n = len(ra)
    e, de = np.array([0.03, -0.04]), np.array([0.002, 0.001])
    g_star = np.tile(e, (n, 1))
    sigma = np.full(n, 2.0)
    found = rho.rho_statistics(ra, dec, g_star, g_star - de, sigma, sigma * np.sqrt(0.98))
    expected = [de @ de, e @ de, 0.02**2 * e @ e, 0.02 * e @ de, 0.02 * e @ e]
    for k in range(5):
        np.testing.assert_allclose(found.rho[k], expected[k], rtol=2e-3)
    assert (found.n_pairs > 0).all()


def test_separations_stop_at_the_extent_of_the_data(field):
    ra, dec, _ = field
    found = rho.rho_statistics(ra, dec, *np.zeros((2, len(ra), 2)), *np.ones((2, len(ra))))
    assert 0.5 < found.theta[0] < 0.65
    assert 30 < found.theta[-1] < 0.6 * 60 * np.sqrt(2)
    steps = np.diff(np.log(found.theta[5:]))
    assert np.median(steps) == pytest.approx(np.log(600) / 32, rel=0.05)


def test_independent_residuals_do_not_correlate(field):
    ra, dec, rng = field
    g_psf = rng.normal(0, 0.02, (len(ra), 2))
    g_star = g_psf + rng.normal(0, 0.01, (len(ra), 2))
    sigma = np.ones(len(ra))
    found = rho.rho_statistics(ra, dec, g_star, g_psf, sigma, sigma)
    deviation = found.rho[0] / found.error[0]
    assert np.abs(deviation).max() < 4.5
    assert np.std(deviation) == pytest.approx(1.0, abs=0.5)


def test_same_input_gives_same_plot(field, tmp_path):
    ra, dec, rng = field
    g = rng.normal(0, 0.02, (2, len(ra), 2))
    sizes = np.ones((2, len(ra)))
    for name in ("a.png", "b.png"):
        figure = rho.plot_rho(rho.rho_statistics(ra, dec, *g, *sizes))
        figure.savefig(tmp_path / name, metadata={"Software": None})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert all("arcmin" in label for label in labels)


def test_two_stars_are_enough():
    shapes, sizes = np.full((2, 2, 2), 0.01), np.ones((2, 2))
    found = rho.rho_statistics([10.0, 10.05], [0.0, 0.0], *shapes, *sizes)
    assert np.isfinite(found.rho).all()
    assert found.n_pairs.sum() == 1
