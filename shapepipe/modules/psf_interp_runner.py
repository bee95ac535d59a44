"""PSF models interpolated to objects of a CCD, to its stars, or to objects of a stack.

Algorithm
---------
The polynomial of the PSFEx model is evaluated at all positions at once and its basis images,
brought to pixels by the Lanczos-4 kernel, are summed. Shapes are adaptive moments. For a stack
the positions are brought to the pixels of every CCD that sees the object. A model of too few
stars or too large a chi-square is left out.

References
----------
Bertin 2011, ASP Conf. Ser. 442, 435 (PSFEx); Hirata & Seljak 2003, MNRAS 343, 459, and Mandelbaum
et al. 2005, MNRAS 361, 1287 (adaptive moments); Rowe et al. 2015, A&C 10, 121 (GalSim, which
measures them).
"""

from typing import Literal

import numpy as np
from pydantic import field_validator, model_validator

from shapepipe import (
    Address,
    Input,
    NoUsableData,
    Options,
    Output,
    ProductFile,
    option,
    runner,
)
from shapepipe.astro import epochs, ldac, psfepochs, psfmodel, psftables, stampstore

SAME_STAR = 2.0  # pixels between two kinds of centre of the same star


class PSFInterpOptions(Options):
    """What to interpolate to, and which models are good enough."""

    mode: Literal["CLASSIC", "VALIDATION", "MULTI-EPOCH"] = option(
        doc="CLASSIC: the PSF at each object of the catalogue of a CCD. VALIDATION: the PSF at "
        "each star of the model's own catalogue, beside the star itself. MULTI-EPOCH: the PSF of "
        "each exposure at each object of the catalogue of a stack."
    )
    position_params: list[str] = option(
        [],
        doc="Two columns with the position, in pixels (MULTI-EPOCH: in degrees); blank takes those "
        "named in the model (MULTI-EPOCH: XWIN_WORLD, YWIN_WORLD).",
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
    me_dot_psf_dir: Address | None = option(
        None, doc="MULTI-EPOCH: where the models of the exposures are."
    )
    me_dot_psf_pattern: str = option(
        "star_selection", doc="MULTI-EPOCH: name of the models before -exposure-ccd.psf."
    )
    me_log_wcs: ProductFile | None = option(
        None, doc="MULTI-EPOCH: table of merge_headers_runner with the WCS of the exposures."
    )

    @field_validator("position_params")
    @classmethod
    def _two_or_none(cls, names):
        names = [name for name in names if name]
        if len(names) not in (0, 2):
            raise ValueError(f"{len(names)} columns given, two are needed: x, y")
        return names

    @model_validator(mode="after")
    def _exposures_are_named(self):
        if self.mode == "MULTI-EPOCH" and not (self.me_dot_psf_dir and self.me_log_wcs):
            raise ValueError("MODE = MULTI-EPOCH needs ME_DOT_PSF_DIR and ME_LOG_WCS")
        return self


@runner(
    inputs=[
        Input("psf", "star_selection", ext=".psf", when=lambda o: o.mode != "MULTI-EPOCH",
              doc="PSFEx model of the CCD."),
        Input("objects", "galaxy_selection", when=lambda o: o.mode == "CLASSIC",
              doc="Catalogue of the objects that need a PSF."),
        Input("stars", "star_selection", when=lambda o: o.mode == "VALIDATION",
              doc="Catalogue of the stars that PSFEx was given."),
        Input("psfex_cat", ext=".cat", when=lambda o: o.mode == "VALIDATION",
              doc="Catalogue in which PSFEx tells which stars it kept."),
        Input("stack", "sexcat", when=lambda o: o.mode == "MULTI-EPOCH",
              doc="Catalogue of a stack with its EPOCH tables."),
    ],
    outputs=[
        Output("galaxy_psf", when=lambda o: o.mode == "CLASSIC",
               doc="LDAC table with the PSF at each object."),
        Output("validation_psf", when=lambda o: o.mode == "VALIDATION",
               doc="LDAC table with each star and the PSF there."),
        Output("psf_epochs", "galaxy_psf", ext=".sqlite", when=lambda o: o.mode == "MULTI-EPOCH",
               doc="sqlitedict: NUMBER -> {exposure-ccd: {VIGNET, SHAPES}}."),
    ],
    after=["psfex_runner", "setools_runner"],
    packages=["galsim"],
    aliases=("psfexinterp_runner", "psfinterp_runner", "psfex_interp_runner",
             "psfexinterp_runner_me"),
)  # fmt: skip
def psf_interp_runner(job, opts: PSFInterpOptions):
    """Evaluate the PSF model of a CCD at all positions at once, and measure the shapes."""
    if opts.mode == "MULTI-EPOCH":
        return _multi_epoch(job, opts)
    model = psfmodel.read_psf(job.inputs["psf"])
    psftables.require_quality(model, opts.star_thresh, opts.chi2_thresh)
    role, make = _MAKERS[opts.mode]
    table, parent = make(job, opts, model)
    ldac.write(job.output(role), table, header_of=parent)
    job.log.info("%d objects; PSF from %d stars, chi2 %.3f", len(table), model.accepted, model.chi2)
    metrics = {"n_objects": len(table), "psf_stars": model.accepted, "psf_chi2": model.chi2}
    return metrics | _shape_metrics(table)


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


def _multi_epoch(job, opts):
    """Write the PSF of every exposure at every object; what has no PSF is logged and counted."""
    path = job.inputs["stack"]
    names = ["NUMBER", *(opts.position_params or ["XWIN_WORLD", "YWIN_WORLD"])]
    table = ldac.read(path, columns=names)
    numbers, ra, dec = (np.asarray(table[name]) for name in names)
    views = epochs.read_views(path, numbers)
    solutions = epochs.read_wcs(opts.me_log_wcs, (exposure for exposure, _ in views.names))
    x, y = epochs.places(views, ra, dec, solutions)
    found = psfepochs.find_models(opts.me_dot_psf_dir, opts.me_dot_psf_pattern)
    models, complaints = psfepochs.load_models(views, found, opts.star_thresh, opts.chi2_thresh)
    for complaint in complaints:
        job.log.warning("objects lose an epoch: %s", complaint)
    metrics = {"n_objects": len(numbers), "n_views": len(views.row), "n_psf": 0, "n_without_psf": 0,
               "n_ccds": len(models), "n_ccds_rejected": len(complaints)}  # fmt: skip
    with stampstore.StampWriter(job.output("psf_epochs")) as store:
        for chunk in psfepochs.psf_epochs(numbers, views, x, y, models, opts.get_shapes):
            store.add(chunk)
            metrics["n_psf"] += sum(len(entry) for _, entry in chunk)
            metrics["n_without_psf"] += sum(not entry for _, entry in chunk)
    lost = metrics["n_views"] - metrics["n_psf"]
    job.log.info("%d PSFs for %d objects; %d epochs lost, %d objects without any",
                 metrics["n_psf"], len(numbers), lost, metrics["n_without_psf"])  # fmt: skip
    return metrics


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


_MAKERS = {"CLASSIC": ("galaxy_psf", _classic), "VALIDATION": ("validation_psf", _validation)}
