"""Match positions of two catalogues on the sky by the nearest neighbour."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from shapepipe.astro import wcs


def nearest(ra, dec, other_ra, other_dec, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest entry of another catalogue for each position.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Degrees; positions that are not finite match nothing.
    other_ra, other_dec : array_like, shape (m,)
        Degrees; several positions may have the same neighbour.
    tolerance : float
        Largest distance, arcsec.

    Returns
    -------
    index : ndarray of int, shape (n,)
        Entry of the other catalogue; -1 where there is none within the tolerance.
    distance : ndarray, shape (n,)
        Arcsec; NaN where there is none.
    """
    ra, dec, other_ra, other_dec = (np.asarray(a, float) for a in (ra, dec, other_ra, other_dec))
    index, distance = np.full(ra.shape, -1), np.full(ra.shape, np.nan)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    there = np.flatnonzero(np.isfinite(other_ra) & np.isfinite(other_dec))
    if len(known) and len(there):
        tree = cKDTree(wcs.unit_vectors(other_ra[there], other_dec[there]))
        limit = 2 * np.sin(np.radians(tolerance / 3600) / 2)
        chord, at = tree.query(wcs.unit_vectors(ra[known], dec[known]), distance_upper_bound=limit)
        close = np.isfinite(chord)
        index[known[close]] = there[at[close]]
        distance[known[close]] = np.degrees(2 * np.arcsin(chord[close] / 2)) * 3600
    return index, distance
