"""Tables and texts for the command line: values, plans, runs, reports, the origin of a product.

Everything here reads declarations and records and prints; nothing is changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shapepipe.pipeline.batch import shard_states
from shapepipe.pipeline.config import RunConfig
from shapepipe.pipeline.options import WIRING, bounds_text, default_text, type_text
from shapepipe.pipeline.records import RUN_FILE, RunDirectory, RunList
from shapepipe.pipeline.runner import Runner
from shapepipe.pipeline.sections import SECTIONS
from shapepipe.pipeline.steps import Plan, State
from shapepipe.pipeline.wiring import Wire

SHIPPED = Path(__file__).parents[1] / "data"
"""Files that come with the package, such as those that a template names."""
WIDE = 160
"""Columns of a table that goes to a file or a batch log."""


def make_console() -> Console:
    """Make a console that is wide enough where nobody sets its width."""
    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=WIDE)


def make_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Make a table without lines; the columns in `right` are numbers."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def values(config: RunConfig) -> None:
    """Show the resolved value of every option and where it came from."""
    table = make_table("section", "option", "value", "from")
    for name, section in config.sections.items():
        _add_values(table, name, section, config.origins[name], set())
    for step in config.steps:
        given = step.origins
        _add_values(table, step.section, step.opts, given, WIRING - set(given))
    make_console().print(table)


def _add_values(table, name, section, origins, left_out) -> None:
    for field in (*type(section).model_fields, *(section.model_extra or {})):
        if field in left_out:
            continue
        value = getattr(section, field)
        if isinstance(value, (list, tuple)):
            value = ", ".join(str(item) for item in value)
        shown = "" if value is None else str(value)
        table.add_row(
            f"[{name}]".replace("[", r"\["),
            field.upper(),
            escape(shown),
            origins.get(field, "default"),
        )


def plan(planned: Plan, units: bool = False) -> None:
    """Show steps x units with what will run, what is done, and why."""
    console = make_console()
    table = make_table(
        "step", "units", "to do", "done", "inputs from", right=("units", "to do", "done")
    )
    for step in planned.steps:
        done = step.count(State.DONE, State.DONE_EMPTY, State.SKIPPED)
        size = str(len(step.numbers)) if step.bound else "?"
        to_do = str(step.count(State.TO_DO)) if step.bound else "?"
        table.add_row(step.label, size, to_do, str(done), escape(_sources(planned, step)))
    console.print(table)
    for step in planned.steps:
        for line in _step_lines(planned, step, units):
            console.print(escape(line), soft_wrap=True)
    if planned.programs:
        programs = make_table("program", "version", "path")
        for name, item in planned.programs.items():
            programs.add_row(name, escape(item["version"]), item["path"])
        console.print(programs)
    for warning in planned.warnings:
        console.print(escape(f"warning: {warning}"), style="yellow", soft_wrap=True)
    verb = "continues" if planned.directory.exists() else "would be"
    console.print(f"the run {verb} {planned.directory.path}", soft_wrap=True)


def _sources(planned: Plan, step) -> str:
    if not step.bound:
        waits = ", ".join(planned.steps[k].label for k in sorted(step.waits))
        return f"known when {waits} has run"
    names = []
    columns = [(column.role, column.sources) for column in step.columns] + list(
        step.gathered.items()
    )
    for role, sources in columns:
        wheres = []
        for source in sources:
            if isinstance(source, Wire):
                wheres.append(planned.steps[source.step].label)
            else:
                wheres += source.folders[:2] + (
                    [f"{len(source.folders)} folders"] if source.folders[2:] else []
                )
        names.append(f"{role}: {', '.join(wheres)}")
    return "; ".join(names)


def _step_lines(planned: Plan, step, units: bool) -> list[str]:
    lines = [
        f"{step.label} {number}: {lack}; this unit does not run"
        for number, lack in step.incomplete.items()
    ]
    if step.unpaired:
        shown = ", ".join(list(step.unpaired)[:5])
        lines.append(
            f"{step.label}: {len(step.unpaired)} numbers only in secondary inputs ({shown})"
        )
    lines += [f"{step.label}: {note}" for note in step.notes]
    if step.waits and step.bound:
        waits = ", ".join(planned.steps[k].label for k in sorted(step.waits))
        lines.append(f"{step.label}: waits for the whole of {waits}")
    again = Counter(step.reasons.values())
    lines += [
        f"{step.label}: {count} again because {reason}" for reason, count in again.most_common(5)
    ]
    if units:
        for row, number in enumerate(step.numbers):
            state = State(step.state[row]).name.lower().replace("_", " ")
            why = step.reasons.get(row, "new" if not step.state[row] else "")
            lines.append(f"  {step.label} {number or 'all'}: {state}{f' ({why})' if why else ''}")
    return lines


def runs(output_dir: Path, name: str) -> None:
    """List the runs of an output directory."""
    table = make_table("run", "started", "steps", "state")
    for path, labels in RunList(output_dir, name).runs():
        directory = RunDirectory(path)
        started, state = "?", "made by another version"
        if (path / RUN_FILE).is_file():
            started = directory.read_run()["launches"][0]["at"]
            ended = [label for label in labels if directory.finished(label)]
            state = (
                "finished"
                if len(ended) == len(labels)
                else f"{len(ended)} of {len(labels)} steps finished"
            )
        table.add_row(path.name, started, ", ".join(labels), state)
    make_console().print(table)


def count_records(directory: RunDirectory) -> dict[str, dict[str, int]]:
    """Number of units by step and status, of the newest record of each unit.

    Lines are taken apart as bytes, since a run may have millions of them.
    """
    newest: dict[bytes, tuple[int, bytes]] = {}
    for path in directory.outcome_files():
        with open(path, "rb") as stream:
            for raw in stream:
                if raw.startswith(b'{"step":"') and raw.endswith(b"\n"):
                    head = raw.split(b'"', 14)
                    key, rest = head[3] + b"\0" + head[11], head[14][1:].split(b",", 1)[0]
                    attempt = int(rest.rstrip(b"}\n"))
                    if key not in newest or newest[key][0] <= attempt:
                        newest[key] = attempt, head[7]
    counts: dict[str, Counter] = defaultdict(Counter)
    for key, (_, status_) in newest.items():
        counts[key.partition(b"\0")[0].decode()][status_.decode()] += 1
    return {label: dict(counter) for label, counter in counts.items()}


def status(
    directory: RunDirectory, counts: dict[str, dict[str, int]], in_queue: bool = True
) -> None:
    """Show units by step and outcome, who runs them, and what the shards are at."""
    content = directory.read_run()
    labels = list(content["launches"][-1]["steps"])
    names = [
        n
        for n in ("ok", "empty", "failed", "timeout", "lost")
        if any(n in c for c in counts.values())
    ]
    table = make_table("step", *names, "finished", right=tuple(names))
    for label in labels:
        done = counts.get(label, {})
        note = directory.finished(label)
        table.add_row(label, *(str(done.get(name, "-")) for name in names), "yes" if note else "no")
    console = make_console()
    console.print(table)
    owners = directory.owners()
    for owner in owners:
        console.print(f"running: {owner}", soft_wrap=True)
    if not owners:
        console.print("not running", soft_wrap=True)
    states = shard_states(directory, in_queue)
    if states:
        shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        console.print(f"shards: {shown}", soft_wrap=True)


def submission(made) -> None:
    """Show the jobs of a submission; of one that was only tried, all its files."""
    console = make_console()
    if not made.numbers:
        for name, text in made.files.items():
            console.print(escape(f"{made.jobs[0].folder / name}:\n{text}"), soft_wrap=True)
        return
    stages = made.plan.part.division.stages
    for job, number in zip(made.jobs, made.numbers, strict=True):
        labels = [step.label for step in made.plan.steps if stages[step.index] == job.stage]
        size = f"{job.count} shards" if job.count else "one process"
        what = ", ".join(labels) or "closes the run"
        console.print(escape(f"job {number}: stage {job.stage}, {size}: {what}"), soft_wrap=True)
    console.print(escape(f"the run is {made.plan.directory.path}"), soft_wrap=True)


def explain(product: Path) -> None:
    """Say how a file was made, back to the raw files."""
    console = make_console()
    for line in _history(product, "", set()):
        console.print(escape(line), soft_wrap=True)


def _history(product: Path, indent: str, seen: set) -> list[str]:
    found = _record_of(product)
    if found is None:
        return [f"{indent}{product}: not made by a run (a raw file, or moved since)"]
    directory, record = found
    content = directory.read_run()
    lines = [
        f"{indent}{product}",
        f"{indent}  made by {record['step']} {record['number']} of run {directory.path.name}, "
        f"try {record['try']}, {record['wall']:.2f} s",
    ]
    if product in seen:
        return [*lines[:1], f"{indent}  (see above)"]
    seen.add(product)
    if not indent:
        launch = content["launches"][-1]
        lines += [f"  {name}: {version}" for name, version in launch["versions"].items()]
        lines += [f"  started with {' '.join(launch['command'])} in {launch['directory']}"]
    options = content["prints"].get(record["print"], {})
    lines += [
        f"{indent}  {key.upper() if key.islower() else key} = {value}"
        for key, value in options.items()
    ]
    folders = directory.folders()
    inputs = [entry.rsplit(":", 2)[0].partition("/") for entry in record["in"]]
    shown = inputs if len(inputs) <= 8 else inputs[:8]
    for folder, _, name in shown:
        if folder.isdigit():
            lines += _history(Path(folders[int(folder)]) / name, indent + "    ", seen)
        else:
            lines.append(f"{indent}    {name}")
    if len(inputs) > len(shown):
        lines.append(f"{indent}    and {len(inputs) - len(shown)} more inputs")
    return lines


def _record_of(product: Path) -> tuple[RunDirectory, dict] | None:
    """Newest record that lists a file among its products, and its run."""
    for parent in product.parents:
        if (parent / RUN_FILE).is_file():
            directory = RunDirectory(parent)
            parts = product.relative_to(parent).parts
            if "output" not in parts[1:-1]:
                return None
            at = parts.index("output", 1)
            label, name = "/".join(parts[:at]), "/".join(parts[at + 1 :])
            hits = [
                line
                for line in directory.lines()
                if line.get("step") == label and name in line.get("out", ())
            ]
            return (directory, hits[-1]) if hits else None
    return None


def describe(runner: Runner) -> None:
    """Describe a runner: what it does, inputs, products, options."""
    console = make_console()
    console.print(f"[bold]{runner.name}[/bold] (version {runner.version}, scope {runner.scope})")
    console.print(escape(runner.doc), soft_wrap=True)
    if runner.aliases:
        console.print(f"other names: {', '.join(runner.aliases)}")
    for title, rows in (("inputs", input_rows(runner)), ("products", output_rows(runner))):
        if rows:
            table = make_table(title, "files", "")
            for line in rows:
                table.add_row(*(escape(text) for text in line))
            console.print(table)
    if runner.programs:
        names = ", ".join("/".join((p.name, *p.alternatives)) for p in runner.programs)
        console.print(f"programs: {names}")
    table = make_table("option", "type", "default", "")
    for row in option_rows(runner.options, own_only=True):
        table.add_row(*(escape(text) for text in row))
    console.print(table)
    console.print(
        "options of every runner: " + ", ".join(name.upper() for name in sorted(WIRING)),
        soft_wrap=True,
    )


def input_rows(runner: Runner) -> list[tuple[str, str, str]]:
    """Role, files and description of each input."""
    rows = []
    for item in runner.inputs:
        notes = [
            item.doc,
            "all files at once" if item.gather else "",
            "as the options ask" if item.when else "",
        ]
        rows.append((item.role, f"{item.pattern or item.role}<number>{item.ext}", _join(notes)))
    return rows


def output_rows(runner: Runner) -> list[tuple[str, str, str]]:
    """Role, files and description of each product."""
    rows = []
    for item in runner.outputs:
        pattern = item.pattern if isinstance(item.pattern, str) else item.role
        named = "named by the options" if callable(item.pattern) else ""
        ext = item.ext if isinstance(item.ext, str) else ""
        number = "<number><part>" if item.expand else "<number>"
        notes = [item.doc, named, "may be missing" if item.optional else ""]
        rows.append((item.role, f"{pattern}{number}{ext}", _join(notes)))
    return rows


def _join(notes: list[str]) -> str:
    return "; ".join(note.rstrip(".") for note in notes if note)


def option_rows(cls, own_only: bool = False) -> list[tuple[str, str, str, str]]:
    """Name, type with bounds, default and description of each option."""
    rows = []
    for name, field in cls.model_fields.items():
        if own_only and name in WIRING:
            continue
        default = default_text(field)
        bounds, unit = bounds_text(field), (field.json_schema_extra or {}).get("unit", "")
        kind = ", ".join(text for text in (type_text(field), bounds) if text)
        doc = f"{field.description}{f' [{unit}]' if unit else ''}"
        aliases = (field.json_schema_extra or {}).get("aliases")
        if aliases:
            doc += f" (also {', '.join(alias.upper() for alias in aliases)})"
        rows.append((name.upper(), kind, "required" if default is None else default, doc))
    return rows


def template(runners: list[Runner], names) -> str:
    """A commented INI file for a chain of runners.

    Options that are required stand with a value to replace; all others stand as comments with their
    default.
    """
    lines = ["# Every option: those behind '#' have the default that is shown.", ""]
    for name, cls in SECTIONS.items():
        lines += _template_section(
            name, cls, {"module": ", ".join(names), "output_dir": "."}, WIRING
        )
    count: Counter = Counter()
    total = Counter(runner.name for runner in runners)
    for runner in runners:
        count[runner.name] += 1
        ending = f"_RUN_{count[runner.name]}" if total[runner.name] > 1 else ""
        lines += [f"# {runner.doc.splitlines()[0] if runner.doc else runner.name}"]
        lines += _template_section(runner.name.upper() + ending, runner.options, {}, frozenset())
    return "\n".join(lines).rstrip() + "\n"


def _template_section(name, cls, given, left_out) -> list[str]:
    lines = [f"[{name}]"]
    for option, field in cls.model_fields.items():
        if name not in SECTIONS and option in WIRING:
            continue
        default, kind = (
            default_text(field),
            ", ".join(t for t in (type_text(field), bounds_text(field)) if t),
        )
        unit = (field.json_schema_extra or {}).get("unit", "")
        lines.append(f"# {field.description} ({kind}{f', {unit}' if unit else ''})")
        if option in given:
            lines.append(f"{option.upper()} = {given[option]}")
        elif default is None:
            lines.append(f"{option.upper()} = {_placeholder(field)}")
        else:
            lines.append(f"# {option.upper()} = {default}".rstrip())
    return [*lines, ""]


def _placeholder(field) -> str:
    """A value that passes `check`, for a required option."""
    if example := (field.json_schema_extra or {}).get("example"):
        return str(SHIPPED / example) if type_text(field) == "file" else example
    kind = type_text(field)
    if " | " in kind:
        return kind.split(" | ")[0]
    return {"integer": "1", "number": "1.0", "file": "/etc/hostname"}.get(kind, "CHANGE_ME")
