"""Which unit can run now: units flow from step to step as their own inputs get ready.

No input or output of its own but for the records: it takes outcomes, commits them, and hands out
the next assignments. Steps that gather files wait for the whole of the steps that make them.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from shapepipe.pipeline.binding import bind
from shapepipe.pipeline.crew import Assignment
from shapepipe.pipeline.job import (
    LOST,
    OK,
    TIMEOUT,
    Outcome,
    StepContext,
    Task,
    failed_log_name,
    identity,
)
from shapepipe.pipeline.keeping import Keeping
from shapepipe.pipeline.logs import StepLog
from shapepipe.pipeline.match import Listing
from shapepipe.pipeline.points import reach
from shapepipe.pipeline.records import Record, write_atomically
from shapepipe.pipeline.rehearsal import planted_in
from shapepipe.pipeline.removed import Removed
from shapepipe.pipeline.resume import Known, gathered_marks, gathered_paths, mark_step, still_done
from shapepipe.pipeline.retry import Retries, below_floor, missing_units, nothing_usable
from shapepipe.pipeline.steps import BAD, GOOD, NOTHING, Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Wire
from shapepipe.pipeline.worker import save_context

MISSING_FILE = "missing_units.csv"
"""List of the units that a step which takes all files did without, in its output directory."""
OUTCOME_STATES = {
    "ok": State.OK,
    "empty": State.EMPTY,
    "failed": State.FAILED,
    TIMEOUT: State.TIMEOUT,
    LOST: State.LOST,
}


class _Edges:
    """Units of a later step by the row of the unit that they need."""

    def __init__(
        self, consumer: int, producers: np.ndarray, consumers: np.ndarray, n_producers: int
    ):
        order = np.argsort(producers, kind="stable")
        self.consumer, self.rows = consumer, consumers[order]
        self.starts = np.searchsorted(producers[order], np.arange(n_producers + 1))

    def after(self, row: int) -> list[int]:
        return self.rows[self.starts[row] : self.starts[row + 1]].tolist()


class Flow:
    """The state of a run under way.

    Parameters
    ----------
    plan : Plan
        Wired and marked.
    log : logging.Logger
        The run's log.
    display : Display
        Told of every step and outcome.
    """

    def __init__(self, plan: Plan, log, display):
        self.plan, self.log, self.display = plan, log, display
        self.directory = plan.directory
        self._records = self.directory.records()
        self._folders = {path: index for index, path in self.directory.folders().items()}
        self._edges: dict[int, list[_Edges]] = defaultdict(list)
        self._missing: dict[int, np.ndarray] = {}
        self._elapsed: dict[int, np.ndarray] = {}
        self._mean: dict[int, list[float]] = defaultdict(lambda: [0.0, 0])
        self._left: dict[int, int] = {}
        self._ended: set[int] = set()
        self._contexts: dict[int, tuple[str, StepContext]] = {}
        self._step_logs: dict[int, StepLog] = {}
        self._gathered_keys: dict[int, list[str]] = {}
        self._products: dict[int, int] = defaultdict(int)
        self._ready: list[tuple[int, int, int]] = []
        self._opened: set[int] = set()
        self.log_paths: dict[tuple[str, str], str] = {}
        self.errors: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        self.complaints: list[str] = []
        self._retries = Retries(plan)
        self._parts: dict[tuple[int, int], frozenset[str]] = {}
        self._keeping = Keeping(plan, self._records)
        for step in plan.steps:
            if step.bound:
                self._open(step)
        for step in plan.steps:
            self._end_if_over(step)
        self._keeping.begin()

    def next(self, room: int) -> list[Assignment]:
        """Take up to `room` assignments."""
        taken = []
        while self._ready and len(taken) < room:
            _, k, row = heapq.heappop(self._ready)
            assignment = self._assign(self.plan.steps[k], row)
            if assignment is not None:
                taken.append(assignment)
        return taken

    def _assign(self, step: PlannedStep, row: int) -> Assignment | None:
        path, context = self._context(step)
        number = step.numbers[row]
        lacking = [role for role, paths in context.gathered.items() if not paths]
        if lacking and nothing_usable(self.plan, step):
            self.log.info("%s %s: no unit before it had usable data", step.label, number)
            self._settle(step, row, State.SKIPPED)
            return None
        why = (
            f"there is no file of {', '.join(lacking)}" if lacking else below_floor(self.plan, step)
        )
        if why:
            self.log.error("%s %s: %s", step.label, number, why)
            self.complaints.append(f"{step.label} {number}".rstrip() + f" did not run: {why}")
            self._settle(step, row, State.BLOCKED)
            return None
        share = (row % step.shares, step.shares) if step.shares > 1 else None
        before = self._records.get((step.label, number))
        tried = before.attempt if before else 0
        task = Task(step.index, row, number, step.inputs_of(row), "", share, tried)
        time, memory = self._retries.time(step, row), self._retries.memory(step, row)
        serial = step.runner.scope == "all"
        return Assignment(task, path, context.scratch, context.logs, time, serial, memory)

    def _context(self, step: PlannedStep) -> tuple[str, StepContext]:
        """What the jobs of a step have in common, written once for the workers to read."""
        if step.index not in self._contexts:
            scratch = self.directory.scratch / step.label
            scratch.mkdir(parents=True, exist_ok=True)
            Path(step.output).mkdir(parents=True, exist_ok=True)
            reach("step-begun")
            gathered = gathered_paths(step)
            self._list_missing(step)
            reach("missing-listed")
            self._gathered_keys[step.index] = gathered_marks(step, self.directory.file_key)
            context = StepContext(
                runner=step.runner,
                opts=step.opts,
                roles=tuple(column.role for column in step.columns),
                output=step.output,
                scratch=str(scratch),
                logs=str(self.directory.logs(step.label)),
                gathered=gathered,
                merging=step.merges is not None,
                programs={name: item["path"] for name, item in self.plan.programs.items()},
                planted=planted_in(self.plan.config.rehearsal, step.names, step.numbers),
            )
            path = scratch / f"{time.time_ns():x}.step"
            folders = [os.path.abspath(folder) for folder in self.plan.config.execution.module_path]
            save_context(path, context, step.runner.reference or step.runner.name, folders)
            self._contexts[step.index] = (str(path), context)
            reach("step-described")
            self.directory.unfinish_step(step.label)
            reach("step-reopened")
            self.log.info("%s: starts; %d of %d units to do", step.label,
                          step.count(State.TO_DO), len(step.numbers))  # fmt: skip
        return self._contexts[step.index]

    def _list_missing(self, step: PlannedStep) -> None:
        """List, beside the products of a step that takes all files, the units that are missing."""
        path, missing = Path(step.output, MISSING_FILE), missing_units(self.plan, step)
        if missing:
            lines = [",".join(row) for row in (("step", "number", "state"), *missing)]
            folder = self.directory.path / step.label
            write_atomically(path, "\n".join(lines) + "\n", folder)
        else:
            path.unlink(missing_ok=True)

    def take(self, outcome: Outcome) -> None:
        """Commit an outcome, and let the units go on that were waiting for it."""
        reach("outcome-received")
        step = self.plan.steps[outcome.step]
        number = step.numbers[outcome.row]
        before = self._records.get((step.label, number))
        self._remove_old(step, before, outcome.products)
        reach("old-products-removed")
        line = self._line(step, number, outcome, before)
        reach("log-kept")
        self.directory.commit(line)
        self._products[step.index] += len(outcome.products)
        self._keeping.note(step, number, outcome, line["try"])
        if self._retries.again(outcome):
            self._try_again(step, outcome, before)
            return
        if outcome.status != OK:
            self._note(step, number, outcome)
            self._parts[step.index, outcome.row] = frozenset(outcome.products)
        self._settle(step, outcome.row, OUTCOME_STATES[outcome.status], outcome)
        self.display.take(step, outcome)

    def _try_again(self, step: PlannedStep, outcome: Outcome, before: Record | None) -> None:
        """Queue a job once more whose trouble may not come again."""
        number, attempt = step.numbers[outcome.row], before.attempt + 1 if before else 1
        self.log.warning(
            "%s %s %s, is tried again: %s", step.label, number, outcome.status, outcome.error
        )
        self._records[step.label, number] = Record(
            outcome.status, attempt, step.fingerprint, (), (), outcome.wall
        )
        self._push(step, outcome.row)
        reach("try-counted")

    def _remove_old(self, step: PlannedStep, before: Record | None, made=()) -> None:
        """Remove the products of an earlier attempt that the present one does not make."""
        for name in set(before.products) - set(made) if before else ():
            Path(step.output, name).unlink(missing_ok=True)

    def _withdraw(self, step: PlannedStep, row: int) -> None:
        """Take back what a unit that cannot run now made before, lest a later step gather it."""
        number = step.numbers[row]
        before = self._records.pop((step.label, number), None)
        if before is not None and before.products:
            self._remove_old(step, before)
            reach("products-withdrawn")
            line = {"step": step.label, "status": "withdrawn", "number": number}
            self.directory.commit(line | {"try": before.attempt})

    def _line(self, step, number, outcome, before) -> dict:
        inputs = step.inputs_of(outcome.row)
        keys = [
            self.directory.file_key(path, mark)
            for path, mark in zip(inputs, outcome.identities, strict=False)
            if path
        ]
        line = {
            "step": step.label,
            "status": outcome.status,
            "number": number,
            "try": before.attempt + 1 if before else 1,
            "at": round(outcome.started, 3),
            "wall": round(outcome.wall, 4),
            "cpu": round(outcome.cpu, 4),
            "mem": outcome.memory,
            "read": outcome.read,
            "written": outcome.written,
            "print": step.fingerprint,
            "in": keys + self._gathered_keys.get(step.index, []),
            "out": outcome.products,
        }
        if outcome.status == OK and outcome.row in step.remake:
            made = [(name, f"{step.output}/{name}") for name in outcome.products]
            line["remade"] = [f"{name}:{identity(path)}" for name, path in made]
        if outcome.metrics:
            line["metrics"] = outcome.metrics
        if outcome.error:
            line["error"] = outcome.error
        if outcome.log:
            where = self._log_of(step).add(f"{step.label} {number}", outcome.log)
            line["log"] = [*where, *([self.directory.shard] if self.directory.shard else [])]
        return line

    def _log_of(self, step) -> StepLog:
        if step.index not in self._step_logs:
            name = f"{step.label}{self.directory.ending}.log"
            path = self.directory.logs(step.label) / name
            self._step_logs[step.index] = StepLog(path)
        return self._step_logs[step.index]

    def _note(self, step, number, outcome) -> None:
        where = ""
        if OUTCOME_STATES[outcome.status] in BAD:
            name = failed_log_name(Task(0, 0, number, (), ""))
            path = self.directory.logs(step.label) / name
            where = str(path) if path.is_file() else ""  # nothing is logged before a job begins
            shown = f" ({where})" if where else ""
            self.log.error(
                "%s %s %s: %s%s", step.label, number, outcome.status, outcome.error, shown
            )
        else:
            self.log.info("%s %s %s: %s", step.label, number, outcome.status, outcome.error)
        self.errors[step.label, outcome.status].append((number, outcome.error))
        if where:
            self.log_paths[step.label, number] = where

    def _settle(
        self, step: PlannedStep, row: int, state: State, outcome: Outcome | None = None
    ) -> None:
        """Give a unit its final state, and tell the units that need it."""
        step.state[row] = state
        self._left[step.index] -= 1
        if state in (State.BLOCKED, State.SKIPPED):
            self._withdraw(step, row)
        elapsed = self._elapsed[step.index][row] + (outcome.wall if outcome else 0.0)
        for edges in self._edges.get(step.index, ()):
            later = self.plan.steps[edges.consumer]
            for there in edges.after(row):
                self._tell(later, there, step, row, state, elapsed)
        self._end_if_over(step)
        self._keeping.settle(step, row, state)

    def _tell(self, later, row, step, row_before, state, elapsed) -> None:
        if later.state[row] != State.TO_DO:
            return
        whole = state in GOOD and self._made(later, row, step, row_before)
        if whole or self._made_in_part(later, row, step, row_before):
            self._elapsed[later.index][row] = max(self._elapsed[later.index][row], elapsed)
            self._missing[later.index][row] -= 1
            self._ready_if_complete(later, row)
        else:
            self._settle(later, row, State.SKIPPED if state in (*NOTHING, *GOOD) else State.BLOCKED)

    def _made(self, later, row, step, row_before) -> bool:
        """Whether the products that a unit takes from an earlier one are there."""
        for column in later.columns:
            source = column.sources[column.which[row]]
            if (
                isinstance(source, Wire)
                and source.optional
                and source.step == step.index
                and column.index[row] == row_before
                and not os.path.exists(column.path(row, later.numbers[row]))
            ):
                return False
        return True

    def _made_in_part(self, later, row, step, row_before) -> bool:
        """Whether a unit that failed has made all that a later unit takes from it."""
        made = self._parts.get((step.index, row_before), frozenset())
        wanted = [
            f"{source.pattern}{later.numbers[row]}{source.ext}"
            for column in later.columns
            for source in [column.sources[column.which[row]]]
            if isinstance(source, Wire)
            and source.step == step.index
            and column.index[row] == row_before
        ]
        return bool(made) and made.issuperset(wanted)

    def _open(self, step: PlannedStep) -> None:
        """Count the earlier units that each unit waits for; start those that wait for none."""
        self._opened.add(step.index)
        n = len(step.numbers)
        self._missing[step.index] = np.zeros(n, np.int16)
        self._elapsed[step.index] = np.zeros(n, np.float32)
        self._left[step.index] = step.count(State.TO_DO)
        for column in step.columns:
            for k, producers, consumers in column.producers():
                earlier = self.plan.steps[k]
                self._edges[k].append(
                    _Edges(step.index, producers, consumers, len(earlier.numbers))
                )
                waiting = earlier.state[producers] == State.TO_DO
                np.add.at(self._missing[step.index], consumers[waiting], 1)
                self._drop_hopeless(step, earlier, producers, consumers)
        self.display.open(step)
        if step.waits <= self._ended:
            for row in np.flatnonzero(
                (step.state == State.TO_DO) & (self._missing[step.index] == 0)
            ).tolist():
                self._push(step, row)

    def _drop_hopeless(self, step, earlier, producers, consumers) -> None:
        """Settle units whose earlier unit has already failed, or had nothing usable."""
        for states, state in ((BAD, State.BLOCKED), (NOTHING, State.SKIPPED)):
            for row in np.unique(consumers[np.isin(earlier.state[producers], states)]).tolist():
                if step.state[row] == State.TO_DO:
                    step.state[row] = state
                    self._left[step.index] -= 1
                if step.state[row] == state:
                    self._withdraw(step, row)

    def _ready_if_complete(self, step: PlannedStep, row: int) -> None:
        if self._missing[step.index][row] == 0 and step.waits <= self._ended:
            self._push(step, row)

    def _push(self, step: PlannedStep, row: int) -> None:
        """Queue a unit: first those whose line has been much slower than usual, then by step."""
        elapsed, mean = float(self._elapsed[step.index][row]), self._mean[step.index]
        slowness = 0
        if elapsed > 0 and mean[1]:
            slowness = max(0, int(math.log2(max(1e-9, elapsed * mean[1] / max(mean[0], 1e-9)))))
        mean[0] += elapsed
        mean[1] += 1
        heapq.heappush(self._ready, (-slowness, step.index, row))

    def _end_if_over(self, step: PlannedStep) -> None:
        """When the last unit of a step is settled, note it; open the steps that waited for it."""
        if step.index in self._ended or step.index not in self._opened or self._left[step.index]:
            return
        self._ended.add(step.index)
        self._finish(step)
        for later in self.plan.steps[step.index + 1 :]:
            if step.index not in later.waits or not later.waits <= self._ended:
                continue
            if later.bound and later.index in self._opened:
                self._push_waiting(later)
            elif not later.bound and not (self.plan.part and self.plan.part.comes_later(later)):
                self._bind_late(later)

    def _push_waiting(self, step: PlannedStep) -> None:
        """Queue the units that waited for whole steps, but for those that prove to be done."""
        folders = {path: index for index, path in self.directory.folders().items()}
        known = Known(step, folders, Removed(self.plan, self._records))
        waiting = (step.state == State.TO_DO) & (self._missing[step.index] == 0)
        for row in np.flatnonzero(waiting).tolist():
            state = still_done(self.plan, step, row, self._records, known)
            if state is None:
                self._push(step, row)
            else:
                self._settle(step, row, state)

    def _bind_late(self, later: PlannedStep) -> None:
        """Find the units of a step whose inputs were unknown before earlier steps had run."""
        self.plan.listing = Listing()
        complaints = bind(self.plan, later)
        if complaints:
            self.complaints += complaints
            for text in complaints:
                self.log.error("%s", text)
            self._keeping.give_up()
            later.bound, later.numbers, later.columns = True, [], []
            later.state = np.zeros(0, np.uint8)
        if later.bound:
            mark_step(self.plan, later, self._records, {}, self._folders)
            reach("step-bound")
            self._open(later)
            self._end_if_over(later)
            self._keeping.begin()

    def _finish(self, step: PlannedStep) -> None:
        elsewhere = step.count(State.ELSEWHERE)
        if elsewhere and elsewhere == len(step.numbers):
            return
        counts = {state.name.lower(): step.count(state) for state in State if step.count(state)}
        if step.index in self._step_logs:
            self._step_logs.pop(step.index).close()
        products = self._products[step.index] + step.count(State.DONE)
        if step.numbers and not elsewhere:
            reach("step-over")
            self.directory.finish_step(step.label, counts, products)
            reach("step-finished")
        summary = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        self.log.info("%s: ends; %s", step.label, summary or "no units")
        self.display.end(step)

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of units in each state, by step."""
        return {
            step.label: {
                state.name.lower(): step.count(state) for state in State if step.count(state)
            }
            for step in self.plan.steps
        }

    def close(self) -> None:
        """Close the logs."""
        for log in self._step_logs.values():
            log.close()
