"""Makes only the parts that are not planted to be damaged."""

from shapepipe import Input, Options, Output, PartlyDone, option, runner


class PartlyOptions(Options):
    damaged: list[str] = option([], doc="Numbers whose second part cannot be made.")


@runner(
    inputs=[Input("a", ext=".txt")],
    outputs=[Output("p", ext=".txt", expand=lambda o: ["-0", "-1"])],
    numbering="-000000",
)
def partly_runner(job, opts: PartlyOptions):
    """Write two parts, or one."""
    job.output("p", suffix="-0").write_text(job.number)
    if job.number.strip("-") in opts.damaged:
        raise PartlyDone(job.inputs["a"], "the second part is damaged")
    job.output("p", suffix="-1").write_text(job.number)
