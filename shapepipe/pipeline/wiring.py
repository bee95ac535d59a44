"""Where the inputs of a step come from: products of earlier steps, products of earlier runs, disk.

A step's units are held as columns of numbers, not as objects, so that a million of them stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shapepipe.pipeline.match import Found, nearest_prefixes

UNKNOWN = -1


@dataclass
class Wire:
    """A product of an earlier step: number -> row of the unit that makes it."""

    step: int
    folder: str
    pattern: str
    ext: str
    rows: dict[str, int]
    optional: bool = False

    def path(self, number: str, index: int) -> str:
        """Path of the product with this number."""
        return f"{self.folder}/{self.pattern}{number}{self.ext}"

    @property
    def index(self) -> dict[str, int]:
        """Number -> row."""
        return self.rows


@dataclass
class Column:
    """One input role of a step: for each unit, which source it comes from and where in it.

    Attributes
    ----------
    which : ndarray of int8, shape (n_units,)
        Index into `sources`.
    index : ndarray of int32, shape (n_units,)
        Row of the producing unit, or index of the directory.
    """

    role: str
    sources: list[Wire | Found] = field(default_factory=list)
    which: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    index: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    def numbers(self) -> dict[str, int]:
        """All numbers, with the source of each; of two sources the first counts."""
        if len(self.sources) == 1:
            return self.sources[0].index
        merged: dict[str, int] = {}
        for k, source in reversed(list(enumerate(self.sources))):
            merged.update(dict.fromkeys(source.index, k))
        return merged

    def settle(self, numbers: Sequence[str]) -> None:
        """Keep, for the units of the step, what `path` needs."""
        if len(self.sources) == 1:
            self.which = np.zeros(len(numbers), np.int8)
        else:
            merged = self.numbers()
            self.which = np.fromiter((merged[n] for n in numbers), np.int8, len(numbers))
        indices = (
            self.sources[k].index[n] for k, n in zip(self.which.tolist(), numbers, strict=True)
        )
        self.index = np.fromiter(indices, np.int32, len(numbers))

    def path(self, row: int, number: str) -> str:
        """Path of the input of one unit."""
        return self.sources[self.which[row]].path(number, int(self.index[row]))

    def producers(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Edges to earlier steps: (step, rows there, rows here)."""
        edges = []
        for k, source in enumerate(self.sources):
            if isinstance(source, Wire):
                here = np.flatnonzero(self.which == k).astype(np.int32)
                edges.append((source.step, self.index[here], here))
        return edges


@dataclass(frozen=True)
class Product:
    """What a planned step makes, as far as names go."""

    step: int
    label: str
    folder: str
    role: str
    pattern: str
    ext: str
    suffixes: tuple[str, ...]
    optional: bool


def choose_products(
    pattern: str, ext: str, products: Sequence[Product], correct: bool
) -> list[Product]:
    """Products of earlier steps that a pattern means; all of them if several fit equally."""
    same_ext = [product for product in products if product.ext == ext]
    names = {product.pattern for product in same_ext}
    if not correct:
        names = {name for name in names if pattern in (name, name.rpartition("/")[2])}
    best = set(nearest_prefixes(pattern, names))
    return [product for product in same_ext if product.pattern in best]


def wire(product: Product, numbers: Sequence[str]) -> Wire:
    """Make the wire to a product of a step with these units."""
    if product.suffixes == ("",):
        rows = dict(zip(numbers, range(len(numbers)), strict=True))
    else:
        rows = {f"{n}{s}": row for row, n in enumerate(numbers) for s in product.suffixes}
    return Wire(product.step, product.folder, product.pattern, product.ext, rows, product.optional)
