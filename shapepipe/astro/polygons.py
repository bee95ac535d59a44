"""Draw filled polygons into flag images, and write them as DS9 regions.

Pixels are points here: a pixel belongs to a polygon if its centre lies inside. Where stars make the
polygons is the business of `masks`.

The rule in full, with centres at whole 0-based numbers: along a row, a pixel is inside if the
outline winds around it at least once (non-zero winding, so that a self-crossing outline has no
holes); a centre exactly on the outline counts if the inside lies to its right, or, on a horizontal
edge, above (larger y). Polygons that share an edge therefore share no pixel and leave none out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_BAND = 1 << 20  # pixels drawn at a time: keeps scratch memory at a few MB whatever the image


def burn(flags: np.ndarray, bit: int, polygons: np.ndarray) -> None:
    """OR `bit` into the pixels of `flags` that lie inside any of the polygons.

    Parameters
    ----------
    flags : ndarray of integers, shape (ny, nx)
        Changed in place.
    bit : int
        Value to set.
    polygons : ndarray, shape (n, n_vertices, 2)
        Vertices as x, y (pixel, 0-based), anywhere on or off the image.
    """
    starts, ends = covered_runs(flags.shape, polygons)
    ny, nx = flags.shape
    rows = max(1, _BAND // nx)
    for first in range(0, ny if starts.size else 0, rows):
        band = flags[first : first + rows]
        low, high = first * nx, first * nx + band.size
        inside = slice(np.searchsorted(ends, low, "right"), np.searchsorted(starts, high, "left"))
        _fill(band, bit, starts[inside].clip(low) - low, ends[inside].clip(None, high) - low)


def covered_runs(shape: tuple[int, int], polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of pixels, counted row after row, that lie inside any of the polygons.

    Parameters
    ----------
    shape : (ny, nx)
        Size of the image.
    polygons : ndarray, shape (n, n_vertices, 2)
        Vertices as x, y (pixel, 0-based).

    Returns
    -------
    starts, ends : ndarray of int64
        First pixel of each run and the one after its last; sorted, disjoint.
    """
    polygons = np.asarray(polygons, dtype=float)
    polygons = polygons[_reach_image(shape, polygons)]
    polygon, row, x, turn = _crossings(shape[0], polygons)
    order = np.lexsort((x, polygon * shape[0] + row))
    row, x, turn = row[order], x[order], turn[order]
    winding = np.cumsum(turn)  # is zero again after each row of each polygon
    before = winding - turn
    opens, closes = (winding != 0) & (before == 0), (winding == 0) & (before != 0)
    column = np.ceil(x).clip(0, shape[1]).astype(np.int64)
    flat = row * shape[1] + column
    return _merge(flat[opens], flat[closes])


def region_text(polygons: Iterable[np.ndarray], circles: Iterable[tuple] = ()) -> str:
    """Shapes as a DS9 region file: polygons in image coordinates (1-based), circles on the sky.

    Parameters
    ----------
    polygons : iterable of ndarray, shape (n_vertices, 2)
        Vertices as x, y (pixel, 0-based).
    circles : iterable of (ra, dec, radius)
        Degrees.
    """
    lines = ["# Region file format: DS9 version 4.1"]
    for polygon in polygons:
        numbers = ",".join(f"{value:.3f}" for value in (np.asarray(polygon) + 1).ravel())
        lines.append(f"image;polygon({numbers})")
    lines += [f"icrs;circle({ra:.6f},{dec:.6f},{radius:.6f})" for ra, dec, radius in circles]
    return "\n".join(lines) + "\n"


def _reach_image(shape, polygons):
    """Whether the box around each polygon has a pixel of the image in it; NaN has none."""
    if not len(polygons):
        return np.zeros(0, bool)
    low, high = polygons.min(axis=1), polygons.max(axis=1)
    return ((high >= 0) & (low <= np.array(shape)[::-1] - 1)).all(axis=1)


def _crossings(ny, polygons):
    """Where outlines cross rows of pixel centres.

    Returns polygon number, row, x, and +1 or -1 for the sense of each crossing. An edge
    crosses the rows y with y_low <= y < y_high, so that a vertex on a row is counted once.
    """
    a, b = polygons, np.roll(polygons, -1, axis=1)
    owner = np.broadcast_to(np.arange(len(polygons))[:, None], a.shape[:2]).ravel()
    (xa, ya), (xb, yb) = (points.reshape(-1, 2).T for points in (a, b))
    first = np.ceil(np.minimum(ya, yb)).clip(0, ny).astype(np.int64)
    last = np.ceil(np.maximum(ya, yb)).clip(0, ny).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(count.size), count)
    row = np.arange(edge.size) - np.repeat(np.cumsum(count) - count - first, count)
    slope = (xb - xa)[edge] / (yb - ya)[edge]
    x = xa[edge] + (row - ya[edge]) * slope
    return owner[edge], row, x, np.where(yb > ya, 1, -1)[edge]


def _merge(starts, ends):
    """Union of runs that may overlap; each array may be sorted on its own for this."""
    keep = ends > starts
    starts, ends = np.sort(starts[keep]), np.sort(ends[keep])
    if not starts.size:
        return starts, ends
    gap = ends[:-1] < starts[1:]  # all runs that began so far have ended
    return starts[np.r_[True, gap]], ends[np.r_[gap, True]]


def _fill(band, bit, starts, ends):
    """OR `bit` into runs of one band of rows, which is contiguous in memory."""
    if not starts.size:
        return
    edges = np.concatenate(([0], np.column_stack((starts, ends)).ravel(), [band.size]))
    values = np.zeros(edges.size - 1, band.dtype)
    values[1::2] = band.dtype.type(bit) if bit < 1 << 15 else np.int64(bit).astype(band.dtype)
    flat = band.reshape(-1)
    flat |= np.repeat(values, np.diff(edges))
