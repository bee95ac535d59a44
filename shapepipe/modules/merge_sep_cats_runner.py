"""One catalogue from those of the parts in which a stack was measured, HDU by HDU.

Algorithm
---------
The parts must have the same HDUs and the same columns; rows are appended HDU by HDU, in the order
of the parts.

References
----------
Pence et al. 2010, A&A 524, A42 (FITS 3.0, binary tables).
"""

import re
from pathlib import Path
from typing import Literal

from astropy.io import fits as afits
from astropy.table import vstack

from shapepipe import BadInput, Input, Options, Output, option, runner
from shapepipe.astro import fits, ldac


class MergeSepCatsOptions(Options):
    """How many parts there are, and what to do when one is missing."""

    n_split_max: int = option(at_least=1, doc="Number of parts.")
    warning: Literal["error", "always", "default", "ignore", "module", "once"] = option(
        "error", doc="error: a missing part is an error; anything else: it is named in the log."
    )


def _product(opts):
    return opts.file_pattern[0] if opts.file_pattern else "ngmix"


def _ext(opts):
    return opts.file_ext[0] if opts.file_ext else ".fits"


@runner(
    inputs=[Input("part", "ngmix", doc="Catalogue of the first part, in a directory numbered 1.")],
    outputs=[Output("merged", _product, ext=_ext, doc="The rows of all parts, in their order.")],
    after=["ngmix_runner"],
)
def merge_sep_cats_runner(job, opts: MergeSepCatsOptions):
    """Append the rows of parts 2, 3 ... to those of part 1."""
    first = job.inputs["part"]
    paths = part_paths(first, opts.n_split_max)
    there = [path for path in paths if path.is_file()]
    missing = [path for path in paths if not path.is_file()]
    if missing and opts.warning == "error":
        raise BadInput(missing[0], "there is no such file", f"all {opts.n_split_max} parts")
    for path in missing:
        job.log.warning("part is missing: %s", path)
    with fits.open_hdus(first) as hdus:
        names = [hdu.name or i for i, hdu in enumerate(hdus) if isinstance(hdu, afits.BinTableHDU)]
    merged, n_rows = [afits.PrimaryHDU()], 0
    for name in names:
        tables = [ldac.read(path, name) for path in there]
        for path, table in zip(there, tables, strict=True):
            ldac.check_columns(path, table.colnames, tables[0].colnames)
        table = vstack(tables, metadata_conflicts="silent")
        merged.append(ldac.table_hdu(table, name if isinstance(name, str) else ""))
        n_rows = len(table)
    fits.write_hdus(job.output("merged"), afits.HDUList(merged))
    return {"n_parts": len(there), "n_missing": len(missing), "n_objects": n_rows}


def part_paths(first: Path, count: int) -> list[Path]:
    """Paths of all parts, from that of the first.

    The number of the part is a 1 without digits beside it, such as that of ``..._Ng1u/``. Where
    there are several, it is the one for which most other parts exist; the last of equal ones.

    Raises
    ------
    BadInput
        The path has no such 1.
    """
    text = str(first)
    if count == 1:
        return [first]
    choices = []
    for found in re.finditer(r"(?<!\d)1(?!\d)", text):
        before, after = text[: found.start()], text[found.end() :]
        choices.append([Path(f"{before}{k}{after}") for k in range(1, count + 1)])
    if not choices:
        raise BadInput(first, "has no number 1 of a part", "a directory such as run_Ng1u")
    return max(reversed(choices), key=lambda paths: sum(path.is_file() for path in paths))
