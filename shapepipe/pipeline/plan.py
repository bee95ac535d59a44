"""The whole chain wired and checked before anything runs.

`make_plan` turns a configuration into steps with units: inputs wired to earlier steps, earlier
runs or files on disk; programs and packages present. What is done already, and why the rest is to
do, is added by `resume`. A step whose inputs are known only when an earlier step has run is bound
at its turn.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.addresses import AddressError, Addresses, Place
from shapepipe.pipeline.config import RunConfig, StepConfig, module_folders, read_number_list
from shapepipe.pipeline.job import share_name
from shapepipe.pipeline.match import (
    DEFAULT_SCHEME,
    AmbiguousPattern,
    Found,
    Listing,
    SchemeError,
    explain_nothing,
    find_files,
    is_chosen,
    join_numbers,
)
from shapepipe.pipeline.options import nearest, path_kind
from shapepipe.pipeline.program import find_program, program_version
from shapepipe.pipeline.records import RunDirectory, RunList
from shapepipe.pipeline.runner import Input, canonical_name
from shapepipe.pipeline.wiring import Column, Product, Wire, choose_products, wire


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
    reasons : dict of int to str
        Row -> why it is to do, where that is not simply that it is new.
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
    print_values: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    only: tuple[str, ...] = ()
    shares: int = 1
    merges: int | None = None

    @property
    def label(self) -> str:
        """Name of the step's directory."""
        return f"{self.config.label}/rows" if self.shares > 1 else self.config.label

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
        number = self.numbers[row]
        if self.shares > 1:
            number = number.rpartition("_")[0]
        return tuple(column.path(row, number) for column in self.columns)

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
    only: tuple[str, ...] = ()
    listing: Listing = field(default_factory=Listing)
    resolver: Addresses | None = None
    warnings: list[str] = field(default_factory=list)


def make_plan(
    config: RunConfig,
    directory: RunDirectory,
    only: Sequence[str] = (),
    pinned: dict[str, list[str]] | None = None,
) -> Plan:
    """Wire and check a chain.

    Parameters
    ----------
    config : RunConfig
        The checked configuration.
    directory : RunDirectory
        Where the run is or will be; nothing is created.
    only : sequence of str
        Numbers to process, as after -e.
    pinned : dict, optional
        Directories that addresses led to when the run was started; they keep leading there.

    Raises
    ------
    ConfigurationError
        With everything that is wrong, at once.
    """
    folders = module_folders(config.execution.module_path)
    runs = RunList(config.file.output_dir, config.file.run_log_name)
    resolver = Addresses(runs, directory.path, lambda name: canonical_name(name, folders))
    complaints: list[str] = []
    wanted = tuple(only) or tuple(read_number_list(config.file.number_list) or ())
    plan = Plan(config, directory, [], dict(pinned or {}), {}, {}, wanted, resolver=resolver)
    for step_config in config.steps:
        for step in _planned(plan, step_config):
            plan.steps.append(step)
            complaints += _check_needs(plan, step)
            complaints += _resolve_options(plan, step)
            complaints += bind(plan, step)
    complaints += _check_wanted(plan)
    if complaints:
        raise ConfigurationError(list(dict.fromkeys(complaints)))
    return plan


def _planned(plan: Plan, config: StepConfig) -> list[PlannedStep]:
    """A step; two where jobs share the rows of a catalogue: the shares, and their merging."""
    chunks = config.opts.chunks if config.runner.scope == "rows" else 1
    steps = []
    for shares in [chunks, 1] if chunks > 1 else [1]:
        step = PlannedStep(len(plan.steps) + len(steps), config, config.opts, "", shares=shares)
        step.output, step.only = str(plan.directory.output(step.label)), plan.only
        step.merges = steps[0].index if steps else None
        steps.append(step)
    return steps


def _bind_merging(plan: Plan, step: PlannedStep) -> list[str]:
    """Wire the merging of shares: each unit takes the products of all its shares."""
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
        except (AmbiguousPattern, SchemeError, ConfigurationError, OSError) as error:
            complaints.append(f"{_at(plan, step)} {role.role}: {_os_text(error)}")
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


def _at(plan: Plan, step: PlannedStep) -> str:
    return f"{plan.config.path.name} [{step.config.section}]"


