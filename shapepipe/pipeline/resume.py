"""What of a plan is done already, and why the rest is not.

A unit is done if its record says so, its fingerprint (options, code, inputs) is the same and its
products are there. Otherwise the first thing that differs is its reason.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from shapepipe.pipeline.binding import bind
from shapepipe.pipeline.job import EMPTY, OK, identity
from shapepipe.pipeline.match import Listing
from shapepipe.pipeline.options import WIRING, path_kind
from shapepipe.pipeline.records import Record
from shapepipe.pipeline.removed import Removed, make_again
from shapepipe.pipeline.steps import NOTHING, Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Wire


def mark_done(plan: Plan, records: dict[tuple[str, str], Record], earlier: dict) -> None:
    """Set the state of every unit whose step is bound.

    Parameters
    ----------
    plan : Plan
        Its steps get `state`, `reasons` and fingerprints.
    records : dict
        From `RunDirectory.records`.
    earlier : dict
        Option values by fingerprint, from run.json, to say which option changed.
    """
    folders = {path: index for index, path in plan.directory.folders().items()}
    for step in plan.steps:
        if not step.bound and all(_has_ended(plan.steps[k]) for k in step.waits):
            bind(plan, step)
        if step.bound:
            mark_step(plan, step, records, earlier, folders)
    make_again(plan, records)


def _has_ended(step: PlannedStep) -> bool:
    return step.bound and not step.count(State.TO_DO)


def mark_step(plan: Plan, step: PlannedStep, records, earlier, folders) -> None:
    """Set the state of the units of one step; leave to others what is not of this part."""
    take_fingerprint(plan, step)
    _mark_units(plan, step, records, earlier, folders)
    if plan.part is not None:
        plan.part.leave_to_others(plan, step, records)


def _mark_units(plan: Plan, step: PlannedStep, records, earlier, folders) -> None:
    if any(plan.steps[k].count(State.TO_DO) for k in step.waits):
        for row, number in enumerate(step.numbers):
            if (step.label, number) in records:
                step.reasons[row] = "an earlier step runs again"
        return
    known = Known(step, folders, Removed(plan, records))
    for row, number in enumerate(step.numbers):
        record = records.get((step.label, number))
        if _has_nothing(plan, step, row, known.removed):
            step.state[row] = State.SKIPPED
            continue
        if record is None:
            continue
        reason = _why_again(plan, step, row, record, earlier, known)
        if reason:
            step.reasons[row] = reason
        else:
            step.state[row] = State.DONE if record.status == OK else State.DONE_EMPTY


class Known:
    """What is the same for all units of a step when their inputs are compared with records."""

    def __init__(self, step: PlannedStep, folders: dict[str, int], removed: Removed):
        self.folders, self.removed = folders, removed
        self.marks = gathered_marks(step, lambda path, mark: _key(folders, path, mark))
        found = {_key(folders, path, mark) for path, mark in removed.gathered(step)}
        self.again = {entry for entry in found if not entry.endswith(":")}
        self.gone = {_name_of(entry) for entry in found - self.again}


def still_done(plan: Plan, step: PlannedStep, row: int, records, known: Known) -> State | None:
    """What a unit is at whose earlier steps have ended, if nothing that counts has changed."""
    record = records.get((step.label, step.numbers[row]))
    if record is None or _why_again(plan, step, row, record, {}, known):
        return None
    return State.DONE if record.status == OK else State.DONE_EMPTY


def _has_nothing(plan, step, row, removed) -> bool:
    """Whether an earlier unit had nothing usable, or did not make what it makes only sometimes."""
    for column in step.columns:
        source = column.sources[column.which[row]]
        if not isinstance(source, Wire):
            continue
        state = plan.steps[source.step].state[column.index[row]]
        if state in NOTHING:
            return True
        if source.optional and state == State.DONE:
            number = step.numbers[row]
            if not os.path.exists(column.path(row, number)):
                return not removed.is_gone(column, row, number)
    return False


def _why_again(plan, step, row, record, earlier, known) -> str:
    if record.status not in (OK, EMPTY):
        return f"{record.status} before"
    for column in step.columns:
        source = column.sources[column.which[row]]
        if isinstance(source, Wire) and plan.steps[source.step].state[column.index[row]] not in (
            State.DONE,
            State.DONE_EMPTY,
        ):
            return f"{plan.steps[source.step].label} runs again"
    if record.fingerprint != step.fingerprint:
        return what_changed(step, earlier.get(record.fingerprint))
    changed = _changed_input(step, row, record, known)
    if changed:
        return changed
    kept = [name for name in record.products if name not in record.removed]
    gone = [name for name in kept if not os.path.exists(f"{step.output}/{name}")]
    return f"product {gone[0]} is gone" if gone else ""


def what_changed(step: PlannedStep, before: dict | None) -> str:
    """Say which part of a fingerprint differs: an option (old, new), or the runner's code."""
    if before is None:
        return "options or code changed"
    now = step.print_values
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    named = [key for key in changed if key != "code" and key in before]
    if named:
        return "; ".join(
            f"{key if ' ' in key else 'option ' + key.upper()} changed "
            f"({before.get(key)} -> {now.get(key)})"
            for key in named
        )
    return "code of the runner changed" if changed else "options or code changed"


