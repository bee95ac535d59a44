"""Columns of an external catalogue for the objects of ours, matched on the sky.

Algorithm
---------
Positions become unit vectors; a k-d tree gives the nearest neighbour of each, which counts within
TOLERANCE. Several objects may have the same neighbour.

References
----------
Bentley 1975, Commun. ACM 18, 509 (k-d trees); Virtanen et al. 2020, Nat. Methods 17, 261 (SciPy).
"""

from typing import Literal

import numpy as np
from astropy.io import fits as afits
from astropy.table import Table
from pydantic import field_validator

from shapepipe import BadInput, Input, InputFile, NoUsableData, Options, Output, option, runner
from shapepipe.astro import crossmatch, epochs, fits, ldac, skytable


class MatchExternalOptions(Options):
    """Which catalogue, which columns, how close."""

    tolerance: float = option(above=0, unit="arcsec", doc="Largest distance of a match.")
    col_match: list[str] = option(
        ["XWIN_WORLD", "YWIN_WORLD"], doc="Columns with the position of our objects, degrees."
    )
    hdu: int = option(2, at_least=1, doc="HDU of our table.")
    mode: Literal["CLASSIC", "MULTI-EPOCH"] = option(
        "CLASSIC", doc="MULTI-EPOCH: the EPOCH tables of a stack are kept, with the same rows."
    )
    external_cat_path: InputFile = option(doc="The external catalogue, a table of any format.")
    external_col_match: list[str] = option(
        doc="Its columns with the position, degrees.", example="ra, dec"
    )
    external_col_copy: list[str] = option(doc="Its columns to copy.")
    external_hdu: int = option(1, at_least=1, doc="HDU of its table, if it is a FITS file.")
    prefix: str = option("cat_matched", doc="Name of the product.")
    mark_non_matched: float | None = option(
        None, doc="Value of copied columns where there is no match; blank: such rows are left out."
    )
    output_distance: bool = option(False, doc="Add the distance of each match, in arcsec.")

    @field_validator("col_match", "external_col_match")
    @classmethod
    def _two(cls, names):
        if len(names) != 2:
            raise ValueError(f"{len(names)} columns given, two are needed")
        return names


@runner(
    inputs=[Input("catalogue", "sexcat", doc="Our catalogue.")],
    outputs=[Output("matched", lambda o: o.prefix, doc="HDU MATCHED, and EPOCH tables.")],
    after=["sextractor_runner"],
)
def match_external_runner(job, opts: MatchExternalOptions):
    """Copy the columns of the nearest neighbour."""
    path = job.inputs["catalogue"]
    table = ldac.read(path, opts.hdu)
    ldac.check_columns(path, table.colnames, opts.col_match)
    external = _external(opts)
    index, distance = crossmatch.nearest(
        *(np.asarray(table[name]) for name in opts.col_match),
        *(np.asarray(external[name]) for name in opts.external_col_match), opts.tolerance,
    )  # fmt: skip
    matched = index >= 0
    job.log.info("%d of %d objects matched", matched.sum(), len(table))
    if not matched.any() and opts.mark_non_matched is None:
        raise NoUsableData(f"no object of {path.name} is in {opts.external_cat_path.name}")
    kept = matched if opts.mark_non_matched is None else np.ones(len(table), bool)
    result = table[kept]
    for name in opts.external_col_copy:
        _copy(opts, result, external, name, index[kept], table.colnames)
    if opts.output_distance:
        missing = -1.0 if opts.mark_non_matched is None else opts.mark_non_matched
        result["distance"] = np.where(matched, distance, missing)[kept]
        result["distance"].unit = "arcsec"
    hdus = [afits.PrimaryHDU(), ldac.table_hdu(result, "MATCHED")]
    hdus += _epochs(path, kept) if opts.mode == "MULTI-EPOCH" else []
    fits.write_hdus(job.output("matched"), afits.HDUList(hdus))
    return {"n_objects": len(table), "n_matched": int(matched.sum()), "n_rows": len(result)}


def _external(opts):
    path = opts.external_cat_path
    with path.open("rb") as file:
        is_fits = file.read(6) == b"SIMPLE"
    if is_fits:
        table = ldac.read(path, opts.external_hdu)
    else:
        table = skytable.read(path)
    ldac.check_columns(path, table.colnames, opts.external_col_match + opts.external_col_copy)
    return table


def _copy(opts, result: Table, external, name, index, ours):
    """Add one column; where nothing matched it has the mark, in a type that holds it."""
    if name in ours:
        raise BadInput(opts.external_cat_path, f"column {name} is in both catalogues")
    values = np.asarray(external[name])
    if not len(values):
        values = np.zeros(1, values.dtype)
    column = values[index]
    if (index < 0).any():
        mark = str(opts.mark_non_matched) if values.dtype.kind in "SU" else opts.mark_non_matched
        if values.dtype.kind in "iu" and float(mark).is_integer():
            mark = int(mark)
            column = column.astype(np.result_type(values.dtype, np.min_scalar_type(mark)))
        elif values.dtype.kind in "iub":
            column = column.astype(float)
        elif values.dtype.kind in "SU":
            column = column.astype(str)
        column[index < 0] = mark
    result[name] = column
    result[name].unit = external[name].unit
    result[name].description = external[name].description


def _epochs(path, kept):
    """EPOCH tables with the rows that are kept."""
    with fits.open_hdus(path) as hdus:
        names = [hdu.name for hdu in hdus if hdu.name.startswith(epochs.PREFIX)]
    if not names:
        raise BadInput(path, f"has no tables {epochs.PREFIX}0 ...", "a catalogue of a stack")
    return [ldac.table_hdu(ldac.read(path, name)[kept], name) for name in names]
