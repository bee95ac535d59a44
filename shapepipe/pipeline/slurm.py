"""Slurm: batch scripts, submission, what is still in the queue, and queueing a job again.

Nothing here needs the accounting database, which many sites do not have.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from shapepipe.errors import RunRefused
from shapepipe.pipeline.batch import BatchJob


def script(job: BatchJob) -> str:
    """Batch script of a job.

    The shell gives way to the command, so that the warning before the end reaches it directly; a
    warning that comes before the command listens must not end it.
    """
    request = job.request
    output = f"{job.folder}/{job.name}{'-%a' if job.count else ''}.log"
    wishes = {
        "job-name": job.name,
        "array": f"1-{job.count}" if job.count else "",
        "time": str(job.minutes),
        "cpus-per-task": str(job.cores),
        "mem": request.memory,
        "partition": request.partition,
        "account": request.account,
        "signal": f"B:USR1@{request.warning:.0f}",
        "output": shlex.quote(output),
        "open-mode": "append",
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in wishes.items() if value]
    lines += ["#SBATCH --requeue", *(f"#SBATCH {word}" for word in request.directives)]
    command = f"exec {job.command('$SLURM_ARRAY_TASK_ID')}"
    return "\n".join(["#!/bin/bash", *lines, request.prologue, "trap '' USR1", command]) + "\n"


def write(jobs: Sequence[BatchJob]) -> dict[str, str]:
    """Names and texts of all files that a submission needs."""
    return {f"{job.name}.sh": script(job) for job in jobs}


def submit(jobs: Sequence[BatchJob]) -> list[str]:
    """Submit the jobs, each to start after the one before it; return their numbers.

    Raises
    ------
    RunRefused
        When Slurm refuses, with what it says; the jobs that it had taken are cancelled.
    """
    taken: list[str] = []
    for job in jobs:
        after = [f"--dependency=afterany:{taken[-1]}"] if taken else []
        done = _call("sbatch", "--parsable", *after, str(job.folder / f"{job.name}.sh"))
        if done.returncode:
            if taken:
                _call("scancel", *taken)
            raise RunRefused(f"sbatch: {done.stderr.strip() or f'exit code {done.returncode}'}")
        taken.append(done.stdout.strip().partition(";")[0])
    return taken


def in_queue(numbers: Sequence[str]) -> list[str]:
    """Those of the jobs that wait or run."""
    alive = []
    for number in numbers:
        done = _call("squeue", "-h", "-j", number, "-o", "%A")
        if done.returncode == 0 and done.stdout.strip():
            alive.append(number)
    return alive


def requeue(environment: Mapping[str, str]) -> bool:
    """Queue this very job again, which Slurm starts two minutes later; whether it agrees."""
    number = own_number(environment)
    return bool(number) and _call("scontrol", "requeue", number).returncode == 0


def own_number(environment: Mapping[str, str]) -> str:
    """Number of the job that this process is part of; empty outside of Slurm.

    The plain number of one element of an array is that of the whole array as well, so an element is
    named by array and index.
    """
    array, index = (environment.get(f"SLURM_ARRAY_{word}_ID", "") for word in ("JOB", "TASK"))
    return f"{array}_{index}" if array and index else environment.get("SLURM_JOB_ID", "")


def time_left(environment: Mapping[str, str]) -> float | None:
    """Seconds until the time limit of the job that this process is part of; None if unknown."""
    number = own_number(environment)
    if not number:
        return None
    try:
        text = _call("squeue", "-h", "-j", number, "-o", "%L").stdout.strip()
    except RunRefused:
        return None
    found = _LEFT.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds


_LEFT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


def _call(*words: str) -> subprocess.CompletedProcess:
    # what a surrounding job sets must not count for the jobs that are submitted here
    inherited = ("SLURM_", "SBATCH_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(inherited) or k == "SLURM_CONF"}
    try:
        return subprocess.run(words, capture_output=True, text=True, env=kept, check=False)
    except FileNotFoundError as error:
        raise RunRefused(f"Slurm is not here: there is no {words[0]} on PATH") from error
