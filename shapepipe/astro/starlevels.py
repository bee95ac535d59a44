"""Level of the sky under a star, from the rim of its stamp.

The background map of an image lies a few per cent of the noise too high where sources that are too
faint to detect, and the wings of others, shed light. Stars cut out of what is left have a pit
around them, which makes faint ones look smaller than bright ones.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

MASKED = -1e29
"""SExtractor marks masked pixels of VIGNET by -1e30."""
_CLIP, _ROUNDS, _FEWEST = 2.5, 5, 50


def rim_levels(stamps: np.ndarray, radius: float) -> np.ndarray:
    """Clipped median of the pixels of each stamp that are far from its centre.

    Parameters
    ----------
    stamps : ndarray, shape (n, rows, columns), float
        Stars in the middle; pixels below `MASKED` do not count.
    radius : float
        Pixels that are farther than this from the middle count, in pixels.

    Returns
    -------
    ndarray, shape (n,), float
        0 where fewer than 50 pixels are left.
    """
    rows, columns = stamps.shape[1:]
    y, x = np.mgrid[:rows, :columns]
    rim = np.hypot(x - columns // 2, y - rows // 2) > radius
    values = np.asarray(stamps, float)[:, rim]
    values = np.where(values > MASKED, values, np.nan)
    levels = np.zeros(len(stamps))
    for i, pixels in enumerate(values):
        kept = _clipped(pixels[np.isfinite(pixels)])
        if len(kept) >= _FEWEST:
            levels[i] = np.median(kept)
    return levels


def _clipped(pixels):
    """Pixels without outliers, such as those of neighbours."""
    inner = norm.ppf(0.75)
    for _ in range(_ROUNDS):
        if len(pixels) < _FEWEST:
            break
        away = np.abs(pixels - np.median(pixels))
        kept = pixels[away <= _CLIP * np.median(away) / inner]
        if len(kept) in (0, len(pixels)):
            break
        pixels = kept
    return pixels


def take_off(stamps: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Stamps without their levels; masked pixels stay as they are."""
    return np.where(stamps > MASKED, stamps - levels[:, None, None], stamps).astype(stamps.dtype)
