"""RAND_SPLIT sections: a selection cut at random into two parts, such as 20 % and 80 %."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shapepipe.astro.selection.entries import Entries, read_number
from shapepipe.astro.selection.lines import Line
from shapepipe.astro.selection.places import Complaint, Place
from shapepipe.astro.selection.rowsets import Scope

KEYS = ("RATIO", "MASK")


@dataclass(frozen=True)
class RandomSplit:
    """Rows that are in all of `masks`, cut in `percent` and the rest."""

    name: str
    percent: int
    masks: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, str]:
        """File names of the two parts before the number; halves would else have the same."""
        rest = f"{100 - self.percent}" if self.percent != 50 else "50_rest"
        return f"{self.name}_ratio_{self.percent}", f"{self.name}_ratio_{rest}"

    def draw(
        self, masks: Mapping[str, np.ndarray], n_rows: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the two parts.

        Parameters
        ----------
        masks : mapping of str to bool array, shape (n_rows,)
        n_rows : int
            Length of the catalogue.
        rng : numpy.random.Generator
            Moves on by one permutation of the selected rows.

        Returns
        -------
        tuple of int arrays
            Row numbers, ascending: the ceiling of `percent` of the selected rows, and the others.
        """
        selected = np.ones(n_rows, dtype=bool)
        for name in self.masks:
            selected &= masks[name]
        shuffled = rng.permutation(np.flatnonzero(selected))
        n_first = -(-shuffled.size * self.percent // 100)
        return np.sort(shuffled[:n_first]), np.sort(shuffled[n_first:])


def read_split(
    name: str, place: Place, lines: list[Line], scope: Scope, complaints: list[Complaint]
) -> RandomSplit:
    """Understand the lines of a RAND_SPLIT section; errors go to `complaints`."""
    entries = Entries(place, scope, complaints)
    entries.load(lines, str.upper)
    entries.allow(KEYS)
    if "RATIO" not in entries.values:
        entries.complain(place, "RATIO is missing (percent of the rows, such as 20)")
    percent = entries.take("RATIO", _percent, 50)
    return RandomSplit(name, percent, entries.take("MASK", lambda line: _masks(line, scope), ()))


def _percent(line: Line) -> int:
    """Read a ratio: a fraction below 1, else percent."""
    ratio = read_number(line)
    percent = ratio * 100 if ratio < 1 else ratio
    if not 1 <= percent <= 99 or abs(percent - round(percent)) > _ROUNDING:
        allowed = "whole percent from 1 to 99, or 0.01 to 0.99"
        raise Complaint(line.place, f"RATIO is {line.text} (allowed: {allowed})")
    return round(percent)


def _masks(line: Line, scope: Scope) -> tuple[str, ...]:
    names, start = [], 0
    for piece in line.text.split(","):
        part = line.slice(start, start + len(piece))
        scope.require(part.text, part.place)
        names.append(part.text)
        start += len(piece) + 1
    return tuple(names)


_ROUNDING = 1e-9
