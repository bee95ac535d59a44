"""Bright stars: positions and one magnitude, from tables, from GSC text files, or from a query.

Which stars matter for an image is for `masks` and `vicinity` to say.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from shapepipe.astro import skytable
from shapepipe.errors import BadInput, ConfigurationError

MAG_NAMES = ("mag", "magnitude", "phot_g_mean_mag", "gmag", "g_mag", "rmag", "r_mag", "fmag",
             "jmag", "vmag", "nmag", "mag_auto")  # fmt: skip
"""Usual names of magnitude columns; all that a table has are averaged."""

PLAUSIBLE = (-5.0, 50.0)
"""Magnitudes outside of this are absent values."""

GSC_MAGNITUDES = ("Fmag", "Jmag", "Vmag", "Nmag")
_GSC_COLUMNS = ("RA(J2000)", "Dec(J2000)", *GSC_MAGNITUDES, "Clas")
_GSC_HEAD, _GSC_TAIL = 3, 5  # lines before the column names, and after the data
_ABSENT = "---"

QUERIES = {"gaia": "shapepipe.astro.online_stars:query_gaia",
           "gsc": "shapepipe.astro.online_stars:query_gsc"}  # fmt: skip
"""On-line catalogues by name."""


@dataclass(frozen=True)
class Stars:
    """Stars of a catalogue.

    Attributes
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Positions (ICRS, deg).
    mag : ndarray of float64, shape (n,)
        Mean of the magnitudes that the catalogue has; NaN where it has none.
    """

    ra: np.ndarray
    dec: np.ndarray
    mag: np.ndarray

    def __len__(self):
        return len(self.ra)

    def __getitem__(self, rows) -> Stars:
        return Stars(self.ra[rows], self.dec[rows], self.mag[rows])


def read(
    path: str | Path, ra: str | None = None, dec: str | None = None, mags: Sequence[str] = ()
) -> Stars:
    """Read stars from a table of any format, or from GSC text.

    Parameters
    ----------
    path : str or Path
        Table that astropy reads, or text as `read_gsc` takes it (told by its fourth line).
    ra, dec : str, optional
        Columns of the position; by default the usual names are looked for.
    mags : sequence of str
        Columns of magnitudes; by default all with usual names. Their mean over those that are there
        is the magnitude, so a star needs but one of them.

    Raises
    ------
    BadInput
        No such file, not a table, or a column is missing.
    """
    if _is_gsc(Path(path)):
        return read_gsc(path)
    return from_table(skytable.read(path), path, ra, dec, mags)


def from_table(table: Table, path, ra=None, dec=None, mags: Sequence[str] = ()) -> Stars:
    """Take stars from a table in memory; parameters as for `read`. Rows without position go."""
    alpha, delta = skytable.positions(table, path, ra, dec)
    names = skytable.present(table, mags or MAG_NAMES)
    missing = [name for name in mags if not skytable.present(table, [name])]
    if missing or not names:
        raise skytable.no_column(table, path, "magnitude", missing or MAG_NAMES)
    mag = mean_magnitude(np.column_stack([skytable.numbers(table, name, path) for name in names]))
    known = np.isfinite(alpha) & np.isfinite(delta)
    return Stars(alpha[known], delta[known], mag[known])


def read_gsc(path: str | Path) -> Stars:
    """Read the text that the GSC 2.2 client writes, or `write_gsc`.

    Names of columns stand on the fourth line, data from the fifth on, and the last five lines are
    no data; ``---`` means absent. Only objects of class 0 (stars), or without a class, are kept.

    Raises
    ------
    BadInput
        Too short, a column missing, or a value that is not a number (with its line).
    """
    lines = _text(Path(path)).splitlines()
    if len(lines) < _GSC_HEAD + 1 + _GSC_TAIL:
        raise BadInput(path, f"star catalogue has {len(lines)} lines only",
                       "column names on line 4, data from line 5, five closing lines")  # fmt: skip
    names = _words(lines[_GSC_HEAD])
    absent = [name for name in _GSC_COLUMNS if name not in names]
    if absent:
        raise BadInput(path, f"line 4 names no column {', '.join(absent)}", ", ".join(_GSC_COLUMNS))
    places = [names.index(name) for name in _GSC_COLUMNS]
    first = _GSC_HEAD + 1
    rows = [_numbers(path, first + i + 1, line, places)
            for i, line in enumerate(lines[first:-_GSC_TAIL]) if line.strip()]  # fmt: skip
    values = np.array(rows, dtype=float).reshape(-1, len(_GSC_COLUMNS))
    values = values[~(values[:, -1] > 0) & np.isfinite(values[:, :2]).all(axis=1)]
    return Stars(values[:, 0], values[:, 1], mean_magnitude(values[:, 2:-1]))


def write_gsc(path: str | Path, stars: Stars, comment: str = "") -> None:
    """Write stars as text that `read_gsc` takes, with the magnitude in all places of one: Fmag.

    Parameters
    ----------
    path : str or Path
        File to make.
    stars : Stars
        Stars to write.
    comment : str
        What the stars are, for the first line.
    """
    head = [f"# {comment}", "# degrees (ICRS) and magnitudes; --- is absent", "#",
            "#" + " ".join(_GSC_COLUMNS)]  # fmt: skip
    absent = " ".join([_ABSENT] * (len(GSC_MAGNITUDES) - 1))
    rows = []
    for ra, dec, mag in zip(stars.ra, stars.dec, stars.mag, strict=True):
        text = f"{mag:.4f}" if np.isfinite(mag) else _ABSENT
        rows.append(f"{ra:.7f} {dec:+.7f} {text} {absent} 0")
    tail = ["#", f"# {len(stars)} stars", "#", "#", "#"]
    Path(path).write_text("\n".join([*head, *rows, *tail]) + "\n")


def mean_magnitude(values: np.ndarray) -> np.ndarray:
    """Mean of the magnitudes that are there, shape (n, k) to (n,); NaN where there is none.

    Numbers that no star has, such as -99 or 9999, stand for an absent value in many catalogues.
    """
    brightest, faintest = PLAUSIBLE
    there = (values > brightest) & (values < faintest)
    count = there.sum(axis=1)
    total = np.where(there, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def query(source: str, ra: float, dec: float, radius: float, faintest: float) -> Stars:
    """Ask an on-line catalogue for the stars around a position.

    Parameters
    ----------
    source : str
        One of `QUERIES`, or ``package.module:function`` of a function that takes ra, dec, radius
        (deg) and the faintest magnitude, and returns a table.
    ra, dec, radius : float
        Centre and radius of the field (deg).
    faintest : float
        Magnitude of the faintest star that is wanted.

    Raises
    ------
    ConfigurationError
        There is no such source, or what it needs is not installed.
    """
    table = find_query(source)(ra, dec, radius, faintest)
    return from_table(table, f"answer of {source}")


def find_query(source: str) -> Callable[..., Table]:
    """Function that asks an on-line catalogue; loads its module. Parameters as for `query`."""
    module, _, function = QUERIES.get(source.lower(), source).partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise ConfigurationError(
            f"star catalogue {source!r} cannot be used: {error} (allowed: {', '.join(QUERIES)}, "
            "which need astroquery, or package.module:function; or name a local file instead)"
        ) from None
    except AttributeError:
        raise ConfigurationError(f"{module} has no function {function!r}") from None


def _is_gsc(path):
    if not path.is_file():
        raise BadInput(path, "there is no such file")
    with path.open("rb") as file:
        lines = [file.readline(4096) for _ in range(_GSC_HEAD + 1)]
    return not lines[0].startswith(b"SIMPLE") and b"RA(J2000)" in lines[-1]


def _text(path):
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise BadInput(path, f"is not text: {error}") from None


def _words(line):
    return line.lstrip("# ").replace("|", " ").replace(";", " ").split()


def _numbers(path, number, line, places):
    words = _words(line)
    if len(words) <= max(places):
        raise BadInput(
            path, f"line {number} has {len(words)} values", f"at least {max(places) + 1}"
        )
    try:
        return [np.nan if words[i] == _ABSENT else float(words[i]) for i in places]
    except ValueError as error:
        raise BadInput(path, f"line {number}: {error}", f"numbers, or {_ABSENT}") from None
