"""A run cut into stages and shards, so that the processes of a batch array can share it.

Units that hang together have one root: the shortest number that they are part of, that of the
exposure for its CCDs. All units of a root are in one shard, so within a stage no shard waits for
another. Stages follow each other: those with an even number are cut into shards, those with an odd
one hold the steps that take all files at once. No result depends on the number of shards, since a
job knows nothing of it. How shards are submitted is the business of `batch`.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.flow import OUTCOME_STATES
from shapepipe.pipeline.records import Record, RunDirectory
from shapepipe.pipeline.steps import BAD, GOOD, NOTHING, Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Wire


@dataclass
class Part:
    """What one process does of a run.

    Attributes
    ----------
    index, count : int
        This is shard `index` (from 1) of `count`; 0 of 0 for a stage that is not cut.
    stage : int or None
        Stages before it are over, those after it are left to others; None: all stages.
    submission : str
        Name of the batch submission that this belongs to, if any.
    """

    index: int = 0
    count: int = 0
    stage: int | None = 0
    submission: str = ""
    division: Any = None  # a Division, once the plan is known
    ranks: dict[str, int] = field(default_factory=dict)
    settled: set[tuple[str, str]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Name of the shard in those of its files; empty when the stage is not cut."""
        return f"{self.index}of{self.count}" if self.count else ""

    def prepare(self, plan: Plan) -> None:
        """Learn how the run is divided, and what this part has already given up."""
        self.division = Division(plan)
        folder = plan.directory.path / "batch" / self.submission
        if self.submission:
            self.settled = _settled(plan.directory, self.submission)
        if self.count:
            roots = read_roots(folder) if self.submission else sorted(self.division.names)
            self.ranks = {root: rank for rank, root in enumerate(roots)}

    def does(self, step: PlannedStep) -> bool:
        """Whether units of this step are done here."""
        return self.division.stages[step.index] == self.stage

    def comes_later(self, step: PlannedStep) -> bool:
        """Whether a step belongs to a stage after this one."""
        return self.stage is not None and self.division.stages[step.index] > self.stage

    def owns(self, root: str) -> bool:
        """Whether the units of a root are in this shard."""
        rank = self.ranks.get(root)
        if rank is None:  # a file that came after the run was cut
            rank = zlib.crc32(root.encode())
        return rank % self.count == self.index - 1

    def leave_to_others(self, plan: Plan, step: PlannedStep, records: dict) -> None:
        """Of the units that are to do, keep those of this part."""
        if self.stage is None:
            return
        stage, to_do = self.division.stages[step.index], step.state == State.TO_DO
        if stage > self.stage:
            step.state[to_do] = State.ELSEWHERE
        elif stage == self.stage and self.count:
            roots = self.division.roots(plan, step)
            mine = np.array([self.owns(name) for name in self.division.names], dtype=np.bool_)
            step.state[to_do & ~mine[roots]] = State.ELSEWHERE
            lacking = step.incomplete
            step.incomplete = {n: lacking[n] for n in lacking if self.owns(self.division.root(n))}
        if stage != self.stage:
            step.incomplete.clear()
        for row in np.flatnonzero(step.state == State.TO_DO).tolist():
            if stage < self.stage or (step.label, step.numbers[row]) in self.settled:
                step.state[row] = _as_recorded(plan, step, row, records)


