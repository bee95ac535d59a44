"""Maps of ellipticity and size over the focal plane, and rho statistics, from all stars.

Algorithm
---------
An affine map from pixels to the sky, fitted to the stars of each CCD, places the CCDs and turns
ellipticities. Cells hold the mean over all stars of all exposures. TreeCorr correlates
ellipticities and residuals in 32 logarithmic bins of 0.5 to 300 arcmin.

References
----------
Rowe 2010, MNRAS 404, 350 (rho 1 and 2); Jarvis et al. 2016, MNRAS 460, 2245 (rho 3 to 5); Jarvis,
Bernstein & Jain 2004, MNRAS 352, 338 (TreeCorr).
"""

from pydantic import field_validator

from shapepipe import Input, NoUsableData, Options, Output, option, runner
from shapepipe.astro import focalplots, ldac, meanshapes, psfresiduals, rho


class MeanShapesOptions(Options):
    """How fine to average, and which values the colours span."""

    x_grid: int = option(20, at_least=1, doc="Cells per CCD along its columns.")
    y_grid: int | None = option(
        None, at_least=1, doc="Cells per CCD along its rows; blank makes cells about square."
    )
    max_e: float | None = option(
        None, above=0, doc="Largest ellipticity of the colours; blank: from the data."
    )
    max_d: float | None = option(
        None, above=0, aliases=("MAX_DE",),
        doc="Largest residual ellipticity of the colours; blank: from the data.",
    )  # fmt: skip
    max_dr2: float | None = option(
        None, above=0, doc="Largest fractional size residual of the colours; blank: from the data."
    )
    ccd_size: list[float] = option(
        [], unit="pixel", doc="Columns and rows of a CCD; blank: as far as the stars reach."
    )

    @field_validator("ccd_size")
    @classmethod
    def _two_or_none(cls, values):
        if len(values) not in (0, 2) or any(value <= 0 for value in values):
            raise ValueError("two positive numbers are needed: columns, rows")
        return values


@runner(
    inputs=[Input("full_starcat", doc="Merged star catalogue.")],
    outputs=[
        Output("map", lambda o: list(meanshapes.PLOTS), ext=".png", doc="Focal-plane maps."),
        Output("rho_table", "rho_stats", optional=True, doc="Rho statistics."),
        Output("rho_plot", "rho_stats", ext=".png", optional=True, doc="Rho statistics, drawn."),
        Output("summary", "psf_residuals", ext=".txt", doc="Means and scatters in a line of text."),
    ],
    after=["merge_starcat_runner"],
    numbering="",
    scope="all",
    packages=["galsim", "treecorr", "matplotlib"],
    aliases=("meanshapes_runner",),
)  # fmt: skip
def mean_shapes_runner(job, opts: MeanShapesOptions):
    """Draw all maps and the rho statistics; without sky coordinates, the maps alone."""
    stars = meanshapes.read_stars([path for _, path in sorted(job.inputs["full_starcat"].items())])
    frames, layout = meanshapes.lay_out(stars, opts.ccd_size)
    limits = meanshapes.Limits(opts.max_e, opts.max_d, opts.max_dr2)
    figures = meanshapes.draw_maps(stars, layout, opts.x_grid, opts.y_grid, limits)
    for name, figure in figures.items():
        focalplots.save(figure, job.output("map", pattern=name))
    try:
        statistics, table = meanshapes.correlate(stars, frames)
        ldac.write_plain(job.output("rho_table"), table, "RHO")
        focalplots.save(rho.plot_rho(statistics), job.output("rho_plot"))
    except NoUsableData as error:
        job.log.warning("%s", error)
    summary = meanshapes.summarise(stars)
    line = psfresiduals.summary_line(summary)
    job.output("summary").write_text(line + "\n", encoding="utf-8")
    job.log.info("%s", line)
    return summary
