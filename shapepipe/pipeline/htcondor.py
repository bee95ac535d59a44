"""HTCondor: submit files and a DAG that lets the stages follow each other.

A job that was out of time ends with exit code 75, and is then queued again by HTCondor itself. An
evicted job gets SIGTERM, gives up what is under way, and is started again as well.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from shapepipe.errors import RunRefused
from shapepipe.pipeline.batch import BatchJob

DAG = "run.dag"


def description(job: BatchJob) -> str:
    """Submit description of a job."""
    request = job.request
    end = f"{job.name}{'-$(Element)' if job.count else ''}"
    stop = max(60, int(60 * job.minutes - request.warning))
    words = shlex.split(job.command("$(Element)")) + ["--stop-after", str(stop)]
    lines = [
        f"executable = {job.folder / job.name}.sh",
        f'arguments = "{" ".join(words)}"',
        "getenv = True",
        "should_transfer_files = NO",
        f"request_cpus = {job.cores}",
        *([f"request_memory = {request.memory}"] if request.memory else []),
        *([f"accounting_group = {request.account}"] if request.account else []),
        f"output = {job.folder}/{end}.log",
        f"error = {job.folder}/{end}.log",
        f"log = {job.folder}/events.log",
        "kill_sig = SIGTERM",
        "on_exit_remove = (ExitBySignal == False) && (ExitCode =!= 75)",
        *request.directives,
        *(["Element = $INT(Number)", "Number = $(Process) + 1"] if job.count else []),
        f"queue {max(1, job.count)}",
    ]
    return "\n".join(lines) + "\n"


def write(jobs: Sequence[BatchJob]) -> dict[str, str]:
    """Names and texts of all files that a submission needs."""
    files = {}
    for job in jobs:
        files[f"{job.name}.sub"] = description(job)
        files[f"{job.name}.sh"] = "\n".join(["#!/bin/bash", job.request.prologue, 'exec "$@"', ""])
    nodes = [f"JOB {job.name} {job.name}.sub" for job in jobs]
    nodes += [f"SCRIPT POST {job.name} /bin/true" for job in jobs]  # however a stage has ended
    nodes += [f"PARENT {one.name} CHILD {two.name}" for one, two in pairwise(jobs)]
    return files | {DAG: "\n".join(nodes) + "\n"}


def submit(jobs: Sequence[BatchJob]) -> list[str]:
    """Submit the DAG.

    Raises
    ------
    RunRefused
        When HTCondor refuses, with what it says.
    """
    words = ["condor_submit_dag", "-usedagdir", str(jobs[0].folder / DAG)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RunRefused(f"HTCondor is not here: there is no {words[0]} on PATH") from error
    if done.returncode:
        raise RunRefused(f"{words[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return [words[-1]] * len(jobs)


def in_queue(numbers: Sequence[str]) -> list[str]:
    """Those of the DAGs whose lock file says that they are under way."""
    return [number for number in numbers if Path(f"{number}.lock").exists()]
