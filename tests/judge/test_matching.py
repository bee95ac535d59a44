"""Detections and sources are matched one to one, the brightest first."""

import numpy as np
from astropy.table import Table

from shapepipe.judge.bins import crossing, edges_of, shares
from shapepipe.judge.matching import isolated, match, match_sky, nearest_pixels


def test_the_brightest_source_gets_the_detection_and_its_neighbour_is_a_blend():
    found = match([10.0, 50.0], [10.0, 50.0], [10.2, 9.8, 30.0], [10.0, 10.0, 30.0],
                  [22.0, 20.0, 19.0], 1.0)  # fmt: skip
    assert found.source.tolist() == [1, -1]
    assert found.detection.tolist() == [-1, 0, -1]
    assert found.blended.tolist() == [True, False, False]


def test_two_sources_get_the_nearer_of_two_detections_each():
    found = match([0.0, 1.0], [0.0, 0.0], [0.9, 0.1], [0.0, 0.0], [20.0, 21.0], 1.5)
    assert found.source.tolist() == [1, 0]
    assert not found.blended.any()


def test_nothing_matches_nothing_and_what_is_not_finite():
    assert match([], [], [1.0], [1.0], [20.0], 1.0).detection.tolist() == [-1]
    assert match([np.nan], [0.0], [0.0], [0.0], [20.0], 1.0).source.tolist() == [-1]
    assert match_sky([1.0], [1.0], [], [], [], 1.0).source.tolist() == [-1]
    assert nearest_pixels([1.0], [1.0], [], [], 2.0).tolist() == [-1]


def test_matching_across_zero_and_not_after_a_flip():
    rng = np.random.default_rng(3)
    ra, dec = (359.99 + 0.02 * rng.random(300)) % 360, -0.3 + 0.02 * rng.random(300)
    mag = 20 + rng.random(300)
    assert (match_sky(ra, dec, ra, dec, mag, 0.5).source == np.arange(300)).all()
    flipped = match_sky(ra, -0.58 - dec, ra, dec, mag, 0.5).source
    assert (flipped == np.arange(300)).mean() < 0.02


def test_isolated_sources_have_no_neighbour_that_counts():
    truth = Table({"x": [0.0, 3.0, 50.0], "y": [0.0, 0.0, 0.0], "mag": [18.0, 22.0, 20.0]})
    assert isolated(truth, 5.0, 7.0).tolist() == [False, False, True]
    assert isolated(truth, 5.0, 2.0).tolist() == [True, False, True]


def test_shares_in_bins():
    mag = np.repeat([20.25, 20.75, 21.25], [10, 4, 0])
    table = shares(mag, np.arange(14) % 2 == 0, edges_of([20.0, 21.4], 0.5), "real")
    assert table["n_real"].tolist() == [10, 4, 0]
    assert table["real"][:2].tolist() == [0.5, 0.5]
    assert np.isnan(table["real"][2])
    assert (table["real_err"][:2] > 0.1).all()


def test_where_a_share_falls_through_a_level():
    assert crossing([20, 21, 22, 23], [1.0, 0.8, 0.4, 0.1], 0.6) == 21.5
    assert np.isnan(crossing([20, 21], [1.0, 0.9], 0.5))
