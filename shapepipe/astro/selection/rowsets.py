"""Which rows an expression covers, found before any catalogue is read.

A single number covers no rows; a column covers all rows in force, or those of a mask. Values can
only be combined row by row when they cover the same rows. The check also names unknown functions
and masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shapepipe.astro.selection.expressions import Call, Column, Expression, Negative, Operation
from shapepipe.astro.selection.functions import FUNCTIONS, Function
from shapepipe.astro.selection.places import Complaint, Place, suggest

ALL_ROWS = "all rows"


def rows_of_mask(*masks: str) -> str:
    """Return the row set of several masks together, of all rows for none."""
    return f"rows of {' and '.join(sorted(set(masks)))}" if masks else ALL_ROWS


@dataclass(frozen=True)
class Scope:
    """What an expression may refer to, and the rows in force where it stands.

    Parameters
    ----------
    masks : mapping of str to int
        Masks defined above, with their line.
    later : mapping of str to int
        Masks defined only further down.
    rows : str
        Row set that a column without ``{mask}`` covers.
    """

    masks: Mapping[str, int]
    later: Mapping[str, int]
    rows: str = ALL_ROWS

    def require(self, mask: str, place: Place) -> None:
        """Complain if `mask` is not one that can be used here."""
        if mask in self.masks:
            return
        if mask in self.later:
            text = f"mask {mask!r} is defined only at line {self.later[mask]}; move it above"
        else:
            text = f"no mask {mask!r}{suggest(mask, self.masks)}"
        raise Complaint(place, text)


def rows_of(node: Expression, scope: Scope) -> str | None:
    """Return the row set that `node` covers, None for a single number.

    Raises
    ------
    Complaint
        For unknown functions and masks, wrong numbers of arguments, and values of different rows.
    """
    match node:
        case Column():
            return _rows_of_column(node, scope)
        case Negative():
            return rows_of(node.operand, scope)
        case Operation():
            return common_rows(node.place, scope, node.left, node.right)
        case Call():
            return _rows_of_call(node, scope)
    return None


def common_rows(place: Place, scope: Scope, *nodes: Expression) -> str | None:
    """Return the one row set that all `nodes` cover; single numbers go with any.

    Raises
    ------
    Complaint
        If they cover different rows.
    """
    sets = dict.fromkeys(rows_of(node, scope) for node in nodes)
    sets.pop(None, None)
    if len(sets) > 1:
        raise Complaint(place, f"values of different rows side by side: {' and '.join(sets)}")
    return next(iter(sets), None)


def _rows_of_column(node: Column, scope: Scope) -> str:
    if node.mask is None:
        return scope.rows
    scope.require(node.mask, node.place)
    return rows_of_mask(node.mask)


def _rows_of_call(node: Call, scope: Scope) -> str | None:
    function = FUNCTIONS.get(node.name)
    if function is None:
        raise Complaint(node.place, f"no function {node.name!r}{suggest(node.name, FUNCTIONS)}")
    _check_number_of_arguments(node, function)
    if function.rows == "kept":
        return common_rows(node.place, scope, *node.arguments)
    columns = node.arguments[:-1] if function.rows == "counted" else node.arguments
    for argument in columns:
        if rows_of(argument, scope) is None:
            raise Complaint(argument.place, f"{node.name} needs a value per row, not one number")
    common_rows(node.place, scope, *columns)
    if function.rows == "counted" and rows_of(node.arguments[-1], scope) is not None:
        place = node.arguments[-1].place
        raise Complaint(place, f"the last argument of {node.name} is one number")
    return None


def _check_number_of_arguments(node: Call, function: Function) -> None:
    fewest, most = function.arguments
    if not fewest <= len(node.arguments) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} or {most}"
        given = len(node.arguments)
        raise Complaint(node.place, f"{node.name} takes {wanted} argument(s), not {given}")
