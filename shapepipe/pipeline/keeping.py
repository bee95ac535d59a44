"""KEEP while a run goes on: products that have served are removed as the units that took them end.

What may go is told by `retention`; the same after a run is the business of `clean`.
"""

from __future__ import annotations

import os

from shapepipe.pipeline.job import Outcome
from shapepipe.pipeline.records import Record
from shapepipe.pipeline.retention import (
    FINISHED,
    Retention,
    keep_of,
    read_elsewhere,
    remove_products,
)
from shapepipe.pipeline.steps import Plan, PlannedStep, State


class Keeping:
    """Removes what KEEP does not keep.

    Parameters
    ----------
    plan : Plan
        Of the run; its directory is open.
    records : dict
        Newest record of every unit; kept up to date here, if products go at all.
    """

    def __init__(self, plan: Plan, records: dict[tuple[str, str], Record]):
        self._plan, self._records = plan, records
        self._active = any(keep_of(plan, step) == "final" for step in plan.steps)
        self._retention: Retention | None = None

    def begin(self) -> None:
        """Let go what has served already, once the units of all steps are known."""
        steps = self._plan.steps
        if not self._active or self._retention or not all(step.bound for step in steps):
            return
        others = read_elsewhere(self._plan, [step.label for step in steps])
        self._retention = Retention(self._plan, others)
        for k, row in self._retention.free():
            self._discard(steps[k], row)

    def give_up(self) -> None:
        """Keep everything from now on, since the units of some step cannot be found."""
        self._active, self._retention = False, None

    def note(self, step: PlannedStep, number: str, outcome: Outcome, attempt: int) -> None:
        """Remember what a job has made."""
        if self._active:
            self._records[step.label, number] = Record(
                outcome.status, attempt, step.fingerprint, (), outcome.products, outcome.wall
            )

    def settle(self, step: PlannedStep, row: int, state: State) -> None:
        """Let go what a unit took and nothing else needs, now that it has ended well."""
        if self._retention is not None and state in FINISHED:
            for k, maker in self._retention.settled(step, row):
                self._discard(self._plan.steps[k], maker)

    def _discard(self, step: PlannedStep, row: int) -> None:
        number = step.numbers[row]
        record = self._records.get((step.label, number))
        if record is None or self._retention is None:
            return
        taken = self._retention.names(step.index, row).intersection(record.products)
        names = [name for name in sorted(taken) if os.path.lexists(f"{step.output}/{name}")]
        if names:
            remove_products(
                self._plan.directory, step.label, number, record.attempt, names, record.removed
            )
