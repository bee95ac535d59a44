"""Spread model: zero for stars, above for galaxies, in any orientation of the CCDs."""

import galsim
import numpy as np
import pytest
from astropy.wcs import WCS

from shapepipe.astro import spread

SIZE, N = 51, 40
PSF = galsim.Moffat(beta=3.5, fwhm=3.6).shear(g1=0.03, g2=0.02)


def draw(profile, dx=0.0, dy=0.0):
    return profile.drawImage(nx=SIZE, ny=SIZE, scale=1.0, offset=(dx, dy)).array


def measured(profile, noise, rng, dx=0.0, dy=0.0):
    """Spread models of N noisy images of one profile."""
    images = np.repeat(draw(profile, dx, dy)[None], N, axis=0)
    images = images + rng.normal(0, noise, images.shape)
    psfs = np.repeat(draw(PSF)[None], N, axis=0)
    where = np.full(N, dx), np.full(N, dy)
    pair = spread.templates(psfs / psfs.sum((1, 2))[:, None, None], np.full(N, 3.6), *where)
    return spread.spread_model(images, np.full(images.shape, noise**-2), *pair)


@pytest.mark.parametrize("dx", [0.0, 0.4])
def test_a_star_is_at_zero_wherever_it_lies_in_its_pixel(dx):
    star = measured(PSF.withFlux(1000), 0.01, np.random.default_rng(1), dx, -dx)
    assert not star.flag.any()
    assert abs(star.model.mean()) < 3e-5


def test_a_galaxy_is_above_a_star_and_the_error_is_the_scatter():
    rng = np.random.default_rng(2)
    disc = galsim.Exponential(half_light_radius=1.5).withFlux(500)
    galaxy, star = (measured(p, 1.0, rng) for p in (galsim.Convolve(disc, PSF),
                                                    PSF.withFlux(500)))  # fmt: skip
    assert galaxy.model.min() > star.model.max()
    for found in (galaxy, star):
        assert found.model.std() == pytest.approx(found.error.mean(), rel=0.35)
    assert abs(star.model.mean()) < 3 * star.error.mean() / np.sqrt(N)


def test_template_is_the_psf_convolved_with_a_disc_and_moved():
    psf = draw(PSF)[None]
    moved, wider = spread.templates(psf, [3.6], [0.3], [-0.2], smear=0.5)
    disc = galsim.Exponential(scale_radius=1.8)
    expected = draw(galsim.Convolve(PSF, disc), 0.3, -0.2)
    assert np.abs(moved[0] - draw(PSF, 0.3, -0.2)).max() < 2e-4 * psf.max()
    assert np.abs(wider[0] - expected).max() < 2e-3 * expected.max()


def test_gaussian_is_the_one_galsim_draws():
    drawn = spread.gaussian_psfs([1.7, np.nan], (SIZE, SIZE))
    assert np.abs(drawn[0] - draw(galsim.Gaussian(sigma=1.7))).max() < 1e-5
    assert np.isnan(drawn[1]).all()


def test_failures_are_flags():
    psf = draw(PSF)[None] / draw(PSF).sum()
    pair = np.repeat(psf, 5, axis=0), np.repeat(spread.templates(psf, [3.6], [0], [0])[1], 5, 0)
    pair[0][0] = np.nan
    images = np.repeat(draw(PSF)[None], 5, axis=0)
    weights = np.ones_like(images)
    images[1] = -1e30
    weights[2] = 0
    images[3] = -images[3]
    found = spread.spread_model(images, weights, *pair)
    flags = spread.SpreadFlag
    assert found.flag.tolist() == [flags.NO_PSF, flags.NO_PIXEL, flags.NO_PIXEL, flags.NEGATIVE, 0]
    assert found.model[:4].tolist() == [-1, 1, 1, 1] and (found.error[:4] == 1).all()
    assert np.isfinite(found.model).all() and np.isfinite(found.error).all()


def test_masked_pixels_do_not_count():
    rng = np.random.default_rng(5)
    psf = draw(PSF)[None] / draw(PSF).sum()
    pair = spread.templates(psf, [3.6], [0], [0])
    image, weight = draw(PSF)[None] * 100, np.ones((1, SIZE, SIZE))
    mask = rng.random(image.shape) < 0.1
    spoilt = np.where(mask, 1e6, image)
    whole = spread.spread_model(np.where(mask, -1e30, image), weight, *pair)
    assert spread.spread_model(spoilt, np.where(mask, 0, weight), *pair).model == whole.model
    assert abs(whole.model[0]) < 1e-4


def test_psf_of_a_stack_is_the_weighted_sum():
    narrow, wide = draw(galsim.Gaussian(sigma=1.5)), draw(galsim.Gaussian(sigma=2.5)) * 7
    total = spread.stacked_psf([narrow, wide], [3.0, 1.0])
    assert total.sum() == pytest.approx(1)
    expected = (3 * narrow / narrow.sum() + wide / wide.sum()) / 4
    assert np.allclose(total, expected)
    equal = spread.stacked_psf([narrow, wide], [0.0, np.nan])
    assert np.allclose(equal, (narrow / narrow.sum() + wide / wide.sum()) / 2)


def sky(matrix, ra=30.0, dec=88.0):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix = (ra, dec), (500, 500)
    made.wcs.cd = 5e-5 * np.array(matrix)
    return made


@pytest.mark.parametrize("matrix", [[[-1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]],
                                    [[0, -1], [1, 0]], [[-0.9, 0.3], [0.3, 0.9]]])  # fmt: skip
def test_a_turned_stamp_shows_the_sky_as_the_stack_does(matrix):
    ccd, stack = sky(matrix), sky([[-1, 0], [0, 1]], ra=30.4)  # the two norths differ by 0.4 deg
    step = spread.orientation(ccd, stack, 30.0, 88.0)
    stamp = np.zeros((9, 9))
    for dx, dy, value in ((3, 1, 5.0), (-2, 2, 7.0)):
        stamp[4 + dy, 4 + dx] = value
        here = np.array(ccd.all_pix2world(499, 499, 0))
        ra, dec = ccd.all_pix2world(499 + dx, 499 + dy, 0)
        to = np.subtract(stack.all_world2pix(ra, dec, 0), stack.all_world2pix(*here, 0))
        x, y = (step @ (dx, dy)).tolist()
        assert np.hypot(x - to[0], y - to[1]) < (1.2 if abs(matrix[0][1]) == 0.3 else 0.1)
        assert spread.turn(stamp, step)[4 + y, 4 + x] == value


@pytest.mark.parametrize("n", [8, 9])
def test_the_middle_pixel_stays_in_the_middle(n):
    stamp = np.zeros((n, n))
    stamp[n // 2, n // 2] = 1
    for step in ([[-1, 0], [0, -1]], [[0, 1], [-1, 0]], [[0, -1], [-1, 0]]):
        assert np.array_equal(spread.turn(stamp, np.array(step)), stamp)
