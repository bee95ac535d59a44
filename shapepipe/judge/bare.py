"""SExtractor run by hand, on the same images with the same settings, beside its runner."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from shapepipe.astro import fits, ldac
from shapepipe.errors import BadInput, ProgramFailed
from shapepipe.judge.case import EXPOSURE, TILE, Case

PROGRAMS = ("sex", "source-extractor", "sextractor")


class Settings(NamedTuple):
    """What SExtractor is told."""

    program: str
    sex: Path
    param: Path
    conv: Path
    zero_point: str  # card of the image, or nothing


class Comparison(NamedTuple):
    """Catalogue of the runner, and that made by hand."""

    runner: Path
    n_runner: int
    n_bare: int
    differing: list[str]  # columns whose rows are not all identical


def compare_all(case: Case) -> Iterator[Comparison]:
    """Run SExtractor on the images of all catalogues, and compare row by row."""
    kinds = list(_settings(case))
    for number, is_tile in ((EXPOSURE, False), (TILE, True)):
        images = case.tiles("image") if is_tile else case.products("image", number)
        weights = case.tiles("weight") if is_tile else case.products("weight", number)
        flags = case.products("pipeline_flag", number)
        settings = [own for tile, own in kinds if tile == is_tile]
        for key, path in case.products("sexcat", number).items():
            if settings and all(key in part for part in (images, weights, flags)):
                with tempfile.TemporaryDirectory() as scratch:
                    bare = Path(scratch) / "bare.fits"
                    run_sextractor(settings[-1], images[key], weights[key], flags[key], bare)
                    yield compare(path, bare)


def run_sextractor(settings: Settings, image: Path, weight: Path, flag: Path, made: Path) -> None:
    """Run SExtractor as one would by hand.

    Raises
    ------
    ProgramFailed
        It is absent, or ends with an error.
    """
    names = (settings.program, *PROGRAMS)
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        raise ProgramFailed(settings.program, "is not installed")
    words = [program, str(image), "-c", str(settings.sex), "-PARAMETERS_NAME", str(settings.param)]
    words += ["-FILTER_NAME", str(settings.conv), "-WEIGHT_IMAGE", str(weight)]
    words += ["-FLAG_IMAGE", str(flag), "-CATALOG_TYPE", "FITS_LDAC", "-CATALOG_NAME", str(made)]
    if settings.zero_point:
        words += ["-MAG_ZEROPOINT", str(fits.read_header(image)[settings.zero_point])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProgramFailed(program, f"ends with {done.returncode}: {done.stderr[-500:]}")


def compare(runner: Path, bare: Path) -> Comparison:
    """Compare two catalogues column by column and row by row, to the bit."""
    names = ldac.read_columns(bare)
    one, other = ldac.read(runner, columns=names), ldac.read(bare)
    if len(one) != len(other):
        return Comparison(runner, len(one), len(other), names)
    return Comparison(runner, len(one), len(other), differing_columns(one, other))


def differing_columns(one: Table, other: Table) -> list[str]:
    """Columns of `other` that are not the same, bit by bit, in `one`."""
    return [name for name in other.colnames
            if np.asarray(one[name]).tobytes() != np.asarray(other[name]).tobytes()]  # fmt: skip


def _settings(case):
    """Settings of each SExtractor step of the runs, and whether it worked on stacks."""
    for made in case.options("dot_sex_file"):
        files = [_path(made[f"dot_{kind}_file"]) for kind in ("sex", "param", "conv")]
        key = made["zp_key"] if made["zp_from_header"] == "True" else ""
        yield made["make_post_process"] == "True", Settings(made["exec_path"], *files, key)


def _path(text):
    """Path of a recorded file, which is followed by a sum of its content."""
    path = Path(re.sub(r" \([0-9a-f]+\)$", "", text))
    if not path.is_file():
        raise BadInput(path, "the file of settings is gone")
    return path
