"""The grid of CFIS tiles on the sky, and what names of tiles and exposures look like."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shapepipe.astro import wcs

TILE_SIZE = 0.5  # deg
EXPOSURE_SIZE = 1.0  # deg
N_TURN = 720  # tiles around the equator
TILE_ID = re.compile(r"(?<!\d)(\d{3})[.-](\d{3})(?!\d)")
EXPOSURE_ID = re.compile(r"(?<!\d)(\d{6,7})(p?)(?!\d)")
ENDINGS = {
    "tile": ".fits", "weight": ".weight.fits", "weight.fz": ".weight.fits.fz", "cat": ".cat",
    "exposure": "p.fits.fz", "exposure_weight": "p.weight.fits",
    "exposure_weight.fz": "p.weight.fits.fz", "exposure_flag": "p.flag.fits",
    "exposure_flag.fz": "p.flag.fits.fz",
}  # fmt: skip
"""How the file names of each type of image end."""


@dataclass(frozen=True)
class Field:
    """A tile or an exposure: its ID, and its centre in degrees (NaN: not known)."""

    id: str
    ra: float = np.nan
    dec: float = np.nan


def tile_centre(tile_id: str) -> tuple[float, float]:
    """Centre of a tile in degrees: rows of 0.5 deg from the south pole, tiles of 0.5 deg in a row.

    Raises
    ------
    ValueError
        The ID is not of the form xxx.yyy.
    """
    found = TILE_ID.fullmatch(tile_id.strip())
    if not found:
        raise ValueError(f"tile {tile_id!r} (allowed: three digits, dot, three digits)")
    column, row = (int(part) for part in found.groups())
    dec = row * TILE_SIZE - 90.0
    shrink = np.cos(np.radians(dec))
    return float(column * TILE_SIZE / shrink) if shrink > 1e-9 else 0.0, dec


def tile_at(ra: float, dec: float) -> str:
    """ID of the tile whose centre is nearest in its row."""
    row = round((dec + 90.0) / TILE_SIZE)
    column = round(np.mod(ra, 360.0) * np.cos(np.radians(row * TILE_SIZE - 90.0)) / TILE_SIZE)
    return f"{column % N_TURN:03d}.{row:03d}"


def tiles_of(names: Iterable[str]) -> list[Field]:
    """Tiles among names of files, or IDs; other names are passed over, each tile is taken once."""
    found = {}
    for name in names:
        match = TILE_ID.search(name)
        if match:
            tile = ".".join(match.groups())
            found[tile] = Field(tile, *tile_centre(tile))
    return list(found.values())


def exposures_of(names: Iterable[str]) -> list[Field]:
    """Exposures among names of files, or IDs, each once; their places are not known."""
    found = {}
    for name in names:
        match = EXPOSURE_ID.search(name)
        if match:
            found[match.group(1)] = Field(match.group(1))
    return list(found.values())


def file_name(field: Field, kind: str, band: str = "r") -> str:
    """Name of the file of a tile or an exposure, of a type of `ENDINGS`."""
    if kind.startswith("exposure"):
        return field.id + ENDINGS[kind]
    return f"CFIS.{field.id}.{band}{ENDINGS[kind]}"


def holding(fields: Iterable[Field], ra: float, dec: float, size: float) -> list[Field]:
    """Fields of a side of `size` degrees that hold a position."""
    return [field for field in fields if _overlap(field, ra, dec, 0.0, size)]


def in_area(
    fields: Iterable[Field], low: tuple[float, float], high: tuple[float, float], size: float
) -> list[Field]:
    """Fields of a side of `size` degrees that touch an area.

    Parameters
    ----------
    fields : iterable of Field
        To choose from.
    low, high : tuple of float
        Two corners (ra, dec), degrees; the area goes eastwards from `low` to `high`, also across
        RA = 0.
    size : float
        Side of a field, degrees.
    """
    span = np.mod(high[0] - low[0], 360.0) or 360.0
    bottom, top = min(low[1], high[1]), max(low[1], high[1])
    chosen = []
    for field in fields:
        half = size / 2 / max(np.cos(np.radians(field.dec)), 1e-9)
        east = np.mod(field.ra - low[0] + half, 360.0)
        if bottom - size / 2 <= field.dec <= top + size / 2 and east <= span + 2 * half:
            chosen.append(field)
    return chosen


def touching(fields: Iterable[Field], others: Iterable[Field], size: float, other_size: float):
    """Fields that overlap any of other fields, both squares along RA and Dec."""
    others = list(others)
    return [field for field in fields
            if any(_overlap(field, o.ra, o.dec, other_size, size) for o in others)]  # fmt: skip


def _overlap(field, ra, dec, other_size, size):
    """Whether two squares along RA and Dec overlap."""
    reach = (size + other_size) / 2
    if not np.isfinite(field.ra) or abs(field.dec - dec) > reach:
        return False
    east = wcs.separation(field.ra, field.dec, ra, field.dec)
    return bool(east <= reach)
