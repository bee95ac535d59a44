"""STAT sections: numbers that sum up a selection, one `label = value` line each."""

from __future__ import annotations

from dataclasses import dataclass

from shapepipe.astro.selection.entries import Entries
from shapepipe.astro.selection.evaluate import View, evaluate
from shapepipe.astro.selection.expressions import Expression
from shapepipe.astro.selection.lines import Line
from shapepipe.astro.selection.places import Complaint, Place
from shapepipe.astro.selection.rowsets import Scope


@dataclass(frozen=True)
class Statistics:
    """Labelled expressions."""

    name: str
    lines: tuple[tuple[str, Expression], ...] = ()

    def text(self, view: View) -> str:
        """Return the content of the statistics file.

        Raises
        ------
        Complaint
            For columns that are missing or hold no single numbers.
        """
        rows = (f"{label} = {_plain(evaluate(node, view))}" for label, node in self.lines)
        return "\n".join(["# Statistics", *rows]) + "\n"


def read_statistics(
    name: str, place: Place, lines: list[Line], scope: Scope, complaints: list[Complaint]
) -> Statistics:
    """Understand the lines of a STAT section; those with an error go to `complaints`."""
    entries = Entries(place, scope, complaints)
    entries.load(lines)
    pairs = ((label, entries.take(label, entries.number)) for label in entries.values)
    return Statistics(name, tuple((label, node) for label, node in pairs if node is not None))


def _plain(value) -> str:
    return repr(value) if isinstance(value, int) else repr(float(value))
