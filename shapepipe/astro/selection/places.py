"""Where in a selection file something stands, and the complaint that points there.

A complaint concerns one line and never leaves this package: the reader of the whole file collects
complaints and raises them together (see `script`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """Line and column in a file, both counted from 1."""

    line: int
    column: int


class Complaint(Exception):
    """One thing wrong at one place of a selection file."""

    def __init__(self, place: Place, text: str):
        self.place, self.text = place, text
        super().__init__(place, text)

    def located(self, path) -> str:
        """Return the complaint as `file:line:column: text`."""
        return f"{path}:{self.place.line}:{self.place.column}: {self.text}"


def suggest(word: str, valid: Iterable[str]) -> str:
    """Return `; did you mean ...?` for the valid words near `word`, else the short list of all.

    Parameters
    ----------
    word : str
        What was written.
    valid : iterable of str
        What could have been written.
    """
    by_folded = {name.casefold(): name for name in sorted(valid)}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(by_folded[name] for name in near)}?"
    names = list(by_folded.values())
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"; there are {shown}"


_SHOWN = 20
