"""Local Jacobians anywhere on the sky, against those by which the simulator draws."""

import numpy as np
import pytest
from astropy.wcs import WCS

from shapepipe.astro import jacobians
from shapepipe.simulate import astrometry

SCALE = 0.187


def turned(ra, dec):
    """WCS of a CCD that stands at 20 degrees, with (ra, dec) in the pixel (100, 100)."""
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix = (ra, dec), (101, 101)
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    made.wcs.cd = SCALE / 3600 * np.array([[-cos, sin], [sin, cos]])
    return made


@pytest.mark.parametrize("place", [(210.0, 52.0), (0.0, 0.0), (0.0, -35.0), (80.0, 89.999)])
def test_they_are_those_of_the_simulator(place):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 200, (2, 50))
    solution = turned(*place)
    found = jacobians.local_jacobians(solution, x, y)
    assert found.shape == (50, 2, 2)
    np.testing.assert_allclose(found, astrometry.jacobians(solution, x, y), atol=1e-7)
    assert np.linalg.det(found) == pytest.approx(np.full(50, SCALE**2), rel=1e-5)


@pytest.mark.parametrize("dec", [90.0, -90.0])
@pytest.mark.parametrize("away", [0.0, 0.3, 2.0])
def test_an_object_at_a_pole_has_its_scale(dec, away):
    """Where RA runs around within a pixel, only directions depend on it."""
    found = jacobians.local_jacobians(turned(30.0, dec), [100.0 + away], [100.0])[0]
    np.testing.assert_allclose(found @ found.T, SCALE**2 * np.eye(2), rtol=1e-6, atol=1e-9)
