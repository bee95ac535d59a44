"""`shapepipe report`: what a run cost, step by step, what failed, what to ask for next time."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape

from shapepipe.pipeline.accounting import (
    Estimate,
    Price,
    StepCost,
    Wishes,
    newest_lines,
    price,
    step_costs,
    suggest,
)
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.show import make_console, make_table

COLUMNS = (
    "units",
    "wall",
    "cpu",
    "median",
    "slowest",
    "peak memory",
    "read",
    "written",
)


def report(
    directory: RunDirectory,
    *,
    html: Path | None = None,
    png: Path | None = None,
    rest: int = 0,
    shards: int | None = None,
) -> None:
    """Show time, memory and errors of a run; draw them if a file or folder is given.

    Parameters
    ----------
    html : Path, optional
        Page to write, with everything in it.
    png : Path, optional
        Folder for the figures.
    rest : int
        Price so many further units.
    shards : int, optional
        Number of array elements of the next submission; default: as in the run's [BATCH].
    """
    launch = directory.read_run()["launches"][-1]
    lines = newest_lines(directory)
    costs = step_costs(lines, list(launch["steps"]))
    cores, shards = launch.get("cores", 1), shards or launch.get("shards", 1)
    advice = list(advice_lines(suggest(costs, cores, shards), cores, shards)) if costs else []
    if rest and costs:
        advice += price_lines(price(lines, directory, rest), cores * shards)
    errors = [
        f"{line['step']} {line['number']} {line['status']}: {line.get('error', '')}"
        for line in lines
        if line["status"] != "ok"
    ]
    versions = [f"{name}: {version}" for name, version in launch["versions"].items()]
    rows = [cost_row(cost) for cost in costs]
    _print(rows, (*advice, *errors, *versions))
    if html or png:
        plots = importlib.import_module("shapepipe.pipeline.reportplots")
        texts = {"For the next submission": advice, "Not ok": errors, "Versions": versions}
        header = ("step", *COLUMNS, "slowest unit")
        for path in plots.draw(directory.path.name, costs, header, rows, texts, html, png):
            make_console().print(escape(f"written: {path}"), soft_wrap=True)


def _print(rows: Iterable[tuple[str, ...]], lines: Iterable[str]) -> None:
    console = make_console()
    table = make_table("step", *COLUMNS, "slowest unit", right=COLUMNS)
    for row in rows:
        table.add_row(*(escape(text) for text in row))
    console.print(table)
    for line in lines:
        console.print(escape(line), soft_wrap=True)


def cost_row(cost: StepCost) -> tuple[str, ...]:
    """One line of the table."""
    worst = int(cost.wall.argmax())
    times = (cost.wall.sum(), cost.cpu.sum(), sorted(cost.wall)[len(cost.wall) // 2])
    sizes = (cost.memory.max(), cost.read.sum(), cost.written.sum())
    return (
        cost.label,
        str(len(cost.numbers)),
        *(time_text(seconds) for seconds in (*times, cost.wall[worst])),
        *(size_text(size) for size in sizes),
        cost.numbers[worst],
    )


def advice_lines(wishes: Wishes, cores: int, shards: int) -> list[str]:
    """What to write into the INI file before the next submission."""
    gigabytes, minutes = math.ceil(wishes.memory / 1e8) / 10, math.ceil(wishes.seconds / 60)
    lines = [
        f"for the same units in {shards} shards of {cores} jobs at a time: [BATCH] MEMORY = "
        f"{math.ceil(gigabytes * 1000)}M, TIME = {minutes // 60:02d}:{minutes % 60:02d}:00"
    ]
    longest = 60 * math.ceil(max(wishes.timeouts.values(), default=60.0) / 60)
    return [*lines, f"[JOB] TIMEOUT = {longest} would give each job three times what any has taken"]


def price_lines(cost: Price, workers: int) -> list[str]:
    """What further units will cost, in words."""
    elapsed = Estimate(cost.wall.value / workers, cost.wall.margin / workers)
    hours = "; ".join(
        f"{name} {estimate_text(value, 3600, 'h')}"
        for name, value in (
            ("processor", cost.cpu),
            ("one worker", cost.wall),
            (f"{workers} workers", elapsed),
        )
    )
    return [
        f"{cost.units} further units, priced by {cost.seen} that ran: {hours}; "
        f"products {estimate_text(cost.products, 1e9, 'GB')} (ranges: 90 %)"
    ]


def estimate_text(estimate: Estimate, unit: float, name: str) -> str:
    """A value with its range; none where one unit alone was seen."""
    value, margin = estimate.value / unit, estimate.margin / unit
    shown = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    if math.isnan(margin):
        return f"{shown} {name}"
    return f"{shown} +- {f'{margin:.0f}' if margin >= 10 else f'{margin:.2g}'} {name}"


def time_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size_text(size: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
