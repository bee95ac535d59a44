"""Cut stamps around positions: many of one image at once, or of many CCDs into one store.

A stamp is an exact copy of pixels, never resampled, flipped or turned; its middle is the pixel in
which the position falls. Where it leaves the image it is filled. How stamps are kept on disk is in
`stampstore`, which CCD sees which object in `epochs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from shapepipe.astro.epochs import Views

OUTSIDE = 1024
"""Flag of stamp pixels that lie outside their image."""
CHUNK = 1000  # objects in memory at a time


def middle_pixel(position) -> np.ndarray:
    """Pixel in which a 0-based position falls; the edge between two belongs to the upper one."""
    return np.floor(np.asarray(position, float) + 0.5).astype(int)


def cut(image: np.ndarray, x, y, size: int, fill=0) -> np.ndarray:
    """Cut square stamps out of an image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels.
    x, y : array_like, shape (n,)
        Positions, 0-based pixels; they are finite, but may lie anywhere.
    size : int
        Side of the stamps, odd.
    fill : number
        Value of pixels outside the image.

    Returns
    -------
    ndarray, shape (n, size, size)
        Of the type of the image; `middle_pixel` of the position is at index size // 2.
    """
    reach = np.arange(size) - size // 2
    rows = np.atleast_1d(middle_pixel(y))[:, None] + reach
    columns = np.atleast_1d(middle_pixel(x))[:, None] + reach
    ny, nx = image.shape
    stamps = image[rows.clip(0, ny - 1)[:, :, None], columns.clip(0, nx - 1)[:, None, :]]
    in_y, in_x = (rows >= 0) & (rows < ny), (columns >= 0) & (columns < nx)
    if not (in_y.all() and in_x.all()):
        stamps[~(in_y[:, :, None] & in_x[:, None, :])] = fill
    return stamps


def filling(pattern: str) -> int:
    """Value outside an image of this name: 1024 for flags, else 0 (which is no weight)."""
    return OUTSIDE if "flag" in pattern.lower() else 0


def flag_type(image: np.ndarray) -> np.ndarray:
    """Flags in a type that holds `OUTSIDE`."""
    return image.astype(np.int16) if image.dtype.itemsize == 1 else image


class Shelf:
    """Stamps of the views of one kind of image, in a scratch file, so that memory stays small.

    Filled CCD by CCD, read object by object.

    Parameters
    ----------
    file : file
        Open for reading and writing in binary, empty.
    views : Views
        Which CCD sees which object.
    size : int
        Side of the stamps.
    """

    def __init__(self, file: BinaryIO, views: Views, size: int):
        self._file, self._views, self._size = file, views, size
        self._place = np.full(len(views.row), -1, np.int64)
        self._types: dict[int, np.dtype] = {}
        order = np.lexsort((views.ccd, views.row))
        self._order, self._rows = order, views.row[order]

    def put(self, index: int, members: np.ndarray, stamps: np.ndarray) -> None:
        """Add the stamps of views on one CCD; `members` are their places in the views."""
        start = self._file.seek(0, 2)
        self._place[members] = start + stamps[0].nbytes * np.arange(len(members))
        self._types[index] = stamps.dtype
        self._file.write(np.ascontiguousarray(stamps).data)

    def entries(self, numbers) -> Iterator[list[tuple[int, dict]]]:
        """Give number and ``{"exposure-ccd": {"VIGNET": stamp}}`` of each object, in chunks."""
        for start in range(0, len(numbers), CHUNK):
            chunk = [(int(number), {}) for number in numbers[start : start + CHUNK]]
            first, last = np.searchsorted(self._rows, [start, start + len(chunk)])
            for view in self._order[first:last]:
                if self._place[view] >= 0:
                    label = "{}-{}".format(*self._views.names[self._views.ccd[view]])
                    chunk[self._views.row[view] - start][1][label] = {"VIGNET": self._get(view)}
            yield chunk

    def _get(self, view):
        kind = self._types[int(self._views.ccd[view])]
        self._file.seek(self._place[view])
        stored = self._file.read(self._size**2 * kind.itemsize)
        return np.frombuffer(stored, kind).reshape(self._size, self._size)


def fill_shelf(
    shelf: Shelf,
    views: Views,
    x: np.ndarray,
    y: np.ndarray,
    size: int,
    pattern: str,
    read: Callable[[str, int], np.ndarray | None],
) -> list[str]:
    """Cut the stamps of all views of one kind of image, each CCD read once.

    Parameters
    ----------
    shelf : Shelf
        Where they go.
    views : Views
        Which CCD sees which object.
    x, y : ndarray
        0-based pixel of each view; views that are not finite are left out.
    size : int
        Side of the stamps.
    pattern : str
        Name of the kind of image.
    read : callable
        Of exposure and CCD: the pixels, or None if there are none.

    Returns
    -------
    list of str
        CCDs, as ``exposure-ccd``, that see objects and have no image.
    """
    absent = []
    for index in np.unique(views.ccd):
        exposure, ccd = views.names[index]
        members = np.flatnonzero((views.ccd == index) & np.isfinite(x) & np.isfinite(y))
        if not len(members):
            continue
        image = read(exposure, ccd)
        if image is None:
            absent.append(f"{exposure}-{ccd}")
            continue
        fill = filling(pattern)
        image = flag_type(image) if fill else image
        shelf.put(int(index), members, cut(image, x[members], y[members], size, fill))
    return absent
