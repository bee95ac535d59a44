"""Tables written block by block, so that memory does not grow with their rows.

FITS wants the number of rows before the rows: they wait in files of their own until it is known.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from astropy.io import fits as afits
from astropy.table import Table

from shapepipe.astro import fits, ldac


class TableStream:
    """One FITS file with named tables, each of which grows by blocks; a context manager.

    The file is there, whole, when the context ends without an error.

    Parameters
    ----------
    path : Path
        File to make. Blocks wait in a directory beside it.
    """

    def __init__(self, path: Path):
        self._path = Path(path)
        self._waiting = TemporaryDirectory(dir=self._path.parent, prefix=".rows-")
        self._headers: dict[str, afits.Header] = {}

    def add(self, tables: Mapping[str, Table]) -> None:
        """Append rows; the first ones of a table fix its columns, units and header cards."""
        for name, table in tables.items():
            hdu, known = ldac.table_hdu(table, name), self._headers.get(name)
            if known is None or known["NAXIS2"] == 0:
                self._headers[name] = hdu.header
            elif len(table):
                if _layout(known) != _layout(hdu.header):
                    raise ValueError(f"the blocks of table {name} differ in their columns")
                known["NAXIS2"] += len(table)
            with self._rows(name).open("ab") as file:
                file.write(stored_rows(hdu))

    def _rows(self, name):
        return Path(self._waiting.name) / name

    def __enter__(self) -> TableStream:
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self._write()
        finally:
            self._waiting.cleanup()

    def _write(self):
        """Join the headers, now complete, and the rows."""
        with self._path.open("wb") as file:
            file.write(afits.PrimaryHDU().header.tostring().encode("ascii"))
            for name, header in self._headers.items():
                file.write(header.tostring().encode("ascii"))
                with self._rows(name).open("rb") as rows:
                    shutil.copyfileobj(rows, file, 1 << 20)
                file.write(bytes(-file.tell() % fits.BLOCK))


def _layout(header):
    """Names and formats of the columns."""
    return [list(header[cards].values()) for cards in ("TTYPE*", "TFORM*")]


def stored_rows(hdu: afits.BinTableHDU) -> memoryview:
    """Rows of a table HDU as FITS stores them, without header and padding."""
    buffer = BytesIO()
    afits.HDUList([afits.PrimaryHDU(), hdu]).writeto(buffer)
    start = fits.BLOCK + len(hdu.header.tostring())
    return buffer.getbuffer()[start : start + hdu.header["NAXIS1"] * hdu.header["NAXIS2"]]
