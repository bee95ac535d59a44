"""Flag images as a whole: bits OR-ed, never added, and a header that names them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.astro.deepsky import DeepSky
from shapepipe.astro.flagimage import Circles, Recipe, compose
from shapepipe.astro.flags import (
    MaskBit,
    integer_flags,
    pixel_dtype,
    read_bits,
    used_bits,
)
from shapepipe.astro.masks import StarMark
from shapepipe.astro.starcat import Stars
from shapepipe.astro.vicinity import Vicinity
from shapepipe.errors import BadInput

SHAPE = (100, 120)
SQUARE = np.array([[-20, -20], [20, -20], [20, 20], [-20, 20]], dtype=float)


@pytest.fixture
def place():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [30, 40], [60, 50]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    return Vicinity(wcs, SHAPE)


def stars(place, x, y):
    return Stars(*place.wcs.all_pix2world(x, y, 0), np.full(len(x), 10.0))


def mark(bit):
    return StarMark(SQUARE, faintest=13.0, growth=0.0, pivot=13.8, bit=bit)


def test_overlapping_masks_are_ored_not_added(place):
    """Two halos on each other, and external flags with the same bits, leave the bits alone."""
    external = np.full(SHAPE, 2 | 64, np.int16)
    recipe = Recipe(border=(30, 4), marks={"HALO": mark(2), "SPIKE": mark(128)})
    both = stars(place, [50.0, 55.0], [40.0, 45.0])
    result = compose(recipe, np.ones(SHAPE), np.ones(SHAPE), external, place, both)
    assert set(np.unique(result.flags)) == {66, 66 | 4, 66 | 128, 66 | 4 | 128}
    assert result.external == 66 and result.shared() == ["HALO"]
    assert result.fractions["missing"] == 0 and result.fractions["masked"] == 1
    assert result.fractions["halo"] == pytest.approx(1975 / 12000, abs=0.005)


def test_neither_halos_nor_spikes_is_no_error(place):
    result = compose(Recipe(border=(2, 4)), np.ones(SHAPE), np.ones(SHAPE))
    assert set(np.unique(result.flags)) == {0, 4}


def test_large_external_bits_do_not_overflow():
    external = np.zeros(SHAPE, np.int32)
    external[0] = 1 << 20
    external[1] = 1 << 15
    result = compose(Recipe(border=(1, 4)), np.ones(SHAPE), None, external)
    assert result.flags.dtype == np.int32
    assert result.flags[0, 0] == (1 << 20) + 4 and result.flags[1, 5] == 1 << 15


def test_external_flags_with_their_sign_bit_set_keep_it():
    external = np.zeros(SHAPE, np.int16)
    external[3, 3] = -32768
    result = compose(Recipe(), np.ones(SHAPE), None, external)
    assert result.flags[3, 3] == 32768 and np.count_nonzero(result.flags) == 1


def test_small_bits_give_int16():
    assert compose(Recipe(border=(1, 4)), np.ones(SHAPE)).flags.dtype == np.int16


@pytest.mark.parametrize("ratio, bad, removed", [(0.2, False, False), (0.5, True, False),
                                                 (0.8, True, True), (1.0, True, True)])  # fmt: skip
def test_image_without_enough_data_is_masked_as_a_whole(place, ratio, bad, removed):
    """MD_REMOVE masks the images that are to go, not the others."""
    image = np.ones(SHAPE)
    image[: round(100 * ratio)] = 0
    recipe = Recipe(border=(5, 4), marks={"HALO": mark(2)}, flag_above=0.3, remove_above=0.75)
    one = stars(place, [60.0], [95.0])
    result = compose(recipe, image, np.ones(SHAPE), None, place, one)
    assert result.ratio == pytest.approx(ratio)
    assert (result.bad, result.removed) == (bad, removed)
    if removed:
        assert (result.flags == MaskBit.MISSING).all()
    else:
        assert result.flags[95, 60] == 4 | 2 or result.flags[90, 60] == 2
        assert not (result.flags & MaskBit.MISSING).any()


def test_removal_keeps_external_flags():
    external = np.full(SHAPE, 8, np.int16)
    result = compose(Recipe(remove_above=0.5), np.zeros(SHAPE), None, external)
    assert (result.flags == 9).all()


def test_header_names_the_bits_and_holds_the_wcs(place):
    image = place.wcs.to_header()
    image["OBJECT"], image["A_ORDER"], image["A_0_2"], image["PV1_7"] = "x", 2, 1e-6, 0.5
    circles = Circles(DeepSky(*(np.array([v]) for v in (30.0, 40.0, 1e-3))), 0.0, 1 << 14)
    recipe = Recipe(border=(1, 4), marks={"HALO": mark(256)}, circles={"NGC": circles},
                    flag_above=0.3)  # fmt: skip
    external = np.full(SHAPE, 64, np.int16)
    result = compose(recipe, np.zeros(SHAPE), np.ones(SHAPE), external, place, stars(place, [], []))
    header = result.header(image)
    assert read_bits(header) == {"MISSING": 1, "BORDER": 4, "HALO": 256, "NGC": 1 << 14}
    assert header["EXTBITS"] == 64
    assert header["MRATIO"] == 1.0 and header["MFLAG"] is True and header["MREMOVED"] is False
    assert header["CRVAL1"] == 30 and header["A_0_2"] == 1e-6 and header["PV1_7"] == 0.5
    assert "OBJECT" not in header


def test_names_that_share_a_bit_are_both_in_the_header(place):
    recipe = Recipe(marks={"HALO": mark(2), "SPIKE": mark(2)})
    result = compose(recipe, np.ones(SHAPE), None, None, place, stars(place, [], []))
    assert read_bits(result.header(fits.Header())) == {"MISSING": 1, "HALO": 2, "SPIKE": 2}


def test_regions_and_fractions_tell_what_was_drawn(place):
    circles = Circles(DeepSky(*(np.array([v]) for v in (30.0, 40.0, 1e-3))), 0.5, 32)
    recipe = Recipe(marks={"HALO": mark(2)}, circles={"NGC": circles})
    result = compose(recipe, np.ones(SHAPE), None, None, place, stars(place, [60.2], [50.3]))
    assert result.fractions["halo"] == pytest.approx(1600 / 12000)
    text = result.regions()
    assert "icrs;circle(30.000000,40.000000,0.001500)" in text
    assert text.count("polygon(") == 1


def test_flags_are_read_without_sign():
    assert used_bits(np.array([-1], np.int8)) == 255
    assert pixel_dtype(32767) == np.int16 and pixel_dtype(32768) == np.int32
    with pytest.raises(ValueError, match="do not fit"):
        pixel_dtype(1 << 32)


def test_float_flag_images_must_hold_whole_numbers():
    np.testing.assert_array_equal(integer_flags(np.array([0.0, 4.0]), "flag.fits"), [0, 4])
    for wrong in ([0.5], [np.nan]):
        with pytest.raises(BadInput, match=r"flag\.fits: flag image holds"):
            integer_flags(np.array(wrong), "flag.fits")
