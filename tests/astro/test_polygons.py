"""Polygons drawn here against matplotlib and WeightWatcher, and the rule for pixels on an edge."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from matplotlib.path import Path as Outline

from shapepipe.astro import polygons

SHAPE = (150, 200)


def random_stars(rng, n, n_vertices, low=-30, high=230):
    """Star-shaped polygons that may overlap each other and the edges of the image."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, (n, n_vertices)), axis=1)
    radius = rng.uniform(5, 80, (n, n_vertices))
    offsets = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return offsets + rng.uniform(low, high, (n, 1, 2))


def drawn(outlines, shape=SHAPE):
    flags = np.zeros(shape, np.int16)
    polygons.burn(flags, 2, np.asarray(outlines, dtype=float))
    return flags > 0


@pytest.mark.parametrize("seed", range(8))
def test_pixels_are_inside_if_their_centres_are(seed):
    rng = np.random.default_rng(seed)
    outlines = random_stars(rng, 6, rng.integers(3, 13))
    y, x = np.indices(SHAPE)
    centres = np.column_stack((x.ravel(), y.ravel()))
    inside = [Outline(one).contains_points(centres).reshape(SHAPE) for one in outlines]
    np.testing.assert_array_equal(drawn(outlines), np.any(inside, axis=0))


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    """A square cut along random lines through whole pixels is still covered exactly once."""
    rng = np.random.default_rng(3)
    corners = np.array([[10, 10], [90, 10], [90, 70], [10, 70]], dtype=float)
    middle = rng.integers(11, 69, 2).astype(float)
    pieces = [np.array([corners[i], corners[(i + 1) % 4], middle]) for i in range(4)]
    count = sum(drawn([piece]).astype(int) for piece in pieces)
    expected = np.zeros(SHAPE, int)
    expected[10:70, 10:90] = 1
    np.testing.assert_array_equal(count, expected)


def test_the_sense_of_the_outline_does_not_matter():
    outline = random_stars(np.random.default_rng(1), 1, 9, 50, 100)
    np.testing.assert_array_equal(drawn(outline), drawn(outline[:, ::-1]))


def test_a_self_crossing_outline_has_no_hole():
    angle = 2 * np.pi * 2 * np.arange(5) / 5  # a pentagram
    star = 60 * np.column_stack((np.sin(angle), np.cos(angle))) + 75
    assert drawn([star])[75, 75]


def test_bits_of_overlapping_polygons_are_ored():
    """Two halos that overlap must not become another bit."""
    square = np.array([[10, 10], [50, 10], [50, 50], [10, 50]], dtype=float)
    flags = np.zeros(SHAPE, np.int16)
    polygons.burn(flags, 2, np.stack((square, square + 20)))
    polygons.burn(flags, 128, square[None] + 10)
    assert set(np.unique(flags)) == {0, 2, 128, 130}


def test_polygons_off_the_image_and_unknown_ones_draw_nothing():
    square = np.array([[0, 0], [5, 0], [5, 5], [0, 5]], dtype=float)
    outside = [square - 10, square + [300, 20], square + [20, 300], square * np.nan]
    assert not drawn(outside).any()
    assert not drawn(np.zeros((0, 4, 2))).any()


def test_images_of_several_bands_are_drawn_like_small_ones():
    """Rows are drawn in bands of about a million pixels: no seam between them."""
    shape = (3000, 1000)
    outline = np.array([[[-50.3, -20.7], [1300.1, 1500.9], [400.2, 3100.6]]])
    y, x = np.indices(shape)
    inside = Outline(outline[0]).contains_points(np.column_stack((x.ravel(), y.ravel())))
    np.testing.assert_array_equal(drawn(outline, shape), inside.reshape(shape))


def test_region_file_counts_pixels_from_one():
    text = polygons.region_text([np.array([[0, 0], [1.5, 0], [0, 2]])], [(10.0, -5.0, 0.25)])
    assert "image;polygon(1.000,1.000,2.500,1.000,1.000,3.000)" in text.splitlines()
    assert "icrs;circle(10.000000,-5.000000,0.250000)" in text.splitlines()


@pytest.mark.programs("weightwatcher")
@pytest.mark.parametrize("seed", range(3))
def test_weightwatcher_draws_the_same(tmp_path, seed):
    """WeightWatcher takes the place of a pixel half a pixel to the right of its centre.

    With that half pixel taken away every pixel agrees; without, those that differ lie within half a
    pixel, along x, of an edge.
    """
    rng = np.random.default_rng(seed)
    outlines = np.round(random_stars(rng, 12, rng.integers(4, 25)), 3)
    theirs = weightwatcher(tmp_path, outlines)
    assert 0.1 < theirs.mean() < 0.9
    np.testing.assert_array_equal(theirs, drawn(outlines - [0.5, 0]))
    differ = theirs != drawn(outlines)
    shifted = [drawn(outlines + [shift, 0]) for shift in (-0.5, 0.5)]
    assert 0 < differ.sum() <= (shifted[0] != shifted[1]).sum()
    assert not (differ & (shifted[0] == drawn(outlines))).any()


def weightwatcher(folder, outlines):
    """Flags that WeightWatcher makes of polygons."""
    fits.writeto(folder / "weight.fits", np.ones(SHAPE, "f4"))
    lines = [line.removeprefix("image;") for line in polygons.region_text(outlines).splitlines()]
    (folder / "polygons.reg").write_text("\n".join(["image", *lines[1:]]) + "\n")
    (folder / "ww.conf").write_text(
        "WEIGHT_NAMES weight.fits\nWEIGHT_MIN 0\nWEIGHT_MAX 1000\nWEIGHT_OUTFLAGS 1\n"
        'FLAG_NAMES ""\nPOLY_NAMES polygons.reg\nPOLY_OUTFLAGS 2\nOUTFLAG_NAME out.fits\n'
        "OUTWEIGHT_NAME outweight.fits\nWRITE_XML N\nVERBOSE_TYPE QUIET\n"
    )
    names = ("weightwatcher", "ww", "WeightWatcher")
    program = next(name for name in names if shutil.which(name))
    subprocess.run([program, "-c", "ww.conf"], cwd=folder, check=True, timeout=60)
    return fits.getdata(folder / "out.fits") == 2
