"""Plots of two measurements of the same shapes; what is drawn is prepared by `shear.agreement`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

REACH = 5.0  # pulls shown


def draw_agreement(
    one, other, errors, pulls, bins: Sequence[Mapping], labels: Sequence[str]
) -> Figure:
    """Draw shapes against each other, their pulls, and chi-square by signal-to-noise ratio.

    Parameters
    ----------
    one, other : ndarray, shape (n, 2)
        g1 and g2 of each measurement.
    errors : ndarray, shape (2, n, 2)
        Their errors.
    pulls : ndarray, shape (n, 2)
        Differences over their errors.
    bins : sequence of mapping
        `low` and `high` signal-to-noise ratio, `chi2_per_dof` with the errors of the fits and with
        those of all noise that is known (`chi2_per_dof_best`), and the `error` of either.
    labels : sequence of str
        Names of the measurements.
    """
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_shapes(left, one, other, errors, labels)
    _draw_pulls(middle, pulls)
    _draw_bins(right, bins)
    return figure


def _draw_shapes(axes, one, other, errors, labels):
    for axis, (name, colour) in enumerate((("g1", "C0"), ("g2", "C3"))):
        axes.errorbar(other[:, axis], one[:, axis], errors[0][:, axis], errors[1][:, axis],
                      fmt=".", ms=3, lw=0.4, color=colour, label=name, alpha=0.7)  # fmt: skip
    axes.axline((0, 0), slope=1, color="0.4", lw=0.8)
    axes.set(xlabel=f"shape, {labels[1]}", ylabel=f"shape, {labels[0]}", aspect="equal",
             xlim=(-0.8, 0.8), ylim=(-0.8, 0.8))  # fmt: skip
    axes.legend(loc="upper left", frameon=False)


def _draw_pulls(axes, pulls):
    edges = np.linspace(-REACH, REACH, 26)
    inside = np.clip(pulls, -REACH, REACH)
    axes.hist([inside[:, 0], inside[:, 1]], edges, color=["C0", "C3"], histtype="barstacked")
    x = np.linspace(-REACH, REACH, 200)
    height = pulls.size * (edges[1] - edges[0]) / np.sqrt(2 * np.pi)
    axes.plot(x, height * np.exp(-(x**2) / 2), color="k", lw=1, label="normal")
    axes.set(xlabel="difference / error", ylabel="shapes")
    axes.legend(frameon=False)


def _draw_bins(axes, bins):
    kinds = (("chi2_per_dof", "0.6", "errors of the fits"),
             ("chi2_per_dof_best", "C0", "all known noise"))  # fmt: skip
    middle = np.array([np.sqrt(part["low"] * part["high"]) for part in bins])
    ends = np.abs(
        np.array([(part["low"], part["high"]) for part in bins]).reshape(-1, 2).T - middle
    )
    error = np.array([part["error"] for part in bins])
    for name, colour, label in kinds:
        values = np.array([part[name] for part in bins])
        axes.errorbar(
            middle, values, error * values, ends, fmt="o", ms=4, color=colour, label=label
        )
    axes.legend(frameon=False)
    axes.axhline(1, color="0.4", lw=0.8)
    axes.set(
        xscale="log", xlabel="signal-to-noise ratio", ylabel="chi-square / dof", ylim=(0, None)
    )
