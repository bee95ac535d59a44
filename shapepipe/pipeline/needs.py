"""Are the programs and packages that a chain needs present, and in which version?"""

from __future__ import annotations

import importlib.metadata
import importlib.util

from shapepipe.pipeline.binding import at
from shapepipe.pipeline.program import find_program, program_version
from shapepipe.pipeline.steps import Plan, PlannedStep


def check_needs(plan: Plan, step: PlannedStep) -> list[str]:
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
                f"{at(plan, step)}: program {' or '.join(names)}{option} is not on PATH"
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
                f"{at(plan, step)} EXECUTES: program {name} is not on PATH; install it"
            )
        else:
            plan.programs.setdefault(name, {"path": path, "version": "not asked"})
    for name in (*step.runner.packages, *(opts.depends or ()), *(opts.add_depends or ())):
        if importlib.util.find_spec(name) is None:
            complaints.append(f"{at(plan, step)}: Python package {name} is not installed")
        else:
            plan.packages[name] = _package_version(name)
    return complaints


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
