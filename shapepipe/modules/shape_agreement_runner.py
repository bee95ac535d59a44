"""Whether shapes of the same galaxies, measured from disjoint sets of exposures, agree.

Algorithm
---------
With d the difference of two shapes and s their joint error, the sum of (d/s)^2 over objects is
about their number where the errors tell the whole noise. Means and slopes are weighted by 1/s^2;
the robust scatter is 1.4826 times the median absolute deviation.

References
----------
York et al. 2004, Am. J. Phys. 72, 367 (slope with errors in both variables); Rousseeuw & Croux
1993, JASA 88, 1273 (robust scatter).
"""

import numpy as np
from astropy.table import Table
from pydantic import field_validator

from shapepipe import BadInput, Input, Options, Output, option, runner
from shapepipe.astro import agreementplots, finalcat, fits, focalplots, ldac
from shapepipe.shear import agreement

KEPT = ("g1", "g2", "g1_err", "g2_err", "flags")
PAIR = ("g1_a", "g1_b", "g2_a", "g2_b")
EDGES = (10, 20, 30, 50, 80, 130, 200, 400, 1000)
"""Of bins in signal-to-noise ratio."""
GALAXY = 1


class ShapeAgreementOptions(Options):
    """Which galaxies are compared."""

    s2n_min: float = option(50.0, at_least=0, doc="Smallest signal-to-noise ratio in all epochs.")
    s2n_max: float | None = option(None, above=0, doc="Largest; blank: no limit.")
    size_ratio: float = option(
        0.25, at_least=0, doc="Smallest area T of a galaxy, in units of that of the target PSF."
    )
    n_epoch_min: int = option(2, at_least=0, doc="Smallest N_EPOCH.")
    galaxies_only: bool = option(True, doc="Take SPREAD_CLASS 1 alone.")
    clean_only: bool = option(True, doc="Take objects with FLAGS and IMAFLAGS_ISO 0 alone.")
    psf_error: float = option(
        0.0, at_least=0, doc="Error of g of the PSF model of each half, as stars show it."
    )
    labels: list[str] = option(["odd epochs", "even epochs"], doc="Names in the plot.")

    @field_validator("labels")
    @classmethod
    def _two(cls, names):
        if len(names) != 2:
            raise ValueError(f"{len(names)} names given, two are needed")
        return names


@runner(
    inputs=[
        Input("final", "final_cat", doc="Final catalogue, measured from all epochs."),
        Input("one", "odd_ngmix", doc="Shapes from some of the epochs."),
        Input("other", "even_ngmix", doc="Shapes from other epochs."),
    ],
    outputs=[
        Output("table", "shape_agreement", doc="Both shapes of every object, and their pulls."),
        Output("figures", "shape_agreement", ext=".json", doc="Chi-square and more."),
        Output("plot", "shape_agreement", ext=".png", doc="The same, drawn."),
    ],
    after=["make_cat_runner", "ngmix_runner"],
    packages=["matplotlib"],
)
def shape_agreement_runner(job, opts: ShapeAgreementOptions):
    """Compare two measurements of the shapes of bright galaxies."""
    final = ldac.read(job.inputs["final"], "RESULTS")
    one, other = (_in_order(job.inputs[role], final["NUMBER"]) for role in ("one", "other"))
    both = agreement.measured(one, other)
    usable = both & _usable(final, opts)
    bright = usable & _bright(final, opts)
    plain = agreement.compare(one, other, bright)
    figures = plain.figures() | {"n_objects": len(final), "n_measured_twice": int(both.sum())}
    factor = agreement.pair_factor((one, other), bright)
    figures["pair_factor"] = factor
    gain = _gain(job.inputs["final"])
    steps = _with_more_noise(final, (one, other), factor, gain, opts)
    for name, tables in steps.items():
        figures[f"chi2_per_dof_{name}"] = agreement.compare(*tables, bright).chi2_per_dof
    best = list(steps.values())[-1]
    bins = _by_signal(final, (one, other), usable, gain, opts)
    ldac.write_plain(job.output("table"), _table(final, one, other, bright), "AGREEMENT")
    job.write_json("figures", figures | {"bins": bins})
    focalplots.save(_plot(*best, bright, bins, opts), job.output("plot"))
    job.log.info("chi-square per degree of freedom of %d galaxies: %.3f +- %.3f with the errors "
                 "of the fits", plain.count, plain.chi2_per_dof, plain.chi2_error)  # fmt: skip
    for name in steps:
        job.log.info("... with %s: %.3f", name.replace("_", " and "),
                     figures[f"chi2_per_dof_{name}"])  # fmt: skip
    return figures


