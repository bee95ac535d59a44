"""From measured shapes to mean shear: responses, selection responses, weights and errors.

With e the unsheared shapes, e(j+), e(j-) those of the types sheared by +-step in component j, and
weights w (0 or 1 for a plain selection) computed from the columns of each type:

    R_ij     = < (e_i(j+) - e_i(j-)) / (2 step) >                     weights of noshear
    Rsel_ij  = ( <e_i> with w(j+)  -  <e_i> with w(j-) ) / (2 step)   shapes of noshear
    shear    = (R + Rsel)^-1 <e>

A cut must therefore be a function of columns that exist for every type, never of something
measured once.  Where tables have both halves of the noise pair, each half is cut by itself and
the sums are added (see `halves`).  Errors come from leaving out, or drawing with replacement,
groups of objects.

References
----------
Huff & Mandelbaum 2017, arXiv:1702.02600; Sheldon & Huff 2017, ApJ 841, 24, equations 5 to 15.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .halves import halves_of
from .settings import SHEAR_TYPES

Table = Mapping[str, np.ndarray]
ANALYTIC = (("R1_g1", "R2_g1"), ("R1_g2", "R2_g2"))


class MeanShear(NamedTuple):
    """A calibrated mean shear and what it was made of."""

    shear: np.ndarray  # (2,)
    error: np.ndarray  # (2,), one sigma
    covariance: np.ndarray  # (2, 2)
    response: np.ndarray  # (2, 2), of the shapes
    selection: np.ndarray  # (2, 2), of the weights
    raw: np.ndarray  # (2,), mean of the uncalibrated shapes
    weight: float  # sum of weights
    count: int  # objects with positive weight, in either half of the noise pair


def mean_shear(
    tables: Mapping[str, Table],
    weight: Callable[[Table], np.ndarray] | None = None,
    groups: np.ndarray | int = 100,
    step: float = 0.01,
    errors: str = "jackknife",
    rng: np.random.Generator | None = None,
    halves: bool = True,
) -> MeanShear:
    """Mean shear of all objects of a catalogue.

    Parameters
    ----------
    tables : mapping of shear type to table
        Columns g1, g2 and flags, and what `weight` reads, for each of `SHEAR_TYPES`.
    weight : callable, optional
        Weight (or boolean selection) of each object from one type's table; default equal weights.
    groups : int or ndarray of int
        Number of groups of consecutive objects, or the group of each object (patches of sky).
    step : float
        Artificial shear of the types.
    errors : {"jackknife", "bootstrap"}
        Leave out one group at a time, or draw groups with replacement (needs `rng`).
    halves : bool
        Where the tables have the columns of both halves of the noise pair (g1_a, g1_b ...), apply
        `weight` to each half; False takes the averages, whose cuts are biased at low
        signal-to-noise ratio.
    """
    parts = halves_of(tables) if halves else [tables]
    sums = np.mean([group_sums(part, weight, groups) for part in parts], axis=0)
    shear, response, selection, raw = solve(sums.sum(axis=0), step)
    covariance = covariance_of(lambda part: solve(part, step)[0], sums, errors, rng)
    count = np.any([_weights(part, weight)["noshear"] > 0 for part in parts], axis=0)
    return MeanShear(
        shear,
        np.sqrt(np.diag(covariance)),
        covariance,
        response,
        selection,
        raw,
        float(sums[:, 0].sum()),
        int(count.sum()),
    )


def group_sums(tables, weight=None, groups=100) -> np.ndarray:
    """Everything that a mean shear needs, summed over each group of objects.

    Returns
    -------
    ndarray, shape (K, 23)
        Sum of w, w g1, w g2 (noshear); w g1, w g2 of the four sheared types with the weights of
        noshear; then for each sheared type the sums of its weights w, w g1, w g2 with the shapes
        of noshear.  Sums of different catalogues may be added.
    """
    weights = _weights(tables, weight)
    base = tables["noshear"]
    e = [np.where(weights["usable"], base[name], 0) for name in ("g1", "g2")]
    own = weights["noshear"]
    columns = [own, own * e[0], own * e[1]]
    for kind in SHEAR_TYPES[1:]:
        for name in ("g1", "g2"):
            columns.append(own * np.where(weights["usable"], tables[kind][name], 0))
    for kind in SHEAR_TYPES[1:]:
        w = weights[kind]
        columns += [w, w * e[0], w * e[1]]
    labels = _labels(groups, len(own))
    return np.column_stack(
        [np.bincount(labels, column, minlength=labels.max(initial=0) + 1) for column in columns]
    )


def solve(sums, step: float):
    """Shear, response, selection response and raw mean shape from sums over objects."""
    raw = sums[1:3] / sums[0]
    sheared = sums[3:11].reshape(2, 2, 2) / sums[0]  # component, sign, shape
    response = ((sheared[:, 0] - sheared[:, 1]) / (2 * step)).T
    selected = sums[11:23].reshape(2, 2, 3)
    means = selected[:, :, 1:] / selected[:, :, :1]
    selection = ((means[:, 0] - means[:, 1]) / (2 * step)).T
    return np.linalg.solve(response + selection, raw), response, selection, raw


def covariance_of(estimate, sums, errors="jackknife", rng=None, draws=200) -> np.ndarray:
    """Covariance of `estimate(sums over groups)` from the groups' scatter.

    Parameters
    ----------
    estimate : callable
        Vector (or scalar) as a function of the sums over all objects.
    sums : ndarray, shape (K, ...)
        Sums of each group.
    """
    k = len(sums)
    total = sums.sum(axis=0)
    if errors == "jackknife":
        made = np.array([np.atleast_1d(estimate(total - part)) for part in sums])
        deviation = made - made.mean(axis=0)
        return (k - 1) / k * deviation.T @ deviation
    if errors != "bootstrap" or rng is None:
        raise ValueError("errors must be jackknife, or bootstrap with a random generator")
    picks = rng.integers(0, k, (draws, k))
    made = np.array([np.atleast_1d(estimate(sums[pick].sum(axis=0))) for pick in picks])
    return np.atleast_2d(np.cov(made.T))


def analytic_response(table: Table, weight=None) -> np.ndarray:
    """Mean of the analytic response columns, (2, 2): no finite step, no selection."""
    usable = np.asarray(table["flags"]) == 0
    w = np.where(usable, 1.0 if weight is None else weight(table), 0.0)
    values = [[np.where(usable, table[name], 0) @ w for name in row] for row in ANALYTIC]
    return np.array(values) / w.sum()


def inverse_variance(shape_noise: float = 0.3) -> Callable[[Table], np.ndarray]:
    """Weight 1 / (shape noise^2 + mean error^2) from the error columns of each type.

    Such weights depend on shear through the errors, which the selection response accounts for.
    """

    def weight(table):
        variance = 0.5 * (np.square(table["g1_err"]) + np.square(table["g2_err"]))
        return 1 / (shape_noise**2 + variance)

    return weight


def cut(s2n: float = 10.0, size_ratio: float = 0.5) -> Callable[[Table], np.ndarray]:
    """Selection s2n > `s2n` and T / T_psf > `size_ratio`; both are areas.

    ShapePipe 1.x cut the ratio of radii at 0.5, which is 0.25 in area.
    """

    def selection(table):
        target = "Tpsf" if "Tpsf" in set(table.keys()) else "T_psf"  # in files, in `Shapes`
        resolved = np.asarray(table["T"]) > size_ratio * np.asarray(table[target])
        return (np.asarray(table["s2n"]) > s2n) & resolved

    return selection


def _weights(tables, weight):
    """Weights of each type, zero for objects that failed in any type, and who is usable."""
    usable = np.all([np.asarray(tables[kind]["flags"]) == 0 for kind in SHEAR_TYPES], axis=0)
    made = {"usable": usable}
    for kind in SHEAR_TYPES:
        values = np.ones(len(usable)) if weight is None else weight(tables[kind])
        made[kind] = np.where(usable, values, 0).astype(float)
    return made


def _labels(groups, count):
    """Group of each object."""
    if np.ndim(groups) == 0:
        return np.arange(count) * int(groups) // max(count, 1)
    return np.asarray(groups)
