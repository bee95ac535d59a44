"""Pixel residuals of stars and the summary of shape residuals."""

import galsim
import numpy as np
import pytest

from shapepipe.astro import psfresiduals


def psf(dx=0.0, dy=0.0, fwhm=4.0, size=51):
    profile = galsim.Moffat(beta=3.5, fwhm=fwhm).shift(dx, dy)
    return profile.drawImage(nx=size, ny=size, scale=1).array


def test_perfect_model_leaves_the_noise():
    rng = np.random.default_rng(1)
    n, flux, sigma = 30, 2e4, 5.0
    dx, dy = rng.uniform(-0.5, 0.5, (2, n))
    stars = np.array([flux * psf(*place) for place in zip(dx, dy, strict=True)])
    stars += rng.normal(0, sigma, stars.shape)
    stars[:, :6, :] = -1e30
    found = psfresiduals.pixel_residuals(stars, np.repeat(psf()[None], n, 0), dx, dy)
    expected = sigma / flux
    assert np.median(found.noise) == pytest.approx(expected, rel=0.05)
    assert np.median(found.rms) == pytest.approx(expected, rel=0.05)
    assert np.median(found.rms_core) == pytest.approx(expected, rel=0.05)


def test_wrong_size_shows_in_the_core():
    stars, model = 1e4 * psf(fwhm=4.4)[None], psf(fwhm=4.0)[None]
    found = psfresiduals.pixel_residuals(stars, model, np.zeros(1), np.zeros(1))
    best = psfresiduals.pixel_residuals(stars, psf(fwhm=4.4)[None], np.zeros(1), np.zeros(1))
    assert found.relative[0] > 0.05
    assert best.relative[0] < 1e-3
    assert found.rms_core[0] > found.rms[0]


def test_fully_masked_star_gives_nan_and_no_warning():
    found = psfresiduals.pixel_residuals(
        np.full((1, 21, 21), -1e30), psf(size=21)[None], np.array([np.nan]), np.array([np.nan])
    )
    assert np.isnan([found.rms[0], found.rms_core[0], found.relative[0], found.noise[0]]).all()


def test_summary_recovers_offsets_and_scatter():
    rng = np.random.default_rng(2)
    n = 20000
    g_psf = rng.normal(0, 0.02, (n, 2))
    g_star = g_psf + [0.003, -0.001] + rng.normal(0, 0.01, (n, 2))
    sigma = rng.uniform(1.5, 2, n)
    found = psfresiduals.summarise(g_star, g_psf, sigma, sigma * np.sqrt(0.99))
    assert found["de1_mean"] == pytest.approx(0.003, abs=3e-4)
    assert found["de2_mean"] == pytest.approx(-0.001, abs=3e-4)
    assert found["de1_scatter"] == pytest.approx(0.01, rel=0.03)
    assert found["de1_robust"] == pytest.approx(0.01, rel=0.03)
    assert found["dr2_mean"] == pytest.approx(0.01, abs=1e-6)
    line = psfresiduals.summary_line(found)
    assert "\n" not in line and "20000 stars" in line and "dR2/R2 +0.01000" in line


def test_pixel_statistics_ignore_stars_without_pixels():
    values = np.array([1e-3, np.nan, 3e-3])
    found = psfresiduals.pixel_statistics(values, values, values * 10, values)
    assert found["rms_pix"] == pytest.approx(np.sqrt(5e-6))
    assert found["resid_rel"] == pytest.approx(0.02)
    assert "0.020" in psfresiduals.pixel_line(found)
