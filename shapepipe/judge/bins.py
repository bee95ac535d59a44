"""Shares in bins of magnitude, with their errors."""

from __future__ import annotations

import numpy as np
from astropy.table import Table


def edges_of(values, width: float = 0.5) -> np.ndarray:
    """Edges of bins, multiples of their width, that hold all finite values."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.array([0.0, width])
    low, high = np.floor(values.min() / width), np.ceil(values.max() / width)
    return width * np.arange(low, max(high, low + 1) + 1)


def shares(values, hits, edges, name: str) -> Table:
    """Share of hits in each bin.

    Parameters
    ----------
    values : array_like, shape (n,)
        What is binned.
    hits : array_like of bool, shape (n,)
        Who counts as a hit.
    edges : array_like, shape (k + 1,)
        Of the bins.
    name : str
        Column name of the share.

    Returns
    -------
    Table
        `mag` (middle of the bin), `n_<name>` (all in it), `<name>`, `<name>_err`; NaN where the
        bin is empty. The error is that of the binomial with one success and one failure added,
        so that it does not vanish at 0 and 1.
    """
    edges = np.asarray(edges, float)
    n, _ = np.histogram(values, edges)
    k, _ = np.histogram(np.asarray(values)[np.asarray(hits, bool)], edges)
    smooth = (k + 1.0) / (n + 2.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(n > 0, k / n, np.nan)
        error = np.where(n > 0, np.sqrt(smooth * (1 - smooth) / (n + 2.0)), np.nan)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return Table({"mag": middle, f"n_{name}": n, name: share, f"{name}_err": error})


def crossing(middle, share, level: float) -> float:
    """Where a share falls through a level for the last time, interpolated; NaN if it never does."""
    middle, share = np.asarray(middle, float), np.asarray(share, float)
    known = np.isfinite(share)
    middle, share = middle[known], share[known]
    above = np.flatnonzero(share >= level)
    if not len(above) or above[-1] == len(share) - 1:
        return float("nan")
    i = above[-1]
    return float(np.interp(level, share[[i + 1, i]], middle[[i + 1, i]]))
