"""What sky and detector add to an image: gradient, noise, trails, cosmic rays, bleeding.

Arrays in, arrays out. Frames are (ny, nx); `light` is x0, x1, y0, y1 of the light-sensitive part,
0-based, ends excluded.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np


class Defect(IntFlag):
    """Bits of the flag image; apart from BAD none is used by the masks of the pipeline."""

    BAD = 1
    COSMIC = 8
    SATURATED = 64
    TRAIL = 256
    UNEXPOSED = 512


def sky_level(u, v, mean: float, slope: tuple[float, float], fading: float) -> np.ndarray:
    """Sky over the field.

    Parameters
    ----------
    u, v : ndarray of float
        Position in the field in units of its radius.
    mean : float
        Level on the axis, any unit.
    slope : tuple of float
        Relative change from the axis to the edge along u and v.
    fading : float
        Relative loss at the edge that grows with the squared distance.
    """
    return mean * (1.0 + slope[0] * u + slope[1] * v - fading * (u**2 + v**2))


def expand(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear expansion of values at the corners of a lattice of cells to all pixels, float32."""
    ny, nx = shape
    y = np.linspace(0, coarse.shape[0] - 1, ny)
    x = np.linspace(0, coarse.shape[1] - 1, nx)
    rows = np.stack([np.interp(y, np.arange(len(column)), column) for column in coarse.T], axis=1)
    low = np.minimum(x.astype(int), coarse.shape[1] - 2)
    part = (x - low).astype(np.float32)
    rows = rows.astype(np.float32)
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def add_trail(image: np.ndarray, x, y, peak: float, sigma: float) -> np.ndarray:
    """Add a satellite trail in place.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float
        ADU.
    x, y : ndarray, shape (n,), float
        Points along the trail, pixel.
    peak, sigma : float
        Brightness (ADU per pixel) on the axis of the trail, and its width (pixel).

    Returns
    -------
    ndarray, shape (ny, nx), bool
        Pixels within 4 sigma of the trail.
    """
    touched = np.zeros(image.shape, bool)
    steep = np.ptp(y) > np.ptp(x)
    along, across = (y, x) if steep else (x, y)
    order = np.argsort(along)
    along, across = along[order], across[order]
    view, mark = (image.T, touched.T) if steep else (image, touched)
    where = np.arange(view.shape[1])
    where = where[(where >= along[0]) & (where <= along[-1])]
    if where.size == 0:
        return touched
    middle = np.interp(where, along, across)
    stretch = np.hypot(1.0, np.ptp(across) / max(np.ptp(along), 1e-9))
    reach = int(np.ceil(4 * sigma * stretch))
    for step in range(-reach, reach + 1):
        line = np.rint(middle).astype(int) + step
        ok = (line >= 0) & (line < view.shape[0])
        distance = (line - middle)[ok] / stretch
        view[line[ok], where[ok]] += peak * np.exp(-0.5 * (distance / sigma) ** 2)
        mark[line[ok], where[ok]] |= np.abs(distance) <= 4 * sigma
    return touched


def add_noise(
    image: np.ndarray, gain: float, read_noise: float, rng: np.random.Generator,
    law: str = "poisson",
) -> None:  # fmt: skip
    """Replace expected ADU by a draw of the electrons, and add read noise, in place.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Expected counts, ADU.
    gain : float
        e-/ADU.
    read_noise : float
        Electrons.
    law : {"poisson", "normal", "reversed"}
        Distribution of the electrons; the normal one uses the same random number for a pixel
        whatever its expectation, the reversed one minus that number.
    """
    sign = np.float32(-1 if law == "reversed" else 1)
    for start in range(0, image.shape[0], 256):
        rows = image[start : start + 256]
        if law != "poisson":
            variance = np.maximum(rows, 0) / np.float32(gain) + np.float32((read_noise / gain) ** 2)
            rows += sign * np.sqrt(variance) * rng.standard_normal(rows.shape, dtype=np.float32)
            continue
        electrons = rng.poisson(np.maximum(rows, 0.0).astype(float) * gain)
        noise = rng.standard_normal(rows.shape, dtype=np.float32) * np.float32(read_noise)
        rows[...] = (electrons + noise) / gain


def add_cosmic_rays(
    image: np.ndarray, light: tuple[int, int, int, int], mean: float, gain: float,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Add straight tracks of charge in place.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float
        ADU.
    light : tuple of int
        Light-sensitive part.
    mean : float
        Expected number of hits.
    gain : float
        e-/ADU.

    Returns
    -------
    ndarray, shape (ny, nx), bool
        Pixels that were hit.
    """
    hit = np.zeros(image.shape, bool)
    x0, x1, y0, y1 = light
    for _ in range(rng.poisson(mean)):
        length, phase = 1.0 + rng.exponential(6.0), 2 * np.pi * rng.random()
        steps = np.arange(0.0, length, 0.25)
        x = (x0 + (x1 - x0) * rng.random() + steps * np.cos(phase)).astype(int)
        y = (y0 + (y1 - y0) * rng.random() + steps * np.sin(phase)).astype(int)
        ok = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        charge = 0.25 * 800.0 * np.exp(0.7 * rng.standard_normal())  # electrons for each step
        np.add.at(image, (y[ok], x[ok]), charge / gain)
        hit[y[ok], x[ok]] = True
    return hit


def bleed(image: np.ndarray, full: float) -> np.ndarray:
    """Let charge above `full` flow to both sides along its column, in place.

    Charge is conserved but for what leaves the frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float
        Counts.
    full : float
        Most that a pixel holds, same unit.

    Returns
    -------
    ndarray, shape (ny, nx), bool
        Pixels that are full.
    """
    over = image > full
    for column in np.flatnonzero(over.any(axis=0)):
        line = image[:, column].astype(float)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], over[:, column], [0]])))
        for first, end in edges.reshape(-1, 2):
            excess = np.sum(line[first:end] - full)
            line[first:end] = np.minimum(line[first:end], full)
            if excess > 0:
                _pour(line[end:], 0.5 * excess, full)
                _pour(line[:first][::-1], 0.5 * excess, full)
        over[:, column] = line >= full
        image[:, column] = line
    return over


def _pour(line, charge, full):
    """Fill pixels one after the other, in place; what a pixel holds above `full` stays there."""
    room = np.maximum(full - line, 0.0)
    taken = np.clip(charge - (np.cumsum(room) - room), 0.0, room)
    line += taken


def bad_columns(
    shape: tuple[int, int], light: tuple[int, int, int, int], mean: float,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Draw the bad columns of a CCD: from a random row on, one or two wide."""
    bad = np.zeros(shape, bool)
    x0, x1, y0, y1 = light
    for _ in range(rng.poisson(mean)):
        column, row = rng.integers(x0, x1), rng.integers(y0, y1)
        bad[row:y1, column : min(column + rng.integers(1, 3), x1)] = True
    return bad


def sensitive(shape: tuple[int, int], light: tuple[int, int, int, int]) -> np.ndarray:
    """Mark the light-sensitive part of a frame, bool."""
    x0, x1, y0, y1 = light
    inside = np.zeros(shape, bool)
    inside[y0:y1, x0:x1] = True
    return inside
