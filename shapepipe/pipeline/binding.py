"""Find the units of a step: where each input comes from, and which numbers have all of them.

Inputs come from earlier steps of the chain, from earlier runs or from directories. A step whose
inputs are known only when an earlier step has run stays unbound until then.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.addresses import AddressError, Place
from shapepipe.pipeline.job import share_name
from shapepipe.pipeline.match import (
    DEFAULT_SCHEME,
    AmbiguousPattern,
    Found,
    SchemeError,
    explain_nothing,
    find_files,
    join_numbers,
)
from shapepipe.pipeline.options import missing_path
from shapepipe.pipeline.records import RUN_FILE, RunDirectory
from shapepipe.pipeline.runner import Input
from shapepipe.pipeline.steps import Plan, PlannedStep, State
from shapepipe.pipeline.wiring import Column, Wire, choose_products, wire


def bind(plan: Plan, step: PlannedStep) -> list[str]:
    """Find the units of a step; return complaints. A step that must wait stays unbound."""
    if step.merges is not None:
        return _bind_merging(plan, step)
    try:
        roles = _roles(plan, step)
        places, wires = _sources(plan, step)
    except ConfigurationError as error:
        return list(error.complaints)
    gather_all = step.runner.scope == "all"
    columns, complaints, waiting = [], [], False
    for role, pattern, ext, gather in roles:
        try:
            column, must_wait = _find_role(plan, step, role, pattern, ext, places, wires)
        except OSError as error:  # said once, whatever wants to read it
            text = f"{error.filename}: {error.strerror}" if error.strerror else str(error)
            complaints.append(f"{plan.config.path.name}: {text}")
            continue
        except (AmbiguousPattern, SchemeError, ConfigurationError) as error:
            complaints.append(f"{at(plan, step)} {role.role}: {error}")
            continue
        waiting |= must_wait
        if column is None:
            continue
        if gather or gather_all:
            step.gathered[role.role] = column.sources
            step.waits |= {s.step for s in column.sources if isinstance(s, Wire)}
        else:
            columns.append(column)
    if complaints or waiting:
        return complaints
    return _settle(plan, step, columns, gather_all)


def _bind_merging(plan: Plan, step: PlannedStep) -> list[str]:
    """Wire the merging of shares: each unit takes the products of all its shares."""
    assert step.merges is not None  # only the merging of shares comes here
    shared = plan.steps[step.merges]
    if not shared.bound:
        step.waits = {shared.index}
        return []
    count = shared.shares
    step.numbers = [name.rpartition("_")[0] for name in shared.numbers[::count]]
    for product in shared.products():
        for k in range(count):
            rows = {number: row * count + k for row, number in enumerate(step.numbers)}
            ending = f"{share_name('', k, count)}{product.ext}"
            source = Wire(
                shared.index, shared.output, product.pattern, ending, rows, product.optional
            )
            step.columns.append(Column(f"{product.role}/{product.pattern}/{k}", [source]))
    for column in step.columns:
        column.settle(step.numbers)
    step.bound, step.state = True, np.zeros(len(step.numbers), np.uint8)
    return []


def at(plan: Plan, step: PlannedStep) -> str:
    """Say which file and section a complaint is about."""
    section = step.config.section
    return plan.config.where.get(section, f"{plan.config.path.name} [{section}]")


def _roles(plan: Plan, step: PlannedStep) -> list[tuple[Input, str, str, bool]]:
    """Pair active inputs with patterns and extensions."""
    opts, inputs = step.opts, step.runner.active_inputs(step.opts)
    patterns, exts = opts.file_pattern, opts.file_ext
    if _reads_file_section(plan, step):
        patterns = patterns or plan.config.file.file_pattern
        exts = exts or plan.config.file.file_ext
    patterns = list(patterns or (item.pattern or item.role for item in inputs))
    patterns += opts.add_file_pattern or []
    declared = [item.ext for item in inputs]
    if step.runner.open_inputs:
        inputs = [Input(f"{k}:{pattern}", pattern) for k, pattern in enumerate(patterns)]
        declared = declared[:1] if len(set(declared)) == 1 else declared
    if len(patterns) != len(inputs):
        roles = ", ".join(item.role for item in inputs)
        raise ConfigurationError(
            f"{at(plan, step)} FILE_PATTERN: {len(patterns)} patterns ({', '.join(patterns)}) for "
            f"{len(inputs)} inputs ({roles}); the section's options decide which inputs there are"
        )
    exts = list(exts or declared)
    exts += opts.add_file_ext or []
    if len(exts) == 1:
        exts *= len(inputs)
    if len(exts) != len(inputs):
        raise ConfigurationError(
            f"{at(plan, step)} FILE_EXT: {len(exts)} extensions for {len(inputs)} inputs "
            "(allowed: one for each, or one for all)"
        )
    for text in (*patterns, *exts):
        if "*" in text:
            raise ConfigurationError(
                f"{at(plan, step)}: {text!r} holds a '*', which is not allowed"
            )
    exts = [ext if ext.startswith(".") else f".{ext}" for ext in exts]
    return [(item, p, e, item.gather) for item, p, e in zip(inputs, patterns, exts, strict=True)]


def _parents(plan: Plan, step: PlannedStep) -> tuple[list[int], list[str]]:
    """Earlier steps named by INPUT_MODULE or the declaration, and names of no such step."""
    names = step.opts.input_module
    names = list(step.runner.after) if names is None else list(names)
    names += step.opts.add_input_module or []
    inside, outside = [], []
    for name in names:
        at = _earlier_step(plan, step, name)
        (outside.append(name) if at is None else inside.append(at))
    return inside, outside


def _earlier_step(plan: Plan, step: PlannedStep, name: str) -> int | None:
    earlier = plan.steps[: step.index]
    for other in reversed(earlier):
        if name.lower() == other.config.written.lower():
            return other.index
    return plan.resolver.in_chain(name.lower(), [other.label for other in earlier])


def _reads_file_section(plan: Plan, step: PlannedStep) -> bool:
    """Whether [FILE] says what the inputs are: neither the section nor the chain does."""
    if step.opts.input_dir is not None or step.opts.input_module:
        return False
    inside, _ = _parents(plan, step)
    return not inside


def _sources(plan: Plan, step: PlannedStep) -> tuple[list[list[Place]], list[int]]:
    """Places to search, by rank (a later one is used when the earlier have nothing); steps."""
    inside, outside = _parents(plan, step)
    here, file_dir = at(plan, step), list(plan.config.file.input_dir or ())
    from_file = f"{plan.config.origins['FILE'].get('input_dir', '')} [FILE] INPUT_DIR:"
    ranks: list[tuple[str, list[str]]] = []
    if step.opts.input_dir is not None:
        ranks, inside = [(f"{here} INPUT_DIR:", list(step.opts.input_dir))], []
    elif step.opts.input_module:
        ranks = [(f"{here} INPUT_MODULE:", [f"last:{name}" for name in outside])]
    elif inside or not outside:
        ranks = [(here, []), (from_file, file_dir)]
    elif file_dir:
        ranks = [(from_file, file_dir)]
    else:
        ranks = [(here, [f"last:{name}" for name in outside])]
    places = [[find_place(plan, step, text, where) for text in rank] for where, rank in ranks]
    places[0] += [
        find_place(plan, step, text, f"{here} ADD_INPUT_DIR:")
        for text in step.opts.add_input_dir or ()
    ]
    wires = inside + [place.step for rank in places for place in rank if place.step is not None]
    return places, list(dict.fromkeys(wires))


def find_place(plan: Plan, step: PlannedStep, text: str, where: str) -> Place:
    """Resolve an address, or take where it led when the run was started."""
    chain = [other.label for other in plan.steps[: step.index]]
    pinned = plan.addresses.get(text)
    if pinned is not None and all(Path(folder).is_dir() for folder in pinned):
        return Place(text, tuple(pinned), newest_first=text.startswith("all:"))
    try:
        place = plan.resolver.resolve(text, chain)
    except AddressError as error:
        raise ConfigurationError(f"{where} {error}") from error
    if place.step is None and ":" in text:
        plan.addresses[text] = list(place.folders)
    return place


def find_product(plan: Plan, step: PlannedStep, text: str, where: str) -> Path:
    """Resolve the name or the address of one file, which an earlier step may still have to make."""
    path = Path(text)
    if path.is_file():
        return path.absolute()
    address = re.match(r"([^:/]+:[A-Za-z_]\w*)(?:/(.+))?$", text)
    if address is None:
        raise ConfigurationError(f"{where} {missing_path(path.absolute(), 'file')}")
    place = find_place(plan, step, address.group(1), where)
    if place.step is not None:
        maker = plan.steps[place.step]
        folder, names = (
            Path(maker.output),
            [f"{item.pattern}{item.ext}" for item in maker.products()],
        )
        step.waits.add(maker.index)
    else:
        folder = Path(place.folders[0])
        names = sorted(
            str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file()
        )
    wanted = [address.group(2)] if address.group(2) else names
    if len(wanted) != 1 or wanted[0] not in names:
        there = ", ".join(names[:8]) or "none"
        raise ConfigurationError(f"{where} {text} must name one file of {folder} (there: {there})")
    if place.step is not None:
        step.reads.append(folder / wanted[0])
    return folder / wanted[0]


def _find_role(plan, step, role, pattern, ext, places, wires) -> tuple[Column | None, bool]:
    """Find the files of one input; return them, and whether an earlier step must run first."""
    correct = plan.config.file.correct_file_pattern
    known = [plan.steps[k] for k in wires if plan.steps[k].bound]
    products = [product for other in known for product in other.products()]
    chosen = choose_products(pattern, ext, products, correct)
    names = sorted({product.pattern for product in chosen})
    if len(names) > 1:
        examples = ", ".join(f"{name}*{ext}" for name in names)
        raise AmbiguousPattern(f"pattern {pattern!r} fits several products: {examples}")
    sources: list[Wire | Found] = [wire(p, plan.steps[p.step].numbers) for p in chosen]
    found = None
    for rank in places:
        if sources and rank is not places[0]:
            break
        found = _on_disk(plan, step, pattern, ext, rank) or found
        if found is not None and found.index:
            sources.append(found)
            break
    if sources:
        return Column(role.role, sources), False
    unbound = [k for k in wires if not plan.steps[k].bound or plan.steps[k].names_unknown()]
    later = [product for k in unbound for product in plan.steps[k].products()]
    if not (choose_products(pattern, ext, later, correct) or _unknown_names(plan, unbound)):
        unbound, products = [], products + later
    after_run = [k for k in unbound if not _ended(plan.steps[k])]
    if after_run:
        step.waits |= set(after_run)
        return None, True
    if unbound:
        found = _on_disk(
            plan, step, pattern, ext, [Place("", (plan.steps[k].output,)) for k in unbound]
        )
        if found is not None and found.index:
            return Column(role.role, [found]), False
    raise ConfigurationError(_nothing_found(plan, step, pattern, ext, places, products, found))


def _unknown_names(plan: Plan, steps: list[int]) -> bool:
    return any(plan.steps[k].names_unknown() for k in steps)


def _ended(step: PlannedStep) -> bool:
    return step.bound and not step.count(State.TO_DO)


def numbering_of(plan: Plan, step: PlannedStep) -> str:
    """Numbering scheme of a step's inputs."""
    given = (step.opts.numbering_scheme, plan.config.file.numbering_scheme, step.runner.numbering)
    return next((scheme for scheme in given if scheme is not None), DEFAULT_SCHEME)