def _changed_input(step, row, record, known) -> str:
    paths = step.inputs_of(row)
    before = {_name_of(entry): entry for entry in record.inputs}
    expected = len(paths) + len(known.marks) + len(known.gone)
    if len(before) != expected:
        return f"number of inputs changed ({len(before)} -> {expected})"
    if known.marks or known.gone:
        others = set(known.marks) - set(record.inputs)
        others -= {entry for entry in known.again if _name_of(entry) in before}
        if others := {_name_of(entry) for entry in others} | (known.gone - before.keys()):
            return f"input {min(others).partition('/')[2]} changed"
    for column, path in zip(step.columns, paths, strict=True):
        folder, _, name = path.rpartition("/")
        key = f"{known.folders.get(folder)}/{name}"
        entry = before.get(key)
        if entry is None:
            return f"input {name} is new"
        try:
            now = identity(path)
        except OSError:
            if not known.removed.is_gone(column, row, step.input_number(row)):
                return f"input {name} is gone"
            continue
        if entry != f"{key}:{now}":
            if not known.removed.same_again(column, row, step.input_number(row), now):
                return f"input {name} changed"
    return ""


def _name_of(entry: str) -> str:
    """Folder and name of an input in a record, without size and time."""
    return entry.rsplit(":", 2)[0]


def _key(folders, path: str, mark: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folders.get(folder)}/{name}:{mark}"


def gathered_marks(step: PlannedStep, key) -> list[str]:
    """What a record says of the files that a step takes whole.

    Parameters
    ----------
    key : callable
        Of path and identity: the entry of one file.

    Returns
    -------
    list of str
        Each file for a step of one job; for a step of many, one digest instead of many lists. For
        each directory of an earlier step that an option names, one digest as well.
    """
    listings = [f"*/{folder}:0:{_listing_digest(folder)}" for folder in step.reads]
    marks = [
        (path, identity(path)) for paths in gathered_paths(step).values() for path in paths.values()
    ]
    if not marks or step.runner.scope == "all":
        return [key(path, mark) for path, mark in marks] + listings
    text = "\n".join(sorted(f"{path}:{mark}" for path, mark in marks))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return [f"*/{len(marks)} gathered files:{len(marks)}:{digest}", *listings]


def gathered_paths(step: PlannedStep) -> dict[str, dict[str, str]]:
    """Files that a step takes whole: role -> {number: path}, those that are there."""
    found: dict[str, dict[str, str]] = {}
    for role, sources in step.gathered.items():
        paths = {}
        for source in reversed(sources):
            numbers = [n for n in source.index if not step.only or not n or n in step.only]
            paths.update((number, source.path(number, source.index[number])) for number in numbers)
        found[role] = {
            number: paths[number] for number in sorted(paths) if os.path.exists(paths[number])
        }
    return found


def take_fingerprint(plan: Plan, step: PlannedStep) -> None:
    """Set the values that count for a step's products, and their digest."""
    values = {"code": step.runner.code_digest}
    for program in step.runner.programs:
        if program.name in plan.programs:
            values[f"version of {program.name}"] = plan.programs[program.name]["version"]
    for name, field in step.runner.options.model_fields.items():
        if name in WIRING:
            continue
        value, kind = getattr(step.opts, name), path_kind(field)
        if kind is not None and value is not None and kind.name == "file":
            values[name] = f"{value} ({_content_digest(Path(value))})"
        elif kind is not None and value is not None and kind.name == "address":
            values[name] = ", ".join(
                str(folder) if folder in step.reads else f"{folder} ({_listing_digest(folder)})"
                for folder in value
            )
        elif kind is not None and value is not None and kind.name == "product":
            mark = "" if value in step.reads else f" ({_listing_digest(value)})"
            values[name] = f"{value}{mark}"
        else:
            values[name] = str(value)
    values |= step.opts.model_extra or {}
    for path in step.opts.secondary_files():
        values[f"file {path.name}"] = f"{path} ({_content_digest(path)})"
    step.print_values = values
    text = json.dumps(values, sort_keys=True)
    step.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:12]


def _listing_digest(folder: Path) -> str:
    """Digest of the names, sizes and times of all files below a directory, or of one file."""
    if folder.is_file():
        return identity(str(folder))
    if not folder.is_dir():
        return "not there yet"
    marks = [
        f"{name}:{identity(f'{below}/{name}')}"
        for below, names in Listing().below(str(folder))
        for name in names
    ]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:10]


def _content_digest(path: Path) -> str:
    if not path.is_file():
        return "missing"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]
