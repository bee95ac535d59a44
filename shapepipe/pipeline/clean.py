"""What of a run can be removed, and its removal: products that have served, orphans, leftovers.

Records, logs, the copies of the configuration and everything outside the run's own directories of
products are never touched. What KEEP means is in `retention`; that a product may be missing is
recorded before it is removed, so an interrupted removal is simply begun again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from shapepipe.errors import RunRefused
from shapepipe.pipeline.binding import numbering_of
from shapepipe.pipeline.flow import MISSING_FILE
from shapepipe.pipeline.job import OK
from shapepipe.pipeline.match import scheme_regex
from shapepipe.pipeline.records import Record, RunDirectory
from shapepipe.pipeline.report import size_text
from shapepipe.pipeline.retention import (
    Retention,
    keep_of,
    read_elsewhere,
    remove_products,
)
from shapepipe.pipeline.run import changes, prepare
from shapepipe.pipeline.show import make_console, make_table
from shapepipe.pipeline.steps import GOOD, Plan, PlannedStep


@dataclass
class Pile:
    """Files that go, or stay, for one reason.

    Attributes
    ----------
    units : list of (str, Record, list of str)
        Number, record and names of products of each unit, for products that were taken.
    paths : list of Path
        Other files and directories.
    """

    step: str
    why: str
    goes: bool
    files: int = 0
    size: int = 0
    units: list[tuple[str, Record, list[str]]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)


def clean(run: Path, config: str, overrides: Sequence[str] = (), *, orphans: bool = False,
          even_if_read: bool = False, now: bool = False) -> list[Pile]:  # fmt: skip
    """Find what of a run can be removed, and remove it if told so.

    Parameters
    ----------
    run : Path
        Directory of the run.
    config : str
        INI file to judge it by.
    overrides : sequence of str
        `SECTION:KEY=VALUE`.
    orphans : bool
        Products as well that belong to no unit of the chain any more.
    even_if_read : bool
        Products as well that another run has read.
    now : bool
        Remove; otherwise nothing is changed.

    Raises
    ------
    RunRefused
        When a process is at work in the run.
    """
    directory = RunDirectory(run)
    owners = directory.owners()
    if owners:
        raise RunRefused(f"{run} is being run by {', '.join(owners)}")
    try:
        if now:
            directory.acquire()
        # all units count, whatever numbers the last start was restricted to
        plan = prepare(config, [*overrides, "FILE:NUMBER_LIST="], (), run)
        piles = survey(plan, orphans, even_if_read)
        if now:
            directory.open()
            for pile in piles:
                if pile.goes:
                    _remove(directory, pile)
    finally:
        directory.close()
    _show(plan, piles, now)
    return piles


def survey(plan: Plan, orphans: bool = False, even_if_read: bool = False) -> list[Pile]:
    """Sort what a run has on disk into what goes and what stays; products that stay for good aside.

    Parameters
    ----------
    plan : Plan
        Of the existing run, with what is done marked.
    orphans, even_if_read : bool
        As for `clean`.
    """
    records = plan.directory.records()
    labels = {step.label for step in plan.steps}.union(label for label, _ in records)
    others = {} if even_if_read else read_elsewhere(plan, labels)
    retention = Retention(plan, others)
    piles = []
    for step in plan.steps:
        if keep_of(plan, step) == "final":
            piles += _taken(step, retention, records)
    piles += _orphans(plan, records, others, orphans)
    return [*piles, *_leftovers(plan.directory)]


def _taken(step: PlannedStep, retention: Retention, records: Mapping) -> Iterable[Pile]:
    """Products of a step that later steps take."""
    piles: dict[str, Pile] = {}
    for row, number in enumerate(step.numbers):
        record = records.get((step.label, number))
        if record is None or record.status != OK:
            continue
        sizes = _sizes(step.output, retention.names(step.index, row).intersection(record.products))
        if not sizes:
            continue
        done = step.state[row] in GOOD
        why = retention.why_kept(step.index, row) if done else "to be made again"
        pile = piles.setdefault(why, Pile(step.label, why or "have served", not why))
        _add(pile, sizes)
        if not why:
            pile.units.append((number, record, sorted(sizes)))
    return piles.values()


def _orphans(plan: Plan, records: Mapping, others: Mapping, go: bool) -> Iterator[Pile]:
    """Products that belong to no unit of the chain any more, or that no record tells of."""
    known: dict[str, dict[str, Record]] = {}
    for (label, number), record in records.items():
        known.setdefault(label, {})[number] = record
    planned = {step.label: step for step in plan.steps}
    for label in sorted({*known, *planned}):
        step, units = planned.get(label), known.get(label, {})
        stays = others.get(label) or (_read_as_a_whole(plan, step) if step else "")
        left = "of no unit of the chain" if step else "the step is no longer in MODULE"
        present = _units(step) if step else set()
        gone = [record for number, record in units.items() if number not in present]
        groups = {left: [name for record in gone for name in record.products]}
        if step is not None and not step.bound:
            groups = {}
        elif step is not None:
            told = {name for record in units.values() for name in record.products}
            groups["no record tells of them"] = list(_untold(plan, step, told))
        for why, names in groups.items():
            sizes = _sizes(str(plan.directory.output(label)), names)
            if sizes:
                pile = Pile(label, f"orphans: {why}{f', but {stays}' if stays else ''}",
                            go and not stays)  # fmt: skip
                _add(pile, sizes)
                pile.paths = [plan.directory.output(label) / name for name in sizes]
                yield pile


def _units(step: PlannedStep) -> set[str]:
    """Numbers of a step's units, with those that lack a file."""
    return {*step.numbers, *step.incomplete}


