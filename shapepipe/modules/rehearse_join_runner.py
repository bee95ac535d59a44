"""Rehearsal: a step that needs all units, to see what it does without some of them.

Algorithm
---------
The texts of all units that are there are joined, sorted by number, so that a run that lost some and
went on can be compared with one that lost none.

References
----------
docs/rehearsal.md, the documentation of rehearsals.
"""

from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("unit", ext=".txt", doc="Product of rehearse_runner.")],
    outputs=[Output("all_units", ext=".txt", doc="The units one after the other.")],
    after=["rehearse_runner"],
    numbering="_0-0",
    scope="all",
)
def rehearse_join_runner(job, opts: Options):
    """Write number and text of each unit."""
    units = job.inputs["unit"]
    lines = [f"{number} {units[number].read_text()}" for number in sorted(units)]
    job.output("all_units").write_text("".join(lines))
    return {"n_units": len(lines)}
