"""Gradient, Hessian and shear derivatives of the fit against numerical ones."""

import numpy as np
import pytest

from shapepipe.shear.gaussian import constants
from shapepipe.shear.normal import evaluate, workspace
from shapepipe.shear.response import shear_slopes

START = np.array([0.03, -0.02, 0.15, -0.2, 0.4, 3.0])
EPOCHS = 2


@pytest.fixture(scope="module")
def model():
    """Weights, epochs, priors and constants of an object with two unlike epochs."""
    rng = np.random.default_rng(2)
    jacobian = 0.187 * np.array([[[1.0, 0.05], [-0.02, 0.98]], [[-0.9, 0.1], [0.1, 1.1]]])
    epochs = (
        np.ones(EPOCHS, bool),
        jacobian,
        rng.uniform(19.5, 20.5, (EPOCHS, 2)),
        np.array([0.11, 0.13]),
        np.full((EPOCHS, 2), 20.0),
    )
    weight = rng.uniform(50, 60, (EPOCHS, 41, 41))
    prior = np.array([0.187, 0.4, -10.0, 1e6, -1e4, 1e9])
    return weight, epochs, prior, constants(np.float64, 41)


@pytest.fixture(scope="module")
def data():
    y, x = np.mgrid[:41, :41] - 20.0
    blob = np.exp(-0.5 * (x**2 + 0.3 * x * y + 1.3 * y**2) / 8)
    return np.stack([0.2 * blob, 0.25 * blob.T]) * (1 + 0.1 * x / 20)


def call(p, data, model):
    grad, gauss, hess = np.empty(6), np.empty((6, 6)), np.empty((6, 6))
    chi2 = evaluate(p, data, data, 0.0, np.zeros(6), model, workspace(), grad, gauss, hess)
    return chi2, grad, hess


def test_gradient(data, model):
    _, grad, _ = call(START, data, model)
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-5
        slope = (call(START + step, data, model)[0] - call(START - step, data, model)[0]) / 2e-5
        assert -2 * grad[i] == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_hessian(data, model):
    _, _, hess = call(START, data, model)
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-5
        slope = (call(START + step, data, model)[1] - call(START - step, data, model)[1]) / 2e-5
        np.testing.assert_allclose(-hess[i, : i + 1], slope[: i + 1], rtol=2e-5, atol=1e-3)


def flow(image, jacobian, variance, axis):
    """L applied to a band-limited image, by Fourier transforms of the stamp."""
    n = image.shape[0]
    k = 2 * np.pi * np.fft.fftfreq(n)
    kx, ky = np.meshgrid(k, k)
    inverse = np.linalg.inv(jacobian)
    ku = inverse[0, 0] * kx + inverse[1, 0] * ky
    kv = inverse[0, 1] * kx + inverse[1, 1] * ky
    y, x = np.mgrid[:n, :n] - 20.0
    u, v = (jacobian[i, 0] * x + jacobian[i, 1] * y for i in range(2))
    spectrum = np.fft.fft2(image)

    def real(factor):
        return np.fft.ifft2(factor * spectrum).real

    gu, gv = real(1j * ku), real(1j * kv)
    if axis == 0:
        return real(variance * (ku**2 - kv**2)) - (u * gu - v * gv)
    return real(2 * variance * ku * kv) - (u * gv + v * gu)


@pytest.mark.parametrize("axis", [0, 1])
def test_second_order_of_shear_without_second_derivative_images(data, model, axis):
    _, epochs, prior, table = model
    even = (np.full((EPOCHS, 41, 41), 55.0), epochs, prior, table)
    weight = even[0]
    tilt = np.stack([flow(data[e], epochs[1][e], epochs[3][e], axis) for e in range(EPOCHS)])
    twice = np.stack([flow(tilt[e], epochs[1][e], epochs[3][e], axis) for e in range(EPOCHS)])
    slope, bend, expected = np.zeros(6), np.zeros(6), np.zeros(6)
    shear_slopes(START, (tilt, tilt), axis, weight, epochs, table, workspace(), slope, bend)
    shear_slopes(START, (twice, twice), axis, weight, epochs, table, workspace(), expected,
                 np.zeros(6))  # fmt: skip
    np.testing.assert_allclose(bend, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    base, sheared = call(START, data, even)[1], call(START, data + 1e-4 * tilt, even)[1]
    np.testing.assert_allclose((sheared - base) / 1e-4, slope, rtol=1e-5, atol=1e-4)
