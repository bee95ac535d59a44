"""Read and write SExtractor catalogues in the FITS_LDAC layout.

Such a file has no data in HDU 0, the header of the image in HDU 1 (LDAC_IMHEAD: one row, one long
string of cards) and the objects in HDU 2 (LDAC_OBJECTS). The image header is copied to the byte
from catalogue to catalogue. Tables of any other layout are read too, by HDU. Images are in `fits`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits as afits
from astropy.table import Column, Table
from astropy.units import Unit

from shapepipe.astro import fits
from shapepipe.errors import BadInput

HEADER_HDU, OBJECTS_HDU = "LDAC_IMHEAD", "LDAC_OBJECTS"
_CARD = 80  # characters of a FITS card
# Cards of a table header that follow from the table itself.
_LAYOUT_CARDS = ("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS",
                 "EXTNAME", "THEAP", "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "")  # fmt: skip
_COLUMN_CARDS = ("TTYPE", "TFORM", "TUNIT", "TDISP", "TDIM", "TNULL", "TSCAL", "TZERO", "TCOMM")


def read(
    path: str | Path,
    hdu: int | str | None = None,
    columns: Sequence[str] | None = None,
    rows: slice = slice(None),
) -> Table:
    """Read the objects of a catalogue.

    Parameters
    ----------
    path : str or Path
        FITS file with a binary table.
    hdu : int or str, optional
        Default LDAC_OBJECTS, or the first table where there is none of that name.
    columns : sequence of str, optional
        Read these columns only.
    rows : slice, optional
        Read these rows only.

    Returns
    -------
    Table
        One native-order array per column, vectors and stamps as (n, ...) arrays; unit and
        description of each column kept; other cards of the table's header in ``meta``.

    Raises
    ------
    BadInput
        Not FITS, cut short, no table, or a column is missing.
    """
    with fits.open_hdus(path, memmap=True) as hdus:
        unit = _find_table(path, hdus, hdu)
        fits.check_complete(path, hdus, unit)
        names = list(unit.columns.names) if columns is None else list(columns)
        check_columns(path, unit.columns.names, names)
        found = [_column(unit, name, rows) for name in names]
        return Table(found, meta=_cards(unit.header), copy=False)


def count(path: str | Path, hdu: int | str | None = None) -> int:
    """Number of objects in a catalogue, without reading them; errors as for `read`."""
    with fits.open_hdus(path, memmap=True) as hdus:
        unit = _find_table(path, hdus, hdu)
        fits.check_complete(path, hdus, unit)
        return int(unit.header["NAXIS2"])


def read_columns(path: str | Path, hdu: int | str | None = None) -> list[str]:
    """Names of the columns of a catalogue, without reading them; errors as for `read`."""
    with fits.open_hdus(path, memmap=True) as hdus:
        return list(_find_table(path, hdus, hdu).columns.names)


def read_header(path: str | Path) -> afits.Header:
    """Read the image header that a catalogue carries in LDAC_IMHEAD.

    Raises
    ------
    BadInput
        There is no LDAC_IMHEAD in the file.
    """
    return afits.Header.fromstring(_header_text(path).replace("\0", " "))


def write(
    path: str | Path,
    table: Table | np.ndarray,
    header_of: str | Path | None = None,
    header: afits.Header | None = None,
    extra: Mapping[str, Table] | None = None,
    checksum: bool = False,
) -> None:
    """Write a catalogue in LDAC layout.

    Parameters
    ----------
    path : str or Path
        File to make or to replace.
    table : Table or structured ndarray
        The objects; ``meta`` of a Table becomes cards of the table's header.
    header_of : str or Path, optional
        LDAC catalogue whose image header is copied to the byte.
    header : Header, optional
        Image header to store, where there is no parent catalogue.
    extra : mapping of str to Table, optional
        Further tables (EXTNAME to table) put after the objects.
    checksum : bool, optional
        Add CHECKSUM and DATASUM.
    """
    text = _header_text(header_of) if header_of is not None else _header_as_text(header)
    hdus = [afits.PrimaryHDU(), _header_hdu(text), table_hdu(table, OBJECTS_HDU)]
    hdus += [table_hdu(further, name) for name, further in (extra or {}).items()]
    fits.write_hdus(path, afits.HDUList(hdus), checksum)


def write_plain(
    path: str | Path, table: Table | np.ndarray, name: str = "", checksum: bool = False
) -> None:
    """Write a table in HDU 1 of a file, without an image header."""
    hdus = afits.HDUList([afits.PrimaryHDU(), table_hdu(table, name)])
    fits.write_hdus(path, hdus, checksum)


def table_hdu(table: Table | np.ndarray, name: str = "") -> afits.BinTableHDU:
    """Make a table HDU with units in TUNIT and descriptions in TCOMM; str is stored as ASCII."""
    table = table if isinstance(table, Table) else Table(table, copy=False)
    hdu = afits.BinTableHDU.from_columns([_fits_column(table[key]) for key in table.colnames])
    if not table.colnames:
        raise ValueError("a table without columns cannot be stored in FITS")
    for number, key in enumerate(table.colnames, 1):
        if table[key].description:
            hdu.header.set(f"TCOMM{number}", _one_line(table[key].description))
    hdu.header.update({k: v for k, v in table.meta.items() if k.upper() not in _LAYOUT_CARDS})
    if name:
        hdu.name = name
    return hdu


def check_columns(path: str | Path, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `BadInput` that names absent columns and the nearest ones that exist."""
    for name in wanted:
        if name not in there:
            near = difflib.get_close_matches(name, there, 3, 0.5) or sorted(there)
            raise BadInput(path, f"column {name} is missing", ", ".join(near)[:200])


