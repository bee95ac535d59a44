"""Noise of the sky in an image: weights, for images that come without, and its correlation.

Resampled images (shifted, interpolated, co-added) have noise in common between neighbouring pixels.
The scatter of single pixels then understates the noise of anything that extends over several.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

CLIP = 5.0  # standard deviations; pixels beyond are no sky
MARGIN = 4  # pixels around objects, which hold their fainter outskirts


def inverse_variance(noise) -> np.ndarray:
    """Weight of pixels of a given standard deviation, 0 where that is not positive; float32."""
    noise = np.asarray(noise, np.float32)
    weight = np.zeros(noise.shape, np.float32)
    np.divide(1, np.square(noise), out=weight, where=noise > 0)
    return weight


def sky_pixels(objects_removed, flag=None, margin: int = MARGIN) -> np.ndarray:
    """Tell which pixels show nothing but sky.

    Parameters
    ----------
    objects_removed : ndarray, shape (ny, nx)
        Image without background, exactly 0 in the pixels of objects (SExtractor: -OBJECTS).
    flag : ndarray, optional
        Flag image; pixels that are not 0 do not count.
    margin : int
        Pixels next to objects that do not count either.
    """
    hidden = binary_dilation(objects_removed == 0, iterations=margin) if margin else (
        objects_removed == 0
    )  # fmt: skip
    usable = ~hidden & np.isfinite(objects_removed)
    return usable if flag is None else usable & (flag == 0)


def variance_factor(image, usable, reach: int) -> float:
    """Sum of the correlation of the noise over all pixels up to a distance; 1 if there is none.

    The variance of the sum of n neighbouring pixels is n times this factor times that of one, for
    n that is large compared with `reach`.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Without background.
    usable : ndarray of bool, shape (ny, nx)
        Pixels of sky.
    reach : int
        Largest distance along either axis, pixels.

    Returns
    -------
    float
        At least 1; NaN where there are no two pixels to compare.
    """
    image = np.where(usable, image, 0).astype(float)
    if not usable.any():
        return np.nan
    sigma = 1.4826 * np.median(np.abs(image[usable]))
    usable = usable & (np.abs(image) < CLIP * sigma)
    image = np.where(usable, image, 0)
    variance = np.mean(image[usable] ** 2) if usable.any() else 0.0
    if variance == 0:
        return np.nan
    total = 1.0
    for dy in range(reach + 1):
        for dx in range(-reach if dy else 1, reach + 1):
            here, there = _shifted(dy, dx)
            pairs = np.count_nonzero(usable[here] & usable[there])
            total += 2 * (image[here] * image[there]).sum() / max(pairs, 1) / variance
    return float(max(total, 1.0))


def _shifted(dy, dx):
    """Slices of an image and of itself moved by dy >= 0 and dx."""
    rows = slice(dy, None), slice(None, -dy or None)
    columns = slice(max(dx, 0), min(dx, 0) or None), slice(max(-dx, 0), min(-dx, 0) or None)
    return (rows[0], columns[0]), (rows[1], columns[1])