def parse_part(shard: str | None, stage: int = 0, submission: str = "") -> Part:
    """Read `3/8`: the third of eight shards."""
    if not shard:
        return Part(0, 0, stage, submission)
    first, slash, second = shard.partition("/")
    if not (slash and first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise ConfigurationError(f"--shard {shard}: is not of the form 3/8 (allowed: 1/8 to 8/8)")
    return Part(int(first), int(second), stage, submission)


class Division:
    """How a plan is divided; the same for every process, whatever has been done already.

    Parameters
    ----------
    plan : Plan
        As it comes from `make_plan`.
    """

    def __init__(self, plan: Plan):
        self._known = {n for step in plan.steps if is_cut(step) for n in step.numbers}
        self._roots: dict[int, np.ndarray] = {}
        self._index: dict[str, int] = {}
        self.stages: list[int] = []
        for step in plan.steps:
            self.stages.append(self._stage(plan, step))

    @property
    def names(self) -> list[str]:
        """All roots met so far, by index."""
        return list(self._index)

    def root(self, number: str) -> str:
        """Shortest number of a planned unit that a number is part of, or is."""
        return shortest_whole(number, self._known)

    def roots(self, plan: Plan, step: PlannedStep) -> np.ndarray:
        """Index of each unit's root: that of what makes its input, else that of its number."""
        if step.index in self._roots:
            return self._roots[step.index]
        roots = np.full(len(step.numbers), -1, np.int64)
        for k, producers, consumers in _edges(step):
            if k in self._roots and is_cut(plan.steps[k]):
                roots[consumers] = self._roots[k][producers]
        for row in np.flatnonzero(roots < 0).tolist():
            name = self.root(step.numbers[row])
            roots[row] = self._index.setdefault(name, len(self._index))
        if step.bound:
            self._roots[step.index] = roots
        return roots

    def _stage(self, plan: Plan, step: PlannedStep) -> int:
        """First stage of the right kind that has all before it that the step needs."""
        cut, stage = is_cut(step), 0 if is_cut(step) else 1
        roots = self.roots(plan, step) if cut else None
        for k, producers, consumers in _edges(step):
            together = cut == is_cut(plan.steps[k])
            if together and roots is not None:
                together = bool((self._roots[k][producers] == roots[consumers]).all())
            stage = max(stage, self.stages[k] + (not together))
        for k in step.waits:
            together = not cut and not is_cut(plan.steps[k])
            stage = max(stage, self.stages[k] + (not together))
        return stage + (stage % 2 == cut)


def _edges(step: PlannedStep) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """What the units of a step take from units of earlier ones: (step, rows there, rows here)."""
    for column in step.columns:
        yield from column.producers()


def shortest_whole(number: str, known: Container[str]) -> str:
    """Shortest of the known numbers that a number is part of; itself if there is none."""
    return next((whole for whole in _wholes(number) if whole in known), number)


def _wholes(number: str) -> Iterator[str]:
    """What a number is part of: its beginnings up to a separator; at last, the number itself."""
    for k, sign in enumerate(number):
        if not sign.isalnum() and any(c.isalnum() for c in number[:k]):
            yield number[:k]
    yield number


def is_cut(step: PlannedStep) -> bool:
    """Whether the units of a step can be shared among shards."""
    return step.runner.scope != "all" and not (step.bound and step.numbers == [""])


def _as_recorded(plan: Plan, step: PlannedStep, row: int, records: dict) -> State:
    """State of a unit that is not done and whose time is over."""
    for column in step.columns:
        source = column.sources[column.which[row]]
        if isinstance(source, Wire):
            before = plan.steps[source.step].state[column.index[row]]
            if before in BAD:
                return State.BLOCKED
            if before in NOTHING:
                return State.SKIPPED
    record: Record | None = records.get((step.label, step.numbers[row]))
    state = OUTCOME_STATES.get(record.status, State.LOST) if record else State.LOST
    return State.LOST if state in GOOD else state


def _settled(directory: RunDirectory, submission: str) -> set[tuple[str, str]]:
    """Units that this part has tried in vain since it was submitted: they are not tried again."""
    found, started = set(), False
    for line in directory.own_lines():
        if "launch" in line:
            started |= line["launch"].get("submission") == submission
        elif started and OUTCOME_STATES.get(line.get("status", ""), State.TO_DO) in BAD:
            found.add((line["step"], line["number"]))
    return found


def write_roots(folder: Path, roots: Iterable[str]) -> None:
    """Keep the order of the roots: the k-th of them belongs to shard k modulo their number."""
    (folder / ROOTS_FILE).write_text("".join(f"{root}\n" for root in roots), encoding="utf-8")


def read_roots(folder: Path) -> list[str]:
    """Roots in the order in which a submission has dealt them out."""
    return (folder / ROOTS_FILE).read_text(encoding="utf-8").splitlines()


ROOTS_FILE = "roots.txt"
