"""Makes files whose names only the job knows."""

from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("a", ext=".txt")],
    outputs=[Output("found", ext=".txt", many=True)],
    numbering="-000000",
)
def many_runner(job, opts: Options):
    """Write one file for each letter of the input."""
    for k, letter in enumerate(job.inputs["a"].read_text().strip()):
        job.output("found", name=f"found{job.number}-{k}.txt").write_text(letter)
