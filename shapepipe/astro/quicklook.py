"""A quick look at the pixels of an image: sky, noise, saturation, and the size of its stars.

Good enough to choose the settings of programs that do it properly; not a catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DETECTION = 8.0  # in units of the noise of the smoothed image
HALF = 12  # pixels; half the side of the stamps on which sizes are measured
MOST_STARS = 600
SMALLEST = 1.3  # pixels; narrower than any star: hot pixels and cosmic rays
FINER = 4  # parts of a pixel in which the area above half the peak is counted
MIDDLE = 2048  # pixels; side of the part that is looked at
FEWEST_PLACES = 10  # sources that tell which flags mark sources
NOWHERE = np.zeros((0, 2), int)
PILED_UP = 20  # equal pixels at the top of the range that show where it ends


@dataclass(frozen=True)
class QuickLook:
    """What a quick look finds.

    Attributes
    ----------
    sky, noise : float
        Level and standard deviation of the background, in units of the image.
    top : float
        Largest pixel.
    saturation : float or None
        Level at which pixels pile up, if they do.
    fwhm : float or None
        Most frequent full width at half maximum of compact sources, in pixels.
    n_stars : int
        Number of sources within 15 % of it.
    n_sources : int
        Number of sources measured.
    places : ndarray of int, shape (n, 2)
        Row and column of the peaks of bright sources, 0-based, in the image that was given.
    """

    sky: float
    noise: float
    top: float
    saturation: float | None
    fwhm: float | None
    n_stars: int
    n_sources: int
    places: np.ndarray


def look(image: np.ndarray, saturation: float | None = None) -> QuickLook:
    """Take a quick look; of a large image, at its middle.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels; those that are not finite are left out.
    saturation : float, optional
        Level that is known to be saturated.
    """
    start = _corner(image.shape)
    image = np.asarray(image[start[0] :, start[1] :][:MIDDLE, :MIDDLE], np.float32)
    good = np.isfinite(image)
    if not good.any():
        return QuickLook(np.nan, np.nan, np.nan, None, None, 0, 0, NOWHERE)
    sky, noise = clipped(image[good][:: max(1, image.size // 400_000)])
    top = float(image[good].max())
    piled = pile_up(image[good], sky, noise)
    level = saturation or piled
    flat = np.where(good, image - _smooth_sky(image, good), 0)
    y, x = _peaks(flat, noise, None if level is None else level - sky)
    places = np.stack([y, x], axis=-1) + start
    sizes = _sizes(flat, y, x)
    sizes = sizes[sizes > SMALLEST]
    typical = _most_frequent(sizes)
    n_stars = int((np.abs(sizes - typical) < 0.15 * typical).sum()) if typical else 0
    return QuickLook(sky, noise, top, piled, typical, n_stars, len(sizes), places)


def object_bits(flags: np.ndarray, places: np.ndarray) -> int:
    """Bits of a flag image that mark objects, not defects: set at most of the bright sources.

    Parameters
    ----------
    flags : ndarray of int, shape (ny, nx)
        Flags.
    places : ndarray of int, shape (n, 2)
        Row and column of bright sources.
    """
    if len(places) < FEWEST_PLACES:
        return 0
    here = np.asarray(flags).astype(np.int64)[places[:, 0], places[:, 1]]
    bits = (1 << k for k in range(31))
    return sum(bit for bit in bits if np.mean(here & bit != 0) > 0.5)


def _corner(shape):
    """First row and column of the central part of an image."""
    return np.array([max(0, (size - MIDDLE) // 2) for size in shape])


def clipped(values: np.ndarray, rounds: int = 5) -> tuple[float, float]:
    """Median and standard deviation after repeated clipping at three standard deviations."""
    values = np.asarray(values, np.float64).ravel()
    for _ in range(rounds):
        middle = np.median(values)
        spread = 1.4826 * np.median(np.abs(values - middle)) or values.std()
        kept = values[np.abs(values - middle) <= 3 * spread]
        if kept.size in (0, values.size):
            break
        values = kept
    return float(np.median(values)), float(values.std())


def pile_up(values: np.ndarray, sky: float, noise: float) -> float | None:
    """Level at which the range of the detector ends, if many pixels are there; else None."""
    top = float(values.max())
    if top < sky + 50 * noise:
        return None
    near = int((values >= top - 0.01 * (top - sky)).sum())
    below = int(((values < top - 0.01 * (top - sky)) & (values >= top - 0.04 * (top - sky))).sum())
    return top - 0.02 * (top - sky) if near >= PILED_UP and near > below else None


def _smooth_sky(image, good, cell=64):
    """Background from the medians of cells, interpolated."""
    ny, nx = (max(1, size // cell) for size in image.shape)
    level = np.empty((ny, nx), np.float32)
    rows, columns = (
        np.array_split(np.arange(image.shape[0]), ny),
        np.array_split(np.arange(image.shape[1]), nx),
    )
    overall = float(np.median(image[good]))
    for j, row in enumerate(rows):
        for i, column in enumerate(columns):
            part = np.s_[row[0] : row[-1] + 1, column[0] : column[-1] + 1]
            values = image[part][good[part]]
            level[j, i] = clipped(values[::4], 2)[0] if values.size > 16 else overall
    level = ndimage.median_filter(level, 3, mode="nearest")
    zoom = image.shape[0] / ny, image.shape[1] / nx
    return ndimage.zoom(level, zoom, order=1, mode="nearest", grid_mode=True)


def _peaks(flat, noise, top):
    """Local maxima of the smoothed image, bright, isolated, not saturated, away from the edge."""
    smooth = ndimage.gaussian_filter(flat, 1.0)
    limit = DETECTION * noise * 0.282  # noise after a Gaussian of sigma 1: 1 / (2 sqrt(pi))
    peak = (smooth == ndimage.maximum_filter(smooth, 2 * HALF // 3 * 2 + 1)) & (smooth > limit)
    edge = HALF + 1
    peak[:edge] = peak[-edge:] = False
    peak[:, :edge] = peak[:, -edge:] = False
    y, x = np.nonzero(peak)
    height = flat[y, x]
    kept = height > DETECTION * noise
    if top is not None:
        kept &= ndimage.maximum_filter(flat, 5)[y, x] < 0.8 * top
    y, x, height = y[kept], x[kept], height[kept]
    order = np.argsort(height)[::-1][:MOST_STARS]
    return y[order], x[order]


def _sizes(flat, y, x):
    """FWHM of each source, from the area above half of its peak."""
    fwhm = np.zeros(len(y))
    for k, (row, column) in enumerate(zip(y, x, strict=True)):
        stamp = flat[row - HALF : row + HALF + 1, column - HALF : column + HALF + 1]
        fine = ndimage.zoom(stamp, FINER, order=3, mode="nearest", grid_mode=True)
        middle = fine.shape[0] // 2
        top = fine[middle - 2 * FINER : middle + 2 * FINER, middle - 2 * FINER : middle + 2 * FINER]
        marks, _ = ndimage.label(fine > 0.5 * top.max())
        place = np.unravel_index(np.argmax(top), top.shape)
        mark = marks[middle - 2 * FINER + place[0], middle - 2 * FINER + place[1]]
        area = (marks == mark).sum() if mark else 0
        fwhm[k] = 2 * np.sqrt(area / np.pi) / FINER
    return fwhm


def _most_frequent(sizes: np.ndarray) -> float | None:
    """Peak of the smoothed distribution of sizes."""
    sizes = sizes[sizes < HALF]
    if sizes.size < 3:
        return None
    grid = np.arange(SMALLEST, HALF, 0.05)
    weight = np.exp(-0.5 * ((grid[:, None] - sizes) / (0.06 * grid[:, None])) ** 2) / grid[:, None]
    return float(grid[weight.sum(1).argmax()])
