"""Cuts a unit in several."""

from shapepipe import Input, Options, Output, option, runner


class ExpandOptions(Options):
    parts: int = option(3, at_least=1, doc="Number of parts.")


@runner(
    inputs=[Input("c", ext=".txt")],
    outputs=[
        Output("part", ext=".txt", expand=lambda o: [f"-{k}" for k in range(o.parts)]),
        Output("head", ext=".txt"),
    ],
    after=["noop_runner"],
    aliases=("cut_runner",),
    numbering="-000000",
)
def expand_runner(job, opts: ExpandOptions):
    """Write as many parts as asked for."""
    for k in range(opts.parts):
        job.output("part", suffix=f"-{k}").write_text(f"{job.number} {k}\n")
    job.output("head").write_text(job.number)
