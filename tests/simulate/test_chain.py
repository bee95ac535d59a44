"""A survey drawn by the framework's pools: the bytes that one process draws, and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from shapepipe import run
from shapepipe.errors import BadInput, ConfigurationError, PartlyDone, RunRefused
from shapepipe.simulate import earlier_run, read_survey, simulate, simulate_survey, write_chain
from shapepipe.simulate.chain import lay_out, read_unit
from shapepipe.simulate.detector import Defect

SURVEY = """
[SURVEY]
SEED = 9
[CAMERA]
WIDTH = 200
HEIGHT = 180
COLUMNS = 1
[EXPOSURES]
COUNT = 2
DITHER = 6
[STARS]
DENSITY = 10
MAG_BRIGHT = 13
[DETECTOR]
COSMIC_RAYS = 100
TRAILS = 3
[STACK]
MAKE = True
SIZE = 200
"""
OWN = ("run_simulate", "shapepipe_runs.txt", "simulate.ini")


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file of a survey, without the records of how it was drawn."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in OWN
    }


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """INI file of a survey, and its files as one process draws them."""
    folder = tmp_path_factory.mktemp("survey")
    path = folder / "survey.ini"
    path.write_text(SURVEY)
    simulate_survey(read_survey(path), folder / "alone")
    return path, contents(folder / "alone")


@pytest.mark.programs("swarp")
def test_two_workers_draw_the_same_bytes_as_one_process(survey, tmp_path):
    path, expected = survey
    assert simulate(path, tmp_path / "sky", workers=2) == tmp_path / "sky"
    made = contents(tmp_path / "sky")
    assert made.keys() == expected.keys()
    assert len(made) == 6 + 4 + 4 + 2 + 4  # mosaics, texts, truth, tile and weight, lists
    assert [name for name in made if made[name] != expected[name]] == []


@pytest.mark.mpi
@pytest.mark.programs("swarp")
def test_ranks_of_mpi_draw_the_same_bytes(survey, tmp_path):
    path, expected = survey
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "shapepipe", "simulate", "-c", path,
               "-o", tmp_path / "sky", "--mode", "mpi"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "sky") == expected


@pytest.mark.programs("swarp")
def test_a_bad_ccd_stops_no_other_and_is_drawn_when_the_run_goes_on(survey, tmp_path):
    path, expected = survey
    folder = tmp_path / "sky"
    chain = write_chain(path, folder)
    listed = tmp_path / "plan.ini"
    listed.write_text(
        chain.read_text().split("[SIMULATE_CCD_RUNNER]")[0].replace(", simulate_ccd_runner", "")
        .replace(", simulate_exposure_runner, simulate_truth_runner, simulate_tile_runner", "")
    )  # fmt: skip
    assert run(listed).exit_status == 0
    unit = next(folder.rglob("ccd-2366993-1.json"))
    whole = unit.read_text()
    unit.write_text("{")
    result = run(chain, resume=earlier_run(chain), allow_change=True)
    assert result.exit_status == 1
    assert result.counts["simulate_ccd_runner"] == {"ok": 3, "failed": 1}
    assert result.counts["simulate_exposure_runner"] == {"ok": 1, "failed": 1}
    errors = {line["error"] for line in result.outcomes() if line["status"] == "failed"}
    assert any("ccd-2366993-1.json: is not whole" in error for error in errors)
    assert any("exposure 2366993: CCD 1 has not been drawn" in error for error in errors)
    assert (folder / "exposures/image-2366994.fits.fz").is_file()
    assert not (folder / "exposures/image-2366993.fits.fz").exists()
    with pytest.raises(PartlyDone, match="is not complete"):
        simulate(path, folder)
    unit.write_text(whole)
    simulate(path, folder)
    assert contents(folder) == expected
    last = run(chain, resume=earlier_run(chain))
    assert last.counts["simulate_ccd_runner"] == {"done": 4}


def test_another_survey_does_not_go_on_in_the_same_folder(tmp_path):
    path = tmp_path / "survey.ini"
    small = SURVEY.replace("200", "64").replace("180", "64").replace("True", "False")
    path.write_text(small)
    simulate(path, tmp_path / "sky")
    path.write_text(small.replace("SEED = 9", "SEED = 8"))
    with pytest.raises(RunRefused, match="made with another configuration"):
        simulate(path, tmp_path / "sky")


def test_a_wrong_survey_is_refused_before_anything_is_made(tmp_path):
    path = tmp_path / "survey.ini"
    path.write_text("[SURVEY]\nSEED = x\n")
    with pytest.raises(ConfigurationError, match=r"survey.ini:2 \[SURVEY\] SEED"):
        simulate(path, tmp_path / "sky")
    assert not (tmp_path / "sky").exists()


def test_units_that_are_not_whole_are_named(tmp_path):
    unit = tmp_path / "ccd-2366993-0.json"
    unit.write_text('{"exposure": 0}')
    with pytest.raises(BadInput, match=r"ccd-2366993-0.json: .*JSON with exposure, ccd"):
        read_unit(unit, "exposure", "ccd")


def test_laying_out_replaces_what_was_there(tmp_path):
    product, target = tmp_path / "a", tmp_path / "b" / "a"
    product.write_text("new")
    target.parent.mkdir()
    target.write_text("old")
    for _ in range(2):
        lay_out(product, target)
        assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["a"]


def test_laying_out_copies_where_links_are_not_possible(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("new")
    lay_out(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new"
    assert not (tmp_path / "a").samefile(tmp_path / "b")


@pytest.mark.programs("swarp")
def test_only_ccds_that_touch_a_tile_see_light(tmp_path):
    """What they show, and the stack, is the same as if all had been drawn."""
    far = "COUNT = 2\nOFFSETS_EAST = 0, 0\nOFFSETS_NORTH = 35, -35"
    text = SURVEY.replace("COUNT = 2", far).replace("SIZE = 200", "SIZE = 64\nBACKGROUND = 0")
    for which in ("all", "tiles"):
        path = tmp_path / f"{which}.ini"
        path.write_text(text.replace("DITHER = 6", f"CCDS = {which}"))
        simulate_survey(read_survey(path), tmp_path / which)
    units = (tmp_path / "tiles" / "tile_units.txt").read_text().split()
    assert units == ["-277-282", "-2366993-1", "-2366994-0"]
    for kind in ("image", "weight", "flag"):
        for number, seen in ((2366993, 1), (2366994, 0)):
            name = f"exposures/{kind}-{number}.fits.fz"
            pixels, whole = (fits.getdata(tmp_path / which / name, seen + 1)
                             for which in ("tiles", "all"))  # fmt: skip
            dark = fits.getdata(tmp_path / "tiles" / name, 2 - seen)
            assert np.array_equal(pixels, whole)
            assert (dark == (int(Defect.UNEXPOSED) if kind == "flag" else 0)).all()
    for name in ("CFIS_image-277-282.fits", "CFIS_weight-277-282.fits.fz"):
        both = [(tmp_path / which / "tiles" / name).read_bytes() for which in ("all", "tiles")]
        assert both[0] == both[1]
