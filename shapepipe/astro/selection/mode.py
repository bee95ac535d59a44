"""The mode of a sample by repeated histograms: where the stellar locus is."""

from __future__ import annotations

import numpy as np


def mode(values: np.ndarray, width: float = 0.001) -> float:
    """Return the most frequent value, the centre of an ever narrower fullest histogram bin.

    A histogram of a tenth of the sample size in bins (a fifth for 100 values and fewer) is drawn,
    only the values in its fullest bin are kept (the first of several equally full), and the next
    histogram with as many bins covers those. This ends when bins are no wider than `width`, or when
    every bin holds one value at most.

    Parameters
    ----------
    values : array, shape (n,)
        The sample; values that are not finite are left out.
    width : float, optional
        Bin width to reach, in the unit of `values`.

    Returns
    -------
    float
        Centre of the last bin kept. Of less than 20 finite values the median, of none -1. Where all
        values left are the same number, or too near each other for bins of that precision to
        exist, their median: on discrete values the reference procedure would not end there.

    Notes
    -----
    The procedure of ShapePipe 1.x wherever that came to an end. Computed in double precision: bin
    edges between nearly identical single-precision values would coincide.
    """
    kept = np.asarray(values, dtype=float)
    kept = kept[np.isfinite(kept)]
    if kept.size < FEW:
        return float(np.median(kept)) if kept.size else NO_MODE
    n_bins = kept.size // (10 if kept.size > 100 else 5)
    centre = float(np.median(kept))
    while _divisible(kept, n_bins):
        counts, edges = np.histogram(kept, n_bins)
        if counts.max() == 1:
            return centre
        fullest = int(counts.argmax())
        low, high = edges[fullest], edges[fullest + 1]
        centre = float((low + high) / 2)
        if high - low <= width:
            return centre
        upper = kept <= high if fullest == n_bins - 1 else kept < high
        kept = kept[(kept >= low) & upper]
    return float(np.median(kept))


def _divisible(values: np.ndarray, n_bins: int) -> bool:
    """Whether the range of `values` is wide enough for bins with distinct edges."""
    low, high = values.min(), values.max()
    return bool(high / n_bins - low / n_bins > 4 * np.spacing(max(abs(low), abs(high))))


FEW = 20
NO_MODE = -1.0
