"""Where on the sky an image has good pixels: random positions, and maps of the covered fraction."""

from __future__ import annotations

import healsparse
import hpgeom
import numpy as np
from astropy.wcs import WCS

from shapepipe.astro import wcs

SAMPLING = 2.0  # arcsec; distance of the places at which a mask is looked up for a map
MOST_LEVELS = 9  # a map pixel is looked up at up to 4^9 places
COVERAGE_NSIDE = 32  # of the coarse map that healsparse keeps beside the fine one


def areas(flags: np.ndarray, solution: WCS) -> tuple[float, float]:
    """Area of an image, and of its pixels without flag, in square degrees."""
    pixel = (wcs.pixel_scale(solution) / 3600.0) ** 2
    return flags.size * pixel, int((flags == 0).sum()) * pixel


def random_places(flags: np.ndarray, count: int, rng: np.random.Generator):
    """Draw positions at random on the pixels without flag.

    Parameters
    ----------
    flags : ndarray of integers, shape (ny, nx)
        Flag image.
    count : int
        Number of positions.
    rng : Generator
        Source of random numbers.

    Returns
    -------
    x, y : ndarray, shape (count,)
        0-based pixels; none if no pixel is good.
    """
    good = np.flatnonzero(flags == 0)
    if not len(good):
        return np.zeros(0), np.zeros(0)
    chosen = good[rng.integers(len(good), size=count)]
    rows, columns = np.divmod(chosen, flags.shape[1])
    return columns + rng.uniform(-0.5, 0.5, count), rows + rng.uniform(-0.5, 0.5, count)


def covered_fraction(flags: np.ndarray, solution: WCS, nside: int) -> healsparse.HealSparseMap:
    """Map the fraction of each sky pixel that good pixels of an image cover.

    Every sky pixel is looked up at equally spaced places, about 2 arcsec apart.

    Parameters
    ----------
    flags : ndarray of integers, shape (ny, nx)
        Flag image.
    solution : WCS
        Of the image.
    nside : int
        Resolution of the map, a power of 2.

    Returns
    -------
    HealSparseMap
        Equatorial, nested, float32; pixels without any coverage are left out.
    """
    ny, nx = flags.shape
    outline = wcs.footprint(solution, flags.shape)
    ra, dec = wcs.pixel_to_world(solution, (nx - 1) / 2, (ny - 1) / 2)
    reach = wcs.separation(ra, dec, outline.ra, outline.dec).max()
    size = np.degrees(hpgeom.nside_to_resolution(nside, units="radians"))
    pixels = hpgeom.query_circle(nside, float(ra), float(dec), float(reach + 2 * size))
    levels = int(np.clip(np.ceil(np.log2(size * 3600 / SAMPLING)), 0, MOST_LEVELS))
    fraction = np.array([_looked_up(flags, solution, nside, pixel, levels) for pixel in pixels])
    covered = fraction > 0
    made = healsparse.HealSparseMap.make_empty(min(COVERAGE_NSIDE, nside), nside, np.float32)
    made.update_values_pix(pixels[covered], fraction[covered].astype(np.float32))
    return made


def _looked_up(flags, solution, nside, pixel, levels):
    """Fraction of the places in one sky pixel that are on good pixels."""
    inside = pixel * 4**levels + np.arange(4**levels)  # nested: the children of the pixel
    x, y = wcs.world_to_pixel(solution, *hpgeom.pixel_to_angle(nside * 2**levels, inside))
    known = np.isfinite(x) & np.isfinite(y)
    column, row = (np.floor(a[known] + 0.5).astype(int) for a in (x, y))
    ny, nx = flags.shape
    on = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    return float((flags[row[on], column[on]] == 0).sum() / len(inside))