def _os_text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _roles(plan: Plan, step: PlannedStep) -> list[tuple[Input, str, str, bool]]:
    """Pair active inputs with patterns and extensions."""
    opts, inputs = step.opts, step.runner.active_inputs(step.opts)
    patterns, exts = opts.file_pattern, opts.file_ext
    if _reads_file_section(plan, step):
        patterns = patterns or plan.config.file.file_pattern
        exts = exts or plan.config.file.file_ext
    patterns = list(patterns or (item.pattern or item.role for item in inputs))
    patterns += opts.add_file_pattern or []
    if len(patterns) != len(inputs):
        roles = ", ".join(item.role for item in inputs)
        raise ConfigurationError(
            f"{_at(plan, step)} FILE_PATTERN: {len(patterns)} patterns ({', '.join(patterns)}) for "
            f"{len(inputs)} inputs ({roles}); the section's options decide which inputs there are"
        )
    exts = list(exts or (item.ext for item in inputs))
    exts += opts.add_file_ext or []
    if len(exts) == 1:
        exts *= len(inputs)
    if len(exts) != len(inputs):
        raise ConfigurationError(
            f"{_at(plan, step)} FILE_EXT: {len(exts)} extensions for {len(inputs)} inputs "
            "(allowed: one for each, or one for all)"
        )
    for text in (*patterns, *exts):
        if "*" in text:
            raise ConfigurationError(
                f"{_at(plan, step)}: {text!r} holds a '*', which is not allowed"
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
    file_dir = list(plan.config.file.input_dir or ())
    ranks: list[list[str]] = []
    if step.opts.input_dir is not None:
        ranks, inside = [list(step.opts.input_dir)], []
    elif step.opts.input_module:
        ranks = [[f"last:{name}" for name in outside]]
    elif inside or not outside:
        ranks = [[], file_dir]
    else:
        ranks = [file_dir] if file_dir else [[f"last:{name}" for name in outside]]
    ranks[0] = [*ranks[0], *(step.opts.add_input_dir or ())]
    places = [[_place(plan, step, text) for text in rank] for rank in ranks]
    wires = inside + [place.step for rank in places for place in rank if place.step is not None]
    return places, list(dict.fromkeys(wires))


def _place(plan: Plan, step: PlannedStep, text: str) -> Place:
    chain = [other.label for other in plan.steps[: step.index]]
    pinned = plan.addresses.get(text)
    if pinned is not None and all(Path(folder).is_dir() for folder in pinned):
        return Place(text, tuple(pinned), newest_first=text.startswith("all:"))
    try:
        place = plan.resolver.resolve(text, chain)
    except AddressError as error:
        raise ConfigurationError(f"{_at(plan, step)} {error}") from error
    if place.step is None and ":" in text:
        plan.addresses[text] = list(place.folders)
    return place


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


def _ended(step: PlannedStep) -> bool:
    return step.bound and not step.count(State.TO_DO)


def _scheme(plan: Plan, step: PlannedStep) -> str:
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
        _scheme(plan, step),
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
            f"{_scheme(plan, step)!r}, such as {found.not_numbered[0]}"
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
                folders, pattern, ext, _scheme(plan, step), found or Found(pattern, ext)
            )
        )
    if not parts:
        parts.append(
            f"nowhere to look for {pattern}*{ext}: give [FILE] INPUT_DIR, or INPUT_MODULE here"
        )
    return "; ".join(parts)


def _settle(plan: Plan, step: PlannedStep, columns: list[Column], gather_all: bool) -> list[str]:
    """Pair the columns by number and fix the units of the step."""
    step.columns, step.bound = ([] if gather_all else columns), True
    if gather_all or not columns:
        step.numbers = [""]
    else:
        have = [column.numbers() for column in columns]
        step.numbers, lacking = join_numbers([h.keys() for h in have], have)
        if plan.only:
            step.numbers = [n for n in step.numbers if is_chosen(n, plan.only)]
            lacking = {n: k for n, k in lacking.items() if is_chosen(n, plan.only)}
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
        return [f"{_at(plan, step)}: no number is common to all inputs ({wheres})"]
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


def _check_wanted(plan: Plan) -> list[str]:
    """Complain about numbers that were asked for and are not there."""
    units = [n for step in plan.steps if step.bound for n in (*step.numbers, *step.incomplete) if n]
    missing = [w for w in plan.only if not any(is_chosen(number, [w]) for number in units)]
    if not missing or not units:
        return []
    return [
        f"number {want} was asked for, but there are no such files{nearest(want, units[:5000])}"
        for want in missing
    ]


def _resolve_options(plan: Plan, step: PlannedStep) -> list[str]:
    """Turn the addresses among a runner's own options into directories."""
    resolved, complaints = {}, []
    for name, field_ in step.runner.options.model_fields.items():
        kind, texts = path_kind(field_), getattr(step.config.opts, name)
        if kind is None or kind.name != "address" or texts is None or name.endswith("input_dir"):
            continue
        folders: list[Path] = []
        for text in texts:
            try:
                place = _place(plan, step, text)
            except ConfigurationError as error:
                complaints += [f"{line} (option {name.upper()})" for line in error.complaints]
                continue
            if place.step is not None:
                step.waits.add(place.step)
                folders.append(Path(plan.steps[place.step].output))
            folders += [Path(folder) for folder in place.folders]
        resolved[name] = tuple(folders)
    if resolved:
        step.opts = step.opts.model_copy(update=resolved)
    return complaints


def _check_needs(plan: Plan, step: PlannedStep) -> list[str]:
    """Look for the programs and packages of a step, and note their versions."""
    complaints, opts, found = [], step.opts, {}
    for program in step.runner.programs:
        if program.when is not None and not program.when(opts):
            continue
        asked = getattr(opts, program.option, None) if program.option else None
        names = [asked or program.name]
        if names[0] == program.name:
            names += program.alternatives
        path = find_program(names[0], names[1:])
        if path is None:
            option = f" ({program.option.upper()})" if program.option else ""
            complaints.append(
                f"{_at(plan, step)}: program {' or '.join(names)}{option} is not on PATH"
            )
            continue
        known = plan.programs.get(program.name, {})
        version = known.get("version") if known.get("path") == path else None
        plan.programs[program.name] = {
            "path": path,
            "version": version or program_version(path, program.version),
        }
        found[program.name] = path
    for name in (*(opts.executes or ()), *(opts.add_executes or ())):
        path = find_program(name)
        if path is None:
            complaints.append(
                f"{_at(plan, step)} EXECUTES: program {name} is not on PATH; install it"
            )
        else:
            plan.programs.setdefault(name, {"path": path, "version": "not asked"})
    for name in (*step.runner.packages, *(opts.depends or ()), *(opts.add_depends or ())):
        if importlib.util.find_spec(name) is None:
            complaints.append(f"{_at(plan, step)}: Python package {name} is not installed")
        else:
            plan.packages[name] = _package_version(name)
    return complaints


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
