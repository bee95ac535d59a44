"""Recovered shear without noise, leakage of the PSF, responses, moments of PSFs against GalSim."""

import galsim
import numpy as np
import pytest

from shapepipe.shear import Settings, measure
from shapepipe.shear.moments import adaptive_moments, shape_of
from shapepipe.simulate.stamps import StampSet, draw_stamps

NOISE_FREE = {"s2n": 1e5, "kind": np.float64}
SECOND_ORDER = 0.92  # m grows by this times shear^2, the same with ngmix


def shear_bias(batch_of, wanted, shear, settings):
    """m and the mean shape of galaxies and their twins turned by 90 degrees."""
    shapes = {}
    for sign in (1, -1):
        for turn in (False, True):
            scene = wanted.twin(shear=(sign * shear, 0.0), turn=turn)
            shapes[sign, turn] = measure(batch_of(scene, **NOISE_FREE), settings)
    response = np.mean([(s.g1[:, 1] - s.g1[:, 2]) / 0.02 for s in shapes.values()])
    signed = np.mean([sign * s.g1[:, 0].mean() for (sign, _), s in shapes.items()])
    both = np.mean([s.g1[:, 0].mean() for s in shapes.values()])
    return signed / (response * shear) - 1, both / response, shapes


@pytest.mark.parametrize("estimator, tolerance", [("fit", 1e-4), ("wmom", 1e-4), ("admom", 2e-4)])
def test_noise_free_bias(batch_of, estimator, tolerance):
    target = "epoch" if estimator == "fit" else "object"
    settings = Settings(fixnoise=False, estimator=estimator, target=target)
    m, c, _ = shear_bias(batch_of, StampSet(seed=31, count=12, epochs=2), 0.02, settings)
    assert abs(m - SECOND_ORDER * 0.02**2) < tolerance
    assert abs(c) < 2e-5


def test_psf_ellipticity_does_not_leak(batch_of):
    settings = Settings(fixnoise=False)
    plain = StampSet(seed=32, count=8, epochs=2, psf_shape=(0.0, 0.0))
    _, c0, _ = shear_bias(batch_of, plain, 0.02, settings)
    _, c1, _ = shear_bias(batch_of, plain.twin(psf_shape=(0.05, 0.0)), 0.02, settings)
    assert abs(c1 - c0) / 0.05 < 1e-4


@pytest.mark.parametrize("estimator", ["fit", "wmom", "admom"])
def test_analytic_response_is_that_of_finite_shears(batch_of, galaxies, estimator):
    shapes = measure(batch_of(galaxies, s2n=50), Settings(estimator=estimator))
    for i, name in enumerate(("g1", "g2", "T")):
        values = getattr(shapes, name)
        for j in range(2):
            finite = (values[:, 1 + 2 * j] - values[:, 2 + 2 * j]) / 0.02
            np.testing.assert_allclose(shapes.response[:, i, j], finite, atol=3e-3)


def test_gaussian_galaxy_is_recovered(batch_of):
    """The model is exact: shape, area and flux come back."""
    wanted = StampSet(seed=33, count=6, galaxy="gaussian", half_light=(0.4, 0.4), distortion=20.0)
    shapes = measure(batch_of(wanted, **NOISE_FREE), Settings(fixnoise=False, precision="double"))
    truth = draw_stamps(wanted)["shape"]
    np.testing.assert_allclose(np.c_[shapes.g1[:, 0], shapes.g2[:, 0]], truth, atol=1e-4)
    square = (truth**2).sum(axis=1)
    np.testing.assert_allclose(
        shapes.r50[:, 0], 0.4 * np.sqrt((1 + square) / (1 - square)), rtol=1e-4
    )
    np.testing.assert_allclose(shapes.flux[:, 0], wanted.flux, rtol=1e-4)


def test_sheared_gaussian_obeys_the_composition_of_shears(batch_of):
    """Second order included: g of 1p is (g + s) / (1 + conj(s) g) for s = 0.01."""
    wanted = StampSet(seed=34, count=6, galaxy="gaussian", half_light=(0.35, 0.5))
    shapes = measure(batch_of(wanted, **NOISE_FREE), Settings(fixnoise=False, precision="double"))
    g = shapes.g1 + 1j * shapes.g2
    for t, s in enumerate((0.01, -0.01, 0.01j, -0.01j), 1):
        expected = (g[:, 0] + s) / (1 + np.conj(s) * g[:, 0])
        # the prior pulls a little: its weight against S/N 1e5 is negligible
        np.testing.assert_allclose(g[:, t], expected, atol=5e-6)


def test_antithetic_pair_lowers_the_noise(batch_of):
    wanted = StampSet(seed=35, count=120, epochs=1, galaxy="gaussian", ellipticity=1e-6)
    batch = batch_of(wanted, s2n=20)
    spread = {}
    for pair in (True, False):
        shapes = measure(batch, Settings(pair=pair))
        scale = shapes.response[:, 0, 0].mean()
        spread[pair] = np.median(np.abs(shapes.g1[:, 0])) / scale
    assert 0.5 < spread[True] / spread[False] < 0.9


def test_errors_describe_the_scatter(batch_of):
    wanted = StampSet(seed=36, count=1, epochs=2, galaxy="gaussian", half_light=(0.5, 0.5))
    shapes = [measure(batch_of(wanted, s2n=60, seed=k), Settings()) for k in range(80)]
    values = np.array([s.g1[0, 0] for s in shapes])
    expected = np.mean([s.g1_err[0, 0] for s in shapes])
    assert 0.7 < values.std() / expected < 1.4


def test_psf_moments_are_those_of_galsim():
    stamps = draw_stamps(StampSet(seed=37, count=4, epochs=1, psf="lopsided"))
    psf, jacobian = stamps["psf"][:, 0], np.tile(np.eye(2), (4, 1, 1))
    covariance, offset, good = adaptive_moments(psf, jacobian, np.full((4, 2), 25.0))
    assert good.all()
    g1, g2, _ = shape_of(covariance)
    sigma = (covariance[:, 0] * covariance[:, 1] - covariance[:, 2] ** 2) ** 0.25
    for i in range(4):
        hsm = galsim.hsm.FindAdaptiveMom(galsim.Image(psf[i]), precision=1e-8)
        assert abs(hsm.observed_shape.g1 - g1[i]) < 1e-5
        assert abs(hsm.observed_shape.g2 - g2[i]) < 1e-5
        assert abs(hsm.moments_sigma / sigma[i] - 1) < 1e-5
        centre = hsm.moments_centroid - galsim.PositionD(26, 26)
        np.testing.assert_allclose(offset[i], [centre.x, centre.y], atol=1e-5)


def test_stars_do_not_respond(batch_of):
    shapes = measure(batch_of(StampSet(seed=38, count=60, galaxy="star"), s2n=100))
    good = shapes.good
    assert good.mean() > 0.9
    response = (shapes.g1[good, 1] - shapes.g1[good, 2]).mean() / 0.02
    assert abs(response) < 0.06
