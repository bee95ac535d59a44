"""Plots of the PSF against its truth: histograms, maps, correlations, magnitudes of stars."""

from __future__ import annotations

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shapepipe.astro import focalplane, focalplots, rho

SYMBOLS = {"dt": r"$\delta T/T$", "de1": r"$\delta e_1$", "de2": r"$\delta e_2$"}
PAIRS = {"star_model": "star - model", "star_true": "star - truth", "model_true": "model - truth"}
_CELLS_PER_CCD = 12.0  # about so many PSFs in a cell of a map
_MOST_CELLS = 8  # along the longer side


def draw_histograms(views: Table) -> Figure:
    """Draw distributions of the residuals model - truth, with mean and scatter."""
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    kept = views[views["flag"] == 0]
    for axes, name in zip(figure.subplots(1, 3), SYMBOLS, strict=True):
        values = np.asarray(kept[name])
        reach = max(1.1 * float(np.percentile(np.abs(values), 99.5)), 1e-6)
        axes.hist(np.clip(values, -reach, reach), np.linspace(-reach, reach, 41), color="C0")
        axes.axvline(0.0, color="0.3", lw=0.8)
        axes.axvline(values.mean(), color="C3", lw=1.2)
        axes.set(xlabel=f"{SYMBOLS[name]}, model - truth", ylabel="PSFs at galaxies")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(f"mean {values.mean():+.5f}, scatter {values.std():.5f}", fontsize=9)
    return figure


def draw_maps(views: Table) -> dict[str, Figure]:
    """Draw mean residuals over the focal plane, all exposures together."""
    kept = views[views["flag"] == 0]
    columns = [np.asarray(kept[name]) for name in ("exposure", "ccd", "x", "y", "ra", "dec")]
    frames = focalplane.fit_frames(*columns)
    size = tuple(float(np.ceil(kept[name].max() + 1)) for name in "xy")
    layout = focalplane.lay_out(frames, size)
    cells = _cells(len(kept) / max(len(layout.ccds), 1), size)
    figures = {}
    for name in SYMBOLS:
        values = np.asarray(kept[name])
        means = focalplane.bin_mean(layout, *columns[1:4], values, cells)
        top = float(f"{np.nanpercentile(np.abs(means), 98):.1g}") or 1e-6
        title = f"{SYMBOLS[name]}, model - truth: mean {values.mean():+.5f}"
        figures[f"psf_map_{name}"] = focalplots.draw_map(
            layout, means, title, SYMBOLS[name], (-top, top), signed=True
        )
    return figures


def draw_correlations(views: Table) -> dict[str, Figure]:
    """Draw rho statistics of the first exposure's residuals at its galaxies, without star noise."""
    kept = views[views["flag"] == 0]
    kept = kept[kept["exposure"] == kept["exposure"][0]] if len(kept) else kept
    if len(kept) < 2:
        return {}
    true, model = (
        np.column_stack([kept[f"g{k}_sky{ending}"] for k in (1, 2)]) for ending in ("", "_model")
    )
    sizes = (np.sqrt(np.asarray(kept[f"t{ending}"]) / 2.0) for ending in ("", "_model"))
    found = rho.rho_statistics(kept["ra"], kept["dec"], true, model, *sizes, n_bins=16)
    figure = rho.plot_rho(found)
    figure.suptitle(f"true PSF - model at {len(kept)} galaxies of one exposure", fontsize=10)
    return {"psf_rho": figure}


def draw_magnitudes(table: Table) -> Figure:
    """Draw differences of T of stars, model and truth by magnitude (see `psf.by_magnitude`)."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0.0, color="0.5", lw=0.8)
    for k, (name, label) in enumerate(PAIRS.items()):
        axes.errorbar(table["mag"] + 0.03 * (k - 1), table[name], table[f"{name}_err"],
                      fmt="osD"[k] + "-", ms=4, lw=1, label=label)  # fmt: skip
    axes.set(xlabel="MAG_AUTO of the star", ylabel=f"median {SYMBOLS['dt']}")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    return figure


def _cells(per_ccd, size):
    """Cells along columns and rows of a CCD, about square."""
    n = np.clip(per_ccd / _CELLS_PER_CCD, 1, _MOST_CELLS**2)
    side = np.sqrt(size[0] * size[1] / n)
    return tuple(int(np.clip(round(length / side), 1, 2 * _MOST_CELLS)) for length in size)
