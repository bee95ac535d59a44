"""Products that `clean` or KEEP has removed: the units that made them are done nevertheless.

A removed product counts as there, until a unit that is to do needs it; then the unit that made it
does so again. What was made again counts as the same, since neither its inputs nor its options had
changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np

from shapepipe.pipeline.records import Record
from shapepipe.pipeline.steps import Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Column, Wire


class Removed:
    """Asks the records of a run which products were removed, and which were made again since.

    Parameters
    ----------
    plan : Plan
        Wired.
    records : mapping
        From `RunDirectory.records`.
    """

    def __init__(self, plan: Plan, records: Mapping[tuple[str, str], Record]):
        self._plan, self._records = plan, records
        self.any = any(record.removed or record.remade for record in records.values())

    def is_gone(self, column: Column, row: int, number: str) -> bool:
        """Whether the input of a unit was removed, and not by hand."""
        source = column.sources[column.which[row]]
        return isinstance(source, Wire) and self.wired(source, number, int(column.index[row]))

    def wired(self, source: Wire, number: str, row: int) -> bool:
        """Whether the product at the end of a wire was removed, and not by hand."""
        record, name = self._maker(source, number, row)
        return record is not None and name in record.removed

    def same_again(self, column: Column, row: int, number: str, mark: str) -> bool:
        """Whether the input of a unit, which is `mark` now, is one that was made again."""
        source = column.sources[column.which[row]]
        if not isinstance(source, Wire):
            return False
        record, name = self._maker(source, number, int(column.index[row]))
        return record is not None and f"{name}:{mark}" in record.remade

    def gathered(self, step: PlannedStep) -> Iterator[tuple[str, str]]:
        """Files that a step takes whole and that were removed or made again: (path, identity).

        The identity is empty for one that is gone.
        """
        wires = [s for some in step.gathered.values() for s in some if isinstance(s, Wire)]
        for source in wires if self.any else ():
            for number, row in source.index.items():
                record, name = self._maker(source, number, row)
                path = source.path(number, row)
                if record is None or not (record.removed or record.remade):
                    continue
                if not os.path.exists(path):
                    if name in record.removed:
                        yield path, ""
                    continue
                for made in record.remade:
                    if made.startswith(f"{name}:"):
                        yield path, made[len(name) + 1 :]

    def _maker(self, source: Wire, number: str, row: int) -> tuple[Record | None, str]:
        """Record of the unit that makes a product, and the product's name in it."""
        maker = self._plan.steps[source.step]
        name = f"{source.pattern}{number}{source.ext}"
        return self._records.get((maker.label, maker.numbers[row])), name


WANTING = (State.TO_DO, State.ELSEWHERE)


def make_again(plan: Plan, records: Mapping[tuple[str, str], Record]) -> None:
    """Set those done units to do whose products were removed and are needed; last steps first.

    Parameters
    ----------
    plan : Plan
        Its steps get `state`, `reasons` and `remake`.
    records : mapping
        From `RunDirectory.records`.
    """
    removed = Removed(plan, records)
    if not removed.any:
        return
    for step in reversed(plan.steps):
        if step.opts.keep == "all":
            for row in _lacking(step, records):
                _set_to_do(step, row, "KEEP = all, and products were removed")
        if plan.part is not None and step.remake:
            plan.part.leave_to_others(plan, step, records)
        for k, row in set(_needed_by(step, removed)):
            _set_to_do(plan.steps[k], row, f"{step.label} needs products that were removed")


def _set_to_do(step: PlannedStep, row: int, reason: str) -> None:
    if step.state[row] == State.DONE:
        step.state[row] = State.TO_DO
        step.reasons[row] = reason
        step.remake.add(row)


def _lacking(step: PlannedStep, records) -> Iterator[int]:
    """Units whose removed products are asked for, since the step's own section keeps all."""
    for row, number in enumerate(step.numbers):
        record = records.get((step.label, number))
        if record and any(not os.path.exists(f"{step.output}/{name}") for name in record.removed):
            yield row


def _needed_by(step: PlannedStep, removed: Removed) -> Iterator[tuple[int, int]]:
    """Units of earlier steps, (step, row), whose removed products a step needs."""
    wanting = np.flatnonzero(np.isin(step.state, WANTING)).tolist() if step.bound else []
    for row in wanting:
        number = step.input_number(row)
        for column in step.columns:
            source = column.sources[column.which[row]]
            if removed.is_gone(column, row, number) and not os.path.exists(
                column.path(row, number)
            ):
                yield source.step, int(column.index[row])
    wires = [s for some in step.gathered.values() for s in some if isinstance(s, Wire)]
    for source in wires if wanting else ():
        for number, row in source.index.items():
            if removed.wired(source, number, row) and not os.path.exists(source.path(number, row)):
                yield source.step, row
