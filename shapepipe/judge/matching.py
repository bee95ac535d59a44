"""Which detection shows which true source, in pixels or on the sky, and who has neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from shapepipe.astro import wcs
from shapepipe.simulate.astrometry import to_plane


class Match(NamedTuple):
    """Detections and sources matched one to one.

    Attributes
    ----------
    source : ndarray of int, shape (n detections,)
        The brightest source within the tolerance that no nearer detection has; -1: none.
    detection : ndarray of int, shape (n sources,)
        The detection that shows each source; -1: none.
    blended : ndarray of bool, shape (n sources,)
        Has no detection of its own, but lies within the tolerance of that of a brighter source.
    """

    source: np.ndarray
    detection: np.ndarray
    blended: np.ndarray


def match(x, y, true_x, true_y, mag, tolerance: float) -> Match:
    """Match detections to sources, the brightest sources first, each with its nearest detection.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Detections, in any cartesian coordinates.
    true_x, true_y : array_like, shape (m,)
        Sources, in the same.
    mag : array_like, shape (m,)
        Magnitudes of the sources.
    tolerance : float
        Largest distance.
    """
    detections, sources = (_finite(np.column_stack([a, b]).astype(float))
                           for a, b in ((x, y), (true_x, true_y)))  # fmt: skip
    source, detection = np.full(len(detections), -1), np.full(len(sources), -1)
    blended = np.zeros(len(sources), bool)
    if len(detections) and len(sources):
        tree = cKDTree(detections)
        near = tree.query_ball_point(sources, tolerance)
        for k in np.argsort(np.asarray(mag), kind="stable"):
            free = [i for i in near[k] if source[i] < 0]
            if free:
                apart = np.hypot(*(detections[free] - sources[k]).T)
                i = free[int(np.argmin(apart))]
                source[i], detection[k] = k, i
            else:
                blended[k] = bool(near[k])
    return Match(source, detection, blended)


def match_sky(ra, dec, true_ra, true_dec, mag, tolerance: float) -> Match:
    """Match positions on the sky (degrees; `tolerance` in arcsec), as `match` does.

    Made for a field of view: the plane touches the sky in the middle of the sources.
    """
    true_ra, true_dec = np.asarray(true_ra, float), np.asarray(true_dec, float)
    if not len(true_ra):
        return match(ra, dec, true_ra, true_dec, mag, tolerance)
    middle = wcs.unit_vectors(true_ra, true_dec).mean(axis=0)
    ra0 = np.degrees(np.arctan2(middle[1], middle[0]))
    dec0 = np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1])))
    here, there = (3600.0 * np.array(to_plane(a, d, ra0, dec0))
                   for a, d in ((ra, dec), (true_ra, true_dec)))  # fmt: skip
    return match(*here, *there, mag, tolerance)


def nearest_pixels(x, y, other_x, other_y, tolerance: float) -> np.ndarray:
    """Index of the nearest of other positions within `tolerance`, -1 where there is none."""
    here, there = np.column_stack([x, y]), np.column_stack([other_x, other_y])
    if not len(here) or not len(there):
        return np.full(len(here), -1)
    apart, at = cKDTree(_finite(there.astype(float))).query(here.astype(float))
    return np.where(apart <= tolerance, at, -1)


def isolated(truth, radius: float, fainter: float) -> np.ndarray:
    """Tell which sources have no neighbour that disturbs them.

    Parameters
    ----------
    truth : Table
        Columns `x`, `y`, `mag`.
    radius : float
        Pixels.
    fainter : float
        Neighbours that are fainter by more than this (mag) do not count.
    """
    places = np.column_stack([truth["x"], truth["y"]])
    mag = np.asarray(truth["mag"])
    free = np.ones(len(mag), bool)
    if len(mag) < 2:
        return free
    i, j = cKDTree(places).query_pairs(radius, output_type="ndarray").T
    free[i[mag[j] < mag[i] + fainter]] = False
    free[j[mag[i] < mag[j] + fainter]] = False
    return free


def _finite(places):
    """Put what is not finite out of reach."""
    return np.where(np.isfinite(places), places, 1e12)