def _on_disk(plan, step, pattern, ext, places) -> Found | None:
    folders = [folder for place in places for folder in place.folders]
    if not folders:
        return None
    found = find_files(
        folders,
        pattern,
        ext,
        numbering_of(plan, step),
        listing=plan.listing,
        correct=plan.config.file.correct_file_pattern,
        newest_first=any(place.newest_first for place in places),
    )
    if found.twice:
        pairs = "; ".join(f"{first} and {second}" for first, second in found.twice[:3])
        more = f" and {len(found.twice) - 3} more" if len(found.twice) > 3 else ""
        raise ConfigurationError(f"the same number stands twice: {pairs}{more}")
    if found.other_prefixes and found.index:
        others = ", ".join(f"{count} {name}*{ext}" for name, count in found.other_prefixes.items())
        step.notes.append(f"{found.prefix}*{ext} is read; not read: {others}")
    if found.not_numbered and found.index:
        step.notes.append(
            f"{len(found.not_numbered)} files hold {pattern!r} but no number of form "
            f"{numbering_of(plan, step)!r}, such as {found.not_numbered[0]}"
        )
    return found


def _nothing_found(plan, step, pattern, ext, places, products, found) -> str:
    parts = []
    if products:
        names = ", ".join(sorted({f"{product.pattern}*{product.ext}" for product in products}))
        parents = ", ".join(dict.fromkeys(product.label for product in products))
        parts.append(f"{parents} does not make {pattern}*{ext} (it makes {names})")
    folders = [folder for rank in places for place in rank for folder in place.folders]
    if folders:
        parts.append(
            explain_nothing(
                folders, pattern, ext, numbering_of(plan, step), found or Found(pattern, ext)
            )
        )
        parts += [text for folder in folders if (text := _removed_from(Path(folder)))]
    if not parts:
        parts.append(
            f"nowhere to look for {pattern}*{ext}: give [FILE] INPUT_DIR, or INPUT_MODULE here"
        )
    return "; ".join(parts)


