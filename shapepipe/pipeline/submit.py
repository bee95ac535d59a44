"""Hand a run over to a batch system: divide it, write the scripts, submit them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from shapepipe.errors import RunRefused
from shapepipe.pipeline import htcondor, slurm
from shapepipe.pipeline.batch import (
    SUBMITTED_FILE,
    BatchJob,
    make_jobs,
    next_name,
    roots_in_turn,
    submissions,
)
from shapepipe.pipeline.config import mode_of
from shapepipe.pipeline.points import reach
from shapepipe.pipeline.records import RunDirectory, write_atomically
from shapepipe.pipeline.run import begin, prepare, refuse_changes
from shapepipe.pipeline.shards import Part, write_roots
from shapepipe.pipeline.steps import Plan, State

SYSTEMS: dict[str, ModuleType] = {"slurm": slurm, "htcondor": htcondor}


@dataclass(frozen=True)
class Submission:
    """What would be, or was, submitted: the jobs, their files by name, and the jobs' numbers."""

    plan: Plan
    jobs: list[BatchJob]
    files: dict[str, str]
    numbers: list[str]


def submit(path: str | Path, system: str, *, shards: int | None = None, overrides: Sequence = (),
           only: Sequence[str] = (), continue_run: str | Path | bool = False,
           allow_change: bool = False, dry_run: bool = False,
           command: Sequence[str] = ()) -> Submission:  # fmt: skip
    """Submit a run, or what is left of it.

    Parameters
    ----------
    path : path
        INI file.
    system : {'slurm', 'htcondor'}
        Batch system.
    shards : int, optional
        Number of elements that share the units; default: [BATCH] SHARDS.
    overrides, only, continue_run, allow_change
        As for `run.prepare` and `run.execute`.
    dry_run : bool
        Make the texts only; nothing is created.

    Raises
    ------
    RunRefused
        When nothing is left to do, or the run is in a queue or being run already.
    """
    overrides = [*overrides, "EXECUTION:MODE=smp"] if _is_spread(path, overrides) else overrides
    plan = prepare(path, overrides, only, continue_run, Part(stage=None))
    refuse_changes(plan, allow_change)
    folder = plan.directory.path / "batch" / next_name(plan.directory)
    roots, busy = roots_in_turn(plan)
    jobs = make_jobs(plan, max(1, min(shards or plan.config.batch.shards, busy)), folder)
    files = SYSTEMS[system].write(jobs)
    numbers: list[str] = []
    if not dry_run:
        if not any(step.count(State.TO_DO) or not step.bound for step in plan.steps):
            raise RunRefused(f"{plan.directory.path}: nothing is left to do")
        _refuse_if_queued(plan.directory)
        _write(plan, folder, roots, files, command, overrides)
        numbers = SYSTEMS[system].submit(jobs)
        reach("submission-queued")
        _note(folder, system, jobs, numbers)
        reach("submission-noted")
    return Submission(plan, jobs, files, numbers)


def _is_spread(path: str | Path, overrides: Sequence[str]) -> bool:
    """Whether MODE asks for several machines, which the elements of an array are already."""
    return mode_of(path, overrides) in ("mpi", "dask")


def queued(directory: RunDirectory) -> list[str]:
    """Jobs of a run that are in a queue still.

    Raises
    ------
    RunRefused
        When the batch system is not on this machine.
    """
    found = []
    for note in submissions(directory):
        numbers = [job["number"] for job in note["jobs"]]
        found += SYSTEMS[note["system"]].in_queue(numbers)
    return found


def _refuse_if_queued(directory: RunDirectory) -> None:
    """Do not let two submissions work on one run."""
    alive = queued(directory)
    if alive:
        raise RunRefused(
            f"{directory.path} is in the queue as {', '.join(alive)}; wait for it, or cancel it"
        )


def _write(plan: Plan, folder: Path, roots: list[str], files: dict[str, str],
           command: Sequence[str], overrides: Sequence[str]) -> None:  # fmt: skip
    """Begin the run, and write what its elements need."""
    plan.directory.acquire()
    try:
        begin(plan, command, overrides)
        reach("submission-begun")
        folder.mkdir(parents=True)
        write_roots(folder, roots)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o755)
        reach("submission-written")
    finally:
        plan.directory.close()


def _note(folder: Path, system: str, jobs: list[BatchJob], numbers: list[str]) -> None:
    """Note what was submitted, for `status` and for the next submission."""
    pairs = zip(jobs, numbers, strict=True)
    listed = [{"stage": job.stage, "count": job.count, "number": number} for job, number in pairs]
    note = {"system": system, "at": time.time(), "jobs": listed}
    write_atomically(folder / SUBMITTED_FILE, json.dumps(note) + "\n")
