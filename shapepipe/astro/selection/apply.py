"""A selection file applied to one catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapepipe.astro.selection.catalogues import NewCatalogue
from shapepipe.astro.selection.drawing import save_plot
from shapepipe.astro.selection.evaluate import View, columns_in, find_column
from shapepipe.astro.selection.masks import select
from shapepipe.astro.selection.places import Complaint
from shapepipe.astro.selection.plots import Plot
from shapepipe.astro.selection.script import Script
from shapepipe.astro.selection.statistics import Statistics
from shapepipe.errors import BadInput


@dataclass(frozen=True)
class Selection:
    """The masks of a script on a catalogue, and what can be made with them.

    Attributes
    ----------
    script : Script
        The selection file.
    masks : dict of str to bool array, shape (n,)
        Rows of each mask.
    """

    script: Script
    masks: dict[str, np.ndarray]
    _view: View

    @classmethod
    def of(cls, script: Script, columns: Mapping[str, np.ndarray], n_rows: int) -> Selection:
        """Compute the masks of a script.

        Parameters
        ----------
        script : Script
            As `read_script` returns it.
        columns : mapping of str to array, shape (n_rows, ...)
            The catalogue.
        n_rows : int
            Its length.

        Raises
        ------
        BadInput
            With every column that the catalogue lacks, and where it is asked for.
        """
        _require_columns(script, columns)
        with _located(script):
            masks = select(script.masks, columns, n_rows)
        return cls(script, masks, View(columns, masks))

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each mask."""
        return {name: int(np.count_nonzero(rows)) for name, rows in self.masks.items()}

    def statistics_text(self, section: Statistics) -> str:
        """Return the content of a statistics file."""
        with _located(self.script):
            return section.text(self._view)

    def new_columns(self, section: NewCatalogue) -> dict[str, np.ndarray]:
        """Return the columns of a new catalogue."""
        with _located(self.script):
            return section.compute(self._view)

    def save_plot(self, section: Plot, path: str | Path) -> None:
        """Draw a plot and write it."""
        with _located(self.script):
            save_plot(section, self._view, path)


def _require_columns(script: Script, columns: Mapping[str, np.ndarray]) -> None:
    missing = {}
    for node in script.expressions():
        for column in columns_in(node):
            try:
                find_column(column, columns)
            except Complaint as complaint:
                missing.setdefault(column.name, complaint)
    if missing:
        first, *others = sorted(missing.values(), key=lambda complaint: complaint.place)
        more = "".join(f"; at {c.place.line}:{c.place.column} {c.text}" for c in others)
        raise BadInput(_where(script, first), first.text + more)


@contextmanager
def _located(script: Script):
    """Turn a complaint about the catalogue into an error that names the selection file."""
    try:
        yield
    except Complaint as complaint:
        raise BadInput(_where(script, complaint), complaint.text) from None


def _where(script: Script, complaint: Complaint) -> str:
    return f"{script.path}:{complaint.place.line}:{complaint.place.column}"
