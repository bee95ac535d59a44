"""Catalogues for scripts: `from shapepipe.pipeline import file_io as io`.

A door to FITS tables for people's own scripts, with the names that ShapePipe 1.x had. Nothing
inside the package uses it: the work is done by `shapepipe.astro.ldac`, whose functions are the
shorter way for new code. No file is held open between calls, and each change is a whole new file in
the place of the old one.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits as afits
from astropy.table import Table

from shapepipe.astro import fits, ldac
from shapepipe.errors import BadInput, ShapePipeError


class CatalogError(ShapePipeError):
    """A catalogue is used in a way that its open mode or state forbids."""


class BaseCatalog:
    """What catalogues of any format have in common: a path and a mode."""

    class OpenMode(enum.Enum):
        """What may be done with a catalogue."""

        ReadOnly = "readonly"
        ReadWrite = "readwrite"
        Append = "append"

    def __init__(self, fullpath: str | Path, open_mode: OpenMode = OpenMode.ReadOnly):
        self.path, self.open_mode = Path(fullpath), open_mode
        self._is_open = False

    @property
    def fullpath(self) -> str:
        """Path as text."""
        return str(self.path)

    @property
    def filename(self) -> str:
        """Name without directory."""
        return self.path.name

    def file_exists(self) -> bool:
        """Tell whether the file is there."""
        return self.path.is_file()

    def open(self) -> None:
        """Make ready for reading; the file must exist."""
        if not self.file_exists():
            raise BadInput(self.path, "there is no such file")
        self._is_open = True

    def close(self) -> None:
        """End reading; everything is on disk already."""
        self._is_open = False

    def _need_open(self):
        if not self._is_open:
            raise CatalogError(f"{self.path}: not open (call open() first)")

    def _need_writing(self):
        if self.open_mode is self.OpenMode.ReadOnly:
            raise CatalogError(f"{self.path}: open mode is ReadOnly (allowed: ReadWrite, Append)")


class FITSCatalog(BaseCatalog):
    """A FITS table.

    Parameters
    ----------
    fullpath : str or Path
        File.
    hdu_no : int, optional
        HDU of the table; default 1, or 2 in a SExtractor catalogue.
    open_mode : BaseCatalog.OpenMode, optional
        ReadOnly (default), ReadWrite or Append.
    SEx_catalog : bool, optional
        FITS_LDAC layout: table in HDU 2 after the image header in HDU 1.
    """

    def __init__(
        self,
        fullpath: str | Path,
        hdu_no: int | None = None,
        open_mode: BaseCatalog.OpenMode = BaseCatalog.OpenMode.ReadOnly,
        SEx_catalog: bool = False,
    ):
        super().__init__(fullpath, open_mode)
        self.SEx_catalog = SEx_catalog
        self.hdu_no = hdu_no if hdu_no is not None else 2 if SEx_catalog else 1

    def get_data(self, hdu_no: int | None = None) -> np.ndarray:
        """Rows as a structured array, or the pixels of an image HDU."""
        self._need_open()
        hdu = self.hdu_no if hdu_no is None else hdu_no
        with fits.open_hdus(self.path) as hdus:
            unit = fits.find_hdu(self.path, hdus, hdu, need_pixels=False)
            is_table = isinstance(unit, afits.BinTableHDU)
        return self._table(hdu).as_array() if is_table else fits.read_image(self.path, hdu)

    def get_header(self, hdu_no: int | None = None) -> afits.Header:
        """Header of the table's HDU, or of another."""
        self._need_open()
        return fits.read_header(self.path, self.hdu_no if hdu_no is None else hdu_no)

    def get_header_value(self, name: str, hdu_no: int | None = None):
        """Value of a card."""
        return self.get_header(hdu_no)[name]

    def get_col_names(self, hdu_no: int | None = None) -> list[str]:
        """Names of the columns."""
        self._need_open()
        return self._table(hdu_no).colnames

    def get_nb_rows(self, hdu_no: int | None = None) -> int:
        """Number of rows."""
        self._need_open()
        return ldac.count(self.path, self.hdu_no if hdu_no is None else hdu_no)

    def get_nb_cols(self, hdu_no: int | None = None) -> int:
        """Number of columns."""
        return len(self.get_col_names(hdu_no))

    def save_as_fits(
        self,
        data: np.ndarray | Table | Mapping[str, np.ndarray] | Sequence[np.ndarray],
        names: Sequence[str] | None = None,
        ext_name: str | None = None,
        sex_cat_path: str | Path | None = None,
        image: bool = False,
        image_header: afits.Header | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write a new file.

        Parameters
        ----------
        data : structured ndarray, Table, mapping or sequence of columns; for images an array
            What to write.
        names : sequence of str, optional
            Names of the columns where `data` has none.
        ext_name : str, optional
            EXTNAME of the table.
        sex_cat_path : str or Path, optional
            In LDAC layout: the catalogue whose image header is copied.
        image : bool, optional
            Write `data` as an image in the primary HDU.
        image_header : Header, optional
            Cards of the image.
        overwrite : bool, optional
            Replace an existing file (in Append mode: add the table to it).
        """
        self._need_writing()
        append = self.open_mode is self.OpenMode.Append and self.file_exists()
        if self.file_exists() and not (overwrite or append):
            raise CatalogError(f"{self.path}: exists already (allowed: overwrite=True)")
        if image:
            self._replace(lambda path: fits.write_image(path, np.asarray(data), image_header))
        elif append:
            self._change(
                lambda hdus: hdus.append(ldac.table_hdu(_table(data, names), ext_name or ""))
            )
        elif self.SEx_catalog:
            table = _table(data, names)
            self._replace(lambda path: ldac.write(path, table, header_of=sex_cat_path))
        else:
            self._replace(lambda path: ldac.write_plain(path, _table(data, names), ext_name or ""))

    def add_col(self, col_name: str, col_data, hdu_no: int | None = None) -> None:
        """Add a column, or replace the one of that name."""
        self._need_writing()
        table = self._table(hdu_no)
        table[col_name] = np.asarray(col_data)
        self._put_table(table, hdu_no)

    def remove_col(self, col_name: str, hdu_no: int | None = None) -> None:
        """Take a column out."""
        self._need_writing()
        table = self._table(hdu_no)
        ldac.check_columns(self.path, table.colnames, [col_name])
        table.remove_column(col_name)
        self._put_table(table, hdu_no)

    def apply_mask(self, mask, hdu_no: int | None = None) -> None:
        """Keep the rows for which a boolean mask is true, or those whose indices are given."""
        self._need_writing()
        self._put_table(self._table(hdu_no)[np.asarray(mask)], hdu_no)

    def add_header_card(
        self, key: str, value=None, comment: str | None = None, hdu_no: int | None = None
    ) -> None:
        """Set a card in the header of the table's HDU, or of another."""
        self._need_writing()
        hdu = self.hdu_no if hdu_no is None else hdu_no
        self._change(lambda hdus: hdus[hdu].header.set(key, value, comment))

    def _table(self, hdu_no=None):
        return ldac.read(self.path, self.hdu_no if hdu_no is None else hdu_no)

    def _put_table(self, table, hdu_no):
        number = self.hdu_no if hdu_no is None else hdu_no

        def put(hdus):
            hdus[number] = ldac.table_hdu(table, hdus[number].name)

        self._change(put)

    def _change(self, change):
        """Write the file anew with its HDUs changed by `change(hdus)`."""
        with afits.open(self.path, memmap=False) as hdus:
            change(hdus)
            self._replace(lambda path: fits.write_hdus(path, hdus))

    def _replace(self, write):
        """Let `write(path)` make a file and put it in place when it is whole."""
        part = self.path.with_name(f".{os.getpid()}.{self.path.name}")
        try:
            write(part)
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)


FITSCatalogue = FITSCatalog
BaseCatalogue = BaseCatalog


def _table(data, names):
    """Make a table of columns in any of the forms that `save_as_fits` takes."""
    if isinstance(data, Table):
        return data
    if isinstance(data, Mapping):
        return Table(dict(data))
    if isinstance(data, np.ndarray) and data.dtype.names:
        return Table(data, copy=False)
    if names is None:
        raise CatalogError("columns without names (allowed: a structured array, or names=[...])")
    return Table(list(data), names=list(names))
