"""`shapepipe init FOLDER`: look, propose, ask, write, check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.config import load_config
from shapepipe.pipeline.run import prepare
from shapepipe.starter.configuration import write
from shapepipe.starter.proposal import Ask, Proposal, propose
from shapepipe.starter.survey import look_around


@dataclass(frozen=True)
class Begun:
    """What `init` made.

    Attributes
    ----------
    proposal : Proposal
        What was decided, and why.
    written : list of Path
        The INI file and what stands beside it.
    n_units : int
        Images that the first step will work on.
    complaints : list of str
        What is still in the way, such as a program that is not installed.
    """

    proposal: Proposal
    written: list[Path]
    n_units: int
    complaints: list[str]


def begin(folder: str | Path, ini: str | Path, ask: Ask) -> Begun:
    """Write a configuration for the images in a folder.

    Parameters
    ----------
    folder : path
        Looked through with everything below it.
    ini : path
        The INI file to write.
    ask : callable
        Asked for what cannot be known; see `proposal.Ask`.

    Raises
    ------
    ConfigurationError
        When there is nothing to process, or a file is in the way.
    """
    if not Path(folder).is_dir():
        raise ConfigurationError(f"{folder} is not a directory")
    proposal = propose(look_around(folder), ask)
    written = write(proposal, Path(ini))
    load_config(ini)
    try:
        plan = prepare(ini)
    except ConfigurationError as error:
        return Begun(proposal, written, 0, list(error.complaints))
    return Begun(proposal, written, len(plan.steps[0].numbers), [])
