"""Which jobs are tried again, and with what limits: judged by the cause, never by a count alone.

A job that was killed, ran out of memory or time, or met an error of the file system may succeed
another time; bad data and faults of the code will not. The floors below which a step that takes
all files does not start are here as well.
"""

from __future__ import annotations

import numpy as np

from shapepipe.pipeline.job import CURABLE, LATE, MEMORY, Outcome
from shapepipe.pipeline.options import parse_duration
from shapepipe.pipeline.steps import GOOD, NOTHING, Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Wire


class Retries:
    """The tries of a run.

    Parameters
    ----------
    plan : Plan
        Its [JOB] section says how often, and with what limits.
    """

    def __init__(self, plan: Plan):
        self._job = plan.config.job
        self._tries: dict[tuple[int, int], int] = {}
        self._growth: dict[tuple[int, int, str], int] = {}
        self.used = 0

    def again(self, outcome: Outcome) -> bool:
        """Decide whether the job of an outcome is tried once more, and count it."""
        unit = outcome.step, outcome.row
        tries = self._tries.get(unit, 0)
        if outcome.cause not in CURABLE or tries >= self._job.retries:
            return False
        if self.used >= self._job.retries_per_run:
            return False
        self._tries[unit] = tries + 1
        key = (*unit, outcome.cause)
        self._growth[key] = self._growth.get(key, 0) + 1
        self.used += 1
        return True

    def time(self, step: PlannedStep, row: int) -> float | None:
        """Time that a job may take, in seconds: more after it took too long."""
        limit = parse_duration(step.opts.timeout) or parse_duration(self._job.timeout)
        most = parse_duration(self._job.timeout_max)
        return _grown(limit, most, self._growth.get((step.index, row, LATE), 0))

    def memory(self, step: PlannedStep, row: int) -> float | None:
        """Memory that a job may have, in MB: more after it needed too much."""
        grown = self._growth.get((step.index, row, MEMORY), 0)
        return _grown(self._job.memory, self._job.memory_max, grown)


def _grown(limit: float | None, most: float | None, times: int) -> float | None:
    """Double a limit, up to the most that it may be; without a most it stays."""
    if limit is None or most is None:
        return limit
    return max(limit, min(most, limit * 2**times))


def below_floor(plan: Plan, step: PlannedStep) -> str:
    """Say which earlier step has too few good units for a step that takes all files; or nothing."""
    floor = step.opts.at_least
    sources = {s.step for some in step.gathered.values() for s in some if isinstance(s, Wire)}
    for k in sorted(sources) if floor else ():
        maker = plan.steps[k]
        good, total = maker.count(*GOOD), len(maker.numbers) + len(maker.incomplete)
        needed = floor_of(floor, total)
        if good < needed:
            return f"{good} of {total} units of {maker.label} succeeded, AT_LEAST = {floor}"
    return ""


def nothing_usable(plan: Plan, step: PlannedStep) -> bool:
    """Whether all units before a step that takes all files came out empty, as can be expected."""
    sources = {s.step for some in step.gathered.values() for s in some if isinstance(s, Wire)}
    return bool(sources) and all(
        not plan.steps[k].incomplete and np.isin(plan.steps[k].state, NOTHING).all()
        for k in sources
    )


def missing_units(plan: Plan, step: PlannedStep) -> list[tuple[str, str, str]]:
    """Units that a step which takes all files has to do without: (step, number, state)."""
    sources = {s.step for some in step.gathered.values() for s in some if isinstance(s, Wire)}
    found = []
    for k in sorted(sources):
        maker = plan.steps[k]
        found += [(maker.label, number, "incomplete") for number in maker.incomplete]
        for row in np.flatnonzero(~np.isin(maker.state, GOOD)).tolist():
            state = State(maker.state[row]).name.lower()
            found.append((maker.label, maker.numbers[row], state))
    return found


def floor_of(text: str, total: int) -> float:
    """Number of units that `90 %` or `36` stands for, of `total`."""
    value = float(text.strip().rstrip("%"))
    return value / 100 * total if text.strip().endswith("%") else value
