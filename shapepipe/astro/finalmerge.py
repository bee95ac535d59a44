"""Join the final catalogues of many stacks into one file, a stack at a time.

Written are FITS, HDF5 (needs h5py) or Parquet (needs pyarrow), by the extension of the name.
Objects that stacks share where they overlap are marked, none is left out.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits as afits
from astropy.table import Column, Table, vstack
from astropy.wcs import WCS

from shapepipe.astro import fits, ldac, wcs
from shapepipe.astro.finalcat import NO_SHAPE
from shapepipe.astro.tablestream import stored_rows
from shapepipe.errors import BadInput

POSITIONS = (("XWIN_WORLD", "YWIN_WORLD"), ("X_WORLD", "Y_WORLD"), ("RA", "DEC"))
# Columns of which a stack has as many as its deepest object has epochs, and what stands for none.
PER_EPOCH = {"EXP_NAME_": "", "CCD_N_": -1, "PSF_ELL_": NO_SHAPE, "PSF_FWHM_": 0.0, "PSF_FLAG_": 1}
FORMATS = {".fits": "FITS", ".h5": "HDF5", ".hdf5": "HDF5", ".parquet": "Parquet"}


@dataclass(frozen=True)
class Stack:
    """A catalogue to join: file, table HDU, rows, and where its image lies (None: not known)."""

    path: Path
    hdu: int
    n_rows: int
    columns: tuple[str, ...]
    solution: WCS | None
    shape: tuple[int, int] = (0, 0)
    centre: tuple[float, float] = (np.nan, np.nan)


def read_stack(path: Path, hdu: int = 1) -> Stack:
    """Look at a catalogue without reading its rows.

    Raises
    ------
    BadInput
        It is not whole, or holds no such table.
    """
    with fits.open_hdus(path, memmap=True) as hdus:
        unit = fits.find_hdu(path, hdus, hdu, need_pixels=False)
        if not isinstance(unit, afits.BinTableHDU):
            raise BadInput(path, f"HDU {hdu} is no table", f"one of {fits.describe(hdus)}")
        fits.check_complete(path, hdus, unit)
        n_rows, columns = int(unit.header["NAXIS2"]), tuple(unit.columns.names)
        header = hdus[0].header.copy()
    if "STACKNX1" not in header:
        return Stack(path, hdu, n_rows, columns, None)
    shape = int(header["STACKNX2"]), int(header["STACKNX1"])
    solution = wcs.from_header(header, path)
    centre = wcs.pixel_to_world(solution, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return Stack(path, hdu, n_rows, columns, solution, shape, (float(centre[0]), float(centre[1])))


def merge(
    paths: Sequence[Path],
    output: Path,
    columns: Sequence[str] | None = None,
    hdu: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, int]:
    """Join catalogues; memory is needed for one of them.

    Parameters
    ----------
    paths : sequence of Path
        Catalogues of `make_cat_runner`.
    output : Path
        File to make; .fits, .h5, .hdf5 or .parquet.
    columns : sequence of str, optional
        Columns to keep; all by default.
    hdu : int
        HDU of the tables.
    tell : callable
        Is given a line for each catalogue.

    Returns
    -------
    dict of str to int
        Numbers of catalogues, objects, and objects marked as shared.

    Raises
    ------
    BadInput
        A catalogue is damaged or lacks columns; nothing is then left behind.
    """
    kind = FORMATS.get(output.suffix.lower())
    if kind is None or not paths:
        problem = "no catalogue to join" if kind else f"extension {output.suffix!r} is not known"
        raise BadInput(output, problem, f"one of {', '.join(FORMATS)}")
    stacks = [read_stack(path, hdu) for path in paths]
    template = _template(stacks, columns)
    part = output.with_name(f".{os.getpid()}.{output.name}")
    figures = {"catalogues": len(stacks), "objects": sum(s.n_rows for s in stacks), "shared": 0}
    try:
        _WRITERS[kind](part, template, _tables(stacks, template, figures, tell), figures["objects"])
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return figures


def mark_shared(ra, dec, own: int, stacks: Sequence[Stack]) -> tuple[np.ndarray, np.ndarray]:
    """Tell in how many stacks objects lie, and whether theirs is the one to take them from.

    That is the stack, among those whose image holds the object, whose centre is nearest; so of
    several detections of one object in different stacks one is primary.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Positions, degrees.
    own : int
        Index of the objects' stack.
    stacks : sequence of Stack
        All stacks.

    Returns
    -------
    n_stacks : ndarray of int16, shape (n,)
        Stacks that hold the object, their own among them.
    primary : ndarray of bool, shape (n,)
    """
    n_stacks, primary = np.ones(len(ra), np.int16), np.ones(len(ra), bool)
    here = stacks[own]
    if here.solution is None:
        return n_stacks, primary
    distance = wcs.separation(ra, dec, *here.centre)
    reach = _radius(here)
    for i, stack in enumerate(stacks):
        apart = wcs.separation(*here.centre, *stack.centre)
        if i == own or stack.solution is None or apart > reach + _radius(stack):
            continue
        x, y = wcs.world_to_pixel(stack.solution, ra, dec)
        ny, nx = stack.shape
        inside = (np.abs(x - (nx - 1) / 2) <= nx / 2) & (np.abs(y - (ny - 1) / 2) <= ny / 2)
        other = wcs.separation(ra, dec, *stack.centre)
        nearer = (other < distance) | ((other == distance) & (i < own))
        n_stacks += inside
        primary &= ~(inside & nearer)
    return n_stacks, primary


def _radius(stack):
    """Angle from the centre of a stack that holds its image, with a margin, deg."""
    return np.hypot(*stack.shape) / 2 * wcs.pixel_scale(stack.solution) / 3600 * 1.01


def _template(stacks, columns):
    """Table without rows that has all columns, wide enough for every stack."""
    parts = [_kept(stack, columns, slice(0, 0)) for stack in stacks]
    template = vstack(parts, join_type="outer", metadata_conflicts="silent")
    for name in template.colnames:
        lacking = [stack.path for stack, part in zip(stacks, parts, strict=True)
                   if name not in part.colnames]  # fmt: skip
        if lacking and _filler(name) is None:
            raise BadInput(lacking[0], f"column {name} is missing, which others have")
    ordered = [name for part in parts for name in part.colnames]
    template = template[list(dict.fromkeys(ordered))].filled()
    for name in template.colnames:
        if template[name].dtype.kind == "U":  # FITS and HDF5 hold bytes
            width = max(template[name].dtype.itemsize // 4, 1)
            template[name] = template[name].astype(f"S{width}")
    template["N_TILES"] = Column(np.zeros(0, np.int16), description="stacks that hold the object")
    about = "of the stacks that hold the object, take this one"
    template["IS_PRIMARY"] = Column(np.zeros(0, bool), description=about)
    return template


def _kept(stack, columns, rows):
    if columns is None:
        return ldac.read(stack.path, stack.hdu, rows=rows)
    wanted = [name for name in columns if name in stack.columns or _filler(name) is None]
    return ldac.read(stack.path, stack.hdu, wanted, rows)


def _filler(name):
    return next((value for start, value in PER_EPOCH.items() if name.startswith(start)), None)


def _tables(stacks, template, figures, tell) -> Iterator[np.ndarray]:
    """Rows of each stack as a structured array of the template's type."""
    asked = [name for name in template.colnames if name not in ("N_TILES", "IS_PRIMARY")]
    for own, stack in enumerate(stacks):
        table = _kept(stack, asked, slice(None))
        rows = np.zeros(len(table), template.dtype)
        for name in asked:
            rows[name] = table[name] if name in table.colnames else _filler(name)
        rows["N_TILES"], rows["IS_PRIMARY"] = mark_shared(*_positions(stack), own, stacks)
        figures["shared"] += int((rows["N_TILES"] > 1).sum())
        tell(f"{stack.path}: {len(rows)} objects")
        yield rows


