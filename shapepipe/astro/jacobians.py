"""Local scale and orientation of images: how steps in pixels are steps on the sky."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from shapepipe.astro import wcs as coordinates

ARCSEC = 3600.0  # per degree


def local_jacobians(solution: WCS, x, y) -> np.ndarray:
    """Derivatives of tangent-plane coordinates with respect to pixels, by central differences.

    Parameters
    ----------
    solution : WCS
        Of the image.
    x, y : array_like, shape (n,)
        Positions, 0-based pixels.

    Returns
    -------
    ndarray, shape (n, 2, 2)
        [[du/dx, du/dy], [dv/dx, dv/dy]] in arcsec per pixel, with u to the west and v to the
        north (GalSim's and TreeCorr's convention for shear on the sky).
    """
    x, y = (np.atleast_1d(np.asarray(value, float)) for value in (x, y))
    steps = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    around = x[:, None] + steps[:, 0], y[:, None] + steps[:, 1]
    ra, dec = coordinates.pixel_to_world(solution, *around)
    middle = np.deg2rad(dec.mean(axis=1))
    east = (ra[:, ::2] - ra[:, 1::2] + 180.0) % 360.0 - 180.0
    du = -east * np.cos(middle)[:, None] * ARCSEC
    dv = (dec[:, ::2] - dec[:, 1::2]) * ARCSEC
    return np.stack([du, dv], axis=1)
