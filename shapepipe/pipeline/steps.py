"""The planned chain as data: steps with units and their states, and the plan that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from shapepipe.pipeline.addresses import Addresses
from shapepipe.pipeline.config import RunConfig, StepConfig
from shapepipe.pipeline.match import Chosen, Found, Listing
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.wiring import Column, Product, Wire


class State(IntEnum):
    """What a unit of a step is at."""

    TO_DO = 0
    DONE = 1
    DONE_EMPTY = 2
    OK = 3
    EMPTY = 4
    FAILED = 5
    TIMEOUT = 6
    LOST = 7
    BLOCKED = 8
    SKIPPED = 9
    ELSEWHERE = 10


GOOD = (State.DONE, State.OK)
NOTHING = (State.DONE_EMPTY, State.EMPTY, State.SKIPPED)
BAD = (State.FAILED, State.TIMEOUT, State.LOST, State.BLOCKED)


@dataclass
class PlannedStep:
    """A step of the chain with its units.

    Attributes
    ----------
    opts : Options
        Options with addresses resolved.
    numbers : list of str
        Number of each unit; one empty number for scope `all`.
    columns : list of Column
        Inputs that each unit has one of.
    gathered : dict of str to list
        Role -> sources, for inputs that are handed over whole.
    waits : set of int
        Steps that must have ended before any unit of this one can start.
    bound : bool
        Whether the units are known.
    incomplete : dict of str to str
        Number -> what it lacks; such units do not run.
    unpaired : dict of str to str
        Numbers that only secondary inputs have: noted, and no loss.
    state : ndarray of uint8
        A `State` for each unit.
    reads : list of Path
        Directories of earlier steps that the options of this one name.
    reasons : dict of int to str
        Row -> why it is to do, where that is not simply that it is new.
    remake : set of int
        Rows that are to do only because their products were removed and are needed again.
    """

    index: int
    config: StepConfig
    opts: Any
    output: str
    numbers: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    gathered: dict[str, list[Wire | Found]] = field(default_factory=dict)
    waits: set[int] = field(default_factory=set)
    bound: bool = False
    incomplete: dict[str, str] = field(default_factory=dict)
    unpaired: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    state: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    reasons: dict[int, str] = field(default_factory=dict)
    remake: set[int] = field(default_factory=set)
    print_values: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    only: Chosen = field(default_factory=Chosen)
    shares: int = 1
    merges: int | None = None
    reads: list[Path] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name of the step's directory."""
        return f"{self.config.label}/rows" if self.shares > 1 else self.config.label

    @property
    def names(self) -> tuple[str, ...]:
        """What the step is called: its label and its runner's name."""
        return self.config.label, self.runner.name

    @property
    def runner(self):
        """The step's runner."""
        return self.config.runner

    def products(self) -> list[Product]:
        """What the step makes, as far as the options tell."""
        found = []
        for out in self.runner.active_outputs(self.opts):
            if out.many:
                continue
            suffixes, ext = tuple(out.suffixes(self.opts)), out.extension(self.opts)
            for pattern in out.patterns(self.opts):
                found.append(
                    Product(
                        self.index,
                        self.label,
                        self.output,
                        out.role,
                        pattern,
                        ext,
                        suffixes,
                        out.optional,
                    )
                )
        return found

    def names_unknown(self) -> bool:
        """Whether some products get their names only in the job."""
        return any(out.many for out in self.runner.active_outputs(self.opts))

    def inputs_of(self, row: int) -> tuple[str, ...]:
        """Paths of one unit's own inputs, in the order of the columns."""
        number = self.input_number(row)
        return tuple(column.path(row, number) for column in self.columns)

    def input_number(self, row: int) -> str:
        """Number of a unit's inputs: its own, or that of the unit whose rows it shares."""
        number = self.numbers[row]
        return number.rpartition("_")[0] if self.shares > 1 else number

    def count(self, *states: State) -> int:
        """Number of units in these states."""
        return int(np.isin(self.state, states).sum())


@dataclass
class Plan:
    """What will run: the steps, and the programs and packages they use."""

    config: RunConfig
    directory: RunDirectory
    steps: list[PlannedStep]
    addresses: dict[str, list[str]]
    programs: dict[str, dict[str, str]]
    packages: dict[str, str]
    resolver: Addresses
    only: Chosen = field(default_factory=Chosen)
    listing: Listing = field(default_factory=Listing)
    part: Any = None
    warnings: list[str] = field(default_factory=list)
