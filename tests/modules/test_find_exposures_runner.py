"""find_exposures_runner: the exposures of a stack, one a line."""

import numpy as np
from astropy.io import fits

from shapepipe.modules.find_exposures_runner import find_exposures_runner
from shapepipe.testing import trial


def run(folder, cards, **options):
    hdu = fits.PrimaryHDU(np.zeros((4, 4)))
    for card in cards:
        hdu.header.add_history(card)
    hdu.writeto(folder / "CFIS_image-277-282.fits", overwrite=True)
    inputs = {"image": folder / "CFIS_image-277-282.fits"}
    return trial(find_exposures_runner, inputs, options, number="-277-282", folder=folder)


def test_exposures_are_listed_once(tmp_path):
    names = ["2366993p", "2366994p", "2366993p"]
    outcome = run(tmp_path, [f" input image {name}.fits 40 extension(s)" for name in names])
    assert outcome.status == "ok", outcome.error
    (product,) = outcome.products
    assert product.name == "exp_numbers-277-282.txt"
    assert product.read_text() == "2366993p\n2366994p\n"
    assert outcome.metrics == {"n_exposures": 2, "n_history_cards": 3}


def test_other_cards_are_read_with_other_options(tmp_path):
    outcome = run(tmp_path, ["input megapipe_2366993p.fits"], COLNUM="1", EXP_PREFIX="megapipe_")
    assert outcome.products[0].read_text() == "2366993p\n"


def test_a_stack_without_history_is_a_clear_error(tmp_path):
    outcome = run(tmp_path, [])
    assert outcome.status == "failed" and "no HISTORY card has a word 3" in outcome.error


def test_an_expression_finds_names_that_are_not_those_of_cfht(tmp_path):
    cards = ["stacked by SWarp 2.41.5", "input image 004192.fits 1 extension(s)"]
    outcome = run(tmp_path, cards, EXP_PATTERN=r"input image (\d+)\.fits")
    assert outcome.products[0].read_text() == "004192\n"


def test_an_expression_that_finds_nothing_is_named(tmp_path):
    outcome = run(tmp_path, ["input image 2366993p.fits"], EXP_PATTERN=r"run (\d+)")
    assert outcome.status == "failed" and r"run (\d+)" in outcome.error
