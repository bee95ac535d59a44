"""Works on the lines of a file; several jobs share them."""

from shapepipe import Input, Output, RowsOptions, runner


def join(parts, output):
    """Put the shares together."""
    output.write_text("".join(part.read_text() for part in parts))


@runner(
    inputs=[Input("c", ext=".txt")],
    outputs=[Output("upper", ext=".txt")],
    after=["noop_runner"],
    scope="rows",
    merge=join,
)
def lines_runner(job, opts: RowsOptions):
    """Write the share in capitals."""
    lines = job.inputs["c"].read_text().splitlines(keepends=True)
    job.output("upper").write_text("".join(lines[job.rows.of(len(lines))]).upper())
