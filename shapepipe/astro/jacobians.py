"""Local scale and orientation of images: how steps in pixels are steps on the sky."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from shapepipe.astro import wcs as coordinates

ARCSEC = 3600.0  # per degree


def local_jacobians(solution: WCS, x, y) -> np.ndarray:
    """Derivatives of tangent-plane coordinates with respect to pixels, by central differences.

    The differences are those of unit vectors, so that poles and RA = 0 are places as any other.

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
    steps = np.array([[0.0, 0.0], [0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    around = x[:, None] + steps[:, 0], y[:, None] + steps[:, 1]
    ra, dec = coordinates.pixel_to_world(solution, *around)
    vectors = coordinates.unit_vectors(ra, dec)
    moves = vectors[:, 1::2] - vectors[:, 2::2]  # along x, along y
    axes = np.stack(_west_and_north(np.radians(ra[:, 0]), np.radians(dec[:, 0])), axis=1)
    return np.degrees(axes @ moves.swapaxes(1, 2)) * ARCSEC


def _west_and_north(ra, dec):
    """Unit vectors to the west and north of positions in radians; at a pole RA decides."""
    west = np.stack([np.sin(ra), -np.cos(ra), np.zeros_like(ra)], axis=-1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=-1)
    return west, north
