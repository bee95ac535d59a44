"""Makes a product only for some units, and a table for each."""

from shapepipe import Input, NoUsableData, Options, Output, option, runner


class OptionalOptions(Options):
    without: list[str] = option([], doc="Numbers of the units without the optional product.")
    empty: list[str] = option([], doc="Numbers of the units without usable data.")


@runner(
    inputs=[Input("c", ext=".txt")],
    outputs=[Output("extra", ext=".txt", optional=True), Output("table", ext=".txt")],
    after=["noop_runner"],
)
def optional_runner(job, opts: OptionalOptions):
    """Write the table, and the rest if there is any."""
    if job.number.strip("-") in opts.empty:
        raise NoUsableData("all pixels are masked")
    if job.number.strip("-") not in opts.without:
        job.output("extra").write_text(job.number)
    job.output("table").write_text(job.number)
