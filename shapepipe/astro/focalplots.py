"""Plots of PSF quantities over the focal plane; what is drawn is prepared by `focalplane`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from shapepipe.astro.focalplane import Layout

WIDTH = 6.5  # inches
GREY, EMPTY = "0.65", "0.82"  # outlines; cells without stars


def draw_map(
    layout: Layout, cells, title: str, label: str, limits: tuple[float, float], signed: bool
) -> Figure:
    """Colour the cells of all CCDs.

    Parameters
    ----------
    layout : Layout
        Where the CCDs lie.
    cells : numpy.ndarray
        Values, shape (n_ccds, n_y, n_x); nan is left grey.
    title, label : str
        Above the plot, and beside the colour bar.
    limits : tuple of float
        Values at the ends of the colour bar.
    signed : bool
        Use colours that diverge from the middle.
    """
    figure, axes = _frame(layout, title, mark_empty=True)
    mesh = None
    for affine, values in zip(layout.affine, cells, strict=True):
        grid = _grid(affine, layout.size, values.shape)
        mesh = axes.pcolormesh(
            *grid, values, vmin=limits[0], vmax=limits[1], cmap="RdBu_r" if signed else "viridis",
            rasterized=True,
        )  # fmt: skip
    outside = np.nanmin(cells) < limits[0], np.nanmax(cells) > limits[1]
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    figure.colorbar(mesh, label=label, extend=extend.get(outside, "both"), shrink=0.9, pad=0.02)
    return figure


def draw_whiskers(layout: Layout, cells, title: str, key: float) -> Figure:
    """Draw a line along the ellipticity in each cell.

    Parameters
    ----------
    layout : Layout
        Where the CCDs lie.
    cells : numpy.ndarray
        Ellipticities in the frame of the focal plane, shape (n_ccds, n_y, n_x, 2).
    title : str
        Above the plot.
    key : float
        Ellipticity of the line in the legend.
    """
    figure, axes = _frame(layout, title, mark_empty=False)
    places = np.array([_middles(affine, layout.size, cells.shape[1:3]) for affine in layout.affine])
    seen = np.isfinite(cells).all(axis=-1)
    g = cells[seen]
    length, angle = np.hypot(*g.T), 0.5 * np.arctan2(g[:, 1], g[:, 0])
    spacing = np.sqrt(np.prod(layout.size) / np.prod(cells.shape[1:3]))
    lines = axes.quiver(
        *places[seen].T, length * np.cos(angle), length * np.sin(angle), pivot="middle",
        headwidth=0, headlength=0, headaxislength=0, width=0.0014, color="0.1",
        angles="xy", scale_units="xy", scale=key / spacing,
    )  # fmt: skip
    axes.quiverkey(lines, 0.88, 1.025, key, f"e = {key:g}", labelpos="E", coordinates="axes")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without a date or version, so that equal data give equal files."""
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _frame(layout, title, mark_empty):
    """Figure whose axes hold the outlines of the CCDs, in true proportion."""
    corners = layout.corners()
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    margin = 0.02 * (high - low).max()
    ratio = float(np.clip((high - low)[1] / (high - low)[0], 0.4, 1.6))
    figure = Figure(figsize=(WIDTH, 0.82 * WIDTH * ratio + 0.7), layout="constrained")
    axes = figure.subplots()
    for ccd, outline in zip(layout.ccds, corners, strict=True):
        axes.fill(*outline.T, fc=EMPTY if mark_empty else "none", ec=GREY, lw=0.6)
        x, y = outline.mean(axis=0)
        axes.text(x, y, str(ccd), color="0.35", fontsize=6, ha="center", va="center", alpha=0.7)
    axes.set(
        xlim=(low[0] - margin, high[0] + margin),
        ylim=(low[1] - margin, high[1] + margin),
        aspect="equal",
        xlabel="x in the focal plane [pixel]"
        if layout.from_sky
        else "CCDs side by side, x [pixel]",
        ylabel="y [pixel]",
    )
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    return figure, axes


def _grid(affine, size, shape):
    """Corners of the cells of one CCD in focal-plane pixels: two arrays (n_y + 1, n_x + 1)."""
    x, y = (
        np.linspace(-0.5, n - 0.5, cells + 1) for n, cells in zip(size, shape[::-1], strict=True)
    )
    return _to_plane(affine, *np.meshgrid(x, y))


def _middles(affine, size, shape):
    """Middles of the cells of one CCD, shape (n_y, n_x, 2)."""
    x, y = ((np.arange(cells) + 0.5) * n / cells - 0.5
            for n, cells in zip(size, shape[::-1], strict=True))  # fmt: skip
    return np.stack(_to_plane(affine, *np.meshgrid(x, y)), axis=-1)


def _to_plane(affine, x, y):
    return tuple(a * x + b * y + c for a, b, c in affine)
