"""Runners written for ShapePipe 1.x, run unchanged: `@module_runner(...)` and its six arguments.

A runner of that time is a function `(input_file_list, run_dirs, file_number_string, config,
module_config_sec, w_log)`, before 2021 without `module_config_sec`, that returns `(stdout,
stderr)`. It declares neither options nor products: any option of its section is accepted, and
whatever it writes into `run_dirs["output"]` is its product, known when it has run. New runners are
declared in `runner`.
"""

from __future__ import annotations

import configparser
import inspect
import os
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, PrivateAttr

from shapepipe.errors import ProgramFailed
from shapepipe.pipeline.job import LOG_FILE, Job
from shapepipe.pipeline.options import Options, split_list
from shapepipe.pipeline.runner import Input, Output, Program, Runner

TEMPORARY = ".tmp"
"""Sub-directory of a job's private directory that is `run_dirs["tmp"]`."""

TEXT_SHOWN = 300
"""Characters of a runner's stderr that go into the summary; the job's log has all of it."""


class LegacyOptions(Options):
    """The section of a runner of ShapePipe 1.x: where its inputs are, and whatever it reads."""

    model_config = ConfigDict(extra="allow")
    _section: str = PrivateAttr(default="")
    _texts: dict[str, dict[str, str]] = PrivateAttr(default_factory=dict)

    def placed(self, section: str, texts: dict[str, dict[str, str]]) -> LegacyOptions:
        """Note the section and the whole INI file, which such a runner is given."""
        self._section, self._texts = section, texts
        return self

    def reader(self) -> LegacyConfig:
        """The INI file in the form in which the function asks for options."""
        texts = self._texts or {self.section: dict(self.model_extra or {})}
        found = LegacyConfig(defaults=texts.get("DEFAULT"), interpolation=None)
        found.read_dict({name: keys for name, keys in texts.items() if name != "DEFAULT"})
        return found

    @property
    def section(self) -> str:
        """Name of the section."""
        return self._section or "MODULE"

    def run_log(self, run: Path) -> str:
        """Path of the list of all runs."""
        name = self._texts.get("FILE", {}).get("run_log_name", "shapepipe_runs")
        return str(run.parent / f"{name}.txt")


class LegacyConfig(configparser.ConfigParser):
    """The INI file as 1.x hands it to runners."""

    def getexpanded(self, section: str, option: str) -> str:
        """Value with its environment variables replaced."""
        return os.path.expandvars(self.get(section, option))

    def getlist(self, section: str, option: str, delimiter: str = ",") -> list[str]:
        """Parts of a value, without the blanks around them and variables replaced."""
        text = self.getexpanded(section, option)
        if delimiter == ",":
            return split_list(text)
        return [part.strip() for part in text.split(delimiter)]


class LegacyRunner(Runner):
    """A function of ShapePipe 1.x with its declaration; called directly, it is the function."""

    open_inputs: ClassVar[bool] = True

    def __call__(self, *arguments, **keywords):
        """Call the function as it was written."""
        return inspect.unwrap(self.function)(*arguments, **keywords)


def module_runner(
    version: str = "0.0",
    input_module: str | Sequence[str] | None = None,
    file_pattern: str | Sequence[str] = "",
    file_ext: str | Sequence[str] = "",
    depends: str | Sequence[str] = (),
    executes: str | Sequence[str] = (),
    numbering_scheme: str | None = None,
    run_method: str = "parallel",
) -> Callable[[Callable], LegacyRunner]:
    """Declare a runner in the way of ShapePipe 1.x.

    Parameters
    ----------
    version : str
        Counts in the fingerprint of every product.
    input_module : str or sequence of str, optional
        Runners whose products are the inputs.
    file_pattern, file_ext : str or sequence of str
        Names of the inputs; FILE_PATTERN and FILE_EXT of the INI file may give other ones, and
        another number of them. One extension serves for all patterns.
    depends, executes : str or sequence of str
        Python packages (bounds of versions are ignored) and programs, looked for before the run.
    numbering_scheme : str, optional
        Form of the number in file names.
    run_method : {'parallel', 'serial'}
        One call for each number, or one call with the files of all numbers.

    Returns
    -------
    callable
        Decorator that makes a `LegacyRunner` of the function.
    """
    if run_method not in ("parallel", "serial"):
        raise ValueError(f"run_method={run_method!r} (allowed: parallel, serial)")

    def declare(function: Callable) -> LegacyRunner:
        return LegacyRunner(
            function=_adapt(function, run_method == "serial"),
            name=function.__name__,
            options=LegacyOptions,
            inputs=tuple(name_inputs(_listed(file_pattern), _listed(file_ext))),
            outputs=(Output("products", many=True, doc="Whatever the function writes."),),
            after=tuple(_listed(input_module)),
            numbering=numbering_scheme,
            scope="all" if run_method == "serial" else "each",
            programs=tuple(Program(name, version=()) for name in _listed(executes)),
            packages=tuple(_package_name(text) for text in _listed(depends)),
            version=version,
        )

    return declare


