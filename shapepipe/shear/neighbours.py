"""Pixels that belong to a neighbour rather than to the object of the stamp.

A pixel goes to the object whose detected pixels are nearest, whatever its own value: the rule of
the "uberseg" maps of Jarvis et al. 2016, MNRAS 460, 2245, section 5.2.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt


def neighbour_pixels(segmentation, number: int) -> np.ndarray:
    """Pixels nearer to another object's segment than to the object's own.

    Parameters
    ----------
    segmentation : ndarray of int, shape (ny, nx)
        Number of the object that each pixel was detected with, 0 for none.
    number : int
        The object of the stamp.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        For `Batch.neighbour`.  All False when nothing but the object was detected.
    """
    segmentation = np.asarray(segmentation)
    detected = segmentation != 0
    if not detected.any():
        return np.zeros(segmentation.shape, bool)
    rows, columns = distance_transform_edt(~detected, return_distances=False, return_indices=True)
    return segmentation[rows, columns] != number
