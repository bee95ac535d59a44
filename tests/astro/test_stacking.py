"""Cards and settings of stacks."""

import numpy as np
from astropy.io import fits

from shapepipe.astro import retrieval, sightings, stacking


def test_cards_name_the_exposures_for_all_who_read_them():
    swarp = fits.Header({"CRVAL1": 10.0, "GAIN": 2.0, "EXTNAME": "of no use"})
    cards = stacking.stack_header(swarp, {"2366993p": 4, "17": 1}, [("PHOTZP", 30.0, "")])
    assert cards["GAIN"] == 2.0 and cards["PHOTZP"] == 30.0 and "EXTNAME" not in cards
    assert retrieval.exposures_of(cards, 3) == ["2366993p", "17"]
    assert sightings.exposure_names(cards) == ["2366993"]
    assert sightings.exposure_names(cards, r"input image (\d+)\.fits") == ["17"]


def test_what_is_not_given_follows_from_the_images():
    assert stacking.outline_settings(None, None, None) == {}
    made = stacking.outline_settings((350.5, -0.25), 100, 0.3)
    assert made["CENTER"] == "350.5000000000,-0.2500000000" and made["IMAGE_SIZE"] == "100,100"
    assert made["PIXEL_SCALE"] == "0.3" and made["PIXELSCALE_TYPE"] == "MANUAL"


def test_settings_of_the_caller_win_and_files_have_known_names():
    words = stacking.arguments(["a.fits"], {"SUBTRACT_BACK": "N"}, "default.swarp")
    assert words[:3] == ["a.fits", "-c", "default.swarp"]
    assert words[words.index("-SUBTRACT_BACK") + 1] == "N"
    assert words[words.index("-IMAGEOUT_NAME") + 1] == "coadd.fits"


def test_flagged_pixels_have_no_weight():
    flag = np.array([[0, 1], [16, 0]])
    assert stacking.usable_weight(None, flag).tolist() == [[1, 0], [0, 1]]
    weight = np.full((2, 2), 0.25)
    assert stacking.usable_weight(weight, flag).tolist() == [[0.25, 0], [0, 0.25]]
    assert weight.min() == 0.25  # not changed
