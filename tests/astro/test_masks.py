"""Borders, stars, deep-sky objects and missing data: what is drawn, and where."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from shapepipe.astro import masks
from shapepipe.astro.deepsky import DeepSky
from shapepipe.astro.masks import StarMark
from shapepipe.astro.starcat import Stars
from shapepipe.astro.vicinity import Vicinity
from shapepipe.errors import BadInput

SHAPE = (240, 320)
SCALE = 0.2 / 3600
OUTLINE = np.array([[-40, -40], [40, -40], [40, 40], [-40, 40]], dtype=float)


def vicinity(ra=150.0, dec=2.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [160, 120]
    wcs.wcs.cdelt = [-SCALE, SCALE]
    return Vicinity(wcs, SHAPE)


def mark(**changes):
    return StarMark(**{"outline": OUTLINE, "faintest": 13.0, "growth": 0.05, "pivot": 13.8,
                       "bit": 2, **changes})  # fmt: skip


def stars_at(place, x, y, mag):
    return Stars(*place.wcs.all_pix2world(x, y, 0), np.asarray(mag, dtype=float))


def test_border_is_as_wide_as_it_says():
    flags = np.zeros(SHAPE, np.int16)
    masks.draw_border(flags, 7, 4)
    expected = np.full(SHAPE, 4)
    expected[7:-7, 7:-7] = 0
    np.testing.assert_array_equal(flags, expected)


def test_border_of_width_zero_does_not_mask_the_whole_image():
    flags = np.zeros(SHAPE, np.int16)
    masks.draw_border(flags, 0, 4)
    assert not flags.any()


@pytest.mark.parametrize("width", [120, 130, 160, 1000])
def test_border_wider_than_the_image_masks_each_pixel_once(width):
    flags = np.ones(SHAPE, np.int16)
    masks.draw_border(flags, width, 4)
    assert (flags == 5).all()


def test_size_follows_the_magnitude():
    scales = mark(faintest=20.0).scales([13.8, 3.8, 18.8])
    np.testing.assert_allclose(scales, [1.0, 1.5, 0.75])


def test_faint_star_with_large_factor_does_not_get_an_inverted_polygon():
    """1 - 0.3 (18 - 13.8) is negative: no polygon, instead of one turned inside out."""
    spike = mark(faintest=19.0, growth=0.3)
    assert spike.scales([18.0])[0] == 0
    assert len(spike.around(np.array([100.0]), np.array([100.0]), np.array([18.0]))) == 0


def test_stars_at_and_beyond_the_limit_get_nothing():
    assert list(mark().scales([13.0, 14.0]) > 0) == [False, False]


def test_star_without_magnitude_keeps_its_halo():
    """Such a star is drawn like the faintest that has a halo."""
    no_mag = mark().scales([np.nan])[0]
    assert no_mag == pytest.approx(1 - 0.05 * (13.0 - 13.8))


def test_polygons_are_centred_on_the_star():
    place = vicinity()
    star = stars_at(place, [100.0], [80.0], [3.8])
    x, y, mag = masks.place_stars(star, place, [mark()])
    outline = mark().around(x, y, mag)[0]
    np.testing.assert_allclose(outline, OUTLINE * 1.5 + [100, 80], atol=1e-4)


@pytest.mark.parametrize("ra, dec", [(150.0, 2.0), (0.0, 0.0), (10.0, 90.0), (200.0, -89.99)])
def test_star_outside_the_image_whose_halo_reaches_in_is_drawn(ra, dec):
    place = vicinity(ra, dec)
    x = np.array([-30.0, 320 + 30, 150, 150, -100, 150])
    y = np.array([100.0, 100, -30, 240 + 30, 100, 400])
    found = masks.place_stars(stars_at(place, x, y, [12.0] * 6), place, [mark()])
    np.testing.assert_allclose(np.sort(found[0]), np.sort(x[:4]), atol=1e-4)


def test_bright_star_is_looked_for_further_away():
    place = vicinity()
    stars = stars_at(place, [-70.0, -70.0], [100.0, 100.0], [12.9, -2.0])
    found = masks.place_stars(stars, place, [mark()])
    assert list(found[2]) == [-2.0]


def test_mask_model_is_read_with_comments(tmp_path):
    path = tmp_path / "halo.reg"
    path.write_text("# offsets\n0 1\n-1 -1\n 1.5 -1 # last\n")
    np.testing.assert_array_equal(masks.read_outline(path), [[0, 1], [-1, -1], [1.5, -1]])


@pytest.mark.parametrize(
    "text", ["", "1 2\n3 4\n", "1 2 3\n1 2 3\n1 2 3\n", "a b\n", "nan 1\n" * 3]
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_bad_mask_model_is_named(tmp_path, text):
    path = tmp_path / "halo.reg"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"halo\.reg: .*mask model"):
        masks.read_outline(path)


def test_deepsky_object_wholly_inside_the_image_is_drawn():
    """Its circle reaches none of the corners of the image."""
    place = vicinity()
    ra, dec = place.wcs.all_pix2world([160.0], [120.0], 0)
    flags = np.zeros(SHAPE, np.int16)
    assert masks.draw_deepsky(flags, place, DeepSky(ra, dec, np.array([30 * SCALE])), 16) == [0]
    y, x = np.indices(SHAPE)
    near = np.hypot(x - 160, y - 120)
    assert (flags[near < 29.9] == 16).all() and not flags[near > 30.1].any()


def test_deepsky_object_larger_than_the_image_masks_all_of_it():
    place = vicinity()
    centre = SkyCoord(*place.position, unit="deg").directional_offset_by(
        0.3 * units.rad, 1.4 * units.deg
    )
    catalogue = DeepSky(np.array([centre.ra.deg]), np.array([centre.dec.deg]), np.array([1.5]))
    flags = np.zeros(SHAPE, np.int16)
    masks.draw_deepsky(flags, place, catalogue, 16)
    assert (flags == 16).all()


def test_deepsky_size_plus_enlarges_the_radius():
    place = vicinity()
    ra, dec = place.wcs.all_pix2world([-50.0], [120.0], 0)
    catalogue = DeepSky(ra, dec, np.array([40 * SCALE]))
    flags = np.zeros(SHAPE, np.int16)
    assert masks.draw_deepsky(flags, place, catalogue, 16) == []
    assert masks.draw_deepsky(flags, place, catalogue, 16, size_plus=0.5) == [0]
    assert flags[120, 5] == 16 and flags[120, 15] == 0


def test_missing_pixels_are_those_without_weight_or_value():
    image, weight = np.ones((4, 4)), np.ones((4, 4))
    image[0] = np.nan, np.inf, 0, 5
    weight[1] = 0, -1, np.nan, 1e9
    expected = np.zeros((4, 4), bool)
    expected[0, :2] = expected[1, :3] = True
    np.testing.assert_array_equal(masks.missing_pixels(image, weight), expected)
    expected[1] = False
    expected[0, 2] = True
    np.testing.assert_array_equal(masks.missing_pixels(image), expected)


def test_missing_ratio_counts_zeros_of_the_image_and_of_the_weight_once():
    image, weight = np.ones((10, 10)), np.ones((10, 10))
    image[:2] = 0
    weight[1:5] = 0
    assert masks.missing_ratio(image, masks.missing_pixels(image, weight)) == 0.5


def test_integer_images_have_no_nan_to_look_for():
    image = np.array([[0, 1], [2, 3]], np.int16)
    np.testing.assert_array_equal(masks.missing_pixels(image), [[True, False], [False, False]])
