"""Chi-square of two measurements of the same shapes, and the noise that errors do not know."""

import galsim
import numpy as np
import pytest

from shapepipe.shear import Batch, agreement, measure_with_halves

PIXEL, SIDE = 0.34, 33


def tables(n=4000, seed=1, true_errors=1.0):
    """Two noisy measurements of the same shapes; errors are as stated times a factor."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(0, 0.25, (2, n))
    made = []
    for _ in range(2):
        errors = rng.uniform(0.02, 0.05, (2, n))
        noisy = shapes + true_errors * errors * rng.normal(0, 1, (2, n))
        made.append({"g1": noisy[0], "g2": noisy[1], "g1_err": errors[0], "g2_err": errors[1],
                     "flags": np.zeros(n, int)})  # fmt: skip
    return made


def test_chi_square_is_one_where_errors_are_right():
    found = agreement.compare(*tables())
    assert found.count == 4000
    assert abs(found.chi2_per_dof - 1) < 4 * found.chi2_error
    assert found.robust == pytest.approx(1, abs=0.1)
    assert (np.abs(found.difference) < 4 * found.error).all()
    assert found.slope == pytest.approx(1, abs=0.02)
    assert agreement.compare(*tables(true_errors=1.5)).chi2_per_dof == pytest.approx(2.25, rel=0.08)


def test_a_shift_and_an_outlier_are_seen():
    one, other = tables(500)
    one["g1"] = one["g1"] + 0.01
    one["g2"][7] += 2.0
    found = agreement.compare(one, other)
    assert found.difference[0] == pytest.approx(0.01, abs=4 * found.error[0])
    assert found.outliers.tolist() == [0, 1] and found.chi2_per_dof > 2
    assert found.robust[1] < 1.5


def test_failed_measurements_are_not_compared():
    one, other = tables(10)
    one["flags"][3], other["g1"][4], other["g2_err"][5] = 512, np.nan, 0
    good = agreement.measured(one, other)
    assert np.flatnonzero(~good).tolist() == [3, 4, 5]
    assert np.isfinite(agreement.compare(one, other, good).chi2_per_dof)
    assert agreement.compare(one, other, np.zeros(10, bool)).count == 0


def test_errors_are_widened():
    one, other = tables(400)
    wide = [agreement.with_errors(table, 4.0, 0.01) for table in (one, other)]
    assert wide[0]["g1_err"] == pytest.approx(np.sqrt(4 * one["g1_err"] ** 2 + 0.01))
    assert agreement.psf_variance(0.01, [0.4, 0.4], [0.8, 0.0])[0] == pytest.approx(0.005**2)


def half(rng, profiles, gain):
    """Shapes of galaxies from one exposure, with noise of the sky and, if asked, of their light."""
    psf = galsim.Moffat(beta=3.5, fwhm=0.9)
    images = np.array([galsim.Convolve(p, psf).drawImage(nx=SIDE, ny=SIDE, scale=PIXEL).array
                       for p in profiles], float)  # fmt: skip
    sky = np.sqrt((images**2).sum(axis=(1, 2), keepdims=True)) / 80
    variance = sky**2 + (images / gain if gain else 0)
    pixels = images + rng.normal(0, 1, images.shape) * np.sqrt(variance)
    weight = np.broadcast_to(1 / sky**2, images.shape)
    model = psf.drawImage(nx=SIDE, ny=SIDE, scale=PIXEL).array
    n = len(images)
    batch = Batch.regular(
        pixels.astype(np.float32)[:, None], weight.astype(np.float32)[:, None],
        np.tile(model, (n, 1, 1, 1)), np.tile(np.eye(2) * PIXEL, (n, 1, 1, 1)),
        np.full((n, 1, 2), SIDE // 2, float), rng.uniform(0, 360, n), np.zeros(n),
    )  # fmt: skip
    own, *pair = measure_with_halves(batch)
    table = own.columns("noshear")
    for name, part in zip("ab", pair, strict=True):
        table |= {f"{g}_{name}": part.columns("noshear")[g] for g in agreement.COMPONENTS}
    return table


@pytest.mark.parametrize("gain", [0, 2.5e-4])
def test_the_noise_pair_and_the_light_complete_the_errors_of_fits(gain):
    rng = np.random.default_rng(8)
    profiles = []
    for _ in range(260):
        g1, g2 = np.clip(rng.normal(0, 0.2, 2), -0.45, 0.45)
        radius = rng.uniform(0.5, 0.8)
        profile = galsim.Exponential(half_light_radius=radius, flux=4e7)
        profiles.append(profile.shear(g1=g1, g2=g2))
    one, other = (half(rng, profiles, gain) for _ in range(2))
    good = agreement.measured(one, other)
    assert good.mean() > 0.98
    factor = agreement.pair_factor((one, other), good)
    assert 1.15 < factor < 1.5  # errors take reconvolved noise for white
    plain = agreement.compare(one, other, good)
    assert plain.chi2_per_dof > 1.1
    total = factor
    if gain:
        total = factor * agreement.light_factor(one["s2n"], one["flux"] * gain)
        assert np.median(total / factor) > 1.3
        assert plain.chi2_per_dof > 1.5
    best = [agreement.with_errors(table, total) for table in (one, other)]
    found = agreement.compare(*best, good)
    assert found.chi2_per_dof == pytest.approx(1, abs=4 * found.chi2_error)