def _removed_from(folder: Path) -> str:
    """Say how many products of an earlier run's step were removed, if a directory is such."""
    run = next((p for p in folder.parents if (p / RUN_FILE).is_file()), None)
    if run is None:
        return ""
    label = str(folder.relative_to(run)).partition("/output")[0]
    records = RunDirectory(run).records()
    count = sum(len(r.removed) for (name, _), r in records.items() if name == label)
    return f"{count} products of {label} were removed from run {run.name}" if count else ""


def _settle(plan: Plan, step: PlannedStep, columns: list[Column], gather_all: bool) -> list[str]:
    """Pair the columns by number and fix the units of the step."""
    step.columns, step.bound = ([] if gather_all else columns), True
    if gather_all or not columns:
        step.numbers = [""]
    else:
        have = [column.numbers() for column in columns]
        step.numbers, lacking = join_numbers([h.keys() for h in have], have)
        if plan.only:
            step.numbers = [n for n in step.numbers if n in plan.only]
            lacking = {n: k for n, k in lacking.items() if n in plan.only}
        for number, which in lacking.items():
            files = ", ".join(f"{columns[k].role} ({_name_of(columns[k], number)})" for k in which)
            (step.unpaired if 0 in which else step.incomplete)[number] = f"no {files}"
        for column in columns:
            column.settle(step.numbers)
        _share_rows(step)
    step.state = np.zeros(len(step.numbers), np.uint8)
    if not step.numbers and not step.incomplete and not plan.only:
        wheres = "; ".join(
            f"{c.role}: {len(c.numbers())}, such as {next(iter(c.numbers()), '-')}" for c in columns
        )
        return [f"{at(plan, step)}: no number is common to all inputs ({wheres})"]
    return []


def _share_rows(step: PlannedStep) -> None:
    """Make several units of each one, for the jobs that share the rows of a catalogue."""
    if step.shares > 1:
        step.numbers = [
            share_name(n, k, step.shares) for n in step.numbers for k in range(step.shares)
        ]
        for column in step.columns:
            column.which = np.repeat(column.which, step.shares)
            column.index = np.repeat(column.index, step.shares)


def _name_of(column: Column, number: str) -> str:
    source = column.sources[0]
    name = source.pattern if isinstance(source, Wire) else source.prefix
    return f"{name}{number}{source.ext}"
