"""INI text to a frozen configuration in which every value knows where it was written.

All complaints are collected, each with file and line and the nearest valid name, and raised
together before anything is created. What the options mean is declared in `sections` and by the
runners.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.options import (
    RETIRED_EVERYWHERE,
    Section,
    check_values,
    expand_path,
    missing_path,
    nearest,
    spellings,
    split_list,
)
from shapepipe.pipeline.runner import Runner, find_runner, list_runners
from shapepipe.pipeline.sections import SECTIONS, ExecutionSection


@dataclass(frozen=True)
class Written:
    """A value as it stands in an INI file or on the command line."""

    text: str
    origin: str


@dataclass(frozen=True)
class StepConfig:
    """One step of the chain.

    Attributes
    ----------
    label : str
        Name of the step's directory: the runner's name, with `_run_k` if it occurs more than once.
    written : str
        The runner's name as it stands in MODULE.
    section : str
        INI section that holds its options.
    origins : dict of str to str
        Where each given option was written.
    """

    label: str
    written: str
    runner: Runner
    section: str
    opts: Any
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunConfig:
    """Everything that an INI file says, checked."""

    path: Path
    text: str
    default: Any
    execution: Any
    file: Any
    job: Any
    batch: Any
    worker: Any
    rehearsal: Any
    steps: tuple[StepConfig, ...]
    origins: dict[str, dict[str, str]]
    where: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def sections(self) -> dict[str, Section]:
        """The framework's sections by name."""
        return {name: getattr(self, name.lower()) for name in SECTIONS}


class IniText:
    """An INI file as text: values by section and key, each with its line.

    Parameters
    ----------
    path : Path
        The file; Windows line ends and a byte-order mark are accepted. A comment starts with # or ;
        at the beginning of a line or after a blank.

    Raises
    ------
    ConfigurationError
        When the file cannot be read, or is not an INI file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.complaints: list[str] = []
        self.warnings: list[str] = []
        self.text = _read_text(path)
        self.lines: dict[str, dict[str, int]] = {}
        self.section_lines: dict[str, int] = {}
        self._scan()
        self.values = self._parse()

    def _scan(self) -> None:
        """Find the line of every section and option, and options that are written twice."""
        section, indent, in_option, written = None, 0, False, {}
        for number, line in enumerate(self.text.split("\n"), 1):
            text, depth = line.strip(), len(line) - len(line.lstrip())
            if not text or text[0] in "#;":
                continue
            if in_option and depth > indent:  # the value before goes on
                if section is not None and _INDENTED_OPTION.match(text):
                    where = f"{self.path.name}:{number} [{section}]"
                    name = text.split("=")[0].strip()
                    self.complaints.append(
                        f"{where} {name}: is indented, and so continues the value before it; "
                        "take out the tab or blanks in front of it"
                    )
                continue
            indent, in_option = depth, False
            if (head := _SECTION.match(text)) is not None:
                section = head.group(1)
                self.section_lines.setdefault(section, number)
                self.lines.setdefault(section, {})
            elif section is not None and (item := _OPTION.match(text)) is not None:
                in_option = True
                key, value = item.group(1).strip().lower(), item.group(2).strip()
                if key in self.lines[section]:
                    self._twice(section, key, number, value == written[section, key])
                self.lines[section].setdefault(key, number)
                written[section, key] = value

    def _twice(self, section, key, number, same) -> None:
        text = (
            f"{self.path.name}:{number} [{section}] {key.upper()}: stands already in line "
            f"{self.lines[section][key]}"
        )
        (self.warnings if same else self.complaints).append(
            text + (" with the same value" if same else " with another value")
        )

    def _parse(self) -> dict[str, dict[str, Written]]:
        parser = configparser.ConfigParser(strict=False, inline_comment_prefixes=("#", ";"))
        try:
            # a % that begins no %(name)s stands for itself, as in AT_LEAST = 90 %
            text = re.sub(r"%%|%(?!\()", "%%", self.text)
            parser.read_string(text, source=str(self.path))
        except configparser.Error as error:
            raise ConfigurationError(
                [*self.complaints, _syntax_complaint(self.path, error)]
            ) from error
        values: dict[str, dict[str, Written]] = {}
        for section, keys in self.lines.items():
            values[section] = {}
            for key, line in keys.items():
                where = f"{self.path.name}:{line}"
                try:
                    text = parser.get(section, key) or ""
                except configparser.Error as error:
                    reason = " ".join(str(error).split())
                    self.complaints.append(f"{where} [{section}] {key.upper()}: {reason}")
                    continue
                values[section][key] = Written(_without_comment(text), where)
        return values

    def where(self, section: str, key: str = "") -> str:
        """Say `file:line [SECTION]` of a section, or of an option in it."""
        line = self.lines.get(section, {}).get(key) or self.section_lines.get(section)
        return f"{self.path.name}{f':{line}' if line else ''} [{section}]"


_SECTION = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"([^=:]+?)\s*[=:](.*)$")
_INDENTED_OPTION = re.compile(r"[A-Z][A-Z0-9_]{2,}\s*=(?!=)")


_LINE_END = "\\n"
"""How the parser's own messages show the end of a line."""


