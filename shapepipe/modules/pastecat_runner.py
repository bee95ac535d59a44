"""Columns of several catalogues of the same objects, side by side in one.

Algorithm
---------
Tables of the same length are put side by side; of columns with the same name the first is kept.

References
----------
Pence et al. 2010, A&A 524, A42 (FITS 3.0, binary tables).
"""

import numpy as np
from pydantic import field_validator

from shapepipe import BadInput, Input, Options, Output, option, runner
from shapepipe.astro import ldac

MOST_INPUTS = 8


class PasteCatOptions(Options):
    """How rows are checked, and where tables are read."""

    check_col_name: str = option(
        "", doc="Column that must be equal in all catalogues, such as NUMBER; blank: no check."
    )
    hdu: list[str] = option(
        ["2"], doc="HDU (number or name) of the table in each catalogue; one value for all."
    )
    n_catalogues: int = option(2, at_least=2, at_most=MOST_INPUTS, doc="Number of catalogues.")
    prefix: str = option("cat_pasted", doc="Name of the product.")
    ext_name: str = option("PASTED", doc="Name of the HDU of the product.")

    @field_validator("hdu")
    @classmethod
    def _some(cls, hdus):
        if not hdus or "" in hdus:
            raise ValueError("an HDU is needed, or one for each catalogue")
        return hdus


def _given(place):
    return lambda opts: opts.n_catalogues > place


@runner(
    inputs=[
        Input("catalogue_1", "sexcat", doc="First catalogue: its columns come first."),
        *(
            Input(f"catalogue_{i + 1}", when=_given(i), doc="Further catalogue of the same rows.")
            for i in range(1, MOST_INPUTS)
        ),
    ],
    outputs=[Output("pasted", lambda o: o.prefix, doc="All columns, in HDU 1.")],
    after=["sextractor_runner"],
    aliases=("paste_cat_runner",),
)
def pastecat_runner(job, opts: PasteCatOptions):
    """Join the columns of catalogues whose rows belong together; a name is taken once."""
    paths = list(job.inputs.values())
    hdus = opts.hdu * len(paths) if len(opts.hdu) == 1 else opts.hdu
    if len(hdus) != len(paths):
        raise BadInput(paths[0], f"HDU has {len(hdus)} values", f"one, or {len(paths)}")
    pasted = None
    for path, hdu in zip(paths, hdus, strict=True):
        table = ldac.read(path, int(hdu) if hdu.isdigit() else hdu)
        if pasted is None:
            pasted = table
            _check_column(path, table, opts.check_col_name)
            continue
        _check_rows(path, table, pasted, opts.check_col_name)
        new = [name for name in table.colnames if name not in pasted.colnames]
        pasted.add_columns([table[name] for name in new])
        job.log.info("%s: %d columns, %d new", path.name, len(table.colnames), len(new))
    ldac.write_plain(job.output("pasted"), pasted, opts.ext_name)
    return {"n_objects": len(pasted), "n_columns": len(pasted.colnames)}


def _check_column(path, table, name):
    if name:
        ldac.check_columns(path, table.colnames, [name])


def _check_rows(path, table, pasted, name):
    if len(table) != len(pasted):
        raise BadInput(path, f"has {len(table)} rows", f"{len(pasted)}, as the first catalogue")
    _check_column(path, table, name)
    if name:
        differ = np.flatnonzero(np.asarray(table[name]) != np.asarray(pasted[name]))
        if len(differ):
            row = differ[0]
            raise BadInput(path, f"row {row + 1}: {name} = {table[name][row]}",
                           f"{pasted[name][row]}, as in the first catalogue")  # fmt: skip
