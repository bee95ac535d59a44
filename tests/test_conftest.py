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


def test_missing_programs_are_named_with_the_command_that_installs_them(tmp_path):
    """On a Debian machine without root, sudo or environment."""
    for name, text in {"id": "echo 1000", "apt-get": "exit 9", "sudo": "exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("bash", "dirname", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name))
    script = f"set -eu; . {HERE.parent}/scripts/install.sh; need_programs psfex swarp; echo reached"
    environment = {"PATH": str(tmp_path), "VIRTUAL_ENV": sys.prefix}
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 3
    assert "reached" not in done.stdout
    assert "missing: psfex swarp. As root, run:" in done.stderr
    assert "apt-get install -y --no-install-recommends psfex swarp" in done.stderr
