"""What a run cost, and what the rest of a campaign will cost: numbers from the records.

Times are wall-clock and processor seconds of jobs, memory is their peak, bytes are those that pass
through the kernel. How it looks is the business of `report` and `reportplots`.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.shards import shortest_whole

MARGIN = 1.3
"""Factor between what was seen and what to ask for."""
HEAD = 400e6
"""Memory in bytes of the process that hands out the jobs, beside its workers."""
NINETY = 1.645
"""Standard deviations on either side of the mean that hold 90 % of a normal distribution."""


@dataclass(frozen=True)
class StepCost:
    """What the jobs of one step cost, each by its newest record.

    Attributes
    ----------
    numbers : tuple of str
        Number of each unit.
    started, wall, cpu : ndarray of float64, shape (n_units,)
        Start (seconds since 1970), wall-clock and processor time in seconds.
    memory, read, written : ndarray of float64, shape (n_units,)
        In bytes.
    bad : ndarray of bool, shape (n_units,)
        Units that failed.
    """

    label: str
    numbers: tuple[str, ...]
    started: np.ndarray
    wall: np.ndarray
    cpu: np.ndarray
    memory: np.ndarray
    read: np.ndarray
    written: np.ndarray
    bad: np.ndarray

    @property
    def together(self) -> bool:
        """Whether one job takes all units at once."""
        return self.numbers == ("",)


def newest_lines(directory: RunDirectory) -> list[dict]:
    """Newest record of every unit, as it stands in the records."""
    newest: dict[tuple[str, str], dict] = {}
    for line in directory.lines():
        if "status" in line:
            key = line["step"], line["number"]
            if key not in newest or newest[key]["try"] <= line["try"]:
                newest[key] = line
    return [line for line in newest.values() if "wall" in line]


def step_costs(lines: Sequence[dict], labels: Sequence[str]) -> list[StepCost]:
    """Gather the costs of each step, in the order of the chain.

    Parameters
    ----------
    lines : sequence of dict
        From `newest_lines`.
    labels : sequence of str
        Steps of the chain.
    """
    groups: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        groups[line["step"]].append(line)
    costs = []
    for label in labels:
        rows = groups.get(label, [])
        if rows:
            costs.append(_cost(label, rows))
    return costs


def _cost(label: str, rows: Sequence[dict]) -> StepCost:
    def column(name: str) -> np.ndarray:
        return np.array([row.get(name, 0) for row in rows], float)

    return StepCost(
        label,
        tuple(row["number"] for row in rows),
        started=column("at"),
        wall=column("wall"),
        cpu=column("cpu"),
        memory=column("mem"),
        read=column("read"),
        written=column("written"),
        bad=np.array([row["status"] not in ("ok", "empty") for row in rows]),
    )


@dataclass(frozen=True)
class Wishes:
    """What to ask a batch system for next time.

    Attributes
    ----------
    memory : float
        Bytes of one element.
    seconds : float
        Time of one element.
    timeouts : dict of str to float
        Step -> longest time to allow one job, in seconds.
    """

    memory: float
    seconds: float
    timeouts: dict[str, float]


def suggest(costs: Sequence[StepCost], cores: int, shards: int) -> Wishes:
    """Suggest memory and time of the elements of a job array for the same units.

    Parameters
    ----------
    cores : int
        Jobs at a time in each element.
    shards : int
        Number of elements.
    """
    peak = max((cost.memory.max() for cost in costs), default=0.0)
    slowest = max((cost.wall.max() for cost in costs), default=0.0)
    shared = sum(cost.wall.sum() for cost in costs if not cost.together)
    alone = max((cost.wall.sum() for cost in costs if cost.together), default=0.0)
    seconds = MARGIN * max(shared / (shards * cores) + slowest, alone)
    timeouts = {cost.label: 3 * float(cost.wall.max()) for cost in costs}
    return Wishes(MARGIN * cores * peak + HEAD, seconds, timeouts)


class Estimate(NamedTuple):
    """A sum over units to come, and half the width of the range that holds it in 90 % of cases."""

    value: float
    margin: float


@dataclass(frozen=True)
class Price:
    """What further units will cost.

    Attributes
    ----------
    units : int
        Units to come; a unit is what hangs together, such as an exposure with its CCDs.
    seen : int
        Units that the price is taken from.
    cpu, wall : Estimate
        Seconds of processor, and of one worker.
    products : Estimate
        Bytes of products.
    """

    units: int
    seen: int
    cpu: Estimate
    wall: Estimate
    products: Estimate


def price(lines: Sequence[dict], directory: RunDirectory, units: int) -> Price:
    """Price units to come by those that ran; steps that take all at once are taken as linear.

    Parameters
    ----------
    lines : sequence of dict
        From `newest_lines`.
    units : int
        Number of units to come.

    Notes
    -----
    The range is that of the sum of `n` new values when mean and scatter are known from `m` others:
    the mean times `n`, with a standard deviation of ``s * sqrt(n + n**2 / m)``.
    """
    known = {line["number"] for line in lines if line["number"]}
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for line in lines:
        root = shortest_whole(line["number"], known) if line["number"] else ""
        sums[root] += (line["cpu"], line["wall"], _size_of_products(directory, line))
    common = sums.pop("", np.zeros(3))
    seen = len(sums)
    table = np.array(list(sums.values())) if sums else np.zeros((1, 3))
    table = table + common / max(1, seen)
    scatter = table.std(axis=0, ddof=1) if seen > 1 else np.full(3, np.nan)
    spread = NINETY * scatter * math.sqrt(units + units**2 / max(1, seen))
    totals = zip((units * table.mean(axis=0)).tolist(), spread.tolist(), strict=True)
    values = [Estimate(total, margin) for total, margin in totals]
    return Price(units, seen, *values)


def _size_of_products(directory: RunDirectory, line: dict) -> int:
    size, output = 0, directory.output(line["step"])
    for name in line.get("out", ()):
        try:
            size += os.stat(output / name).st_size
        except OSError:  # removed since
            continue
    return size
