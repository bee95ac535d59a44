"""Fails in the way that is planted for a number."""

import ctypes
import os
import signal
import subprocess
import sys
import time

from shapepipe import BadInput, Input, NoUsableData, Options, Output, Program, option, runner


class FaultOptions(Options):
    plant: list[str] = option([], doc="number=fault.")
    once: str = option("", doc="Folder of marks: a fault that has left its mark is cured.")
    pids: str = option("", doc="Folder in which programs that are left behind leave their number.")


@runner(
    inputs=[Input("a", ext=".txt")],
    outputs=[Output("d", ext=".txt")],
    numbering="-000000",
    programs=[Program("sh", version=("-c", "echo 1.0"))],
)
def fault_runner(job, opts: FaultOptions):
    """Do what is planted, or write the product."""
    number = job.number.strip("-")
    fault = dict(item.split("=") for item in opts.plant).get(number, "")
    if opts.once and os.path.exists(f"{opts.once}/{number}"):
        fault = ""
    elif opts.once:
        open(f"{opts.once}/{number}", "w").close()
    if fault == "miss":
        return
    if fault:
        job.log.info("about to %s", fault)
        FAULTS[fault](job, opts)
    job.output("d").write_text(job.number)


def fail(job, opts):
    raise ValueError(f"bad pixel in {job.number}")


def bad_input(job, opts):
    raise BadInput(job.inputs["a"], "HDU 3 is missing", allowed="2 HDUs")


def leave(job, opts):
    raise SystemExit(4)


def end_process(job, opts):
    os._exit(3)


def be_killed(job, opts):
    os.kill(os.getpid(), signal.SIGKILL)


def crash(job, opts):
    ctypes.string_at(0)


def hang(job, opts):
    start_sleeper(opts)
    time.sleep(1000)


def leave_program(job, opts):
    start_sleeper(opts)
    be_killed(job, opts)


def start_sleeper(opts):
    sleeper = subprocess.Popen(["sleep", "1000"])
    open(f"{opts.pids}/{sleeper.pid}", "w").close()


def find_nothing(job, opts):
    raise NoUsableData("no star left")


def half(job, opts):
    job.output("d").write_text("hal")
    raise OSError(28, "No space left on device", str(job.output("d")))


def speak(job, opts):
    sys.stdout.write("a word on standard output\n")
    sys.stdout.flush()
    subprocess.run(["echo", "a word of a program"], check=True)
    os.write(2, b"a word on standard error\n")


def call(job, opts):
    job.call("sh", ["-c", "echo 'cannot open file'; exit 7"])


def sleep_a_little(job, opts):
    time.sleep(1.5)


def leak(job, opts):
    """Take more and more memory, up to a gigabyte."""
    taken = []
    for _ in range(100):
        taken.append(bytearray(b"x" * 10_000_000))
        time.sleep(0.05)


def hold(job, opts):
    """Sleep inside a C function that keeps the interpreter's lock."""
    ctypes.PyDLL(None).sleep(1000)


def close_everything(job, opts):
    os.closerange(3, 256)


FAULTS = {
    "leak": leak,
    "raise": fail,
    "badinput": bad_input,
    "sysexit": leave,
    "exit": end_process,
    "kill": be_killed,
    "segv": crash,
    "hang": hang,
    "program": leave_program,
    "none": find_nothing,
    "half": half,
    "speak": speak,
    "call": call,
    "slow": sleep_a_little,
    "hold": hold,
    "closes": close_everything,
}