def name_inputs(patterns: Sequence[str], exts: Sequence[str]) -> list[Input]:
    """One input for each pattern; their roles keep them in order and tell equal patterns apart."""
    exts = list(exts) or [""]
    exts = exts * len(patterns) if len(exts) == 1 else exts
    if len(exts) != len(patterns):
        raise ValueError(f"{len(exts)} extensions for the patterns {', '.join(patterns)}")
    pairs = zip(patterns, exts, strict=True)
    return [Input(f"{k}:{pattern}", pattern, ext) for k, (pattern, ext) in enumerate(pairs)]


def _listed(value) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else [str(item) for item in value if item]


def _package_name(text: str) -> str:
    return re.split(r"[\s<>=!~;\[]", text.strip(), maxsplit=1)[0]


def _adapt(function: Callable, serial: bool) -> Callable:
    """Make a function of `(job, opts)` of one of 1.x."""
    with_section = _takes_section(function)

    @wraps(function)
    def run(job: Job, opts: LegacyOptions) -> None:
        files = _rows(job) if serial else [str(path) for path in job.inputs.values()]
        number = "" if serial else job.number
        section = (opts.section,) if with_section else ()
        returned = function(
            files, _directories(job, opts), number, opts.reader(), *section, job.log
        )
        _judge(job, function.__name__, returned)
        _promise(job)

    return run


def _takes_section(function: Callable) -> bool:
    """Tell the six arguments of later versions from the five of 2020."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    if any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters):
        return True
    names = [item.name for item in parameters if item.kind in kinds]
    if len(names) not in (5, 6):
        raise TypeError(
            f"{function.__name__}({', '.join(names)}): a runner of 1.x takes input_file_list, "
            "run_dirs, file_number_string, config, module_config_sec, w_log, or these without "
            "module_config_sec"
        )
    return len(names) == 6


def _rows(job: Job) -> list[list[str]]:
    """Files of all numbers, one list for each number that every input has."""
    columns = list(job.inputs.values())
    if not columns:
        return []
    common = set(columns[0]).intersection(*columns[1:])
    for number in sorted(set().union(*columns) - common):
        job.log.warning("%s is left out: not every input has it", number)
    return [[str(files[number]) for files in columns] for number in sorted(common)]


def _directories(job: Job, opts: LegacyOptions) -> dict[str, str]:
    """Directories of a job under the names of 1.x; `output` is private until the job succeeds."""
    context, temporary = job._context, job.scratch / TEMPORARY
    run = Path(context.output).parents[1]
    for folder in (temporary, context.logs):
        os.makedirs(folder, exist_ok=True)
    return {
        "run": str(run),
        "log": context.logs,
        "tmp": str(temporary),
        "output": str(job.scratch),
        "run_log": opts.run_log(run),
    }


def _judge(job: Job, name: str, returned: Any) -> None:
    """Log what a function returned; text on stderr is an error."""
    if returned is None:
        return
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{name} returned {returned!r:.80} (allowed: stdout, stderr)")
    stdout, stderr = (_text(part) for part in returned)
    if stdout:
        job.log.info("%s", stdout)
    if stderr:
        job.log.error("%s", stderr)
        raise ProgramFailed(name, " ".join(stderr.split())[:TEXT_SHOWN])


def _text(part: Any) -> str:
    if isinstance(part, bytes):
        part = part.decode(errors="replace")
    return "" if part is None else str(part).strip()


def _promise(job: Job) -> None:
    """Take every file below the private directory as a product."""
    for folder, _, names in os.walk(job.scratch):
        here = Path(folder)
        if TEMPORARY not in here.relative_to(job.scratch).parts:
            job.promised += [
                here / name for name in sorted(names) if (here, name) != (job.scratch, LOG_FILE)
            ]
