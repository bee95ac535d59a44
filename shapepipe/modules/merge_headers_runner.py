"""One table of the WCS of all CCDs of all exposures, for the stacks that are made of them.

Algorithm
---------
The headers of each exposure are put into one SQLite file, under the digits of its number, in the
order of the numbers.

References
----------
Greisen & Calabretta 2002, A&A 395, 1061, and Calabretta & Greisen 2002, A&A 395, 1077 (world
coordinates).
"""

import os
import pickle
import re
import shutil

import numpy as np
from sqlitedict import SqliteDict

from shapepipe import BadInput, Folder, Input, Options, Output, option, runner


class MergeHeadersOptions(Options):
    """Where else the table goes."""

    output_path: Folder | None = option(
        None, doc="Directory that gets a copy of the table, replacing one of an earlier run."
    )


@runner(
    inputs=[Input("headers", ext=".npy", doc="WCS and header of each CCD of an exposure.")],
    outputs=[
        Output("table", "log_exp_headers", ext=".sqlite",
               doc="sqlitedict: exposure number -> array with, per CCD, {WCS, header}."),
    ],
    after=["split_exp_runner"],
    scope="all",
    packages=["sqlitedict"],
    aliases=("merge_header_runner",),
)  # fmt: skip
def merge_headers_runner(job, opts: MergeHeadersOptions):
    """Write the headers of all exposures in one file, in the order of their numbers."""
    path = job.output("table")
    entries = {exposure_key(number): file for number, file in job.inputs["headers"].items()}
    n_ccd = 0
    with SqliteDict(path, autocommit=False, journal_mode="OFF") as table:
        for key in sorted(entries):
            table[key] = read_headers(entries[key])
            n_ccd += len(table[key])
        table.commit()
    if opts.output_path:
        _copy(path, opts.output_path)
    return {"n_exposures": len(entries), "n_ccd": n_ccd}


def exposure_key(number: str) -> str:
    """Digits of a number string: ``-2366993`` becomes ``2366993``."""
    return re.sub(r"\D", "", number)


def read_headers(path):
    """Load the array that `split_exp_runner` wrote for an exposure.

    Raises
    ------
    BadInput
        Not such an array.
    """
    try:
        entries = np.load(path, allow_pickle=True)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BadInput(path, f"holds no headers: {error}", "an array of split_exp_runner") from None
    if entries.dtype != object or not all(isinstance(e, dict) and "WCS" in e for e in entries):
        raise BadInput(path, "holds no WCS entries", "an array of split_exp_runner")
    return entries


def _copy(path, folder):
    """Put the table in another directory, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{path.name}.{os.getpid()}"
    shutil.copyfile(path, part)
    part.replace(folder / path.name)
