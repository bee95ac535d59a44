"""The functions of the selection language: arrays in, numbers or arrays out.

All work in double precision. A function of no rows at all gives NaN (`len` gives 0, `mode` -1), so
that a comparison with it selects nothing. The parser and the row check only read `FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from scipy import stats

from shapepipe.astro.selection.mode import mode


@dataclass(frozen=True, slots=True)
class Function:
    """A function, how many arguments it takes, and what becomes of the rows.

    `rows` is `kept` (a value per row in and out, numbers allowed), `reduced` (a value per row in,
    one number out) or `counted` (as `reduced`, but the last argument is a number).
    """

    compute: Callable
    arguments: tuple[int, int]
    rows: Literal["kept", "reduced", "counted"]


def spread_mad(values: np.ndarray) -> float:
    """Return the standard deviation of a Gaussian with the median absolute deviation of `values`.

    Parameters
    ----------
    values : array, shape (n,), float

    References
    ----------
    Rousseeuw & Croux 1993, JASA 88, 1273, eq. (1.2): the factor 1.4826 is 1 / Phi^-1(3/4).
    """
    return float(stats.median_abs_deviation(values, scale="normal"))


def homogeneity(*arguments) -> float:
    """Return how unevenly positions fill equal cells, in percent of the worst case.

    The range of the values is cut into cells: `n_cells` intervals for one coordinate, a square of
    sqrt(n_cells) x sqrt(n_cells) cells for two. The result is the standard deviation of the counts
    relative to that of all rows in one cell: 0 for equal counts, 100 for one full cell.

    Parameters
    ----------
    *arguments
        One or two coordinates, arrays of shape (n,), and the number of cells (2 or more; for two
        coordinates a square number).

    Raises
    ------
    ValueError
        For a number of cells that cannot be laid out.
    """
    *coordinates, n_cells = arguments
    points = np.column_stack(coordinates)
    if points.shape[0] == 0 or not np.isfinite(points).all():
        return np.nan
    side = _cells_per_axis(float(n_cells), len(coordinates))
    counts, _ = np.histogramdd(points, bins=side)
    worst = np.zeros(counts.size)
    worst[0] = points.shape[0]
    return float(100 * counts.std() / worst.std())


def _cells_per_axis(n_cells: float, n_axes: int) -> int:
    side = round(max(n_cells, 0) ** (1 / n_axes)) if np.isfinite(n_cells) else 0
    if side < 2 or side**n_axes != n_cells:
        allowed = "a whole number from 2" if n_axes == 1 else "a square number from 4"
        raise ValueError(f"homogen cannot use {n_cells:g} cells (allowed: {allowed})")
    return side


def _or_nan(compute: Callable) -> Callable:
    return lambda values: float(compute(values)) if values.size else np.nan


def _elementwise(compute: Callable, n_arguments: int = 1) -> Function:
    return Function(compute, (n_arguments, n_arguments), "kept")


def _reduction(compute: Callable) -> Function:
    return Function(compute, (1, 1), "reduced")


FUNCTIONS = MappingProxyType(
    {
        "mean": _reduction(_or_nan(np.mean)),
        "median": _reduction(_or_nan(np.median)),
        "mode": _reduction(mode),
        "std": _reduction(_or_nan(np.std)),
        "var": _reduction(_or_nan(np.var)),
        "sigma_mad": _reduction(_or_nan(spread_mad)),
        "mad": _reduction(_or_nan(spread_mad)),
        "len": _reduction(len),
        "min": _reduction(_or_nan(np.min)),
        "max": _reduction(_or_nan(np.max)),
        "homogen": Function(homogeneity, (2, 3), "counted"),
        "sqrt": _elementwise(np.sqrt),
        "log": _elementwise(np.log),
        "log10": _elementwise(np.log10),
        "exp": _elementwise(np.exp),
        "pow": _elementwise(np.power, 2),
    }
)
