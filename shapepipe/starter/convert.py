"""Rewrite an INI file of ShapePipe 1.x with the names of this version; its comments stay.

What moved where is listed in `moves`. Values are left alone but for names of runners in them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.config import load_config
from shapepipe.pipeline.options import split_list
from shapepipe.pipeline.runner import list_runners
from shapepipe.starter.moves import (
    BARE_RUNNER_NAMES,
    DEAD_OPTIONS,
    GONE_RUNNERS,
    OPTIONS,
    RUNNERS,
    VALUES,
)

_SECTION = re.compile(r"\s*\[(.+?)\]")
_OPTION = re.compile(r"(\s*)([^=:#;\s][^=:]*?)(\s*[=:]\s*)(.*)", re.DOTALL)
_CALL = re.compile(r"(.+)_run_(\d+)$", re.IGNORECASE)


@dataclass
class Conversion:
    """A converted INI file.

    Attributes
    ----------
    text : str
        Its new text.
    changes : list of str
        What was changed, with the line of the old file.
    """

    text: str
    changes: list[str] = field(default_factory=list)


@dataclass
class _Entry:
    """Some lines of an INI file that belong together: a section, an option, a comment."""

    line: int
    text: str
    section: str = ""
    key: str = ""
    value: str = ""


def convert(text: str) -> Conversion:
    """Rewrite the text of an INI file.

    Parameters
    ----------
    text : str
        The file as it is, with any line ends.

    Returns
    -------
    Conversion
    """
    found = Conversion("")
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if plain != text:
        found.changes.append("line 1: Windows line ends or a byte-order mark taken out")
    entries = _entries(plain)
    names = _new_names(entries)
    keys = {(entry.section, entry.key) for entry in entries if entry.key}
    written: set[tuple[str, str, str]] = set()
    lines = []
    for entry in entries:
        before = (entry.section, entry.key, entry.value)
        if entry.key and before in written:
            new = _dead(entry, found, "stands above already")
        elif entry.key:
            new = _convert_option(entry, names, keys, found)
        elif entry.section:
            new = _convert_section(entry, names, found)
        else:
            new = entry.text
        written.add(before)
        lines.append(new)
    found.text = "\n".join(lines)
    return found


def convert_file(old: Path, new: Path | None) -> tuple[list[str], list[str]]:
    """Convert an INI file into another one, or to standard output, and check it.

    Returns
    -------
    changes, complaints : list of str
        What was changed, and what `shapepipe check` has to say about the new file; its warnings
        begin with `warning`.

    Raises
    ------
    ConfigurationError
        When the new file is there already, or the old one is not a text file.
    """
    if new is not None and new.exists():
        raise ConfigurationError(f"{new} exists already; it is not overwritten")
    try:
        found = convert(old.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{old}: is not a text file ({error.reason})") from error
    if new is not None:
        new.write_text(found.text, encoding="utf-8")
        return found.changes, _check(new)
    sys.stdout.write(found.text)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / old.name
        copy.write_text(found.text, encoding="utf-8")
        return found.changes, _check(copy)


def _check(path: Path) -> list[str]:
    try:
        return [f"warning: {line}" for line in load_config(path).warnings]
    except ConfigurationError as error:
        return list(error.complaints)


def _entries(text: str) -> list[_Entry]:
    entries: list[_Entry] = []
    section, indent, last = "", 0, None
    for number, line in enumerate(text.split("\n"), 1):
        bare, depth = line.strip(), len(line) - len(line.lstrip())
        if bare and bare[0] not in "#;" and last is not None and depth > indent:
            last.text += f"\n{line}"
            last.value += f"\n{bare}"
            continue
        if (head := _SECTION.match(line)) and bare[0] == "[":
            section, last, indent = head.group(1), None, depth
            entries.append(_Entry(number, line, section))
        elif section and (item := _OPTION.match(line)) and bare[0] not in "#;":
            last = _Entry(number, line, section, item.group(2).strip().lower(), item.group(4))
            indent = depth
            entries.append(last)
        else:
            entries.append(_Entry(number, line))
    return entries


def _new_names(entries: list[_Entry]) -> dict[str, str]:
    """Old name of each runner -> what it is called here, with the call if there are several.

    Copies of a runner (`vignetmaker_runner2`) become calls of it: `vignetmaker_runner_run_2`.
    """
    listed = next((e.value for e in entries if (e.section, e.key) == ("EXECUTION", "module")), "")
    chain = [name.lower() for name in split_list(listed.split(" #")[0]) if name]
    calls, names = Counter(), dict(RUNNERS)
    several = Counter(_canonical(name) for name in chain)
    for name in chain:
        new = _canonical(name)
        calls[new] += 1
        copies = several[new] > 1 and chain.count(name) == 1
        names[name] = f"{new}_run_{calls[new]}" if copies else new
    return names


def _canonical(name: str) -> str:
    """Name of a runner here; the ending `_runner` may have been forgotten."""
    name = RUNNERS.get(name, name)
    known = {*list_runners(), *RUNNERS.values()}
    if name not in known and f"{name}_runner" in known | set(RUNNERS):
        return RUNNERS.get(f"{name}_runner", f"{name}_runner")
    return name


def _renamed(name: str, names: dict[str, str]) -> str:
    """New name of a runner, perhaps followed by `_run_2`, wherever one may be named."""
    low = name.lower()
    if low in names:
        return names[low]
    call = _CALL.match(low)
    if call and (new := _canonical(call.group(1))) != call.group(1):
        return f"{new}_run_{call.group(2)}"
    return _canonical(low)


def _base(name: str) -> str:
    call = _CALL.match(name)
    return call.group(1) if call else name


def _convert_section(entry: _Entry, names, found: Conversion) -> str:
    low = entry.section.lower()
    if low in GONE_RUNNERS:
        return _note(entry, found, f"there is no {low}: {GONE_RUNNERS[low]}") + entry.text
    new = _renamed(low, names).upper()
    if entry.section != entry.section.upper() or new == entry.section:
        return entry.text
    text = entry.text.replace(f"[{entry.section}]", f"[{new}]")
    return _note(entry, found, f"was [{entry.section}]", f"[{new}]") + text


def _convert_option(entry: _Entry, names, keys, found: Conversion) -> str:
    runner = _base(_renamed(entry.section, names))
    upper = entry.key.upper()
    dead = DEAD_OPTIONS["*"] | DEAD_OPTIONS.get(runner, {})
    if upper in dead and runner.endswith("_runner"):
        return _dead(entry, found, dead[upper])
    new_key = OPTIONS.get(runner, {}).get(upper)
    if new_key and (entry.section, new_key.lower()) in keys:
        return _dead(entry, found, f"{new_key} stands here too, and counts")
    indent, key, equals, value = _OPTION.match(entry.text).groups()
    new_value = _convert_value(entry, value, names)
    notes = [GONE_RUNNERS[name] for name in _gone_in(entry)]
    notes += _now_this_chain(new_value, value, names)
    if not new_key and new_value == value and not notes:
        return entry.text
    said = "; ".join([f"was {' '.join(entry.text.split())}", *notes])
    shown = f"{new_key or upper} = {' '.join(new_value.split())}"
    return _note(entry, found, said, shown) + f"{indent}{new_key or key}{equals}{new_value}"


def _now_this_chain(new: str, old: str, names) -> list[str]:
    """Notes on addresses that meant another runner, and now mean a step of this chain."""
    mine = {_base(names[name]) for name in names if name not in RUNNERS}
    return [
        f"last:{name} is the step of this chain; write RUN:{name} for that of an earlier run"
        for name in dict.fromkeys(re.findall(r"last:(\w+_runner)\b", new))
        if name in mine and not re.search(rf"\b{name}\b", old)
    ]


def _gone_in(entry: _Entry) -> list[str]:
    if (entry.section, entry.key) != ("EXECUTION", "module"):
        return []
    return [name.lower() for name in split_list(entry.value) if name.lower() in GONE_RUNNERS]


def _convert_value(entry: _Entry, value: str, names) -> str:
    """Names of runners in MODULE, INPUT_MODULE, INPUT_DIR and other places, and known misprints."""
    for pattern, new, _ in VALUES:
        value = re.sub(pattern, new, value)
    if (entry.section, entry.key) == ("EXECUTION", "module"):
        return _each_word(value, lambda word: _base(_renamed(word, names)))
    if entry.key in ("input_module", "add_input_module"):
        return _each_word(value, lambda word: _renamed(word, names))
    if entry.key in BARE_RUNNER_NAMES:
        value = _each_word(value, lambda word: _as_address(word, names))
    if entry.key.endswith("_dir"):
        return re.sub(r"(?<=\w:)([A-Za-z]\w*)", lambda hit: _renamed(hit.group(1), names), value)
    return value


def _each_word(value: str, change) -> str:
    """Apply a change to the items of a comma list, leaving blanks and comments as they are."""
    word = re.compile(r"(?<![^,\s])[A-Za-z]\w*(?=\s*(?:,|$|\s[#;]))", re.MULTILINE)
    return word.sub(lambda hit: change(hit.group()), value)


def _as_address(word: str, names) -> str:
    new = _renamed(word, names)
    return f"last:{new}" if _base(new).endswith("_runner") else word


def _dead(entry: _Entry, found: Conversion, why: str) -> str:
    text = "\n".join(f"# {line}" for line in entry.text.split("\n"))
    return _note(entry, found, f"{entry.key.upper()} is left out: {why}") + text


def _note(entry: _Entry, found: Conversion, said: str, becomes: str = "") -> str:
    arrow = f" -> {becomes}" if becomes else ""
    found.changes.append(f"line {entry.line}: {said}{arrow}")
    return f"# 1.x: {said}\n"
