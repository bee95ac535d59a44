"""Whether two measurements of the same objects from different data agree within their errors.

With d = g(one) - g(other) and s^2 = err(one)^2 + err(other)^2, chi2 is the sum of (d/s)^2 over
objects. It is about the number of objects where the errors tell the whole noise. The errors of a
fit (columns g1_err, g2_err) are inverse Hessians for white noise of the sky. What they do not know
can be added to s^2:

* that reconvolved noise is not white: `pair_factor`;
* the noise of the light of the object itself: `light_factor`;
* errors of the PSF model: `psf_variance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

MAD_TO_SIGMA = 1.4826
COMPONENTS = ("g1", "g2")


@dataclass(frozen=True)
class Agreement:
    """How two measurements compare, component by component.

    Attributes
    ----------
    count : int
        Objects compared.
    chi2 : ndarray, shape (2,)
        Sum of squared pulls of g1 and g2.
    robust : ndarray, shape (2,)
        Scatter of the pulls, 1.4826 MAD, squared: what chi2 / count is without outliers.
    outliers : ndarray of int, shape (2,)
        Pulls beyond 5.
    difference, error : ndarray, shape (2,)
        Mean of d weighted by 1/s^2, and its error from s.
    slope : ndarray, shape (2,)
        Slope of g(one) against g(other), weights and errors of both taken into account.
    """

    count: int
    chi2: np.ndarray
    robust: np.ndarray
    outliers: np.ndarray
    difference: np.ndarray
    error: np.ndarray
    slope: np.ndarray

    @property
    def chi2_per_dof(self) -> float:
        """Chi-square over both components, per degree of freedom; NaN without objects."""
        return float(self.chi2.sum() / (2 * self.count)) if self.count else np.nan

    @property
    def chi2_error(self) -> float:
        """What chi2 per degree of freedom scatters by if pulls are normal."""
        return float(np.sqrt(1 / self.count)) if self.count else np.nan

    def figures(self) -> dict[str, float]:
        """Plain numbers by name."""
        made = {"n_compared": self.count, "chi2_per_dof": self.chi2_per_dof,
                "chi2_error": self.chi2_error}  # fmt: skip
        for axis, name in enumerate(COMPONENTS):
            made[f"chi2_{name}"] = float(self.chi2[axis])
            made[f"robust_{name}"] = float(self.robust[axis])
            made[f"n_outliers_{name}"] = int(self.outliers[axis])
            made[f"difference_{name}"] = float(self.difference[axis])
            made[f"error_{name}"] = float(self.error[axis])
            made[f"slope_{name}"] = float(self.slope[axis])
        return made


def pair_factor(tables: Iterable[Mapping], chosen) -> float:
    """Variance of the noise as the noise pair shows it, over that which the errors state.

    Half the difference of the measurements with the added noise field and with its negative is due
    to that field alone, which has the noise of the image and went through the same operations.

    Parameters
    ----------
    tables : iterable of mapping
        Columns g1_a, g1_b, g2_a, g2_b besides g1_err, g2_err.
    chosen : ndarray of bool, shape (n,)
        Objects over which to average.

    Returns
    -------
    float
        NaN where the tables have no pair, or no object is chosen.
    """
    ratios = []
    for table in tables:
        for name in COMPONENTS:
            if f"{name}_a" in set(table.keys()):
                noise = 0.5 * (np.asarray(table[f"{name}_a"]) - np.asarray(table[f"{name}_b"]))
                ratios.append((noise / np.asarray(table[f"{name}_err"]))[chosen])
    values = np.concatenate(ratios) if ratios else np.zeros(0)
    values = values[np.isfinite(values)]
    return float(np.mean(values**2)) if len(values) else np.nan


def light_factor(s2n, electrons) -> np.ndarray:
    """Variance of g with the photon noise of the object, over that with the noise of the sky alone.

    For the fit of a Gaussian with the weights of the sky, of signal-to-noise ratio S, the light of
    the object multiplies the variance by 1 + (2/3)^3 P / v, where P and v are the variances of its
    light in its brightest pixel and of the sky; P / v is 2 S^2 / electrons.

    Parameters
    ----------
    s2n : ndarray, shape (n,)
        Signal-to-noise ratio with one noise field (column s2n), whose S^2 is half as large.
    electrons : ndarray, shape (n,)
        Number of electrons of the object in the same data.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = 4 * np.square(s2n) / electrons
    return 1 + (2 / 3) ** 3 * np.where(np.isfinite(ratio), np.maximum(ratio, 0), 0)


