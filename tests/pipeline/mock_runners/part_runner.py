"""Works on one part of a unit."""

from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("part", ext=".txt")],
    outputs=[Output("piece", ext=".txt")],
    after=["expand_runner"],
)
def part_runner(job, opts: Options):
    """Copy the part."""
    job.output("piece").write_text(job.inputs["part"].read_text())