def _untold(plan: Plan, step: PlannedStep, told: set[str]) -> Iterator[str]:
    """Files named as products of a step that no record lists, as a killed run may leave them."""
    number = scheme_regex(numbering_of(plan, step)).pattern
    patterns = [
        re.compile(f"{re.escape(p.pattern)}(?:{number})?{re.escape(suffix + p.ext)}")
        for p in step.products()
        for suffix in p.suffixes
    ]
    for folder, _, names in os.walk(step.output):
        below = os.path.relpath(folder, step.output)
        for name in names:
            name = name if below == "." else f"{below}/{name}"
            if name in told or name == MISSING_FILE:
                continue
            if any(pattern.fullmatch(name) for pattern in patterns):
                yield name


def _read_as_a_whole(plan: Plan, step: PlannedStep) -> str:
    """Say which step looks at all files in the directory of another; or nothing."""
    for later in plan.steps:
        if any(f"{path}/".startswith(f"{step.output}/") for path in later.reads):
            return f"an option of {later.label} names their directory"
    return ""


def _leftovers(directory: RunDirectory) -> Iterator[Pile]:
    """Private directories of attempts that were cut short, and files that were not yet renamed."""
    found = [*directory.path.glob("tmp/*"), *directory.path.glob("*.part")]
    found += directory.path.glob("*/finished.json.*.part")
    pile = Pile("", "leftovers of attempts that were cut short", True, paths=sorted(found))
    for path in found:
        for folder, _, names in os.walk(path) if path.is_dir() else ():
            _add(pile, _sizes(folder, names))
        if not path.is_dir():
            _add(pile, _sizes(str(path.parent), [path.name]))
    if pile.files:
        yield pile


def _sizes(folder: str, names: Iterable[str]) -> dict[str, int]:
    """Bytes of those files that are there; a link counts as itself, not as what it leads to."""
    found = {}
    for name in names:
        try:
            found[name] = os.lstat(f"{folder}/{name}").st_size
        except OSError:
            continue
    return found


def _add(pile: Pile, sizes: Mapping[str, int]) -> None:
    pile.files += len(sizes)
    pile.size += sum(sizes.values())


def _remove(directory: RunDirectory, pile: Pile) -> None:
    for number, record, names in pile.units:
        remove_products(directory, pile.step, number, record.attempt, names, record.removed)
    for path in pile.paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _show(plan: Plan, piles: Sequence[Pile], now: bool) -> None:
    """Show the piles, what was or would be removed, and what else could be."""
    console = make_console()
    table = make_table("step", "files", "size", "", "why", right=("files", "size"))
    goes = ("removed" if now else "goes", "stays")
    for pile in sorted(piles, key=lambda pile: not pile.goes):
        size = size_text(pile.size)
        table.add_row(pile.step, str(pile.files), size, goes[not pile.goes], escape(pile.why))
    if piles:
        console.print(table)
    for line in _hints(plan, piles, now):
        console.print(escape(line), soft_wrap=True)


def _hints(plan: Plan, piles: Sequence[Pile], now: bool) -> Iterator[str]:
    for text in changes(plan):
        yield f"what depends on it counts as not done: {text}"
    if all(keep_of(plan, step) == "all" for step in plan.steps):
        yield "KEEP = all: every product stays; --keep products or --keep final lets some go"
    if any("reads them" in pile.why for pile in piles):
        yield "--even-if-read lets those go as well that another run has read"
    if any(pile.why.startswith("orphans") and not pile.goes for pile in piles):
        yield "--orphans lets the orphans go as well"
    going = [pile for pile in piles if pile.goes]
    total = f"{sum(p.files for p in going)} files, {size_text(sum(p.size for p in going))}"
    if now:
        yield f"removed: {total}"
    else:
        yield f"to remove: {total}; nothing was changed{'; --yes removes them' if going else ''}"