def psf_variance(error: float, T_psf, T) -> np.ndarray:
    """Variance of g that an error of g of the PSF causes: the square of error T_psf / T."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.square(error * np.asarray(T_psf) / np.asarray(T)))


def with_errors(table: Mapping, factor=1.0, variance=0.0) -> dict[str, np.ndarray]:
    """A table with errors sqrt(err^2 factor + variance)."""
    made = {name: np.asarray(table[name]) for name in table.keys()}
    for name in COMPONENTS:
        made[f"{name}_err"] = np.sqrt(np.square(made[f"{name}_err"]) * factor + variance)
    return made


def pulls(one: Mapping, other: Mapping) -> np.ndarray:
    """Differences over their errors, shape (n, 2).

    Parameters
    ----------
    one, other : mapping of str to ndarray, shape (n,)
        Columns g1, g2, g1_err, g2_err of the same objects; errors from different data.
    """
    made = [_difference(one, other, name) for name in COMPONENTS]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([d / s for d, s in made], axis=1)


def measured(*tables: Mapping) -> np.ndarray:
    """Objects that all tables (columns flags, g1, g2, g1_err, g2_err) have without failure."""
    good = np.ones(len(tables[0]["flags"]), bool)
    for table in tables:
        good &= np.asarray(table["flags"]) == 0
        for name in COMPONENTS:
            good &= np.isfinite(table[name]) & (np.asarray(table[f"{name}_err"]) > 0)
    return good


def compare(one: Mapping, other: Mapping, chosen=None) -> Agreement:
    """Compare two measurements; see `pulls` for their columns.

    Parameters
    ----------
    chosen : ndarray of bool, shape (n,), optional
        Objects to compare; default all. They must be `measured` in both.
    """
    chosen = np.ones(len(one["g1"]), bool) if chosen is None else np.asarray(chosen)
    names = [*COMPONENTS, *(f"{name}_err" for name in COMPONENTS)]
    tables = [{n: np.asarray(t[n], float)[chosen] for n in names} for t in (one, other)]
    found = pulls(*tables)
    parts = [_difference(*tables, name) for name in COMPONENTS]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = [1 / s**2 for _, s in parts]
        total = np.array([w.sum() for w in weight])
        mean = np.array([(w * d).sum() for w, (d, _) in zip(weight, parts, strict=True)]) / total
        error = 1 / np.sqrt(total)
    return Agreement(
        count=len(found),
        chi2=(found**2).sum(axis=0),
        robust=_robust(found) ** 2,
        outliers=(np.abs(found) > 5).sum(axis=0),
        difference=mean,
        error=error,
        slope=np.array([_slope(*tables, name) for name in COMPONENTS]),
    )


def _difference(one, other, name):
    """Difference of a column, and its error."""
    first, second = (np.asarray(table[name], float) for table in (one, other))
    errors = (np.asarray(table[f"{name}_err"], float) for table in (one, other))
    return first - second, np.hypot(*errors)


def _slope(one, other, name):
    """Line through the origin, of least squares across it (both sides have errors)."""
    x, y = other[name], one[name]
    weight = 1 / (one[f"{name}_err"] ** 2 + other[f"{name}_err"] ** 2) if len(x) else x
    spread = ((y**2 - x**2) * weight).sum()
    common = (x * y * weight).sum()
    if common == 0:
        return np.nan
    return float((spread + np.hypot(spread, 2 * common)) / (2 * common))


def _robust(values):
    """1.4826 times the median absolute deviation from 0, of each column."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    return MAD_TO_SIGMA * np.median(np.abs(values), axis=0)
