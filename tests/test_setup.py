"""The test set-up itself: what is missing is skipped with a reason, and in CI that is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = """
import pytest

@pytest.mark.programs("swarp")
def test_needs_swarp():
    pass

@pytest.mark.programs
@pytest.mark.xfail(reason="known", strict=False)
def test_known_failure():
    assert False

def test_needs_nothing():
    pass

def test_left_out():
    pytest.skip("not here")
"""
MARKS = "[pytest]\nmarkers =\n    programs: x\n    mpi: x\n    ngmix: x\n"


@pytest.mark.parametrize(
    ("ci", "status", "summary"),
    [("", 0, "1 passed, 3 skipped"), ("true", 1, "1 passed, 1 skipped, 2 errors")],
)
def test_missing_program_is_skipped_at_home_and_fails_in_ci(tmp_path, ci, status, summary):
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(MARKS)
    (tmp_path / "bin").mkdir()
    environment = os.environ | {"PATH": str(tmp_path / "bin"), "CI": ci}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    assert summary in done.stdout
    assert "swarp is not installed; scripts/test installs it" in done.stdout


@pytest.mark.parametrize("name", ["scripts/quickstart", "scripts/test", "scripts/check", ".ci/run"])
def test_script_is_executable_and_parses(name):
    path = HERE.parent / name
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.fixture
def bare_machine(tmp_path):
    """Run `need_programs` where nothing is installed but what the scripts themselves call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "cat"):
        (folder / name).symlink_to(shutil.which(name))
    for name, text in {"id": "echo 1000", "sudo": "exit 1"}.items():
        write_command(folder / name, text)

    def run(words: str, **environment: str) -> subprocess.CompletedProcess:
        script = f"set -euo pipefail; . {HERE.parent}/scripts/install.sh; {words}; echo reached"
        return subprocess.run(
            ["bash", "-c", script],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={"PATH": str(folder)} | environment,
        )  # fmt: skip

    run.folder = folder
    return run


def write_command(path: Path, text: str) -> None:
    """Write a small program."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def test_missing_programs_are_named_with_the_command_that_installs_them(bare_machine):
    write_command(bare_machine.folder / "apt-get", "exit 9")
    done = bare_machine("need_programs psfex swarp", VIRTUAL_ENV=sys.prefix)
    assert done.returncode == 3
    assert "reached" not in done.stdout
    assert "missing: psfex swarp. As root, run:" in done.stderr
    assert "apt-get install -y --no-install-recommends psfex swarp" in done.stderr


def test_without_apt_conda_is_suggested(bare_machine):
    done = bare_machine("need_programs psfex", VIRTUAL_ENV=sys.prefix)
    assert done.returncode == 3
    assert "conda env create -f environment.yml" in done.stderr


def test_programs_that_are_there_are_not_installed(bare_machine):
    write_command(bare_machine.folder / "source-extractor", "true")
    done = bare_machine("need_programs sextractor", VIRTUAL_ENV=sys.prefix)
    assert (done.returncode, done.stdout, done.stderr) == (0, "reached\n", "")


def test_conda_environment_gets_programs_from_conda_forge(bare_machine):
    write_command(bare_machine.folder / "mamba", 'echo "mamba $*"')
    conda = {"CONDA_PREFIX": "/nowhere", "CONDA_DEFAULT_ENV": "shapepipe"}
    done = bare_machine("need_programs sextractor weightwatcher mpi", **conda)
    assert done.returncode == 0
    command = "mamba install -y -q -c conda-forge astromatic-source-extractor openmpi\n"
    assert command in done.stderr
    assert "weightwatcher is not on conda-forge" in done.stderr


def test_conda_base_environment_is_left_alone(bare_machine):
    write_command(bare_machine.folder / "mamba", "exit 9")
    conda = {"CONDA_PREFIX": "/nowhere", "CONDA_DEFAULT_ENV": "base"}
    done = bare_machine("need_programs psfex", **conda)
    assert done.returncode == 3
    assert "is base" in done.stderr.replace("\n", " ")
