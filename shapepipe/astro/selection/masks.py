"""MASK sections: which rows of the catalogue are selected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from shapepipe.astro.selection.evaluate import View, compare
from shapepipe.astro.selection.expressions import Comparison, Inherit, NoSave, parse_mask_line
from shapepipe.astro.selection.lines import Line
from shapepipe.astro.selection.places import Complaint
from shapepipe.astro.selection.rowsets import Scope, common_rows, rows_of_mask


@dataclass(frozen=True)
class Mask:
    """A selection of rows: those of all `inherits` for which all `comparisons` hold."""

    name: str
    inherits: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    saved: bool = True


def read_mask(name: str, lines: list[Line], scope: Scope, complaints: list[Complaint]) -> Mask:
    """Understand the lines of a mask section; those with an error go to `complaints`."""
    parsed = []
    for line in lines:
        try:
            parsed.append(parse_mask_line(line.text, line.place))
        except Complaint as complaint:
            complaints.append(complaint)
    inherits = tuple(dict.fromkeys(item.mask for item in parsed if isinstance(item, Inherit)))
    inside = replace(scope, rows=rows_of_mask(*inherits))
    for item in parsed:
        try:
            _check(item, inside)
        except Complaint as complaint:
            complaints.append(complaint)
    return Mask(
        name,
        inherits,
        tuple(item for item in parsed if isinstance(item, Comparison)),
        saved=not any(isinstance(item, NoSave) for item in parsed),
    )


def select(masks: tuple[Mask, ...], columns: Mapping[str, np.ndarray], n_rows: int):
    """Return the rows of every mask, in order of definition.

    Parameters
    ----------
    masks : tuple of Mask
        Each may refer to those before it.
    columns : mapping of str to array, shape (n_rows, ...)
        The catalogue.
    n_rows : int
        Its length.

    Returns
    -------
    dict of str to bool array, shape (n_rows,)

    Raises
    ------
    Complaint
        For columns that are missing or hold no single numbers.
    """
    selected: dict[str, np.ndarray] = {}
    for mask in masks:
        selected[mask.name] = _rows(mask, View(columns, dict(selected)), n_rows)
    return selected


def _rows(mask: Mask, view: View, n_rows: int) -> np.ndarray:
    rows = np.ones(n_rows, dtype=bool)
    for other in mask.inherits:
        rows &= view.masks[other]
    inside = view.within(rows) if mask.inherits else view
    passed = np.ones(int(rows.sum()), dtype=bool)
    for comparison in mask.comparisons:
        passed &= compare(comparison, inside)
    rows[rows] = passed
    return rows


def _check(item: Comparison | Inherit | NoSave, scope: Scope) -> None:
    match item:
        case Inherit():
            scope.require(item.mask, item.place)
        case Comparison():
            covered = common_rows(item.place, scope, item.left, item.right)
            if covered not in (None, scope.rows):
                text = f"the comparison covers {covered}, the mask looks at {scope.rows}"
                raise Complaint(item.place, text)
