"""PSF models interpolated to objects of a CCD, or to its stars to check the model."""

from typing import Literal

import numpy as np
from pydantic import field_validator

from shapepipe import Input, NoUsableData, Options, Output, option, runner
from shapepipe.astro import ldac, psfmodel, psftables

SAME_STAR = 2.0  # pixels between two kinds of centre of the same star


class PSFInterpOptions(Options):
    """What to interpolate to, and which models are good enough."""

    mode: Literal["CLASSIC", "VALIDATION"] = option(
        doc="CLASSIC: the PSF at each object of the catalogue. VALIDATION: the PSF at each star of "
        "the model's own catalogue, beside the star itself."
    )
    position_params: list[str] = option(
        [], doc="Two columns with the position in pixels; blank takes those named in the model."
    )
    get_shapes: bool = option(
        True, doc="Measure the moments of the PSFs; VALIDATION does so in any case."
    )
    star_thresh: int = option(
        20, at_least=0, doc="Reject the model of a CCD with fewer accepted stars."
    )
    chi2_thresh: float = option(
        2.0, above=0, doc="Reject the model of a CCD with a larger reduced chi-square."
    )

    @field_validator("position_params")
    @classmethod
    def _two_or_none(cls, names):
        names = [name for name in names if name]
        if len(names) not in (0, 2):
            raise ValueError(f"{len(names)} columns given, two are needed: x, y")
        return names


@runner(
    inputs=[
        Input("psf", "star_selection", ext=".psf", doc="PSFEx model of the CCD."),
        Input("objects", "galaxy_selection", when=lambda o: o.mode == "CLASSIC",
              doc="Catalogue of the objects that need a PSF."),
        Input("stars", "star_selection", when=lambda o: o.mode == "VALIDATION",
              doc="Catalogue of the stars that PSFEx was given."),
        Input("psfex_cat", ext=".cat", when=lambda o: o.mode == "VALIDATION",
              doc="Catalogue in which PSFEx tells which stars it kept."),
    ],
    outputs=[
        Output("psf_table", lambda o: f"{'galaxy' if o.mode == 'CLASSIC' else 'validation'}_psf",
               doc="LDAC table with one row per object."),
    ],
    after=["psfex_runner", "setools_runner"],
    packages=["galsim"],
    aliases=("psfexinterp_runner", "psfinterp_runner", "psfex_interp_runner",
             "psfexinterp_runner_me"),
)  # fmt: skip
def psf_interp_runner(job, opts: PSFInterpOptions):
    """Evaluate the PSF model of a CCD at all positions at once, and measure the shapes."""
    model = psfmodel.read_psf(job.inputs["psf"])
    psftables.require_quality(model, opts.star_thresh, opts.chi2_thresh)
    make = _classic if opts.mode == "CLASSIC" else _validation
    table, parent = make(job, opts, model)
    ldac.write(job.output("psf_table"), table, header_of=parent)
    job.log.info("%d objects; PSF from %d stars, chi2 %.3f", len(table), model.accepted, model.chi2)
    metrics = {"n_objects": len(table), "psf_stars": model.accepted, "psf_chi2": model.chi2}
    return metrics | {"psf_fwhm": model.fwhm} | _shape_metrics(table)


def _classic(job, opts, model):
    path = job.inputs["objects"]
    objects = ldac.read(path)
    x, y = _positions(path, objects, opts, model)
    table = psftables.interpolated(model, x, y, opts.get_shapes)
    if "NUMBER" in objects.colnames:
        table["NUMBER"] = objects["NUMBER"]
    return table, path


def _validation(job, opts, model):
    path = job.inputs["stars"]
    stars = ldac.read(path)
    if not len(stars):
        raise NoUsableData(f"{path.name} holds no star")
    ldac.check_columns(path, stars.colnames, ["VIGNET"])
    x, y = _positions(path, stars, opts, model)
    return psftables.validation(model, stars, x, y, _used_rows(job.inputs["psfex_cat"], x, y)), path


def _used_rows(path, x, y):
    """Rows of the stars that PSFEx kept; none of a catalogue that PSFEx has not seen."""
    seen = ldac.read(path)
    ldac.check_columns(path, seen.colnames, ["SOURCE_NUMBER", "FLAGS_PSF", "X_IMAGE", "Y_IMAGE"])
    rows = np.asarray(seen["SOURCE_NUMBER"]) - 1
    kept = (np.asarray(seen["FLAGS_PSF"]) == 0) & (rows >= 0) & (rows < len(x))
    seen, rows = seen[kept], rows[kept]
    apart = np.hypot(seen["X_IMAGE"] - 1 - x[rows], seen["Y_IMAGE"] - 1 - y[rows])
    return rows[np.asarray(apart) < SAME_STAR]


def _positions(path, table, opts, model):
    """Positions as 0-based pixels; catalogues count from 1."""
    names = psftables.position_columns(model, opts.position_params, table.colnames)
    ldac.check_columns(path, table.colnames, names)
    return tuple(np.asarray(table[name], float) - 1.0 for name in names)


def _shape_metrics(table):
    if "FLAG_PSF_HSM" not in table.colnames:
        return {}
    good = np.asarray(table["FLAG_PSF_HSM"]) == 0
    metrics = {"n_flagged_psf": int((~good).sum())}
    if good.any():
        for name in ("E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM"):
            metrics[name.lower()] = float(np.mean(table[name][good]))
    return metrics
