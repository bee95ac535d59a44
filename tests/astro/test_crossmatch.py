"""Nearest neighbours on the sky."""

import numpy as np

from shapepipe.astro import crossmatch


def test_neighbours_are_found_across_ra_0_and_at_the_pole():
    ra, dec = np.array([359.9999, 0.00005, 12.0]), np.array([10.0, 10.0, 89.9999])
    other_ra, other_dec = np.array([192.0, 0.0, 359.99995]), np.array([89.9999, 10.0, 10.0])
    index, distance = crossmatch.nearest(ra, dec, other_ra, other_dec, 1.0)
    assert index.tolist() == [2, 1, 0]
    expected = [0.00005 * np.cos(np.radians(10)) * 3600] * 2 + [0.0002 * 3600]
    assert np.allclose(distance, expected, rtol=1e-5)


def test_nothing_matches_beyond_the_tolerance_or_without_position():
    ra, dec = np.array([10.0, np.nan, 10.0]), np.array([0.0, 0.0, 0.001])
    index, distance = crossmatch.nearest(ra, dec, [10.0], [0.0], 1.0)
    assert index.tolist() == [0, -1, -1]
    assert distance[0] == 0 and np.isnan(distance[1:]).all()
    assert crossmatch.nearest(ra, dec, [], [], 1.0)[0].tolist() == [-1, -1, -1]
