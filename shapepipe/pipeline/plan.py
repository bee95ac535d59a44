"""The whole chain wired and checked before anything runs.

`make_plan` turns a configuration into steps with units: inputs wired to earlier steps, earlier
runs or files on disk; programs and packages present. What is done already, and why the rest is to
do, is added by `resume`. A step whose inputs are known only when an earlier step has run is bound
at its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.addresses import Addresses
from shapepipe.pipeline.binding import at, bind, find_place, find_product
from shapepipe.pipeline.config import RunConfig, StepConfig, module_folders, read_number_list
from shapepipe.pipeline.match import Chosen
from shapepipe.pipeline.needs import check_needs
from shapepipe.pipeline.options import nearest, path_kind
from shapepipe.pipeline.records import RunDirectory, RunList
from shapepipe.pipeline.rehearsal import parse_planted, planted_in
from shapepipe.pipeline.runner import canonical_name
from shapepipe.pipeline.steps import Plan, PlannedStep


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
    wanted = Chosen(only or read_number_list(config.file.number_list) or ())
    plan = Plan(config, directory, [], dict(pinned or {}), {}, {}, resolver, wanted)
    for step_config in config.steps:
        for step in _planned(plan, step_config):
            plan.steps.append(step)
            complaints += check_needs(plan, step)
            complaints += _resolve_options(plan, step)
            complaints += bind(plan, step)
    complaints += _check_wanted(plan)
    complaints += _check_rehearsal(plan)
    if complaints:
        raise ConfigurationError(list(dict.fromkeys(complaints)))
    return plan


def _planned(plan: Plan, config: StepConfig) -> list[PlannedStep]:
    """A step; two where jobs share the rows of a catalogue: the shares, and their merging."""
    chunks = config.opts.chunks if config.runner.scope == "rows" else 1
    steps: list[PlannedStep] = []
    for shares in [chunks, 1] if chunks > 1 else [1]:
        step = PlannedStep(len(plan.steps) + len(steps), config, config.opts, "", shares=shares)
        step.output, step.only = str(plan.directory.output(step.label)), plan.only
        step.merges = steps[0].index if steps else None
        steps.append(step)
    return steps


def _check_wanted(plan: Plan) -> list[str]:
    """Complain about numbers that were asked for and are not there."""
    if not all(step.bound for step in plan.steps):
        return []
    sources = [c.sources for step in plan.steps for c in step.columns]
    known = list(dict.fromkeys(n for some in sources for source in some for n in source.index))
    return [
        f"number {want} was asked for, but there are no such files{nearest(want, known[:5000])}"
        for want in plan.only.never_seen()
    ]


def _check_rehearsal(plan: Plan) -> list[str]:
    """Complain about faults planted in no step, and warn of those that are."""
    rehearsal, known = plan.config.rehearsal, [n for step in plan.steps for n in step.names]
    where, complaints = plan.config.where.get("REHEARSAL", "-o [REHEARSAL]"), []
    for text in rehearsal.faults:
        name = parse_planted(text).step
        if name not in known:
            hint = nearest(name, known)
            complaints.append(f"{where} FAULTS: {text}: there is no such step{hint}")
    for step in plan.steps:
        planted = planted_in(rehearsal, step.names, step.numbers)
        if planted:
            listed = ", ".join(f"{n.lstrip('-_')} {fault.what}" for n, fault in planted.items())
            plan.warnings.append(f"rehearsal: faults are planted in {step.label}: {listed}")
    return complaints


def _resolve_options(plan: Plan, step: PlannedStep) -> list[str]:
    """Turn the addresses among a runner's own options into directories."""
    resolved: dict[str, Any] = {}
    complaints: list[str] = []
    for name, field_ in step.runner.options.model_fields.items():
        kind, texts = path_kind(field_), getattr(step.config.opts, name)
        if kind is None or texts is None or name.endswith("input_dir"):
            continue
        if kind.name == "product":
            try:
                where = f"{at(plan, step)} {name.upper()}:"
                resolved[name] = find_product(plan, step, str(texts), where)
            except ConfigurationError as error:
                complaints += error.complaints
        if kind.name != "address":
            continue
        folders: list[Path] = []
        for text in texts:
            try:
                place = find_place(plan, step, text, f"{at(plan, step)} {name.upper()}:")
            except ConfigurationError as error:
                complaints += error.complaints
                continue
            if place.step is not None:
                step.waits.add(place.step)
                folders.append(Path(plan.steps[place.step].output) / place.below)
                step.reads.append(folders[-1])
            folders += [Path(folder) for folder in place.folders]
        resolved[name] = tuple(folders)
    if resolved:
        step.opts = step.opts.model_copy(update=resolved)
    return complaints
