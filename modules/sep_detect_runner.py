"""Sources of an image, detected and measured by the library sep.

An example of a runner of your own that brings a library along (`pip install sep`). It is quicker
to set up than SExtractor, whose algorithms sep has, but knows neither WCS nor PSF.

    [EXECUTION]
    MODULE = sep_detect_runner
    MODULE_PATH = modules

References
----------
Barbary 2016, JOSS 1, 58 (sep); Bertin & Arnouts 1996, A&AS 117, 393 (SExtractor).
"""

import numpy as np
import sep
from astropy.table import Table

from shapepipe import Input, NoUsableData, Options, Output, option, runner
from shapepipe.astro import fits, ldac

SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
COLUMNS = {
    "NUMBER": ("", "running number"),
    "X_IMAGE": ("pix", "column of the centre, the first pixel is 1"),
    "Y_IMAGE": ("pix", "row of the centre, the first pixel is 1"),
    "FLUX": ("adu", "sum over the pixels of the source"),
    "FWHM_IMAGE": ("pix", "of a Gaussian with the second moments of the source"),
    "ELLIPTICITY": ("", "1 - b/a"),
    "THETA_IMAGE": ("deg", "position angle of the major axis, from x to y"),
    "FLAGS": ("", "flags of sep"),
}


class SepDetectOptions(Options):
    """What a user may set in the section [SEP_DETECT_RUNNER]."""

    threshold: float = option(1.5, above=0, unit="sigma", doc="Detection threshold above the sky.")
    min_area: int = option(5, at_least=1, unit="pixel", doc="Fewest pixels of a source.")
    mesh: int = option(64, at_least=8, unit="pixel", doc="Size of the cells of the background.")
    use_weight: bool = option(False, doc="A weight image is the second input; 0 is no data.")


@runner(
    inputs=[Input("image"), Input("weight", when=lambda o: o.use_weight)],
    outputs=[Output("sepcat", doc="Table of sources in HDU 1.")],
    after=["split_exp_runner"],
    packages=["sep"],
)
def sep_detect_runner(job, opts: SepDetectOptions):
    """Subtract the background and detect sources."""
    image = fits.read_image(job.inputs["image"]).astype(np.float64)
    mask = ~np.isfinite(image)
    if "weight" in job.inputs:
        mask |= fits.read_image(job.inputs["weight"]) <= 0
    if mask.all():
        raise NoUsableData("no pixel has data")
    image[mask] = 0
    sky = sep.Background(image, mask=mask, bw=opts.mesh, bh=opts.mesh)
    found = sep.extract(
        image - sky, opts.threshold, err=sky.globalrms, mask=mask, minarea=opts.min_area
    )
    if not len(found):
        raise NoUsableData("no source above the threshold")
    ldac.write_plain(job.output("sepcat"), _table(found), "SOURCES")
    return {"n_sources": len(found), "sky_level": sky.globalback, "sky_noise": sky.globalrms}


def _table(found):
    """Columns under the names that SExtractor uses; positions 1-based, as in FITS."""
    columns = [
        np.arange(1, len(found) + 1, dtype=np.int32),
        found["x"] + 1,
        found["y"] + 1,
        found["flux"],
        SIGMA_TO_FWHM * np.sqrt((found["a"] ** 2 + found["b"] ** 2) / 2),
        1 - found["b"] / found["a"],
        np.degrees(found["theta"]),
        found["flag"].astype(np.int32),
    ]
    table = Table(columns, names=list(COLUMNS))
    for name, (unit, text) in COLUMNS.items():
        table[name].unit, table[name].description = unit or None, text
    return table
