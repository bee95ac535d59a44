"""Writes its number, and keeps a ledger of what it did."""

import os
import time

from shapepipe import Input, Options, Output, option, runner


class NoopOptions(Options):
    sleep: float = option(0.0, at_least=0, unit="s", doc="Time to sleep.")
    slow: list[str] = option([], doc="number=seconds for units that take longer.")
    word: str = option("", doc="Text that goes into every product.")
    ledger: str = option("", doc="File that gets a line for each job that starts.")


@runner(
    inputs=[Input("a", ext=".txt"), Input("b", ext=".txt")],
    outputs=[Output("c", ext=".txt")],
    numbering="-000000",
)
def noop_runner(job, opts: NoopOptions):
    """Write the number and both inputs."""
    if opts.ledger:
        ledger = os.open(opts.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(ledger, f"{job.number}\n".encode())
        os.close(ledger)
    slow = dict(item.split("=") for item in opts.slow)
    time.sleep(float(slow.get(job.number.strip("-"), opts.sleep)))
    texts = [job.inputs[role].read_text() for role in ("a", "b")]
    job.output("c").write_text(f"{job.number} {opts.word} {' '.join(texts)} {job.rng.random()}\n")
    return {"length": len(texts[0])}
