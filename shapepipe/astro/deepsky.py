"""Messier and NGC objects: where they are and how large.

The tables that come with the package are in `shapepipe/data/mask`; drawing is in `masks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from shapepipe.astro import skytable

_RADII = ("radius", "size_X", "size_Y")
_DIAMETERS = ("major", "minor", "MajAx", "MinAx", "diameter")


@dataclass(frozen=True)
class DeepSky:
    """Circles on the sky.

    Attributes
    ----------
    ra, dec : ndarray, shape (n,)
        Centres (deg).
    radius : ndarray, shape (n,)
        Radii (deg).
    """

    ra: np.ndarray
    dec: np.ndarray
    radius: np.ndarray


def read(path: str | Path) -> DeepSky:
    """Read a catalogue of large objects, from any table that astropy reads.

    Sizes are radii in columns `radius` or `size_X`, `size_Y`, or full axes in `major`, `minor`,
    `MajAx`, `MinAx` or `diameter`; the largest of those that are there makes the circle. A column
    without unit is in degrees. Objects without any size are left out.

    Raises
    ------
    BadInput
        No such table, or no such columns.
    """
    return from_table(skytable.read(path), path)


def from_table(table: Table, path: str | Path) -> DeepSky:
    """Take objects from a table in memory, as `read` does; `path` is for messages."""
    ra, dec = skytable.positions(table, path)
    radius = _radius(table, path)
    known = np.isfinite(ra) & np.isfinite(dec) & (radius > 0)
    return DeepSky(ra[known], dec[known], radius[known])


def _radius(table: Table, path):
    """Largest radius (deg) of each object."""
    found = []
    for names, factor in ((_RADII, 1.0), (_DIAMETERS, 0.5)):
        for name in skytable.present(table, names):
            found.append(factor * skytable.quantity(table, name, units.deg, path))
    if not found:
        raise skytable.no_column(table, path, "size", _RADII + _DIAMETERS)
    return np.nan_to_num(np.stack(found)).max(axis=0)
