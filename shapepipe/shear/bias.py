"""Shear bias from scenes of known shear: measured against true, with errors.

Scenes are twins, the same sky drawn with other shears, or with turned shapes and reversed noise, so
that shape noise and pixel noise cancel between them:

    measured shear_i = (1 + m_i) true shear_i + c_i.

Drawing scenes and measuring them is left to others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .calibrate import covariance_of, group_sums, solve
from .halves import halves_of


class ShearBias(NamedTuple):
    """Multiplicative and additive bias of either component, with one sigma."""

    m: np.ndarray  # (2,)
    m_error: np.ndarray
    c: np.ndarray  # (2,)
    c_error: np.ndarray
    mean_m: float  # of both components
    mean_m_error: float
    measured: np.ndarray  # (S, 2), calibrated mean shear of each scene
    response: np.ndarray  # (2, 2), mean over the scenes, that of the selection included


def scene_sums(
    tables: Mapping[str, Mapping],
    groups: np.ndarray,
    count: int,
    weight: Callable[[Mapping], np.ndarray] | None = None,
) -> np.ndarray:
    """Sums over each patch of one scene; see `calibrate.group_sums`.

    Parameters
    ----------
    tables : mapping of shear type to table
        As for `calibrate.mean_shear`; `weight` is called for each half of a noise pair.
    groups : ndarray of int, shape (n,)
        Patch of sky of each object, the same patches in all scenes.
    count : int
        Number of patches.

    Returns
    -------
    ndarray, shape (count, 23)
    """
    made = np.mean([group_sums(part, weight, groups) for part in halves_of(tables)], axis=0)
    return np.concatenate([made, np.zeros((count - len(made), made.shape[1]))])


def shear_bias(sums: np.ndarray, shear: np.ndarray, step: float = 0.01) -> ShearBias:
    """Fit m and c to the mean shears of scenes; errors by leaving out one patch in all of them.

    Parameters
    ----------
    sums : ndarray, shape (K, S, 23)
        `scene_sums` of S scenes; patches of other skies are further rows.
    shear : ndarray, shape (S, 2)
        True shear of each scene, at least two values of either component.
    step : float
        Artificial shear of the types.
    """
    shear = np.asarray(shear, float)

    def measured(total):
        return np.array([solve(scene, step)[0] for scene in total])

    def estimate(total):
        m, c = _fit(measured(total), shear)
        return np.concatenate([m, c, [m.mean()]])

    total = sums.sum(axis=0)
    values = estimate(total)
    errors = np.sqrt(np.diag(covariance_of(estimate, sums)))
    response = np.mean([np.add(*solve(scene, step)[1:3]) for scene in total], axis=0)
    return ShearBias(
        values[:2], errors[:2], values[2:4], errors[2:4],
        float(values[4]), float(errors[4]), measured(total), response,
    )  # fmt: skip


def _fit(measured, shear):
    """Straight line through the scenes, component by component: m and c."""
    away = shear - shear.mean(axis=0)
    slope = (away * measured).sum(axis=0) / (away**2).sum(axis=0)
    return slope - 1.0, measured.mean(axis=0) - slope * shear.mean(axis=0)
