"""A case to be judged: the truth of a simulated survey, and the products of runs on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.table import Table
from sqlitedict import SqliteDict

from shapepipe.errors import BadInput
from shapepipe.simulate.survey import Survey, read_survey

EXPOSURE = r"-(\d{7})-(\d+)"
"""Number of a CCD of an exposure in a file name."""
TILE = r"-(\d{3}-\d{3})"
"""Number of a stack in a file name."""


@dataclass(frozen=True)
class Case:
    """A simulated survey and the runs that processed it.

    Attributes
    ----------
    folder : Path
        What `shapepipe simulate` wrote.
    runs : tuple of Path
        Run directories; where two have a product of the same name, the later one counts.
    """

    folder: Path
    runs: tuple[Path, ...]

    @cached_property
    def survey(self) -> Survey:
        """Options of the survey."""
        return read_survey(self.folder / "survey.ini")

    @cached_property
    def objects(self) -> Table:
        """Truth: every star and galaxy (`truth/objects.fits`)."""
        return self._truth("objects")

    @cached_property
    def exposures(self) -> Table:
        """Truth: pointing, zero point, sky, PSF of each exposure."""
        return self._truth("exposures")

    @cached_property
    def headers(self) -> dict[str, np.ndarray]:
        """Table of `merge_headers_runner`: exposure to {WCS, header} of each CCD."""
        with SqliteDict(self.product("log_exp_headers", ".sqlite"), flag="r") as table:
            return dict(table.items())

    def epochs(self, exposure: str | int) -> Table:
        """Truth: every source on every CCD of one exposure."""
        return self._truth(f"epochs-{exposure}")

    def products(self, name: str, number: str = "", ending: str = ".fits") -> dict[tuple, Path]:
        """Products of all runs.

        Parameters
        ----------
        name : str
            File name without number and ending.
        number : str
            Regular expression of the number, `EXPOSURE`, `TILE` or nothing.
        ending : str
            File name extension.

        Returns
        -------
        dict of tuple of str to Path
            Groups of the number to file, in the order of the numbers.
        """
        pattern = re.compile(re.escape(name) + number + re.escape(ending))
        found = {}
        for run in self.runs:
            for path in sorted(run.glob(f"*/output/**/{name}*{ending}")):
                match = pattern.fullmatch(path.name)
                if match:
                    found[match.groups()] = path
        return dict(sorted(found.items(), key=lambda item: [_as_number(t) for t in item[0]]))

    def product(self, name: str, ending: str = ".fits") -> Path:
        """The product of this name, whatever its number; it must be there, and be one.

        Raises
        ------
        BadInput
            None, or several.
        """
        found = list(self.products(name, r"(\S*)", ending).values())
        if len(found) != 1:
            raise BadInput(self.runs[-1], f"{len(found)} products {name}*{ending}", "one")
        return found[0]

    def has(self, name: str, number: str = "", ending: str = ".fits") -> bool:
        """Tell whether a product is there."""
        return bool(self.products(name, number, ending))

    def tiles(self, kind: str) -> dict[tuple, Path]:
        """Images or weights of the stacks, plain: those simulated, or unpacked by a run."""
        simulated = {
            match.groups(): path
            for path in sorted((self.folder / "tiles").glob(f"CFIS_{kind}-*.fits"))
            if (match := re.fullmatch(f"CFIS_{kind}{TILE}\\.fits", path.name))
        }
        return simulated | self.products(f"CFIS_{kind}", TILE)

    def options(self, key: str) -> Iterator[dict[str, str]]:
        """Recorded options of every step that has the option `key`, as text."""
        for run in self.runs:
            content = json.loads((run / "run.json").read_text(encoding="utf-8"))
            yield from (made for made in content["prints"].values() if key in made)

    def _truth(self, name):
        path = self.folder / "truth" / f"{name}.fits"
        if not path.is_file():
            raise BadInput(path, "there is no such file", "the folder of a simulated survey")
        return Table.read(path)


def make_case(runs: Sequence[str | Path], folder: str | Path) -> Case:
    """Gather runs and the survey they were made of.

    Raises
    ------
    BadInput
        A folder that is no run, or holds no truth.
    """
    case = Case(Path(folder).absolute(), tuple(Path(run).absolute() for run in runs))
    for run in case.runs:
        if not (run / "run.json").is_file():
            raise BadInput(run, "has no run.json", "the directory of a run")
    if not (case.folder / "truth" / "objects.fits").is_file():
        raise BadInput(case.folder, "has no truth/objects.fits",
                       "what `shapepipe simulate` wrote")  # fmt: skip
    return case


def _as_number(text: str) -> tuple:
    return tuple(int(part) for part in re.findall(r"\d+", text)) or (0,)
