"""Behaves oddly in the way that is planted for a number; faults are planted by a rehearsal."""

import ctypes
import os
import signal
import subprocess
import sys

from shapepipe import Input, NoUsableData, Options, Output, Program, option, runner


class OddOptions(Options):
    plant: list[str] = option([], doc="number=behaviour.")
    pids: str = option("", doc="Folder in which processes that are left leave their number.")


@runner(
    inputs=[Input("a", ext=".txt")],
    outputs=[Output("d", ext=".txt")],
    numbering="-000000",
    programs=[Program("sh", version=("-c", "echo 1.0"))],
)
def odd_runner(job, opts: OddOptions):
    """Do what is planted, then write the product."""
    oddity = dict(item.split("=") for item in opts.plant).get(job.number.strip("-"), "")
    if oddity:
        job.log.info("about to %s", oddity)
        ODDITIES[oddity](job, opts)
    job.output("d").write_text(job.number)


def leave(job, opts):
    raise SystemExit(4)


def leave_program(job, opts):
    sleeper = subprocess.Popen(["sleep", "1000"])
    open(f"{opts.pids}/{sleeper.pid}", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)


def find_nothing(job, opts):
    raise NoUsableData("no star left")


def speak(job, opts):
    sys.stdout.write("a word on standard output\n")
    sys.stdout.flush()
    subprocess.run(["echo", "a word of a program"], check=True)
    os.write(2, b"a word on standard error\n")


def call(job, opts):
    job.call("sh", ["-c", "echo 'cannot open file'; exit 7"])


def hold(job, opts):
    """Sleep inside a C function that keeps the interpreter's lock."""
    open(f"{opts.pids}/{os.getpid()}", "w").close()
    ctypes.PyDLL(None).sleep(1000)


def close_everything(job, opts):
    os.closerange(3, 256)


ODDITIES = {
    "sysexit": leave,
    "program": leave_program,
    "none": find_nothing,
    "speak": speak,
    "call": call,
    "hold": hold,
    "closes": close_everything,
}