def _positions(stack):
    """Sky positions of all objects of a stack."""
    for names in POSITIONS:
        if set(names) <= set(stack.columns):
            table = ldac.read(stack.path, stack.hdu, names)
            return tuple(np.asarray(table[name], float) for name in names)
    wanted = " or ".join(f"{ra}, {dec}" for ra, dec in POSITIONS)
    raise BadInput(stack.path, "has no columns with sky positions", wanted)


def _write_fits(path, template, tables, n_rows):
    """Header first, then the rows as they come."""
    hdu = ldac.table_hdu(template, "RESULTS")
    hdu.header["NAXIS2"] = n_rows
    with path.open("wb") as file:
        file.write(afits.PrimaryHDU().header.tostring().encode("ascii"))
        file.write(hdu.header.tostring().encode("ascii"))
        for rows in tables:
            file.write(stored_rows(ldac.table_hdu(Table(rows, copy=False))))
        file.write(bytes(-file.tell() % fits.BLOCK))


def _write_hdf5(path, template, tables, n_rows):
    h5py = _optional("h5py", path)
    with h5py.File(path, "w") as file:
        group = file.create_group("RESULTS")
        for name in template.colnames:
            shape = (n_rows, *template[name].shape[1:])
            made = group.create_dataset(name, shape, template[name].dtype)
            made.attrs["unit"] = str(template[name].unit or "")
            made.attrs["description"] = template[name].description or ""
        start = 0
        for rows in tables:
            for name in template.colnames:
                group[name][start : start + len(rows)] = rows[name]
            start += len(rows)


def _write_parquet(path, template, tables, n_rows):
    arrow, parquet = _optional("pyarrow", path), _optional("pyarrow.parquet", path)
    writer = None
    for rows in tables:
        values = {name: list(rows[name]) if rows[name].ndim > 1 else rows[name]
                  for name in template.colnames}  # fmt: skip
        values |= {name: value.astype(str) for name, value in values.items()
                   if getattr(value, "dtype", rows.dtype).kind == "S"}  # fmt: skip
        table = arrow.table(values)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))
    writer.close()


_WRITERS = {"FITS": _write_fits, "HDF5": _write_hdf5, "Parquet": _write_parquet}


def _optional(name, path):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadInput(path, f"{name} is not installed", "pip install it, or write .fits") from None
