"""Judge a case, quantity by quantity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shapepipe.errors import BadInput, ConfigurationError
from shapepipe.judge import astrometry, classes, detection, psf, shear, verdict
from shapepipe.judge.case import Case, make_case
from shapepipe.judge.verdict import Verdict

QUANTITIES: dict[str, Callable[[Case], Verdict | None]] = {
    "astrometry": astrometry.judge,
    "detection": detection.judge,
    "psf": psf.judge,
    "classes": classes.judge,
    "shear": shear.judge,
}
"""Name of a quantity to what judges it; None comes back where the runs lack the products."""


def judge(
    runs: Sequence[str | Path],
    folder: str | Path,
    output: str | Path | None = None,
    only: Sequence[str] = (),
) -> dict[str, Verdict]:
    """Compare runs with the truth of the simulated survey they were made of.

    Parameters
    ----------
    runs : sequence of str or Path
        Run directories.
    folder : str or Path
        Folder of the survey.
    output : str or Path, optional
        Folder for `judge.json` and plots; nothing is written without it.
    only : sequence of str
        Names in `QUANTITIES`; default all that the runs have products for.

    Raises
    ------
    BadInput
        No run, no truth, or nothing that could be judged.
    ConfigurationError
        A name in `only` that is none of the quantities.
    """
    unknown = [name for name in only if name not in QUANTITIES]
    if unknown:
        raise ConfigurationError(
            f"--only {unknown[0]}: unknown quantity (allowed: {', '.join(QUANTITIES)})"
        )
    case = make_case(runs, folder)
    made = {name: QUANTITIES[name](case) for name in (only or QUANTITIES)}
    found = {name: result for name, result in made.items() if result is not None}
    if not found:
        raise BadInput(case.runs[-1], f"has no products to judge: {', '.join(made)}")
    if output is not None:
        verdict.write(found, Path(output))
    return found


def show(found: Mapping[str, Verdict]) -> list[str]:
    """Figures and tables of all verdicts as lines of text."""
    return [line for name, result in found.items() for line in verdict.lines(name, result)]
