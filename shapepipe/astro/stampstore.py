"""Stamps of many epochs in one SQLite file, as `sqlitedict` reads them.

Key is the object's number as text; the value a pickled dict ``{"exposure-ccd": {...}}`` whose inner
dicts hold arrays and numbers (VIGNET, SHAPES). An object without any epoch has an empty dict.
Objects are written in order and in bulk, so that neither writing nor reading needs more memory
than one chunk.
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


class StampWriter:
    """Write a new store; a context manager.

    Parameters
    ----------
    path : Path
        File that does not exist yet.
    """

    def __init__(self, path: Path):
        self._database = sqlite3.connect(path, isolation_level=None)
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


def read_stamps(path: Path) -> Iterator[tuple[int, dict]]:
    """Go through the objects in the order in which they were written.

    Raises
    ------
    BadInput
        If the file is not such a store.
    """
    if not Path(path).is_file():
        raise BadInput(path, "there is no such file")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            query = f'SELECT key, value FROM "{TABLE}" ORDER BY rowid'
            for key, value in database.execute(query):
                yield int(key), pickle.loads(value)
    except sqlite3.DatabaseError as error:
        raise BadInput(path, f"is no store of stamps: {error}") from error
