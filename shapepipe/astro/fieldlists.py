"""Lists of tiles and exposures: read from text, logs, directories and image headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io.fits import Header

from shapepipe.astro import fits, retrieval, skytable, tiling
from shapepipe.astro.tiling import Field
from shapepipe.errors import BadInput

LEAST_TIME = 95.0  # s; shorter exposures were not meant to go into stacks
VALID = "V"
NAME_COLUMNS = ("exposure", "exp", "name", "id", "expnum", "odometer", "obsid", "filename")
TIME_COLUMNS = ("exptime", "exp_time", "texp", "inttime")
VALIDATION_COLUMNS = ("validation", "valid", "validated", "val")


def names_in(place: Path, column: int = 0) -> list[str]:
    """Names of files in a directory, or words of a column of a text file.

    Raises
    ------
    BadInput
        There is no such place, or a line has too few words.
    """
    if place.is_dir():
        return sorted(path.name for path in place.iterdir())
    if not place.is_file():
        raise BadInput(place, "there is no such file or directory")
    found = []
    for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and column >= len(words):
            raise BadInput(place, f"line {number} has {len(words)} words", f"column {column}")
        found += words[column : column + 1]
    return found


def exposures_in_log(path: Path, with_cuts: bool = True) -> list[Field]:
    """Exposures of an observing log, a table of any format with name, RA and Dec.

    Parameters
    ----------
    path : Path
        The log.
    with_cuts : bool
        Leave out exposures of less than 95 s and those that are not valid ("V"), if there are
        columns that tell.
    """
    table = skytable.read(path)
    found = skytable.present(table, NAME_COLUMNS)
    if not found:
        raise skytable.no_column(table, path, "exposure name", NAME_COLUMNS)
    ra, dec = skytable.positions(table, path)
    kept = np.ones(len(table), bool)
    if with_cuts:
        for name in skytable.present(table, TIME_COLUMNS)[:1]:
            kept &= skytable.numbers(table, name, path) >= LEAST_TIME
        for name in skytable.present(table, VALIDATION_COLUMNS)[:1]:
            kept &= np.char.strip(np.asarray(table[name]).astype(str)) == VALID
    names = [str(name) for name in table[found[0]]]
    fields = {}
    for row in np.flatnonzero(kept):
        for field in tiling.exposures_of([names[row]]):
            fields[field.id] = Field(field.id, float(ra[row]), float(dec[row]))
    return list(fields.values())


def exposures_in_headers(folder: Path) -> list[Field]:
    """Exposures of a directory of images, placed by RA_DEG and DEC_DEG of their headers."""
    fields = {}
    for path in sorted(folder.iterdir()):
        for field in tiling.exposures_of([path.name] if ".fit" in path.name else []):
            header = fits.read_header(path, 0)
            place = (float(header.get(key, np.nan)) for key in ("RA_DEG", "DEC_DEG"))
            fields.setdefault(field.id, Field(field.id, *place))
    return list(fields.values())


def exposures_of_stacks(place: Path, column: int = 3) -> list[Field]:
    """Exposures that the HISTORY cards of tile images name.

    Parameters
    ----------
    place : Path
        Image of a tile, or a directory of them.
    column : int
        Word of the card that is the name, see `retrieval.exposures_of`.

    Raises
    ------
    BadInput
        There is no tile image, or one without such cards.
    """
    if not place.exists():
        raise BadInput(place, "there is no such file or directory")
    paths = sorted(place.iterdir()) if place.is_dir() else [place]
    paths = [path for path in paths if tiling.TILE_ID.search(path.name) and
             path.suffix == ".fits" and "weight" not in path.name]  # fmt: skip
    if not paths:
        raise BadInput(place, "holds no image of a tile", "such as CFIS.277.282.r.fits")
    names: list[str] = []
    for path in paths:
        header: Header = fits.read_header(path, 0)
        found = retrieval.exposures_of(header, column)
        if not tiling.exposures_of(found):
            raise BadInput(path, "has no HISTORY cards that name exposures")
        names += found
    return tiling.exposures_of(names)
