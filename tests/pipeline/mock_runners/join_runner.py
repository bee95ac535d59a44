"""Joins the products of all units."""

from shapepipe import Input, NoUsableData, Options, Output, runner


@runner(
    inputs=[Input("c", ext=".txt")],
    outputs=[Output("all", ext=".txt")],
    after=["noop_runner"],
    scope="all",
)
def join_runner(job, opts: Options):
    """Write all inputs, in the order of their numbers."""
    if not job.inputs["c"]:
        raise NoUsableData("nothing to join")
    text = "".join(f"{number}: {path.read_text()}" for number, path in job.inputs["c"].items())
    job.output("all").write_text(text)
    return {"units": len(job.inputs["c"])}
