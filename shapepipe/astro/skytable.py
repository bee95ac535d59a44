"""Read tables of sky positions whatever their format, column names and units.

What the tables mean is elsewhere: stars in `starcat`, large objects in `deepsky`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy import units
from astropy.coordinates import Angle, SkyCoord
from astropy.io.fits import BinTableHDU, CompImageHDU, TableHDU
from astropy.io.registry import IORegistryError
from astropy.table import Table

from shapepipe.astro import fits
from shapepipe.errors import BadInput

RA_NAMES = ("ra", "ra_icrs", "raj2000", "_raj2000", "ra(j2000)", "ra_deg", "ramean", "alpha_j2000",
            "alpha", "alphawin_j2000", "x_world")  # fmt: skip
DEC_NAMES = ("dec", "de_icrs", "dec_icrs", "dej2000", "decj2000", "_dej2000", "dec(j2000)",
             "dec_deg", "decmean", "delta_j2000", "delta", "deltawin_j2000", "y_world")  # fmt: skip
_ASCII = "ascii"


def read(path: str | Path) -> Table:
    """Read a table of any format that astropy knows; of a FITS file the first table.

    Raises
    ------
    BadInput
        The file is not there, or is not a table.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(path, "there is no such file")
    kind = _format(path)
    if kind == "fits":
        return _read_fits(path)
    try:
        return Table.read(path, format=kind)
    except (IORegistryError, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(path, f"cannot be read as a table: {reason}",
                       "FITS, ECSV, CSV, VOTable ...") from error  # fmt: skip


def present(table: Table, names: Sequence[str]) -> list[str]:
    """Columns of the table among `names` (case does not count), in the order of `names`."""
    by_lower = {name.lower(): name for name in reversed(table.colnames)}
    return [by_lower[name.lower()] for name in names if name.lower() in by_lower]


def positions(
    table: Table, path, ra: str | None = None, dec: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination (deg) of all rows.

    Parameters
    ----------
    table : Table
        A SkyCoord column, or two columns with or without units, decimal or sexagesimal (right
        ascension is then in hours).
    path : str or Path
        File the table came from, for messages.
    ra, dec : str, optional
        Names of the columns; by default the usual ones are looked for.

    Returns
    -------
    ra, dec : ndarray of float64, shape (n,)
        ICRS degrees; NaN where the table has no value.
    """
    if ra is None and dec is None:
        for name in table.colnames:
            if isinstance(table[name], SkyCoord):
                sky = table[name].icrs
                return sky.ra.deg, sky.dec.deg
    names = ((ra, RA_NAMES, units.hourangle), (dec, DEC_NAMES, units.deg))
    return tuple(_angle(table, _pick(table, path, *name), name[2], path) for name in names)


def quantity(table: Table, name: str, unit: units.Unit, path) -> np.ndarray:
    """Values of a column in `unit`, which is also the meaning of no unit; NaN where absent."""
    values, own = numbers(table, name, path), getattr(table[name], "unit", None)
    try:
        return units.Quantity(values, own).to_value(unit) if own else values
    except (units.UnitConversionError, TypeError):
        raise BadInput(path, f"column {name} has unit {own}", f"an angle, such as {unit}") from None


def numbers(table: Table, name: str, path) -> np.ndarray:
    """Values of a column as float64, in its own unit; NaN where there is none.

    Raises
    ------
    BadInput
        The column holds something else than numbers.
    """
    column = table[name]
    values = column.value if isinstance(column, units.Quantity) else column
    try:
        return np.asarray(np.ma.filled(np.ma.asarray(values).astype(float), np.nan))
    except (ValueError, TypeError):
        raise BadInput(path, f"column {name} holds {column.dtype} values", "numbers") from None


def no_column(table: Table, path, kind: str, names: Sequence[str]) -> BadInput:
    """Error for a table in which no column of a kind was found."""
    there = ", ".join(table.colnames[:40])
    return BadInput(path, f"no {kind} column among {there}", f"one of {', '.join(names)}")


def _pick(table, path, name, usual, _):
    found = present(table, [name] if name else usual)
    if found:
        return found[0]
    kind = "right ascension" if usual is RA_NAMES else "declination"
    raise no_column(table, path, kind, [name] if name else usual)


def _angle(table, name, sexagesimal, path):
    if table[name].dtype.kind not in "UOS":
        return quantity(table, name, units.deg, path)
    try:
        texts = np.ma.filled(np.ma.asarray(table[name]), "nan").astype(str)
        return Angle(texts, sexagesimal).deg
    except (ValueError, units.UnitsError) as error:
        raise BadInput(path, f"column {name}: {error}", "degrees or sexagesimal text") from None


def _read_fits(path):
    """First table of a FITS file; columns stay on disk until they are used."""
    with fits.open_hdus(path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, BinTableHDU | TableHDU)
                  and not isinstance(hdu, CompImageHDU)]  # fmt: skip
        table = Table.read(tables[0]) if tables else None
        there = fits.describe(hdus)
    if table is None:
        raise BadInput(path, f"no HDU holds a table; there is {there}")
    return table


def _format(path):
    """Name the format where the file name does not tell it."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in (".gz", ".bz2")][-1:]
    known = {".cat": _ASCII, ".txt": _ASCII, ".dat": _ASCII, ".tsv": "ascii.tab"}
    with path.open("rb") as file:
        head = file.read(80)
    if head.startswith(b"SIMPLE") or suffixes == [".fits"]:
        return "fits"
    if head.startswith(b"# %ECSV"):
        return "ascii.ecsv"
    return known.get(suffixes[0]) if suffixes else None
