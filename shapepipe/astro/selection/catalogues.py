"""NEW_CAT sections: a catalogue of columns computed from those of the input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapepipe.astro.selection.entries import Entries, read_choice
from shapepipe.astro.selection.evaluate import View, evaluate
from shapepipe.astro.selection.expressions import Column, Expression
from shapepipe.astro.selection.lines import Line
from shapepipe.astro.selection.places import Complaint, Place
from shapepipe.astro.selection.rowsets import Scope, rows_of

FORMATS = ("fits", "SEx_cat", "txt")


@dataclass(frozen=True)
class NewCatalogue:
    """Named expressions that cover the same rows, and the format to write them in."""

    name: str
    format: str
    columns: tuple[tuple[str, Expression], ...]

    def compute(self, view: View) -> dict[str, np.ndarray]:
        """Return the new columns.

        A column that is only copied keeps its type and may hold several values per row; computed
        columns are in double precision; single numbers are repeated.

        Raises
        ------
        Complaint
            For columns that are missing or hold no single numbers.
        """
        values = {name: _value(node, view) for name, node in self.columns}
        if self.format == "txt":
            self._require_single_values(values)
        length = next((len(value) for value in values.values() if np.ndim(value)), 1)
        return {
            name: value if np.ndim(value) else np.full(length, value)
            for name, value in values.items()
        }

    def _require_single_values(self, values: dict) -> None:
        for name, node in self.columns:
            if np.ndim(values[name]) > 1:
                text = f"column {name} has several values per row (allowed in fits and SEx_cat)"
                raise Complaint(node.place, text)


def read_catalogue(
    name: str, place: Place, lines: list[Line], scope: Scope, complaints: list[Complaint]
) -> NewCatalogue:
    """Understand the lines of a NEW_CAT section; errors go to `complaints`."""
    entries = Entries(place, scope, complaints)
    entries.load(lines, _fold_format)
    written = entries.take(_FORMAT_KEY, read_choice(*FORMATS), FORMATS[0])
    names = [key for key in entries.values if key != _FORMAT_KEY]
    pairs = [(key, entries.take(key, entries.expression)) for key in names]
    columns = tuple((key, node) for key, node in pairs if node is not None)
    if not names:
        entries.complain(place, "no column is defined (NAME = expression)")
    _check_same_rows(columns, entries)
    return NewCatalogue(name, written, columns)


def _check_same_rows(columns, entries: Entries) -> None:
    sets: dict[str, str] = {}
    for name, node in columns:
        covered = rows_of(node, entries.scope)
        if covered is not None:
            sets.setdefault(covered, name)
        if len(sets) > 1:
            (rows, other), *_ = sets.items()
            text = f"column {name} covers {covered}, column {other} {rows}"
            entries.complain(entries.values[name].place, text)
            return


def _value(node: Expression, view: View):
    return view.column(node) if isinstance(node, Column) else evaluate(node, view)


def _fold_format(key: str) -> str:
    return key.upper() if key.upper() == _FORMAT_KEY else key


_FORMAT_KEY = "OUTPUT_FORMAT"
