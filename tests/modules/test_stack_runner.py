"""stack_runner: exposures of a list in, a stack with weight and HISTORY cards out."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.modules.find_exposures_runner import find_exposures_runner
from shapepipe.modules.stack_runner import stack_runner
from shapepipe.testing import trial

pytestmark = pytest.mark.programs("swarp")
SIZE, PIXEL = 160, 1e-4
STAR = (351.65, 0.1)
FLUX = 5e4  # counts at the common zero point


def card(ra=STAR[0], dec=STAR[1], turned=False):
    """Coordinates of a frame, turned by a quarter on request."""
    cards = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec,
                         "CRPIX1": 80.5, "CRPIX2": 80.5, "GAIN": 2.0})  # fmt: skip
    matrix = [[0, PIXEL], [PIXEL, 0]] if turned else [[-PIXEL, 0], [0, PIXEL]]
    for i in (0, 1):
        for j in (0, 1):
            cards[f"CD{i + 1}_{j + 1}"] = matrix[i][j]
    return cards


def write_exposures(folder, flagged=False):
    """Two exposures of a star on a sky of 1000 counts; the second is turned, and half as deep."""
    rng = np.random.default_rng(3)
    y, x = np.indices((SIZE, SIZE))
    for number, scale, turned in (("004192", 1.0, False), ("006377", 2.0, True)):
        cards = card(turned=turned, ra=STAR[0] + (0.0004 if turned else 0))
        cards["FSCALE"] = scale
        sx, sy = WCS(cards).all_world2pix(*STAR, 0)
        star = np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 8) / (8 * np.pi)
        sky = rng.normal(1000, 5, x.shape)
        pixels = (sky + FLUX / scale * star).astype(np.float32)
        flag = np.zeros(x.shape, np.int16)
        if flagged and turned:
            pixels[60:100, 20:40] += 1000
            flag[58:102, 18:42] = 1
        weight = np.full(x.shape, 0.04, np.float32)
        for kind, data in (("image", pixels), ("weight", weight), ("flag", flag)):
            fits.writeto(folder / f"{kind}-{number}-0.fits", data, cards)


def run(folder, names, number="-000", **options):
    lists = folder / f"exp_numbers{number}.txt"
    lists.write_text("".join(f"{name}\n" for name in names))
    options = {"IMAGE_DIR": str(folder), **options}
    return trial(stack_runner, {"exposures": lists}, options, number, folder / "run")


def test_a_star_keeps_its_place_and_counts(tmp_path):
    write_exposures(tmp_path)
    outcome = run(tmp_path, ["004192", "006377"])
    assert outcome.status == "ok", outcome.error
    assert outcome.metrics["n_exposures"] == 2 and outcome.metrics["n_ccds"] == 2
    image, weight = sorted(outcome.products)
    assert (image.name, weight.name) == ("tile_image-000.fits", "tile_weight-000.fits")
    with fits.open(image) as hdus:
        pixels, cards = hdus[0].data.astype(float), hdus[0].header
    x, y = WCS(cards).all_world2pix(*STAR, 0)
    rows, columns = np.indices(pixels.shape)
    near = np.hypot(columns - x, rows - y) < 12
    assert pixels[near].sum() == pytest.approx(FLUX, rel=0.01)
    assert (pixels * columns)[near].sum() / pixels[near].sum() == pytest.approx(x, abs=0.02)
    assert (pixels * rows)[near].sum() / pixels[near].sum() == pytest.approx(y, abs=0.02)
    assert abs(np.median(pixels)) < 2  # the sky is gone
    # inverse variances add: one exposure counts with 0.04, the other with 0.04 / 2^2
    assert np.median(fits.getdata(weight)) == pytest.approx(0.05, rel=0.03)
    assert cards["PHOTZP"] == 30.0


def test_its_exposures_are_found_again(tmp_path):
    write_exposures(tmp_path)
    image = run(tmp_path, ["004192", "006377"]).products[0]
    options = {"EXP_PATTERN": r"input image (\d+)\.fits"}
    outcome = trial(find_exposures_runner, {"image": image}, options, "-000", tmp_path / "again")
    assert outcome.products[0].read_text() == "004192\n006377\n"


def test_flagged_pixels_are_left_out(tmp_path):
    write_exposures(tmp_path, flagged=True)
    outcome = run(tmp_path, ["004192", "006377"], FLAG_PATTERN="flag")
    clean = fits.getdata(outcome.products[0])
    y, x = np.indices(clean.shape)
    away = np.hypot(x - clean.shape[1] / 2, y - clean.shape[0] / 2) > 25
    assert clean[away].max() < 100
    spoilt = fits.getdata(run(tmp_path, ["004192", "006377"]).products[0])
    assert spoilt[away].max() > 200


def test_an_exposure_that_is_not_there_is_left_out(tmp_path):
    write_exposures(tmp_path)
    outcome = run(tmp_path, ["004192", "009999"])
    assert outcome.metrics["n_exposures"] == 1
    assert "006377" not in str(fits.getheader(outcome.products[0])["HISTORY"])
    assert "none of the exposures" in run(tmp_path, ["009999"]).error


def test_a_weight_that_is_missing_is_named(tmp_path):
    write_exposures(tmp_path)
    (tmp_path / "weight-006377-0.fits").unlink()
    outcome = run(tmp_path, ["004192", "006377"])
    assert outcome.status == "failed" and "weight-006377-0.fits" in outcome.error
    assert run(tmp_path, ["004192", "006377"], WEIGHT_PATTERN="").status == "ok"


def test_the_number_of_a_tile_gives_its_place(tmp_path):
    write_exposures(tmp_path)
    options = {"CENTRE": "number", "SIZE": "100", "PIXEL_SCALE": "0.36"}
    outcome = run(tmp_path, ["004192"], "-277-282", **options)
    assert outcome.status == "failed"  # 277.282 is elsewhere on the sky
    outcome = run(tmp_path, ["004192"], "-000", **options)
    assert outcome.status == "failed" and "three digits" in outcome.error