def _find_table(path, hdus, hdu):
    tables = [unit for unit in hdus if isinstance(unit, afits.BinTableHDU)]
    if hdu is not None:
        found = fits.find_hdu(path, hdus, hdu, need_pixels=False)
        tables = [found] if found in tables else []
    named = [unit for unit in tables if unit.name == OBJECTS_HDU]
    plain = [unit for unit in tables if unit.name != HEADER_HDU]
    if not (named or plain):
        where = "no HDU holds" if hdu is None else f"HDU {hdu} does not hold"
        raise BadInput(path, f"{where} a table of objects; there is {fits.describe(hdus)}")
    return (named or plain)[0]


def _column(unit, name, rows):
    data = np.asarray(unit.data[name][rows]) if unit.data is not None else np.array([])
    data = data.astype(data.dtype.newbyteorder("="))  # own memory: the file is closed after
    number = unit.columns.names.index(name) + 1
    written = unit.header.get(f"TUNIT{number}", "")
    said = unit.header.get(f"TCOMM{number}") or unit.header.comments[f"TTYPE{number}"]
    meta = {k: v for k in ("TUNIT", "TDISP") if (v := unit.header.get(f"{k}{number}"))}
    return Column(data, name, unit=_unit(written), description=said or None, meta=meta)


def _fits_column(column):
    data = np.asarray(column)
    if data.dtype.kind == "U":
        data = np.char.encode(data, "ascii", "replace")
    code = {"b": "L", "u1": "B", "i1": "I", "u2": "I", "i2": "I", "u4": "J", "i4": "J", "u8": "K",
            "i8": "K", "f2": "E", "f4": "E", "f8": "D", "S": "A"}  # fmt: skip
    kind = data.dtype.kind
    size = f"{kind}{data.dtype.itemsize}"
    letter = code.get(kind if kind in "bS" else size)
    if letter is None:
        raise TypeError(f"column {column.name} of type {data.dtype} cannot be stored in FITS")
    axes = [*data.shape[1:], data.dtype.itemsize] if kind == "S" else data.shape[1:]
    zero = {"u2": 1 << 15, "u4": 1 << 31, "u8": 1 << 63}.get(size)
    shape = "(" + ",".join(str(n) for n in reversed(axes)) + ")"
    return afits.Column(
        column.name,
        f"{max(int(np.prod(axes)), 1)}{letter}",
        unit=_unit_text(column),
        bzero=zero,
        disp=(column.info.meta or {}).get("TDISP"),
        dim=shape if len(axes) > 1 else None,
        array=data,
    )


def _unit(text):
    return Unit(text, parse_strict="silent") if text else None


def _unit_text(column):
    if column.unit is None:
        return None
    written = (column.info.meta or {}).get("TUNIT")
    if written and _unit(written) == column.unit:
        return written  # spelt as it was read
    return column.unit.to_string()


def _cards(header):
    layout = tuple(f"{stem}{i}" for stem in _COLUMN_CARDS for i in range(1, header["TFIELDS"] + 1))
    return {k: v for k, v in header.items() if k not in _LAYOUT_CARDS and k not in layout}


def _header_text(path):
    with fits.open_hdus(path) as hdus:
        if HEADER_HDU not in hdus:
            raise BadInput(path, f"has no {HEADER_HDU}; there is {fits.describe(hdus)}")
        return hdus[HEADER_HDU].data[:1].tobytes().decode("latin1")


def _header_as_text(header):
    """Cards as text, those with which any FITS header must begin put first (PSFEx reads them)."""
    first = {"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 1, "NAXIS2": 1}
    cards = header.copy() if header is not None else afits.Header()
    for name in first:
        first[name] = cards.get(name, first[name])
        cards.remove(name, ignore_missing=True)
    whole = afits.Header(first)
    whole.extend(cards, end=True)
    return whole.tostring(sep="", endcard=True, padding=True)


def _header_hdu(text):
    """Table of one row that holds the cards; made from bytes, as astropy would trim the blanks."""
    form = afits.BinTableHDU.from_columns(
        [afits.Column("Field Header Card", f"{len(text)}A")], nrows=1, name=HEADER_HDU
    ).header
    form["TDIM1"] = f"({_CARD}, {len(text) // _CARD})"
    padded = text.encode("latin1") + bytes(-len(text) % fits.BLOCK)
    return afits.BinTableHDU.fromstring(form.tostring().encode("ascii") + padded)


def _one_line(text):
    return text if len(text) <= 68 else text[:65] + "..."
