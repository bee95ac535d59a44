"""Draw masks into flag images: borders, bright stars, deep-sky objects, missing data.

Every function ORs one bit into the image that it is given; none adds values. Polygons are drawn in
`polygons`, positions found in `vicinity`, bits named in `flags`, catalogues read in `starcat` and
`deepsky`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapepipe.astro.deepsky import DeepSky
from shapepipe.astro.starcat import Stars
from shapepipe.astro.vicinity import Vicinity
from shapepipe.errors import BadInput


@dataclass(frozen=True)
class StarMark:
    """What is drawn around a bright star: a polygon that grows with its brightness.

    Attributes
    ----------
    outline : ndarray, shape (n_vertices, 2)
        Offsets x, y (pixel) from the star, at the pivot magnitude.
    faintest : float
        Only stars brighter than this get one (mag).
    growth : float
        Relative change of size with one magnitude.
    pivot : float
        Magnitude at which `outline` has its own size.
    bit : int
        Value to set.
    """

    outline: np.ndarray
    faintest: float
    growth: float
    pivot: float
    bit: int

    @property
    def reach(self) -> float:
        """Distance (pixel) from the star to the farthest vertex, at the pivot magnitude."""
        return float(np.hypot(*self.outline.T).max())

    def scales(self, mag: np.ndarray) -> np.ndarray:
        """Size relative to `outline`, ``1 - growth (mag - pivot)``; 0 where nothing is drawn.

        A star without magnitude (NaN) is drawn like the faintest star that gets a mark: it has one,
        as small as they come. Where the formula gives no size above zero, nothing is drawn.
        """
        mag = np.asarray(mag, dtype=float)
        known = np.where(np.isnan(mag), self.faintest, mag)
        scale = np.maximum(1 - self.growth * (known - self.pivot), 0)
        return np.where((known < self.faintest) | np.isnan(mag), scale, 0)

    def around(self, x: np.ndarray, y: np.ndarray, mag: np.ndarray) -> np.ndarray:
        """Polygons around stars, shape (n, n_vertices, 2); only of stars that get one.

        Parameters
        ----------
        x, y : ndarray, shape (n_stars,)
            Pixel positions, 0-based.
        mag : ndarray, shape (n_stars,)
            Magnitudes.
        """
        scale = self.scales(mag)
        drawn = scale > 0
        centres = np.column_stack((x, y))[drawn]
        return self.outline * scale[drawn, None, None] + centres[:, None, :]


def read_outline(path: str | Path) -> np.ndarray:
    """Read a polygon: two columns of pixel offsets x, y; ``#`` begins a comment.

    Returns
    -------
    ndarray of float64, shape (n_vertices, 2)

    Raises
    ------
    BadInput
        The file is not there, or does not hold at least three pairs of numbers.
    """
    try:
        outline = np.loadtxt(path, comments="#", ndmin=2)
    except (OSError, ValueError) as error:
        raise BadInput(path, f"no mask model: {error}", "two columns of numbers, x and y") from None
    if outline.shape[0] < 3 or outline.shape[1] != 2 or not np.isfinite(outline).all():
        raise BadInput(path, f"mask model has shape {outline.shape}", "at least 3 rows of x and y")
    return outline


def draw_border(flags: np.ndarray, width: int, bit: int) -> None:
    """Mark `width` pixels along all four sides; none when `width` is 0.

    Parameters
    ----------
    flags : ndarray of integers, shape (ny, nx)
        Changed in place, as everywhere in this file.
    width : int
        Width (pixel).
    bit : int
        Value to set.
    """
    if width <= 0:
        return
    ny, nx = flags.shape
    low, left = min(width, ny), min(width, nx)
    high, right = max(ny - width, low), max(nx - width, left)
    for side in (flags[:low], flags[high:], flags[low:high, :left], flags[low:high, right:]):
        side |= bit


def place_stars(stars: Stars, vicinity: Vicinity, marks: list[StarMark]):
    """Find the stars whose marks may reach into the image, also from outside.

    Parameters
    ----------
    stars : Stars
        Catalogue, of any extent.
    vicinity : Vicinity
        The image.
    marks : list of StarMark
        What will be drawn.

    Returns
    -------
    x, y : ndarray, shape (n,)
        Pixel positions, 0-based, on or off the image.
    mag : ndarray, shape (n,)
        Magnitudes; NaN where the catalogue has none.
    """
    reach = np.zeros(len(stars))
    for mark in marks:
        reach = np.maximum(reach, mark.reach * mark.scales(stars.mag))
    near = vicinity.near(stars.ra, stars.dec, reach * vicinity.pixel_size)
    near = near[reach[near] > 0]
    x, y = vicinity.pixel_of(stars.ra[near], stars.dec[near])
    ny, nx = vicinity.shape
    reach = reach[near]
    hit = (x > -reach - 1) & (x < nx + reach) & (y > -reach - 1) & (y < ny + reach)
    return x[hit], y[hit], stars.mag[near][hit]


def draw_deepsky(
    flags: np.ndarray, vicinity: Vicinity, objects: DeepSky, bit: int, size_plus: float = 0.0
) -> list[int]:
    """Mark the circles of large objects, wherever their centres are.

    Parameters
    ----------
    flags : ndarray of integers, shape (ny, nx)
        Changed in place.
    vicinity : Vicinity
        The image.
    objects : DeepSky
        Catalogue.
    bit : int
        Value to set.
    size_plus : float
        Relative enlargement of the radii.

    Returns
    -------
    list of int
        Rows of the objects with a pixel in the image.
    """
    radius = objects.radius * (1 + size_plus)
    return [
        int(i)
        for i in vicinity.near(objects.ra, objects.dec, radius)
        if vicinity.draw_circle(flags, bit, objects.ra[i], objects.dec[i], radius[i])
    ]


def missing_pixels(image: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Pixels without data: weight zero, negative or NaN, or image NaN or infinite.

    Without a weight, pixels of exactly 0 count as missing too: so mosaics and stacks are padded.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels.
    weight : ndarray, shape (ny, nx), optional
        Weights, on any scale.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    missing = ~np.isfinite(image) if image.dtype.kind == "f" else np.zeros(image.shape, bool)
    if weight is None:
        missing |= image == 0
    else:
        missing |= ~(weight > 0)
    return missing


def missing_ratio(image: np.ndarray, missing: np.ndarray) -> float:
    """Fraction of pixels that are missing or exactly 0 in the image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels.
    missing : ndarray of bool, shape (ny, nx)
        As `missing_pixels` gives it.
    """
    return np.count_nonzero((image == 0) | missing) / image.size if image.size else 0.0