def _gain(path):
    """Electrons per count of the stack, 0 where unknown."""
    gain = fits.read_header(path, 0).get("GAIN", 0.0)
    return float(gain) if isinstance(gain, int | float) and gain > 0 else 0.0


def _with_more_noise(final, pair, factor, gain, opts):
    """Tables with errors that know one source of noise more each, by names of the sources."""
    made, name = {}, "pair"
    total = factor if np.isfinite(factor) else 1.0
    made[name] = [agreement.with_errors(table, total) for table in pair]
    if gain:
        name += "_light"
        ratio, flux = (np.asarray(final[f"NGMIX_{n}_NOSHEAR"]) for n in ("SNR", "FLUX"))
        total = total * agreement.light_factor(ratio, flux * gain)
        made[name] = [agreement.with_errors(table, total) for table in pair]
    if opts.psf_error:
        name += "_psf"
        sizes = (np.asarray(final[f"NGMIX_{n}_NOSHEAR"]) for n in ("T_PSFo", "T"))
        more = agreement.psf_variance(opts.psf_error, *sizes)
        made[name] = [agreement.with_errors(table, total, more) for table in pair]
    return made


def _in_order(path, numbers):
    """Unsheared shapes in the order of the catalogue."""
    there = ldac.read_columns(path, "NOSHEAR")
    names = [name for name in ("id", *KEPT, *PAIR) if name in there]
    table = ldac.read(path, "NOSHEAR", names)
    rows = finalcat.rows_of(np.asarray(numbers), np.asarray(table["id"]), path)
    if len(rows) != len(numbers):
        raise BadInput(path, f"has {len(rows)} objects", f"the {len(numbers)} of the catalogue")
    return table[np.argsort(rows)]


def _usable(final, opts):
    """Well resolved galaxies that were measured from all epochs, whatever their brightness."""
    kept = np.asarray(final["NGMIX_FLAGS_NOSHEAR"]) == 0
    kept &= np.asarray(final["N_EPOCH"]) >= opts.n_epoch_min
    with np.errstate(invalid="ignore"):
        kept &= final["NGMIX_T_NOSHEAR"] > opts.size_ratio * final["NGMIX_Tpsf_NOSHEAR"]
    if opts.galaxies_only and "SPREAD_CLASS" in final.colnames:
        kept &= final["SPREAD_CLASS"] == GALAXY
    for name in ("FLAGS", "IMAFLAGS_ISO"):
        if opts.clean_only and name in final.colnames:
            kept &= final[name] == 0
    return np.asarray(kept)


def _bright(final, opts):
    ratio = np.asarray(final["NGMIX_SNR_NOSHEAR"])
    return (ratio >= opts.s2n_min) & (ratio < (opts.s2n_max or np.inf))


def _by_signal(final, pair, usable, gain, opts):
    """Chi-square per degree of freedom in bins of the signal-to-noise ratio, plain and best.

    The noise pair is looked at in each bin anew: faint shapes are held back by their prior.
    """
    ratio, bins = np.asarray(final["NGMIX_SNR_NOSHEAR"]), []
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        chosen = usable & (ratio >= low) & (ratio < high)
        found = agreement.compare(*pair, chosen)
        if not found.count:
            continue
        factor = agreement.pair_factor(pair, chosen)
        *_, best = _with_more_noise(final, pair, factor, gain, opts).values()
        more = agreement.compare(*best, chosen)
        bins.append({"low": low, "high": high, "count": found.count,
                     "chi2_per_dof": found.chi2_per_dof, "error": found.chi2_error,
                     "pair_factor": factor, "chi2_per_dof_best": more.chi2_per_dof})  # fmt: skip
    return bins


def _table(final, one, other, bright):
    """Shapes of all objects; `compared` tells which of them count."""
    pulls = agreement.pulls(one, other)
    made = Table({"NUMBER": final["NUMBER"], "compared": bright})
    for suffix, table in (("one", one), ("other", other)):
        for name in KEPT:
            made[f"{name}_{suffix}"] = np.asarray(table[name])
    for axis, name in enumerate(agreement.COMPONENTS):
        made[f"pull_{name}"] = pulls[:, axis]
    return made


def _plot(one, other, bright, bins, opts):
    shapes, errors = (
        [np.stack([np.asarray(table[f"{name}{end}"])[bright] for name in agreement.COMPONENTS], 1)
         for table in (one, other)]
        for end in ("", "_err")
    )  # fmt: skip
    pulls = agreement.pulls(one, other)[bright]
    return agreementplots.draw_agreement(*shapes, np.array(errors), pulls, bins, opts.labels)
