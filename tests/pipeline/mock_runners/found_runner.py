"""Reads files whose names were unknown before the run."""

from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("found", ext=".txt")],
    outputs=[Output("seen", ext=".txt")],
    after=["many_runner"],
    numbering="-000000-0",
)
def found_runner(job, opts: Options):
    """Copy it."""
    job.output("seen").write_text(job.inputs["found"].read_text())
