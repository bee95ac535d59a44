"""Which products of a run may go: what KEEP says, and what the steps of the chain still need.

With `all` everything stays. With `products` the products of every step stay, but not the shares of
a catalogue that have been joined. With `final` those products go as well that later steps of the
chain have taken, once every unit that takes them is done; what no step takes stays, and so do the
products of steps that take all files at once. Logs and records stay in any case.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from shapepipe.pipeline.match import Found
from shapepipe.pipeline.records import RunDirectory, RunList
from shapepipe.pipeline.steps import BAD, GOOD, NOTHING, Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Wire

FINISHED = (*GOOD, *NOTHING)
UNFINISHED = (*BAD, State.TO_DO, State.ELSEWHERE)


def keep_of(plan: Plan, step: PlannedStep) -> str:
    """What KEEP means for the products of one step: all, products or final."""
    asked = step.opts.keep or plan.config.execution.keep
    if asked == "final" and step.opts.keep is None and step.runner.scope == "all":
        return "products"
    return "final" if asked == "products" and step.shares > 1 else asked


class _Takers:
    """Units of a later step, by the row of the unit whose product they take."""

    def __init__(self, later: PlannedStep, source: Wire, makers: np.ndarray, rows: np.ndarray):
        order = np.argsort(makers, kind="stable")
        self.later, self.source, self._rows = later, source, rows[order]
        self._makers = makers[order]

    def rows(self, maker: int) -> list[int]:
        first, last = np.searchsorted(self._makers, [maker, maker + 1])
        return self._rows[first:last].tolist()

    def names(self, maker: int) -> set[str]:
        source, number = self.source, self.later.input_number
        return {f"{source.pattern}{number(row)}{source.ext}" for row in self.rows(maker)}

    def waits(self, maker: int) -> bool:
        return bool(np.isin(self.later.state[self.rows(maker)], UNFINISHED).any())


class _Gatherers(_Takers):
    """A step that takes the products of all units at once."""

    def __init__(self, later: PlannedStep, source: Wire):
        makers = np.fromiter(source.index.values(), np.int64, len(source.index))
        super().__init__(later, source, makers, np.arange(len(makers)))
        self._numbers = list(source.index)

    def names(self, maker: int) -> set[str]:
        source = self.source
        return {f"{source.pattern}{self._numbers[k]}{source.ext}" for k in self.rows(maker)}

    def waits(self, maker: int) -> bool:
        return True  # asked only of units that something waits for


class Retention:
    """What of the products of a planned chain may go.

    Parameters
    ----------
    plan : Plan
        Marked.
    others : dict
        Label of a step -> who else reads its products; see `read_elsewhere`.
    """

    def __init__(self, plan: Plan, others: dict[str, str]):
        self.plan = plan
        self.whole = {step.index: _whole(plan, step, others) for step in plan.steps}
        self._takers: dict[int, list[_Takers]] = defaultdict(list)
        self._open = [np.zeros(len(step.numbers), np.int32) for step in plan.steps]
        for step in plan.steps:
            self._count_wired(step)
            self._count_gathered(step)

    def why_kept(self, k: int, row: int) -> str:
        """Say why the products of a unit that later steps take must stay; or nothing."""
        if self.whole[k] or not self._open[k][row]:
            return self.whole[k]
        waiting = (takers for takers in self._takers[k] if takers.waits(row))
        label = next((takers.later.label for takers in waiting), "a later step")
        return f"{label} is not done with them"

    def names(self, k: int, row: int) -> set[str]:
        """Names of the products of a unit that later steps take."""
        return set().union(*(takers.names(row) for takers in self._takers[k]))

    def free(self) -> Iterator[tuple[int, int]]:
        """Units, (step, row), that are done and whose taken products nothing needs."""
        for step in self.plan.steps:
            if not self.whole[step.index] and self._takers[step.index]:
                done = np.isin(step.state, GOOD) & (self._open[step.index] == 0)
                yield from ((step.index, row) for row in np.flatnonzero(done).tolist())

    def settled(self, step: PlannedStep, row: int) -> Iterator[tuple[int, int]]:
        """Units, (step, row), whose taken products nothing needs any more, now that one is done."""
        released = []
        for column in step.columns:
            source = column.sources[column.which[row]]
            if isinstance(source, Wire):
                released.append((source.step, int(column.index[row])))
        if _joined(step) and not _misses_some(self.plan, step):
            released += [(s.step, k) for s in _joined(step) for k in s.index.values()]
        for k, maker in released:
            self._open[k][maker] -= 1
            state = self.plan.steps[k].state[maker]
            if not self._open[k][maker] and not self.whole[k] and state in GOOD:
                yield k, maker

    def _count_wired(self, step: PlannedStep) -> None:
        unfinished = ~np.isin(step.state, FINISHED)
        for column in step.columns:
            for k, source in enumerate(column.sources):
                if not isinstance(source, Wire):
                    continue
                rows = np.flatnonzero(column.which == k)
                makers, needs = column.index[rows], self._open[source.step]
                self._takers[source.step].append(_Takers(step, source, makers, rows))
                np.add.at(needs, makers[unfinished[rows]], 1)
                lacking = [source.index[n] for n in step.incomplete if n in source.index]
                np.add.at(needs, np.array(lacking, np.int64), 1)

    def _count_gathered(self, step: PlannedStep) -> None:
        for source in _joined(step):
            self._takers[source.step].append(_Gatherers(step, source))
            if _misses_some(self.plan, step):
                np.add.at(self._open[source.step], list(source.index.values()), 1)


def _whole(plan: Plan, step: PlannedStep, others: dict[str, str]) -> str:
    """Say why all that later steps take of a step's products must stay; or nothing."""
    if keep_of(plan, step) != "final":
        return f"KEEP = {keep_of(plan, step)}"
    unknown = [other.label for other in plan.steps if not other.bound]
    if unknown:
        return f"the units of {unknown[0]} are not known yet"
    if plan.only:
        return "only some units are planned"
    if step.names_unknown():
        return "only its jobs know the names of its products"
    for later in plan.steps[step.index + 1 :]:
        if any(_is_in(folder, step.output) for folder in later.reads):
            return f"an option of {later.label} names its directory"
        sources = [s for column in later.columns for s in column.sources]
        sources += [s for some in later.gathered.values() for s in some]
        if any(_is_in(f, step.output) for s in sources if isinstance(s, Found) for f in s.folders):
            return f"{later.label} looks into its directory"
        if not _joined(later) and any(s.step == step.index for s in _gathered(later)):
            return f"every job of {later.label} takes all of them"
    return others.get(step.label, "")


