"""A small survey through the chain up to its catalogues: the truth comes back, an error is seen."""

import os

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner
from sqlitedict import SqliteDict

from shapepipe import run
from shapepipe.cli import verbs
from shapepipe.errors import BadInput, ConfigurationError
from shapepipe.judge import QUANTITIES, bare, judge, show
from shapepipe.judge.case import make_case
from shapepipe.simulate import simulate

SURVEY = """
[SURVEY]
SEED = 11
[CAMERA]
COLUMNS = 1
ROWS = 2
WIDTH = 512
HEIGHT = 512
[EXPOSURES]
COUNT = 1
[STARS]
DENSITY = 10
MAG_BRIGHT = 16.5
MAG_FAINT = 20
[GALAXIES]
DENSITY = 6
MAG_BRIGHT = 20
[DETECTOR]
COSMIC_RAYS = 1
TRAILS = 0
"""
CHAIN = """
[DEFAULT]
RUN_NAME = run_judged
RUN_DATETIME = False
[EXECUTION]
MODULE = split_exp_runner, merge_headers_runner, mask_runner, sextractor_runner
[FILE]
INPUT_DIR = {folder}/sky/exposures
OUTPUT_DIR = {folder}/output
NUMBERING_SCHEME = -0000000-0
[SPLIT_EXP_RUNNER]
NUMBERING_SCHEME = -0000000
FILE_PATTERN = image, weight, flag
FILE_EXT = .fits.fz, .fits.fz, .fits.fz
OUTPUT_SUFFIX = image, weight, flag
N_HDU = 2
[MERGE_HEADERS_RUNNER]
NUMBERING_SCHEME = -0000000
[MASK_RUNNER]
USE_EXT_FLAG = True
STAR_CATALOGUE = {folder}/sky/star_cat.fits
MASK_CONFIG_PATH = {config}/mask_exposure.mask
PREFIX = pipeline
[SEXTRACTOR_RUNNER]
INPUT_MODULE = split_exp_runner, mask_runner
FILE_PATTERN = image, weight, pipeline_flag
DOT_SEX_FILE = {config}/default_exp.sex
DOT_PARAM_FILE = {config}/default.param
DOT_CONV_FILE = {config}/default.conv
ZP_FROM_HEADER = True
"""

pytestmark = pytest.mark.programs("sextractor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a survey in `sky`, and a run on it."""
    folder = tmp_path_factory.mktemp("judged")
    config = os.path.join(os.path.dirname(__file__), "../../example/config")
    (folder / "output").mkdir()
    (folder / "survey.ini").write_text(SURVEY)
    (folder / "chain.ini").write_text(CHAIN.format(folder=folder, config=config))
    simulate(folder / "survey.ini", folder / "sky")
    assert run(folder / "chain.ini").exit_status == 0
    return folder


@pytest.fixture(scope="module")
def verdicts(folder):
    """What is said of the run."""
    return judge([folder / "output" / "run_judged"], folder / "sky", folder / "judged")


def test_positions_come_back(verdicts):
    figures = verdicts["astrometry"].figures
    assert figures["n_ccds"] == 2
    assert figures["merged_worst_mas"] < 0.01
    assert figures["galsim_worst_mas"] < 0.01
    assert figures["backward_worst_mas"] < 0.01
    assert figures["n_centroids"] >= 10
    assert figures["n_disturbed"] <= 1
    assert figures["centroid_beyond_noise_mas"] < 1.0
    assert np.hypot(figures["centroid_mean_east_mas"], figures["centroid_mean_north_mas"]) < 1.0


def test_bright_sources_are_found_and_detections_are_real(verdicts):
    figures = verdicts["detection"].figures
    assert figures["exposures_found_alone_to_22"] > 0.97
    assert figures["exposures_purity"] > 0.97
    assert figures["exposures_chance_matches"] < 0.1
    table = verdicts["detection"].tables["exposures"]
    assert table["stars"][table["mag"] < 20].min() > 0.9


def test_catalogues_are_those_of_bare_sextractor(verdicts):
    figures = verdicts["detection"].figures
    assert figures["bare_catalogues"] == figures["bare_identical"] == 2
    assert figures["bare_rows"] == figures["exposures_n_detections"]


def test_what_is_written(folder, verdicts):
    written = {path.name for path in (folder / "judged").iterdir()}
    assert written == {"judge.json", "astrometry.png", "detection.png"}
    text = "\n".join(show(verdicts))
    assert "centroid_rms_mas" in text
    assert "bare_identical" in text


def test_the_verb_prints_what_it_finds(folder):
    words = [folder / "output" / "run_judged", "-s", folder / "sky", "--only", "astrometry"]
    done = CliRunner().invoke(verbs, ["judge", *map(str, words)], standalone_mode=False)
    assert done.exception is None
    assert "merged_worst_mas" in done.output
    assert "detection" not in done.output


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, -0.5)])
def test_half_a_pixel_in_the_headers_is_seen(folder, monkeypatch, shift):
    shifted = edited(folder, monkeypatch, lambda crpix: crpix + shift)
    figures = QUANTITIES["astrometry"](shifted).figures
    assert figures["merged_rms_mas"] > 50
    assert figures["tpv_rms_mas"] < 0.01
    mean = figures["centroid_mean_east_mas"], figures["centroid_mean_north_mas"]
    assert figures["centroid_rms_mas"] > 50
    assert np.hypot(*mean) < 60  # the second CCD is turned by 180 degrees: opposite offsets


def test_a_flipped_axis_is_seen(folder, monkeypatch):
    case = make_case([folder / "output" / "run_judged"], folder / "sky")
    truth = case.epochs(2366993)
    truth["x"] = 511.0 - truth["x"]
    monkeypatch.setattr(type(case), "epochs", lambda self, number: truth)
    assert QUANTITIES["astrometry"](case).figures["merged_rms_mas"] > 10000
    assert QUANTITIES["detection"](case).figures["exposures_found_alone_to_22"] < 0.2


def test_another_row_is_a_different_catalogue():
    one = Table({"NUMBER": [1, 2], "MAG_AUTO": np.array([20.0, np.nan])})
    other = one.copy()
    assert bare.differing_columns(one, other) == []
    other["MAG_AUTO"][0] = np.nextafter(20.0, 21.0)
    assert bare.differing_columns(one, other) == ["MAG_AUTO"]


def test_what_is_no_case_is_said(folder, tmp_path):
    run_folder = folder / "output" / "run_judged"
    with pytest.raises(BadInput, match="truth/objects.fits"):
        judge([run_folder], tmp_path)
    with pytest.raises(BadInput, match="run.json"):
        judge([tmp_path], folder / "sky")
    with pytest.raises(BadInput, match="no products to judge: shear"):
        judge([run_folder], folder / "sky", only=["shear"])
    with pytest.raises(ConfigurationError, match="allowed: astrometry"):
        judge([run_folder], folder / "sky", only=["astrology"])


def edited(folder, monkeypatch, change):
    """The case with another reference pixel in its table of headers."""
    case = make_case([folder / "output" / "run_judged"], folder / "sky")
    path = folder / "headers_shifted.sqlite"
    with (
        SqliteDict(case.product("log_exp_headers", ".sqlite"), flag="r") as table,
        SqliteDict(path, flag="n") as copy,
    ):
        for key, entries in table.items():
            for entry in entries:
                entry["WCS"].wcs.crpix = change(entry["WCS"].wcs.crpix)
                entry["WCS"].wcs.set()
            copy[key] = entries
        copy.commit()
    monkeypatch.setattr(type(case), "product", lambda self, name, ending: path)
    return case
