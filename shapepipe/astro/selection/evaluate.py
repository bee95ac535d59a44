"""The value of an expression on a catalogue.

A tree walk over numpy arrays; no text is ever executed. What can be checked without a catalogue has
been checked before (`rowsets`), what remains is what the catalogue holds.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from shapepipe.astro.selection.expressions import (
    Call,
    Column,
    Comparison,
    Expression,
    Negative,
    Number,
    Operation,
)
from shapepipe.astro.selection.functions import FUNCTIONS
from shapepipe.astro.selection.places import Complaint, suggest


@dataclass(frozen=True)
class View:
    """A catalogue as an expression sees it.

    Parameters
    ----------
    columns : mapping of str to array, shape (n, ...)
        The catalogue.
    masks : mapping of str to bool array, shape (n,)
        The masks computed so far.
    rows : bool array, shape (n,), optional
        Rows in force; all of them by default.
    """

    columns: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    rows: np.ndarray | None = None

    def within(self, rows: np.ndarray) -> View:
        """Return the same catalogue with only `rows` in force."""
        return replace(self, rows=rows)

    def column(self, node: Column) -> np.ndarray:
        """Return the column as it is stored, on the rows that the expression means.

        Raises
        ------
        Complaint
            If the catalogue has no such column.
        """
        values = np.asarray(self.columns[find_column(node, self.columns)])
        rows = self.rows if node.mask is None else self.masks[node.mask]
        return values if rows is None else values[rows]


def evaluate(node: Expression, view: View) -> np.ndarray | float | int:
    """Return the value of `node`: one number, or one number per row, in double precision.

    Division by zero, logarithms of negative numbers and the like give infinity or NaN.

    Raises
    ------
    Complaint
        For missing columns and columns that hold text or several values per row.
    """
    with np.errstate(all="ignore"):
        return _value(node, view)


def compare(node: Comparison, view: View) -> np.ndarray | bool:
    """Return where the comparison holds, one bool per row in force (or just one for numbers)."""
    with np.errstate(all="ignore"):
        return _COMPARE[node.symbol](_value(node.left, view), _value(node.right, view))


def find_column(node: Column, columns: Mapping[str, np.ndarray]) -> str:
    """Return the catalogue's name of a column: the same, or the only one but for case.

    Raises
    ------
    Complaint
        If there is none, with the nearest names.
    """
    if node.name in columns:
        return node.name
    alike = [name for name in columns if name.casefold() == node.name.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise Complaint(node.place, f"no column {node.name!r}{suggest(node.name, columns)}")


def columns_in(node: Expression | Comparison) -> Iterator[Column]:
    """Yield every column that an expression or comparison mentions."""
    match node:
        case Column():
            yield node
        case Negative():
            yield from columns_in(node.operand)
        case Operation() | Comparison():
            yield from columns_in(node.left)
            yield from columns_in(node.right)
        case Call():
            for argument in node.arguments:
                yield from columns_in(argument)


def _value(node: Expression, view: View):
    match node:
        case Number():
            return np.float64(node.value)
        case Column():
            return _numbers(node, view.column(node))
        case Negative():
            return -_value(node.operand, view)
        case Operation():
            return _OPERATE[node.symbol](_value(node.left, view), _value(node.right, view))
        case Call():
            return _call(node, [_value(argument, view) for argument in node.arguments])
    raise TypeError(f"not an expression: {node!r}")


def _numbers(node: Column, values: np.ndarray) -> np.ndarray:
    if values.ndim > 1:
        shape = " x ".join(str(length) for length in values.shape[1:])
        raise Complaint(node.place, f"column {node.name} holds {shape} values per row, not one")
    if values.dtype.kind not in "biuf":
        raise Complaint(node.place, f"column {node.name} does not hold numbers ({values.dtype})")
    return values.astype(float)


def _call(node: Call, arguments: list):
    try:
        value = FUNCTIONS[node.name].compute(*arguments)
    except ValueError as error:
        raise Complaint(node.place, str(error)) from None
    return value if isinstance(value, int | np.ndarray) else np.float64(value)


_COMPARE = MappingProxyType(
    {
        "<": operator.lt,
        ">": operator.gt,
        "<=": operator.le,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }
)
_OPERATE = MappingProxyType(
    {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": np.true_divide}
)
