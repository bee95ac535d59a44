"""The process that jobs run in, seen from inside.

It takes tasks from a pipe, does them one at a time and sends each outcome back. If the process that
started it goes away, it ends at once, together with any program that it is running.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pickle
import resource
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from shapepipe.pipeline.job import FAILED, Outcome, StepContext, Task, failed_log_name, run_job
from shapepipe.pipeline.points import reach
from shapepipe.pipeline.runner import Runner, find_runner

OUTPUT_KEPT = 65536
"""Bytes of what a job printed that are kept in its log."""


def main(pipe: int, lifeline: int) -> None:
    """Serve tasks until the pipe is closed.

    Parameters
    ----------
    pipe, lifeline : int
        File descriptors: one carries tasks and outcomes, the other only ends with the parent.
    """
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # a core file for each of a million jobs would fill any disk
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _be_killed_with_parent(lifeline)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    connection, contexts = Connection(pipe), {}
    while True:
        try:
            path, task = pickle.loads(connection.recv_bytes())
        except EOFError:
            break
        reach("task-received")
        outcome = _do(contexts, path, Task(*task), connection)
        reach("outcome-ready")
        connection.send_bytes(pickle.dumps(tuple(outcome)))
        reach("outcome-sent")
    os._exit(0)


def _be_killed_with_parent(lifeline: int) -> None:
    """Let the kernel kill this process group when the parent ends (Linux).

    A job inside of a C function that holds the interpreter's lock would keep the thread below,
    which does the same on every system, from running.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def _end_with_parent(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _do(contexts: dict, path: str, task: Task, connection: Connection) -> Outcome:
    context = contexts.get(path)
    if context is None:
        try:
            context = contexts[path] = load_context(path)
        except Exception as error:  # noqa: BLE001 (whatever an import raises must come back as an outcome)
            reason = f"the runner cannot be loaded in the worker: {type(error).__name__}: {error}"
            return Outcome(task.step, task.row, FAILED, 0.0, 0.0, 0, 0.0, error=reason)
        connection.send_bytes(b"")  # the job's own time starts now
    outcome = run_job(context, task)
    printed = _printed()
    if not printed:
        return outcome
    if outcome.status != FAILED:
        return outcome._replace(log=f"{outcome.log}{printed}")
    os.makedirs(context.logs, exist_ok=True)
    with open(Path(context.logs) / failed_log_name(task), "a", encoding="utf-8") as stream:
        stream.write(printed)
    return outcome


def _printed() -> str:
    """Take what the job printed out of the file that is standard output."""
    sys.stdout.flush()
    sys.stderr.flush()
    size = os.fstat(1).st_size
    if not size:
        return ""
    data = os.pread(1, OUTPUT_KEPT, 0)
    os.ftruncate(1, 0)
    return data.decode(errors="replace")


def save_context(path: Path, context: StepContext, reference: str, folders: list[str]) -> None:
    """Write what the jobs of a step have in common, with the runner by name."""
    opts = pickle.dumps(context.opts)
    bare = replace(context, runner=cast(Runner, None), opts=None)
    path.write_bytes(pickle.dumps((reference, folders, opts, bare)))


def load_context(path: str) -> StepContext:
    """Read the context of a step and find its runner again."""
    reference, folders, opts, context = pickle.loads(Path(path).read_bytes())
    context.runner = find_runner(reference, folders)
    context.opts = pickle.loads(opts)
    return context
