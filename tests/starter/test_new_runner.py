"""A new runner's package passes its own test, is found once installed, and runs in a chain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from astropy.io import fits

from shapepipe.errors import ConfigurationError
from shapepipe.starter.new_runner import make_package


def python(*words, cwd, path):
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(item) for item in path)},
        capture_output=True,
        text=True,
    )


def install(top, site):
    """Do what pip would: put the package and the entry points of its pyproject.toml in a folder."""
    project = tomllib.loads((top / "pyproject.toml").read_text())
    (package,) = project["tool"]["setuptools"]["packages"]
    shutil.copytree(top / package, site / package)
    info = site / f"{package}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['project']['name']}\nVersion: 0.1.0\n")
    lines = []
    for group, points in project["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def test_package_passes_its_own_test(tmp_path):
    make_package("seeing", tmp_path)
    top = tmp_path / "shapepipe_seeing"
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=top, path=[top])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    done = python("-m", "ruff", "check", "--line-length=100", ".", cwd=top, path=[])
    assert done.returncode == 0 or "No module named ruff" in done.stderr, done.stdout


def test_runner_is_found_by_its_entry_point_and_runs(tmp_path):
    make_package("deep_seeing_runner", tmp_path)
    top, site = tmp_path / "shapepipe_deep_seeing", tmp_path / "site"
    install(top, site)
    for number in (1, 2):
        fits.writeto(tmp_path / f"image_{number}.fits", np.full((4, 4), float(number)))
    (tmp_path / "out").mkdir()
    (tmp_path / "run.ini").write_text(
        "[DEFAULT]\nVERBOSE = False\nRUN_NAME = run\nRUN_DATETIME = False\n"
        "[EXECUTION]\nMODULE = deep_seeing_runner\n"
        "[FILE]\nINPUT_DIR = .\nOUTPUT_DIR = out\n[DEEP_SEEING_RUNNER]\nCLIP = 2\n"
    )
    done = python("-m", "shapepipe", "run", "-c", "run.ini", cwd=tmp_path, path=[site])
    assert done.returncode == 0, done.stdout + done.stderr
    products = (tmp_path / "out/run/deep_seeing_runner/output").iterdir()
    assert sorted(path.name for path in products) == ["deep_seeing_1.json", "deep_seeing_2.json"]
    done = python("-m", "shapepipe", "describe", "deep_seeing_runner", cwd=tmp_path, path=[site])
    assert "CLIP" in done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [("9lives", "no name"), ("a/b", "no name"), ("mask", "there is a runner mask_runner already")],
)
def test_unfit_names_are_refused(name, said, tmp_path):
    with pytest.raises(ConfigurationError, match=said):
        make_package(name, tmp_path)


def test_nothing_is_overwritten(tmp_path):
    make_package("seeing", tmp_path)
    with pytest.raises(ConfigurationError, match="exists already"):
        make_package("seeing", tmp_path)
