"""The example runners in the folder `modules` work as files in a folder that MODULE_PATH names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from shapepipe import run
from shapepipe.pipeline.runner import find_runner, list_runners
from shapepipe.testing import trial

MODULES = Path(__file__).parents[2] / "modules"
SKY, NOISE = 250.0, 4.0
STARS = [(30.0, 40.0), (90.25, 60.5), (61.0, 100.75)]  # x, y; 0-based
SIGMA, PEAK = 1.8, 400.0


def write_image(path, seed=3):
    """A sky with three stars."""
    y, x = np.mgrid[:128, :128]
    image = np.random.default_rng(seed).normal(SKY, NOISE, x.shape)
    for x0, y0 in STARS:
        image += PEAK * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * SIGMA**2))
    fits.writeto(path, image.astype(np.float32))
    return path


def test_the_folder_holds_them():
    assert {"sky_runner", "sep_detect_runner"} <= set(list_runners([str(MODULES)]))


def test_sky_in_a_chain(tmp_path):
    (tmp_path / "out").mkdir()
    for k in range(3):
        write_image(tmp_path / f"image-{k}.fits", seed=k)
        flags = np.zeros((128, 128), np.int16)
        flags[:, 64:] = 4
        fits.writeto(tmp_path / f"pipeline_flag-{k}.fits", flags)
    ini = tmp_path / "sky.ini"
    ini.write_text(
        f"[DEFAULT]\nVERBOSE = False\nRUN_NAME = run\nRUN_DATETIME = False\n"
        f"[EXECUTION]\nMODULE = sky_runner\nMODULE_PATH = {MODULES}\n[FILE]\n"
        f"INPUT_DIR = {tmp_path}\nOUTPUT_DIR = {tmp_path / 'out'}\nNUMBERING_SCHEME = -0\n"
        "[SKY_RUNNER]\nUSE_FLAG = True\n"
    )
    result = run(ini)
    assert result.exit_status == 0
    for path in result.products("sky_runner"):
        found = json.loads(path.read_text())
        assert found["sky_level"] == pytest.approx(SKY, abs=0.3)
        assert found["sky_noise"] == pytest.approx(NOISE, rel=0.05)
        assert found["fraction_used"] == 0.5


def test_sky_of_nothing_is_empty(tmp_path):
    runner = find_runner("sky_runner", [str(MODULES)])
    image = write_image(tmp_path / "image-0.fits")
    fits.writeto(tmp_path / "pipeline_flag-0.fits", np.ones((128, 128), np.int16))
    inputs = {"image": image, "flag": tmp_path / "pipeline_flag-0.fits"}
    outcome = trial(runner, inputs, {"USE_FLAG": "True"}, "-0", tmp_path)
    assert outcome.status == "empty"


def test_sep_finds_the_stars(tmp_path):
    pytest.importorskip("sep", reason="sep is not installed; scripts/test installs it")
    runner = find_runner("sep_detect_runner", [str(MODULES)])
    image = write_image(tmp_path / "image-0.fits")
    outcome = trial(runner, {"image": image}, {"THRESHOLD": "5"}, "-0", tmp_path)
    assert outcome.status == "ok", outcome.error
    assert outcome.metrics["n_sources"] == len(STARS)
    table = Table.read(outcome.products[0], hdu=1)
    table.sort("X_IMAGE")
    for row, (x, y) in zip(table, sorted(STARS), strict=True):
        assert row["X_IMAGE"] - 1 == pytest.approx(x, abs=0.1)
        assert row["Y_IMAGE"] - 1 == pytest.approx(y, abs=0.1)
        assert row["FWHM_IMAGE"] == pytest.approx(2.355 * SIGMA, rel=0.1)


def test_sep_leaves_out_what_has_no_weight(tmp_path):
    pytest.importorskip("sep", reason="sep is not installed; scripts/test installs it")
    runner = find_runner("sep_detect_runner", [str(MODULES)])
    weight = np.ones((128, 128), np.float32)
    weight[:, :72] = 0
    fits.writeto(tmp_path / "weight-0.fits", weight)
    inputs = {
        "image": write_image(tmp_path / "image-0.fits"),
        "weight": tmp_path / "weight-0.fits",
    }
    options = {"USE_WEIGHT": "True", "THRESHOLD": "5"}
    assert trial(runner, inputs, options, "-0", tmp_path).metrics["n_sources"] == 1