def _gathered(step: PlannedStep) -> list[Wire]:
    return [s for some in step.gathered.values() for s in some if isinstance(s, Wire)]


def _joined(step: PlannedStep) -> list[Wire]:
    """What a step takes whole whose records name each file, so that one may be missing later."""
    return _gathered(step) if step.runner.scope == "all" else []


def _misses_some(plan: Plan, step: PlannedStep) -> bool:
    """Whether a step that takes all files is not done, or will want all of them once more."""
    steps = [step, *(plan.steps[source.step] for source in _joined(step))]
    return any(one.incomplete or one.count(*UNFINISHED) for one in steps)


def _is_in(path: Path | str, folder: str) -> bool:
    """Whether a path is a directory, or is below it."""
    return f"{path}/".startswith(f"{folder}/")


def read_elsewhere(plan: Plan, labels: Iterable[str]) -> dict[str, str]:
    """Those of some steps of a run whose products another run has read: label -> which run."""
    file, found = plan.config.file, {}
    outputs = {label: os.path.realpath(plan.directory.output(label)) for label in labels}
    for run, _ in RunList(file.output_dir, file.run_log_name).runs():
        other = RunDirectory(run)
        if run == plan.directory.path or not other.exists():
            continue
        folders = list(other.folders().values())
        folders += [f for some in other.read_run().get("addresses", {}).values() for f in some]
        real = {os.path.realpath(folder) for folder in folders}
        for label, output in outputs.items():
            if any(_is_in(folder, output) for folder in real):
                found.setdefault(label, f"run {run.name} reads them")
    return found


def remove_products(
    directory: RunDirectory,
    label: str,
    number: str,
    attempt: int,
    names: list[str],
    noted: tuple[str, ...] = (),
) -> None:
    """Remove products of a unit; that they may be missing is recorded before.

    Parameters
    ----------
    directory : RunDirectory
        Open.
    noted : tuple of str
        Names that are recorded as removed already, though they are still there.
    """
    new = [name for name in names if name not in noted]
    if new:
        directory.note_removed(label, number, attempt, new)
    for name in names:
        (directory.output(label) / name).unlink(missing_ok=True)
