"""Star catalogues of all CCDs merged into one, with exposure and CCD number.

Algorithm
---------
Catalogues are read one after the other and their rows appended; the last group of digits of a
file's number is the CCD, what is before it the exposure. Residuals are summed up by mean,
standard deviation and 1.4826 times the median absolute deviation. Without a PSF model,
ellipticities are those of SExtractor's windowed moments.

References
----------
Rousseeuw & Croux 1993, JASA 88, 1273 (robust scatter); manual of SExtractor, Windowed positional
parameters.
"""

import os
import shutil
from typing import Literal

import numpy as np

from shapepipe import BadInput, Folder, Input, NoUsableData, Options, Output, option, runner
from shapepipe.astro import psfresiduals, starmerge

NAMES_KEPT = 20


class MergeStarcatOptions(Options):
    """Which catalogues to merge, and where to put a second copy."""

    psf_model: Literal["psfex", "setools"] = option(
        "psfex",
        doc="psfex: stars and the PSF model at their places. setools: stars alone, with shapes "
        "from SExtractor's windowed moments.",
    )
    output_path: Folder | None = option(
        None, doc="Directory that gets a copy of the merged catalogue; made if it does not exist."
    )


@runner(
    inputs=[
        Input("validation_psf", when=lambda o: o.psf_model == "psfex",
              doc="Stars and PSF model of one CCD."),
        Input("star_selection", when=lambda o: o.psf_model == "setools", doc="Stars of one CCD."),
    ],
    outputs=[Output("full_starcat", doc="LDAC table of all stars, with EXP_NAME and CCD_NB.")],
    after=["psf_interp_runner"],
    scope="all",
    aliases=("merge_star_cat_runner",),
)  # fmt: skip
def merge_starcat_runner(job, opts: MergeStarcatOptions):
    """Merge the catalogues one after the other; one that cannot be read is named and left out."""
    validation = opts.psf_model == "psfex"
    paths = job.inputs["validation_psf" if validation else "star_selection"]
    read = starmerge.read_validation if validation else starmerge.read_moments
    width = starmerge.name_width(paths)
    merger = starmerge.Merger(job.scratch / "rows")
    bad, residuals, pixels = [], [], []
    for number, path in sorted(paths.items()):
        try:
            table = read(path)
        except BadInput as error:
            bad.append(error)
            job.log.warning("left out: %s", error)
            continue
        merger.add(starmerge.label(table, number, width))
        if validation:
            residuals.append(starmerge.shape_residuals(table))
            pixels.append(np.stack([table[name] for name in starmerge.PIXELS], axis=-1))
    if bad and len(bad) == len(paths):
        raise bad[0]
    if not merger.n_rows:
        raise NoUsableData("none of the catalogues holds a star")
    product = job.output("full_starcat")
    n_stars = merger.n_rows
    merger.write(product)
    if opts.output_path:
        _copy(product, opts.output_path)
    metrics = {"n_rows": n_stars, "n_catalogues": len(paths) - len(bad), "n_bad": len(bad)}
    if bad:
        metrics["bad"] = ", ".join(os.path.basename(error.path) for error in bad[:NAMES_KEPT])
    return metrics | (_statistics(job, residuals, pixels) if validation else {})


def _statistics(job, residuals, pixels):
    """Summary of shape and pixel residuals, logged in a line each."""
    table = np.concatenate(residuals)
    summary = psfresiduals.summarise(table[:, :2], table[:, 2:4], table[:, 4], table[:, 5])
    job.log.info("%s", psfresiduals.summary_line(summary))
    found = psfresiduals.pixel_statistics(*np.concatenate(pixels).T)
    job.log.info("%s", psfresiduals.pixel_line(found))
    return summary | found


def _copy(product, folder):
    """Put a copy under its final name in one step, so that no reader sees half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{product.name}.part"
    shutil.copyfile(product, part)
    os.replace(part, folder / product.name)
