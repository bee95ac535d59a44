"""Windowed centroids of stamps, as SExtractor defines XWIN and YWIN.

Adaptive moments, which have a centroid of their own, are in `moments`.
"""

from __future__ import annotations

import numpy as np

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_REACH = 4.0  # sigma; SExtractor's WIN_NSIG
_STEPS = 50
_CONVERGED = 1e-7  # pixel


def window_sigma(half_light_radius) -> np.ndarray:
    """Width of the window for a half-light radius: its FWHM is the half-light diameter."""
    return 2.0 * np.asarray(half_light_radius, float) / FWHM_PER_SIGMA


def windowed_centroids(stamps, sigma) -> tuple[np.ndarray, np.ndarray]:
    """Centroid under a round Gaussian window that is itself centred on the centroid.

    Parameters
    ----------
    stamps : array_like, shape (n, ny, nx)
        Images without background; the iteration starts in the middle.
    sigma : array_like, shape (n,)
        Of the window, pixels.

    Returns
    -------
    x, y : ndarray, shape (n,)
        0-based pixels of the stamp.

    References
    ----------
    Manual of SExtractor, "Windowed positional parameters".
    """
    stamps = np.asarray(stamps, float)
    sigma = np.broadcast_to(np.asarray(sigma, float), len(stamps))[:, None, None]
    ny, nx = stamps.shape[1:]
    rows, columns = np.arange(ny)[None, :, None], np.arange(nx)[None, None, :]
    x, y = np.full(len(stamps), (nx - 1) / 2.0), np.full(len(stamps), (ny - 1) / 2.0)
    for _ in range(_STEPS):
        dx, dy = columns - x[:, None, None], rows - y[:, None, None]
        r2 = (dx**2 + dy**2) / sigma**2
        light = np.where(r2 < _REACH**2, np.exp(-0.5 * r2), 0.0) * stamps
        total = light.sum(axis=(1, 2))
        step = [2.0 * (light * d).sum(axis=(1, 2)) / total for d in (dx, dy)]
        x, y = x + step[0], y + step[1]
        if np.abs(step).max(initial=0.0) < _CONVERGED:
            break
    return x, y
