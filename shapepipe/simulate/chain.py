"""Simulate a survey with the framework: a chain of runners, each of which does a piece of `run`.

`simulate_plan_runner` lists exposures, CCDs and tiles; `simulate_ccd_runner` draws one CCD,
`simulate_exposure_runner` joins an exposure, `simulate_tile_runner` stacks a tile, and
`simulate_truth_runner` joins the tables of what was drawn. Here is what they share.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import field_validator

from shapepipe import (
    BadInput,
    ConfigurationError,
    Folder,
    InputFile,
    Options,
    PartlyDone,
    option,
    run,
)
from shapepipe.simulate.survey import Survey, read_survey

RUN_NAME = "run_simulate"
INI_NAME = "simulate.ini"
_STEPS = ("plan", "ccd", "exposure", "truth", "tile")
_TEXT = """\
# Draws the survey of {survey}.

[DEFAULT]
RUN_NAME = {name}
RUN_DATETIME = False

[EXECUTION]
MODULE = {runners}
MODE = {mode}

[FILE]
OUTPUT_DIR = {folder}

[JOB]
SMP_BATCH_SIZE = {workers}
"""
_SECTION = """
[{section}]
SURVEY = {survey}
FOLDER = {folder}
"""


class SurveyOptions(Options):
    """What to simulate, and where it goes."""

    survey: InputFile = option(
        doc="INI file that describes the survey.", example="start/survey.ini"
    )
    folder: Folder | None = option(
        None, doc="Folder in which the survey is laid out (links to the products)."
    )

    @field_validator("survey")
    @classmethod
    def _readable(cls, path):
        try:
            read_survey(path)
        except ConfigurationError as error:
            raise ValueError("; ".join(error.complaints)) from error
        return path

    def read(self) -> Survey:
        """The survey."""
        return read_survey(self.survey)

    @property
    def program(self) -> str:
        """Name or path of SWarp."""
        return self.read().stack.program


def simulate(path: str | Path, folder: str | Path | None = None, workers: int = 1) -> Path:
    """Simulate the survey that an INI file describes, or go on with what is left of it.

    Parameters
    ----------
    path : str or Path
        INI file, see `survey`.
    folder : str or Path, optional
        Where to write; default a folder here, named as the INI file without its ending.
    workers : int
        Number of processes; the result does not depend on it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        The INI file is wrong; nothing has been created then.
    PartlyDone
        Something could not be drawn.
    """
    chain = write_chain(path, folder, workers)
    result = run(chain, resume=earlier_run(chain))
    if result.exit_status:
        raise PartlyDone(chain.parent, f"is not complete; {result.path}/logs tells why")
    return chain.parent


def write_chain(
    path: str | Path, folder: str | Path | None = None, workers: int = 1, mode: str = "smp"
) -> Path:
    """Write the INI file of the chain that simulates a survey, in the survey's folder.

    Parameters
    ----------
    path, folder, workers
        As in `simulate`.
    mode : {'smp', 'mpi', 'dask', 'serial'}
        Pool.

    Returns
    -------
    Path
        The INI file.
    """
    survey, path = read_survey(path), Path(path).absolute()
    folder = Path(path.stem if folder is None else folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    steps = [f"simulate_{step}_runner" for step in _STEPS if step != "tile" or survey.stack.make]
    text = _TEXT.format(
        survey=path.name, name=RUN_NAME, runners=", ".join(steps), mode=mode, folder=folder,
        workers=workers,
    )  # fmt: skip
    for step in steps:
        text += _SECTION.format(section=step.upper(), survey=path, folder=folder)
    unfinished = folder / f".{INI_NAME}.{os.getpid()}"
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(folder / INI_NAME)


def earlier_run(chain: Path) -> Path | bool:
    """The run of a chain that was begun before, to go on with; False if there is none."""
    path = chain.parent / RUN_NAME
    return path if (path / "run.json").is_file() else False


def read_unit(path: Path, *names: str) -> list:
    """Read what a unit of the chain is, as `simulate_plan_runner` wrote it.

    Raises
    ------
    BadInput
        The file does not tell it.
    """
    try:
        unit = json.loads(path.read_text(encoding="ascii"))
        return [unit[name] for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(path, f"is not whole: {error!r}", f"JSON with {', '.join(names)}") from error


def finder(inputs: Mapping[str, Mapping[str, Path]]) -> Callable[[str, int, int], Path]:
    """Find the file of a CCD among the gathered inputs of a job.

    Parameters
    ----------
    inputs : mapping
        Kind (image, weight, flag, truth) to mapping of unit to path.

    Returns
    -------
    callable
        Path from kind, exposure number and CCD; BadInput if it was not drawn.
    """

    def find(kind: str, number: int, index: int) -> Path:
        unit = f"-{number}-{index}"
        if unit not in inputs[kind]:
            raise BadInput(f"exposure {number}", f"CCD {index} has not been drawn", "all CCDs")
        return inputs[kind][unit]

    return find


def lay_out(product: Path, target: Path) -> None:
    """Put a product at its place in the survey's folder: a hard link, or a copy elsewhere."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    try:
        os.link(product, part)
    except OSError:  # another file system, or one without links
        shutil.copyfile(product, part)
    part.replace(target)
    part.unlink(missing_ok=True)  # still there if both names were links to the same file
