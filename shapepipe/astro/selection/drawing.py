"""Draw the plots of a selection with matplotlib, without its global figure state.

The same values give the same bytes: no dates are stored and the user's own style is left aside.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shapepipe.astro.selection.evaluate import View, evaluate
from shapepipe.astro.selection.places import Complaint
from shapepipe.astro.selection.plots import Plot, Series

STYLE = MappingProxyType(
    {
        "axes.axisbelow": True,
        "axes.edgecolor": "#5a6472",
        "axes.formatter.useoffset": False,
        "axes.grid": True,
        "axes.labelcolor": "#2b303a",
        "axes.titlesize": 12,
        "grid.color": "#e3e6ea",
        "grid.linewidth": 0.7,
        "legend.fontsize": 9,
        "legend.framealpha": 0.85,
        "svg.hashsalt": "shapepipe",
        "xtick.color": "#5a6472",
        "ytick.color": "#5a6472",
    }
)
PALETTE = ("#7b8794", "#c8102e", "#00798c", "#e19c24", "#5c4b8a", "#3f7d20")
"""Colours of the series: what all are in grey, then what was picked from them."""


def save_plot(plot: Plot, view: View, path: str | Path) -> None:
    """Draw a plot and write it.

    Parameters
    ----------
    plot : Plot
        What to draw.
    view : View
        Catalogue and masks; values that are not finite are left out of the drawing.
    path : str or Path
        File to write; its format is `plot.format`.

    Raises
    ------
    Complaint
        For columns that are missing or hold no single numbers, and text that cannot be set.
    """
    with matplotlib.rc_context({**_defaults(), **STYLE}):
        figure = Figure(figsize=(6.4, 4.6), dpi=110)
        FigureCanvasAgg(figure)
        _draw(plot, view, figure.add_axes((0.12, 0.125, 0.84, 0.785)))
        try:
            figure.savefig(path, format=plot.format, metadata=_NO_DATE[plot.format])
        except ValueError as error:
            reason = str(error).strip().splitlines()[-1]
            raise Complaint(plot.place, f"the plot cannot be drawn: {reason}") from None


def _draw(plot: Plot, view: View, axes: Axes) -> None:
    axes.set_prop_cycle(color=PALETTE if len(plot.series) > 1 else PALETTE[1:])
    match plot.kind:
        case "plot":
            _draw_points(plot.series, view, axes)
        case "scatter":
            _draw_coloured(plot.series, view, axes)
        case "hist":
            _draw_histograms(plot.series, view, axes)
    axes.set_title(plot.title.fill(view))
    axes.set_xlabel(plot.x_label.fill(view))
    axes.set_ylabel(plot.y_label.fill(view))
    if plot.log and axes.dataLim.y1 > 0:
        axes.set_yscale("log")
    if plot.x_limits:
        axes.set_xlim(plot.x_limits)
    if plot.y_limits:
        axes.set_ylim(plot.y_limits)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper right", markerscale=2)


def _draw_points(series: tuple[Series, ...], view: View, axes: Axes) -> None:
    for item in series:
        x, y = _finite(view, item.x, item.y)
        axes.plot(
            x,
            y,
            marker=item.marker,
            markersize=item.marker_size,
            linestyle=item.line,
            alpha=item.alpha,
            color=item.color,
            label=_label(item, view),
        )


def _draw_coloured(series: tuple[Series, ...], view: View, axes: Axes) -> None:
    points = [_finite(view, item.x, item.y, item.scatter) for item in series]
    colours = np.concatenate([colour for _, _, colour in points])
    norm = Normalize(colours.min(), colours.max()) if colours.size else Normalize(0, 1)
    alone = len(series) == 1
    for item, (x, y, colour) in zip(series, points, strict=True):
        drawn = axes.scatter(
            x,
            y,
            c=colour,
            s=item.marker_size**2,
            marker=item.marker,
            alpha=item.alpha,
            norm=norm,
            cmap="viridis",
            label=None if alone else _label(item, view),
        )
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.02)
    bar.set_label((_label(series[0], view) if alone else "") or series[0].scatter_text)


def _draw_histograms(series: tuple[Series, ...], view: View, axes: Axes) -> None:
    for item in series:
        (values,) = _finite(view, item.x)
        axes.hist(
            values,
            bins=item.bins,
            histtype=item.histogram,
            edgecolor="white" if item.histogram.startswith("bar") else None,
            linewidth=0.5 if item.histogram.startswith("bar") else 1.5,
            alpha=item.alpha,
            color=item.color,
            label=_label(item, view),
        )
    axes.margins(y=0.15)  # room for the legend


def _label(item: Series, view: View) -> str:
    return item.label.fill(view) if item.label else ""


def _finite(view: View, *nodes) -> list[np.ndarray]:
    """Return the values of several expressions where all of them are finite."""
    values = [np.asarray(evaluate(node, view)) for node in nodes]
    good = np.logical_and.reduce([np.isfinite(array) for array in values])
    return [array[good] for array in values]


def _defaults() -> dict:
    """Return matplotlib's own settings, whatever a matplotlibrc of the user says."""
    built_in = matplotlib.rcParamsDefault
    return {key: built_in[key] for key in built_in if not key.startswith(_NOT_STYLE)}


_NOT_STYLE = ("backend", "interactive", "toolbar", "timezone", "savefig.directory", "webagg", "tk.")
_NO_DATE = MappingProxyType(
    {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
        "jpg": None,
    }
)
