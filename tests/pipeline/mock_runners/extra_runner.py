"""Reads the optional product."""

from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("extra", ext=".txt")],
    outputs=[Output("more", ext=".txt")],
    after=["optional_runner"],
)
def extra_runner(job, opts: Options):
    """Copy it."""
    job.output("more").write_text(job.inputs["extra"].read_text())