def _without_comment(text: str) -> str:
    """Drop whole comment lines inside a continued value, and options that have slipped into it."""
    lines = [
        line
        for k, line in enumerate(text.splitlines())
        if not line.lstrip().startswith(("#", ";"))
        and not (k and _INDENTED_OPTION.match(line.strip()))
    ]
    return "\n".join(lines).strip()


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ConfigurationError(missing_path(path.absolute(), "file"))
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path.name}: is not a text file ({error.reason})") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def _syntax_complaint(path: Path, error: configparser.Error) -> str:
    if isinstance(error, configparser.MissingSectionHeaderError):
        return (
            f"{path.name}:{error.lineno} {error.line.strip()!r} stands before the first [SECTION]"
        )
    if isinstance(error, configparser.ParsingError):
        return "; ".join(
            f"{path.name}:{line} {text.replace(_LINE_END, '')} "
            "is neither [SECTION] nor OPTION = value nor indented"
            for line, text in error.errors
        )
    return f"{path.name}: {' '.join(str(error).split())}"


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check an INI file.

    Parameters
    ----------
    path : path
        The INI file.
    overrides : sequence of str
        `SECTION:KEY=VALUE`, as after -o on the command line.

    Raises
    ------
    ConfigurationError
        With all complaints at once.
    """
    ini = IniText(Path(path))
    complaints, warnings = ini.complaints, ini.warnings
    values = {section: dict(items) for section, items in ini.values.items()}
    complaints += _override(values, overrides)
    own, origins = {}, {}
    for name, cls in SECTIONS.items():
        items = values.get(name, {})
        if name == "DEFAULT":
            items = _without_variables(items, cls, ini.text)
        own[name], origins[name] = _read_section(ini, name, cls, items, complaints, warnings)
    steps = _read_steps(ini, values, origins, complaints, warnings)
    if own["FILE"] is not None and not own["FILE"].output_dir.is_dir():
        where = origins["FILE"].get("output_dir", ini.path.name)
        folder = own["FILE"].output_dir
        reason = missing_path(folder, "directory", ALMOST_THE_SAME)
        make = "" if folder.exists() else f" (to make it: mkdir -p {folder})"
        complaints.append(f"{where} [FILE] OUTPUT_DIR: {reason}{make}")
    if complaints:
        raise ConfigurationError(sorted(dict.fromkeys(complaints), key=_by_line))
    return RunConfig(
        path=ini.path.absolute(),
        text=ini.text,
        steps=tuple(steps),
        origins=origins,
        where={section: ini.where(section) for section in ini.section_lines},
        warnings=tuple(dict.fromkeys(warnings)),
        **{name.lower(): section for name, section in own.items()},
    )


ALMOST_THE_SAME = 0.8
"""Likeness of a mistyped name of OUTPUT_DIR: `outputs` means `output`, `input` does not."""


def _by_line(complaint: str) -> tuple:
    found = re.match(r"\S+?:(\d+) ", complaint)
    return (0, int(found.group(1))) if found else (1, 0)


def _override(values, overrides) -> list[str]:
    complaints = []
    for text in overrides:
        match = re.match(r"([^:=]+):([^=]+)=(.*)$", text, re.DOTALL)
        if match is None:
            complaints.append(f"-o {text}: is not of the form SECTION:KEY=VALUE")
            continue
        section, key, value = (part.strip() for part in match.groups())
        values.setdefault(section, {})[key.lower()] = Written(value, "-o")
    return complaints


def _without_variables(items, cls, text):
    """Leave out the DEFAULT entries that only serve as %(variables)s elsewhere."""
    names = spellings(cls)
    return {
        key: value
        for key, value in items.items()
        if key in names or f"%({key})s" not in text.lower()
    }


def _read_section(ini, name, cls, items, complaints, warnings, shared=frozenset()):
    """Check the options of one section; return its values (None if wrong) and their origins."""
    names, texts, origins, wrong = spellings(cls), {}, {}, len(complaints)
    retired = {**RETIRED_EVERYWHERE, **{key.lower(): why for key, why in cls.retired.items()}}
    for key, value in items.items():
        where = f"{value.origin} [{name}] {key.upper()}"
        if key in names:
            texts[names[key]], origins[names[key]] = value.text, value.origin
        elif key in retired:
            warnings.append(f"{where}: no longer does anything: {retired[key]}")
        elif cls.model_config.get("extra") == "allow":
            texts[key], origins[key] = value.text, value.origin
        elif key not in shared:
            complaints.append(f"{where}: unknown option{nearest(key.upper(), _shown(names))}")
    instance, wrongs = check_values(cls, texts)
    for option, reason in wrongs.items():
        where = f"{origins[option]} [{name}]" if option in origins else ini.where(name)
        complaints.append(f"{where} {option.upper()}: {reason}" if option else f"{where}: {reason}")
    return (instance if len(complaints) == wrong else None), origins


def _shown(names) -> list[str]:
    return [name.upper() for name in names]


def _read_steps(ini, values, origins, complaints, warnings) -> list[StepConfig]:
    modules, folders = _listed(values, "module"), module_folders(_listed(values, "module_path"))
    where = f"{origins['EXECUTION'].get('module_path', ini.path.name)} [EXECUTION] MODULE_PATH"
    complaints += [
        f"{where}: {missing_path(Path(folder), 'directory')}"
        for folder in folders
        if not Path(folder).is_dir()
    ]
    runners = _load_runners(modules, folders, origins, complaints, ini)
    count: dict[str, int] = {}
    total = {
        r.name: sum(1 for other in runners if other and other.name == r.name) for r in runners if r
    }
    steps, used = [], set(SECTIONS)
    texts = {name: {key: item.text for key, item in keys.items()} for name, keys in values.items()}
    for written, runner in zip(modules, runners, strict=True):
        if runner is None:
            used.add(written.upper())
            continue
        count[runner.name] = k = count.get(runner.name, 0) + 1
        label = f"{runner.name}_run_{k}" if total[runner.name] > 1 else runner.name
        section = _section_of(runner, written, k, values)
        used.add(section)
        opts, where = _read_section(
            ini, section, runner.options, values.get(section, {}), complaints, warnings
        )
        if opts is not None:
            opts = opts.placed(section, texts)
            steps.append(StepConfig(label, written, runner, section, opts, where))
    complaints += _unknown_sections(ini, values, used, runners, folders, warnings)
    return steps


def _listed(values, key) -> list[str]:
    written = values.get("EXECUTION", {}).get(key)
    return [item for item in split_list(written.text) if item] if written else []


def module_folders(texts: Sequence[str]) -> list[str]:
    """Folders of MODULE_PATH, as far as their variables are set."""
    folders = []
    for text in texts:
        try:
            folders.append(str(Path(expand_path(text)).absolute()))
        except ValueError:
            continue
    return folders


def _load_runners(names, folders, origins, complaints, ini) -> list[Runner | None]:
    runners: list[Runner | None] = []
    where = f"{origins['EXECUTION'].get('module', ini.path.name)} [EXECUTION] MODULE"
    for name in names:
        try:
            runners.append(replace(find_runner(name, folders), reference=name))
        except ConfigurationError as error:
            complaints.extend(f"{where}: {text}" for text in error.complaints)
            runners.append(None)
    if not names:
        complaints.append(f"{where}: names no runner")
    return runners


def _section_of(runner: Runner, written: str, k: int, values) -> str:
    """Section of the k-th call of a runner, under any of its names."""
    names = [written.rpartition(":")[2], runner.name, *runner.aliases]
    capitals = list(dict.fromkeys(name.upper() for name in names))
    candidates = [f"{name}_RUN_{k}" for name in capitals] + capitals
    return next((name for name in candidates if name in values), capitals[0])


def _unknown_sections(ini, values, used, runners, folders, warnings) -> list[str]:
    """Complain about sections that belong to nothing; sections of other runners only warn."""
    known = {name.upper() for name in list_runners(folders)}
    mine = {name.upper() for r in runners if r for name in (r.name, *r.aliases)}
    complaints = []
    for section in values:
        base = re.sub(r"_RUN_\d+$", "", section)
        if section in used:
            continue
        where = ini.where(section) if section in ini.section_lines else f"-o [{section}]"
        if base in known and base not in mine:
            warnings.append(f"{where}: its runner is not in MODULE, so the section is not used")
        elif base in mine:
            warnings.append(
                f"{where}: is not used; another section serves every call of this runner"
            )
        else:
            complaints.append(f"{where}: unknown section{nearest(section, [*used, *known, *mine])}")
    return complaints


def secondary_files(config: RunConfig) -> list[Path]:
    """Files that the options name; their copies go into the run's logs."""
    found = []
    for step in config.steps:
        found += step.opts.named_files()
        found += [path for path in step.opts.secondary_files() if path.is_file()]
    return list(dict.fromkeys(found))


def read_number_list(text: str | None) -> list[str] | None:
    """Read NUMBER_LIST: a comma list of numbers, or a file with one number a line."""
    if not text:
        return None
    try:
        path = Path(expand_path(text))
    except ValueError:
        path = None
    if path is not None and path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if "/" in text:
        raise ConfigurationError(
            f"[FILE] NUMBER_LIST: {missing_path(Path(text).absolute(), 'file')}"
        )
    return split_list(text)


def mode_of(path: str | Path, overrides: Sequence[str] = ()) -> str:
    """MODE of an INI file, read before anything is checked: every rank of MPI must know it."""
    try:
        values = IniText(Path(path)).values
    except ConfigurationError:
        return ""
    _override(values, overrides)
    written = values.get("EXECUTION", {}).get("mode")
    return written.text.lower() if written else ExecutionSection.model_fields["mode"].default
