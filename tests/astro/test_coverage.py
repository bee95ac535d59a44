"""Random positions and coverage maps follow the mask."""

import hpgeom
import numpy as np
import pytest
from astropy.wcs import WCS

from shapepipe.astro import coverage, wcs

SHAPE = (500, 700)


def sky(ra, dec):
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (ra, dec), (350, 250)
    solution.wcs.cd = np.array([[-1e-3, 0], [0, 1e-3]])  # 3.6 arcsec
    return solution


@pytest.fixture
def flags():
    """The left 300 columns are masked, and a square on the right."""
    made = np.zeros(SHAPE, np.int16)
    made[:, :300] = 4
    made[100:200, 500:600] = 2
    return made


def test_positions_fall_uniformly_on_good_pixels(flags):
    x, y = coverage.random_places(flags, 40000, np.random.default_rng(1))
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    assert (flags[row, column] == 0).all()
    counts, _, _ = np.histogram2d(y, x, bins=[5, 4], range=[[-0.5, 499.5], [299.5, 699.5]])
    expected = np.full((5, 4), 40000 / 19)
    expected[1, 2] = 0
    assert counts[1, 2] == 0
    assert (((counts - expected)[expected > 0]) ** 2 / expected[0, 0]).sum() < 18 + 4 * 6
    assert abs((x + 0.5) % 1 - 0.5).mean() == pytest.approx(0.25, abs=0.005)


def test_a_masked_image_has_no_positions(flags):
    x, y = coverage.random_places(flags | 1, 100, np.random.default_rng(1))
    assert len(x) == len(y) == 0


@pytest.mark.parametrize("place", [(210.0, 52.0), (0.0, -1.0), (77.0, 89.9)])
def test_map_has_the_area_of_the_good_pixels(flags, place):
    solution = sky(*place)
    made = coverage.covered_fraction(flags, solution, 4096)
    total, good = coverage.areas(flags, solution)
    assert total == pytest.approx(0.35, rel=1e-6) and good == pytest.approx(0.19, rel=1e-6)
    area = hpgeom.nside_to_pixel_area(4096) * made[made.valid_pixels].sum()
    assert area == pytest.approx(good, rel=2e-3)
    for x, y, fraction in ((650, 400, 1.0), (550, 150, 0.0), (100, 250, 0.0)):
        ra, dec = wcs.pixel_to_world(solution, x, y)
        found = made.get_values_pos(float(ra), float(dec))
        assert max(found, 0) == pytest.approx(fraction, abs=0.01)
