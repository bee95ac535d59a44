"""Stamps of many epochs in one SQLite file, as `sqlitedict` reads them.

Key is the object's number as text; the value a pickled dict ``{"exposure-ccd": {...}}`` whose inner
dicts hold arrays and numbers (VIGNET, SHAPES). An object without any epoch has an empty dict.
Objects are written in order and in bulk, so that neither writing nor reading needs more memory
than one chunk. Stores of ShapePipe 1.x, with the text 'empty' for such objects, are read as well.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from shapepipe.errors import BadInput

TABLE = "unnamed"  # what sqlitedict calls its table
PROTOCOL = 4  # of pickle: the newest that needs no buffers of its own
PAGE = 1024  # bytes; each object wastes half a page on average


class StampWriter:
    """Write a new store; a context manager.

    Parameters
    ----------
    path : Path
        File that does not exist yet.
    """

    def __init__(self, path: Path):
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute(f"PRAGMA page_size = {PAGE}")
        self._database.execute("PRAGMA journal_mode = OFF")  # a broken file is thrown away whole
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(f'CREATE TABLE "{TABLE}" (key TEXT PRIMARY KEY, value BLOB)')
        self._database.execute("BEGIN")

    def add(self, entries: Iterable[tuple[int, dict]]) -> None:
        """Append objects: number and epochs of each."""
        rows = ((str(number), pickle.dumps(epochs, PROTOCOL)) for number, epochs in entries)
        self._database.executemany(f'INSERT INTO "{TABLE}" VALUES (?, ?)', rows)

    def __enter__(self) -> StampWriter:
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._database.execute("COMMIT")
        self._database.close()


def read_stamps(path: Path, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, dict]]:
    """Go through the objects in the order in which they were written.

    Parameters
    ----------
    path : Path
        The store.
    start, stop : int, optional
        Range of objects to read, counted from 0 in that order; all by default.

    Yields
    ------
    number : int
        NUMBER of the object.
    epochs : dict
        ``{"exposure-ccd": {"VIGNET": ..., ...}}``.

    Raises
    ------
    BadInput
        If the file is not such a store.
    """
    if not Path(path).is_file():
        raise BadInput(path, "there is no such file")
    try:
        address = Path(path).absolute().as_uri() + "?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as database:
            count = -1 if stop is None else max(stop - start, 0)
            query = f'SELECT key, value FROM "{TABLE}" ORDER BY rowid LIMIT ? OFFSET ?'
            for key, value in database.execute(query, (count, start)):
                epochs = pickle.loads(value)
                yield int(key), {} if isinstance(epochs, str) else epochs
    except sqlite3.DatabaseError as error:
        raise BadInput(path, f"is no store of stamps: {error}") from error
