"""Which object of a stack is seen by which CCD of which exposure, and at which pixel.

The tables EPOCH_<i> of a stack's catalogue tell the CCDs; the WCS of the CCDs come from the table
that `merge_headers_runner` writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io.fits import Header
from sqlitedict import SqliteDict

from shapepipe.astro import fits, ldac, wcs
from shapepipe.errors import BadInput

PREFIX = "EPOCH_"
COLUMNS = ["NUMBER", "EXP_NAME", "CCD_N"]


@dataclass(frozen=True)
class Views:
    """Objects as seen by CCDs, one entry per object and CCD that sees it.

    Attributes
    ----------
    row : numpy.ndarray
        Row of the object in the catalogue, shape (n,).
    ccd : numpy.ndarray
        Index of the CCD in `names`, shape (n,).
    names : list of tuple
        Exposure name and CCD number.
    """

    row: np.ndarray
    ccd: np.ndarray
    names: list[tuple[str, int]]


def read_views(path: Path, numbers) -> Views:
    """Read the EPOCH tables of a catalogue.

    Parameters
    ----------
    path : Path
        Catalogue of a stack.
    numbers : numpy.ndarray
        NUMBER of the objects, shape (n,), all different.

    Raises
    ------
    BadInput
        There are no such tables, or they name objects that the catalogue has not.
    """
    with fits.open_hdus(path) as hdus:
        tables = [hdu.name for hdu in hdus if hdu.name.startswith(PREFIX)]
    if not tables:
        raise BadInput(path, f"has no tables {PREFIX}0, {PREFIX}1 ... ", "a catalogue of a stack "
                       "made by sextractor_runner with MAKE_POST_PROCESS = True")  # fmt: skip
    order = np.argsort(numbers, kind="stable")
    rows, keys, seen = [], [], {}
    for name in tables:
        table = ldac.read(path, name, COLUMNS)
        on_ccd = np.asarray(table["CCD_N"]) >= 0
        rows.append(_rows(path, name, numbers, order, np.asarray(table["NUMBER"])[on_ccd]))
        pairs = zip(table["EXP_NAME"][on_ccd].astype(str), table["CCD_N"][on_ccd], strict=True)
        keys.append([seen.setdefault((exp.strip(), int(ccd)), len(seen)) for exp, ccd in pairs])
    views = np.stack([np.concatenate(rows), np.concatenate(keys)]).astype(int)
    row, ccd = np.unique(views, axis=1)  # an exposure may be listed twice
    return Views(row, ccd, list(seen))


def read_exposures(path: Path) -> list[str]:
    """Names of the exposures in the EPOCH tables of a catalogue, sorted."""
    with fits.open_hdus(path) as hdus:
        tables = [hdu.name for hdu in hdus if hdu.name.startswith(PREFIX)]
    names = (np.asarray(ldac.read(path, name, ["EXP_NAME"])["EXP_NAME"]) for name in tables)
    return sorted({name.strip() for part in names for name in np.unique(part).astype(str)})


def choose_exposures(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Pick from sorted names of exposures.

    Parameters
    ----------
    names : sequence of str
        All of them.
    wanted : sequence of str
        Names, or one of the words odd (the first, third ...) and even (the second, fourth ...).
    """
    words = [word.strip().lower() for word in wanted]
    if words in (["odd"], ["even"]):
        return list(names[words == ["even"] :: 2])
    return [name for name in names if name in wanted]


def read_wcs(path: Path, exposures: Iterable[str]) -> dict[str, list]:
    """WCS of all CCDs of exposures; those that the table has not are left out.

    Raises
    ------
    BadInput
        The file cannot be read, or an entry is not a list of WCS.
    """
    entries = _read_entries(path, exposures, lambda entry: entry["WCS"])
    return {name: list(ccds) for name, ccds in entries.items()}


def read_flux_scales(path: Path, exposures: Iterable[str], key: str = "FSCALE") -> dict:
    """Factor that brings the counts of each CCD to the common zero point, from its header.

    Returns
    -------
    dict of (str, int) to float
        By exposure and CCD; 1 where the header has no such card.

    Raises
    ------
    BadInput
        The file cannot be read, or a card is not a positive number.
    """
    found = _read_entries(path, exposures, lambda entry: Header.fromstring(entry["header"]))
    scales = {}
    for name, headers in found.items():
        for ccd, header in enumerate(headers):
            value = header.get(key, 1.0)
            if not (isinstance(value, int | float) and np.isfinite(value) and value > 0):
                raise BadInput(path, f"{name}-{ccd}: {key} = {value!r}", "a number above 0")
            scales[name, ccd] = float(value)
    return scales


def places(views: Views, ra, dec, solutions: dict[str, list]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of each object on each CCD that sees it.

    Parameters
    ----------
    views : Views
        Which CCD sees which object.
    ra, dec : numpy.ndarray
        Positions of all objects of the catalogue, degrees.
    solutions : dict
        WCS of each CCD of each exposure.

    Returns
    -------
    x, y : numpy.ndarray
        Shape of `views.row`, 0-based pixels; nan where no WCS is known.
    """
    x, y = np.full((2, len(views.row)), np.nan)
    for index, (exposure, ccd) in enumerate(views.names):
        known = solutions.get(exposure, [])
        here = np.flatnonzero(views.ccd == index)
        if ccd < len(known) and len(here):
            rows = views.row[here]
            x[here], y[here] = wcs.world_to_pixel(known[ccd], ra[rows], dec[rows])
    return x, y


def find_files(folders: Sequence[Path], pattern: str, ext: str) -> dict[tuple[str, int], Path]:
    """Files ``<pattern>-<exposure>-<ccd><ext>`` below directories, by exposure and CCD.

    The first directory that has a file counts.
    """
    found: dict = {}
    for folder in folders:
        for where, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                if name.startswith(f"{pattern}-") and name.endswith(ext):
                    exposure, _, ccd = name[len(pattern) + 1 : -len(ext)].rpartition("-")
                    if exposure and ccd.isdigit():
                        found.setdefault((exposure, int(ccd)), Path(where) / name)
    return found


def _read_entries(path, exposures, take):
    """What `take` finds in the entry of each CCD of each exposure."""
    if not Path(path).is_file():
        raise BadInput(path, "there is no such file", "the table of merge_headers_runner")
    try:
        with SqliteDict(path, flag="r") as table:
            return {name: [take(entry) for entry in table[name]]
                    for name in sorted(set(exposures)) if name in table}  # fmt: skip
    except Exception as error:  # sqlite, pickle and a dozen classes for what the pickle may hold
        raise BadInput(path, f"is no table of WCS: {type(error).__name__}: {error}") from error


def _rows(path, table, numbers, order, wanted):
    """Rows of the wanted object numbers."""
    at = np.searchsorted(numbers, wanted, sorter=order)
    rows = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(0, int)
    unknown = wanted[numbers[rows] != wanted] if len(order) else wanted
    if len(unknown):
        raise BadInput(path, f"HDU {table}: NUMBER {unknown[0]} is not in the catalogue")
    return rows
