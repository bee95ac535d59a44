"""What people see of a run: progress while it goes on, a summary at its end.

On a terminal there is a bar for each step; in a batch log there are plain lines. All text that the
pipeline prints by itself is made here and in `cli`.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from shapepipe.pipeline.steps import State

EVERY = 30.0
"""Seconds between two lines about the same step in a batch log."""
STYLES = {
    State.OK: "green",
    State.DONE: "green",
    State.EMPTY: "yellow",
    State.DONE_EMPTY: "yellow",
    State.SKIPPED: "yellow",
    State.FAILED: "red",
    State.TIMEOUT: "red",
    State.LOST: "red",
    State.BLOCKED: "red",
}


class NoDisplay:
    """Shows nothing while the run goes on; for [DEFAULT] VERBOSE = False."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def open(self, step):
        """A step's units are known."""

    def take(self, step, outcome):
        """An outcome came in."""

    def end(self, step):
        """A step ended."""

    def refresh(self):
        """Time passed."""

    def summary(self, flow, result):
        """Keep the log's last lines the only ones, unless something failed."""
        if result.exit_status:
            Summary(Console(stderr=True, highlight=False, emoji=False)).show(flow, result)


class Display:
    """Progress of a run.

    Parameters
    ----------
    plan : Plan
        The run's plan.
    console : rich.console.Console, optional
        Where to show it.
    """

    def __init__(self, plan, console: Console | None = None):
        self.plan = plan
        self.console = console or Console(highlight=False, emoji=False)
        self._tasks: dict[int, int] = {}
        self._bad: dict[int, int] = defaultdict(int)
        self._last: dict[int, float] = {}
        self._bars = None
        if self.console.is_terminal and plan.config.execution.mode != "mpi":
            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[bad]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                refresh_per_second=4,
            )

    def __enter__(self):
        for warning in self.plan.warnings:
            self.say(f"warning: {warning}", "yellow")
        for step in self.plan.steps:
            for number, lack in list(step.incomplete.items())[:20]:
                self.say(f"{step.label} {number}: {lack}; this unit does not run", "red")
        self.say(f"run {self.plan.directory.path}")
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_):
        if self._bars:
            self._bars.stop()
        return None

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self.console.print(escape(text), style=style or None, soft_wrap=True)

    def open(self, step):
        """A step's units are known."""
        to_do = step.count(State.TO_DO)
        if self._bars:
            self._tasks[step.index] = self._bars.add_task(
                step.label, total=len(step.numbers), completed=len(step.numbers) - to_do, bad=""
            )
            return
        limit = self.plan.config.worker.process_print_limit
        todo = [
            n for n, state in zip(step.numbers[:200], step.state[:200], strict=True) if not state
        ]
        names = shorten([n or "all files" for n in todo], limit, to_do)
        self.say(f"{step.label}: {to_do} of {len(step.numbers)} units to do {names}".rstrip())

    def take(self, step, outcome):
        """An outcome came in."""
        if outcome.status not in ("ok", "empty"):
            self._bad[step.index] += 1
            number = step.numbers[outcome.row]
            if self._bad[step.index] <= 20:
                self.say(f"{step.label} {number} {outcome.status}: {outcome.error}", "red")
        if self._bars:
            bad = self._bad[step.index]
            self._bars.update(
                self._tasks[step.index],
                completed=len(step.numbers) - step.count(State.TO_DO),
                bad=f"[red]{bad} failed[/red]" if bad else "",
            )
        elif time.monotonic() - self._last.setdefault(step.index, time.monotonic()) > EVERY:
            self._last[step.index] = time.monotonic()
            done = len(step.numbers) - step.count(State.TO_DO)
            self.say(f"{step.label}: {done} of {len(step.numbers)}, {self._bad[step.index]} failed")

    def end(self, step):
        """A step ended."""
        if self._bars:
            if step.index in self._tasks:
                self._bars.update(self._tasks[step.index], completed=len(step.numbers))
        else:
            self.say(f"{step.label}: ends; {count_text(step)}")

    def refresh(self):
        """Time passed; the bars draw themselves."""

    def summary(self, flow, result):
        """Say what failed, why, where to look and how to go on."""
        Summary(self.console).show(flow, result)


class Summary:
    """The end of a run, in a table and a few lines."""

    def __init__(self, console: Console):
        self.console = console

    def show(self, flow, result) -> None:
        """Print units by step and outcome, each distinct error once, and what to do next."""
        self.console.print(self._table(flow.plan))
        for line in error_lines(flow):
            self.console.print(escape(line), soft_wrap=True)
        for line in (*incomplete_lines(flow.plan), *flow.complaints):
            self.console.print(escape(line), style="red", soft_wrap=True)
        if result.stopped_by:
            self.console.print(escape(result.stopped_by), style="red", soft_wrap=True)
        log = f"{flow.plan.config.file.log_name}{flow.plan.directory.ending}"
        self.console.print(escape(f"log: {result.path}/logs/{log}.log"), soft_wrap=True)
        if result.exit_status:
            self.console.print(
                escape(f"to continue: shapepipe resume {result.path}"), style="bold", soft_wrap=True
            )

    def _table(self, plan) -> Table:
        states = [s for s in State if any(step.count(s) for step in plan.steps)]
        table = Table(box=None, pad_edge=False)
        table.add_column("step")
        table.add_column("units", justify="right")
        for state in states:
            table.add_column(
                state.name.lower().replace("_", " "), justify="right", style=STYLES.get(state)
            )
        for step in plan.steps:
            counts = [str(step.count(state) or "-") for state in states]
            table.add_row(step.label, str(len(step.numbers)) if step.bound else "?", *counts)
        return table


def count_text(step) -> str:
    """Number of units in each state, in words."""
    counts = [f"{step.count(s)} {s.name.lower().replace('_', ' ')}" for s in State if step.count(s)]
    return ", ".join(counts) or "no units"


def shorten(names: list[str], limit: int, total: int | None = None) -> str:
    """List names in brackets, up to `limit` characters, and say how many are left out."""
    shown, length = [], 0
    for name in names:
        length += len(name) + 2
        if length > limit:
            break
        shown.append(name)
    more = (len(names) if total is None else total) - len(shown)
    if not shown:
        return ""
    return f"({', '.join(shown)}{f' and {more} more' if more > 0 else ''})"


def error_lines(flow) -> list[str]:
    """Each distinct error once, with the units it hit and one log to open."""
    lines, limit = [], flow.plan.config.worker.process_print_limit
    for (label, status), hits in flow.errors.items():
        groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for number, error in sorted(hits):
            groups[_kind(error, number)].append((number, error))
        for members in groups.values():
            numbers = [number or "all" for number, _ in members]
            first = members[0][1].splitlines()[0] if members[0][1] else ""
            log = flow.log_paths.get((label, members[0][0]))
            tail = f"\n    log: {log}" if log else ""
            lines.append(
                f"{label} {status} {len(members)} x {shorten(numbers, limit)}: {first}{tail}"
            )
    return lines


def _kind(error: str, number: str) -> str:
    first = error.splitlines()[0] if error else ""
    return re.sub(r"\d+", "#", first.replace(number, "") if number else first)


def incomplete_lines(plan) -> list[str]:
    """Units that did not run because a file is missing."""
    lines = []
    for step in plan.steps:
        for number, lack in list(step.incomplete.items())[:50]:
            lines.append(f"{step.label} {number} did not run: {lack}")
        more = len(step.incomplete) - 50
        if more > 0:
            lines.append(f"{step.label}: {more} more units did not run for want of a file")
    return lines
