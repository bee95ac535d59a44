"""What batch systems have in common: a run as jobs that follow each other, each with its command.

A stage that is cut into shards is one job array; a stage that is not is one job. A job starts when
the one before it has ended, however it ended. Each element runs `shapepipe resume` on its part of
the run and leaves its records as files. The words of each system are in `slurm` and `htcondor`.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapepipe.errors import RunRefused
from shapepipe.pipeline.options import parse_duration
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.steps import Plan, State

SUBMITTED_FILE = "submitted.json"
PATIENCE = 30.0
"""Seconds within which whoever submits has noted it."""


@dataclass(frozen=True)
class BatchJob:
    """One job, or one array of `count` elements (0: not an array), and what it asks for.

    Attributes
    ----------
    folder : Path
        Where its script and the output of its elements go.
    request : BatchSection
        The section [BATCH].
    """

    run: Path
    folder: Path
    stage: int
    count: int
    cores: int
    request: Any

    @property
    def name(self) -> str:
        """Name that a queue shows, and of its files."""
        return f"{self.run.name}-stage{self.stage}"

    @property
    def minutes(self) -> int:
        """Time of one element in whole minutes, as batch systems count it."""
        return math.ceil((parse_duration(self.request.time) or 0.0) / 60)

    def command(self, index: str) -> str:
        """Command line of an element; `index` is how the system writes the element's number."""
        words = [sys.executable, "-m", "shapepipe", "resume", str(self.run)]
        words += ["--stage", str(self.stage), "--submission", self.folder.name]
        shard = f' --shard "{index}/{self.count}"' if self.count else ""
        return shlex.join(words) + shard


def make_jobs(plan: Plan, count: int, folder: Path) -> list[BatchJob]:
    """Jobs for all stages that have something to do, and one that closes the run.

    Parameters
    ----------
    plan : Plan
        Planned with a `Part`, so that it is divided.
    count : int
        Number of shards.
    """
    stages = plan.part.division.stages
    last = max(stages) + (max(stages) % 2 == 0)
    to_do = {stages[step.index] for step in plan.steps if not step.bound or step.count(State.TO_DO)}
    config = plan.config
    return [
        BatchJob(
            plan.directory.path, folder, stage, count if stage % 2 == 0 else 0,
            1 if config.execution.mode == "serial" else config.job.smp_batch_size, config.batch,
        )
        for stage in sorted({*to_do, last})
    ]  # fmt: skip


def roots_in_turn(plan: Plan) -> tuple[list[str], int]:
    """All roots, those with units to do first, so that shards get equal numbers; and how many."""
    division, busy = plan.part.division, set()
    for step in plan.steps:
        if division.stages[step.index] % 2 == 0 and step.bound:
            busy |= set(division.roots(plan, step)[step.state == State.TO_DO].tolist())
    names = division.names
    first = sorted(names[index] for index in busy)
    return first + sorted(set(names) - set(first)), len(first)


def submissions(directory: RunDirectory) -> list[dict]:
    """What has been submitted for a run, oldest first, as it was noted then."""
    found = []
    for path in (directory.path / "batch").glob(f"*/{SUBMITTED_FILE}"):
        found.append(json.loads(path.read_text(encoding="utf-8")) | {"name": path.parent.name})
    return sorted(found, key=lambda note: int(note["name"]))


def _last_name(directory: RunDirectory) -> int:
    """Number of the last submission that is noted, 0 if none is."""
    noted = submissions(directory)
    return int(noted[-1]["name"]) if noted else 0


def next_name(directory: RunDirectory) -> str:
    """Name of the next submission: the first number that none has, be it noted or not."""
    names = [path.name for path in (directory.path / "batch").glob("*") if path.name.isdigit()]
    return str(max(map(int, names), default=0) + 1)


def refuse_stray(directory: RunDirectory, name: str, patience: float = PATIENCE) -> None:
    """Keep an element from working whose submission nobody knows of, or that another has followed.

    The process that submits may have been killed before it could note what it had submitted; its
    elements would otherwise share the run with those of the next submission.

    Raises
    ------
    RunRefused
        When it is such an element.
    """
    until = time.monotonic() + patience
    while (last := _last_name(directory)) < int(name):
        if time.monotonic() > until:
            raise RunRefused(
                f"{directory.path}: submission {name} was cut short; submit again with --resume"
            )
        time.sleep(0.2)
    if last != int(name):
        raise RunRefused(f"{directory.path}: submission {last} has taken the place of {name}")


def shard_states(directory: RunDirectory, in_queue: bool = True) -> dict[str, int]:
    """Number of shards of the last submission that wait, run, have ended, or have died.

    Parameters
    ----------
    in_queue : bool
        Whether the submission is in its queue still, as far as one knows.
    """
    notes = submissions(directory)
    if not notes:
        return {}
    count, states = max(job["count"] for job in notes[-1]["jobs"]), Counter()
    for index in range(1, count + 1):
        shard = RunDirectory(directory.path, f"{index}of{count}")
        state = _shard_state(shard, notes[-1]["name"])
        states[NO_LONGER.get(state, state) if not in_queue else state] += 1
    return dict(states)


NO_LONGER = {"waiting": "never started", "to be continued": "not continued"}
"""What has become of a shard that is not in the queue any more."""


def _shard_state(shard: RunDirectory, submission: str) -> str:
    if shard.is_held():
        return "running"
    last = shard.last_line()
    if last is None:
        return "waiting"
    if "ended" not in last:
        return "died"
    if last["ended"]["submission"] != submission:
        return "waiting"
    return ENDED_AS.get(last["ended"]["as"], "ended")


ENDED_AS = {75: "to be continued", 130: "interrupted"}
"""What an exit status of an element means for its shard."""
