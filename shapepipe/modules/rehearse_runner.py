"""Rehearsal: units that only take time, before there are images to process.

The INI file of a rehearsal is `example/config/rehearse.ini`.

Algorithm
---------
A job sleeps for as long as it is told, and writes one small text for each product. The random
number in it comes from the generator of the unit: it is the same whatever runs beside it.

References
----------
docs/rehearsal.md, the documentation of rehearsals.
"""

import time

from shapepipe import Input, Options, Output, option, runner


class RehearseOptions(Options):
    """What a user may set in the section [REHEARSE_RUNNER] of the INI file."""

    work: float = option(0.0, at_least=0, unit="s", doc="Time that a job takes.")
    parts: int = option(0, at_least=0, doc="Products of a job, -0, -1, ...; 0: one, unnumbered.")


def suffixes(opts: RehearseOptions) -> list[str]:
    """What is added to the number of a unit for each of its products."""
    return [f"-{k}" for k in range(opts.parts)] or [""]


@runner(
    inputs=[Input("numbers", ext=".txt", doc="Any text file.")],
    outputs=[Output("unit", ext=".txt", expand=suffixes, doc="The text, and a random number.")],
    numbering="_0",
)
def rehearse_runner(job, opts: RehearseOptions):
    """Wait, then write the words of the input and a random number that belongs to the unit."""
    time.sleep(opts.work)
    text = " ".join(job.inputs["numbers"].read_text().split())
    for suffix in suffixes(opts):
        job.output("unit", suffix=suffix).write_text(f"{text} {job.rng.random()}\n")
    job.log.info("worked for %g s", opts.work)
