"""Declare an option once; parsing, messages, `describe`, `template` and the manual follow from it.

An option is a field of a frozen pydantic model: its type, default, bounds, unit and description
stand in one place. The INI key is the field's name in capitals. What the INI sections of the
framework itself hold is declared in `sections`; where a value was written is the business of
`config`.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined


class _PathKind:
    """Marks a type whose text is a path: variables are expanded, and the planner treats it so."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self):
        return self.name


FILE, FOLDER, PLACE = _PathKind("file"), _PathKind("folder"), _PathKind("address")
PRODUCT = _PathKind("product")


def expand_path(text: str) -> str:
    """Replace ~ and $VARIABLES; an unset variable is an error that names it."""
    expanded = os.path.expanduser(os.path.expandvars(str(text)))
    unset = re.search(r"\$\{?\w+\}?", expanded)
    if unset:
        raise ValueError(f"environment variable {unset.group()} is not set")
    return expanded


def _existing_file(text) -> Path:
    path = Path(expand_path(text)).absolute()
    if not path.is_file():
        raise ValueError(missing_path(path, "file"))
    return path


def missing_path(path: Path, kind: str, likeness: float = 0.5) -> str:
    """Say that `path` is not there, and what is near it: at least so much alike, of 1."""
    there = "does not exist"
    if path.exists():
        there = "is a directory, not a file" if path.is_dir() else f"is not a {kind}"
    parent = path.parent
    if not parent.is_dir():
        return f"{kind} {path} {there}: there is no directory {parent}"
    if path.exists():
        return f"{kind} {path} {there}"
    near = get_close_matches(path.name, os.listdir(parent), n=1, cutoff=likeness)
    return f"{kind} {path} {there}" + (f"; did you mean {parent / near[0]}?" if near else "")


def split_list(text) -> Any:
    """Split a comma list; line ends count as blanks and a trailing comma is ignored."""
    if not isinstance(text, str):
        return text
    items = [item.strip() for item in text.replace("\n", " ").split(",")]
    return items[:-1] if items and not items[-1] else items


def _addresses(text) -> Any:
    return tuple(expand_path(item) for item in split_list(text)) if isinstance(text, str) else text


_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)$")


def parse_duration(text) -> float | None:
    """Read a time in seconds or as [H:]M:S.

    Raises
    ------
    ValueError
        When the text is neither, or not positive.
    """
    if text in (None, ""):
        return None
    clock = _CLOCK.match(str(text).strip())
    try:
        seconds = (
            int(clock.group(1) or 0) * 3600 + int(clock.group(2)) * 60 + float(clock.group(3))
            if clock
            else float(text)
        )
    except ValueError:
        raise ValueError(f"{text!r} is not a time (allowed: seconds, or H:M:S)") from None
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is not a positive time")
    return seconds


def _duration(text: str) -> str:
    parse_duration(text)
    return text


InputFile = Annotated[Path, BeforeValidator(_existing_file), FILE]
"""A file that must exist; its content counts in the fingerprint of every job that reads it."""
Folder = Annotated[Path, BeforeValidator(lambda text: Path(expand_path(text)).absolute()), FOLDER]
"""A directory, existing or not."""
ProductFile = Annotated[Path, BeforeValidator(lambda text: Path(expand_path(text))), PRODUCT]
"""A file, or the address of one: `last:merge_headers_runner`, `last:x_runner/name.sqlite`."""
Address = Annotated[tuple, BeforeValidator(_addresses), PLACE]
"""Directories, or addresses such as `last:psfex_runner`; the job gets `tuple[Path, ...]`."""
BLANK = "a blank is a value"
"""Marks a type whose blank text is a value; elsewhere it means that nothing is given."""
Scheme = Annotated[str, BLANK]
"""A numbering scheme; blank: there is no number."""


def _floor(text: str) -> str:
    if not re.fullmatch(r"\s*\d+(\.\d*)?\s*%?\s*", text):
        raise ValueError(f"{text!r} is neither a number of units nor a percentage such as 90 %")
    return text


Floor = Annotated[str, AfterValidator(_floor)]
"""A number of units, or a percentage of them."""
Keep = Literal["all", "products", "final"]
"""What stays of what a step makes; see `retention`."""
Duration = Annotated[str, AfterValidator(_duration)]
"""A time in seconds or as [H:]M:S, kept as text."""


def option(
    default: Any = PydanticUndefined,
    *,
    doc: str,
    unit: str = "",
    above: float | None = None,
    below: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    aliases: Sequence[str] = (),
    example: str = "",
    default_factory: Callable | None = None,
) -> Any:
    """Declare one option of an `Options` class.

    Parameters
    ----------
    default : any, optional
        Value when the INI file has none; without it the option is required.
    doc : str
        What the option does, for the person who writes the INI file.
    unit : str
        Unit of the value, as it is to be shown.
    above, below : float, optional
        Exclusive bounds.
    at_least, at_most : float, optional
        Inclusive bounds.
    aliases : sequence of str
        Older spellings that are accepted as well.
    example : str
        What a template shows for a required option, where its type does not tell enough.
    default_factory : callable, optional
        Makes the default, for values that cannot be shared.
    """
    extra: dict[str, Any] = {"unit": unit, "aliases": [alias.lower() for alias in aliases]}
    extra["example"] = example
    limits = {"gt": above, "lt": below, "ge": at_least, "le": at_most}
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    if isinstance(default, (list, dict)):
        default_factory, default = default.copy, PydanticUndefined
    if default_factory:
        given["default_factory"] = default_factory
    else:
        given["default"] = default
    return Field(description=doc, json_schema_extra=extra, **given)


class Section(BaseModel):
    """An INI section: options and, in `retired`, those of earlier versions that no longer act."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    retired: ClassVar[dict[str, str]] = {}

    def named_files(self) -> list[Path]:
        """Files that the options name."""
        return [
            Path(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if path_kind(field) is FILE and getattr(self, name) is not None
        ]


class Options(Section):
    """The section of one runner: its own options, and those that say where its inputs are."""

    input_dir: Address | None = option(
        None, doc="Directories or addresses to search for the inputs, instead of INPUT_MODULE."
    )
    input_module: list[str] | None = option(
        None, doc="Runners whose products are the inputs: steps of this chain, or of the last run."
    )
    file_pattern: list[str] | None = option(
        None, doc="File name before the number, one for each input (a substring is enough)."
    )
    file_ext: list[str] | None = option(
        None, doc="File extension, one for each input or one for all."
    )
    numbering_scheme: Scheme | None = option(
        None,
        doc="Form of the number in the file names: -0000000-0, _0, RE:<regular expression>; blank: "
        "there is no number.",
    )
    add_input_dir: Address | None = option(None, doc="Directories or addresses to search as well.")
    add_input_module: list[str] | None = option(None, doc="Runners to take products from as well.")
    add_file_pattern: list[str] | None = option(
        None, doc="Patterns added after FILE_PATTERN or after the declared ones."
    )
    add_file_ext: list[str] | None = option(None, doc="Extensions of ADD_FILE_PATTERN.")
    depends: list[str] | None = option(None, doc="Python packages to look for before the run.")
    executes: list[str] | None = option(None, doc="Programs to look for before the run.")
    add_depends: list[str] | None = option(None, doc="More Python packages to look for.")
    add_executes: list[str] | None = option(None, doc="More programs to look for.")
    at_least: Floor | None = option(
        None,
        doc="For a step that takes all files: how many units of the steps that make them must have"
        " succeeded, as a number or a percentage (90 %).",
    )
    timeout: Duration | None = option(
        None,
        doc="Longest time of one job of this step, in seconds or H:M:S, instead of [JOB] TIMEOUT.",
    )
    keep: Keep | None = option(
        None, doc="What stays of the products of this step, instead of [EXECUTION] KEEP."
    )

    def secondary_files(self) -> list[Path]:
        """Files that the named files name in turn; they count in the fingerprint as well."""
        return []

    def placed(self, section: str, texts: dict[str, dict[str, str]]) -> Options:
        """Options that know their section and the text of the whole INI file, if they need to."""
        return self


class RowsOptions(Options):
    """Options of a runner of scope `rows`."""

    chunks: int = option(
        1,
        at_least=1,
        doc="Number of jobs that share the rows of one catalogue; no result depends on it.",
    )


WIRING = frozenset(Options.model_fields)
"""Names of the options that say where inputs are; they do not count in a fingerprint."""

RETIRED_EVERYWHERE = {
    "run_method": "a runner declares itself whether it takes one number or all at a time",
}


def unwrap(annotation) -> Any:
    """Strip `| None` from a type."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def path_kind(field: FieldInfo) -> _PathKind | None:
    """Tell whether an option is a file, a folder or an address (None: neither)."""
    inner = unwrap(field.annotation)
    marks = [*field.metadata, *(get_args(inner)[1:] if get_origin(inner) is Annotated else ())]
    return next((mark for mark in marks if isinstance(mark, _PathKind)), None)


def type_text(field: FieldInfo) -> str:
    """Name the type of an option in the words of the manual."""
    kind, inner = path_kind(field), unwrap(field.annotation)
    if kind:
        return {
            "file": "file",
            "folder": "directory",
            "address": "directories or addresses",
            "product": "file or address",
        }[kind.name]
    if get_origin(inner) is Annotated:
        return "time (seconds or H:M:S)" if inner is Duration else type_text_of(get_args(inner)[0])
    return type_text_of(inner)


def type_text_of(inner) -> str:
    """Name a plain type in the words of the manual."""
    if get_origin(inner) is Literal:
        return " | ".join(str(choice) for choice in get_args(inner))
    if get_origin(inner) in (list, tuple):
        element = get_args(inner)[0] if get_args(inner) else str
        return f"list of {_SIMPLE.get(element, 'str')}"
    return _SIMPLE.get(inner, getattr(inner, "__name__", str(inner)))


_SIMPLE = {str: "text", int: "integer", float: "number", bool: "True | False", Path: "path"}


def bounds_text(field: FieldInfo) -> str:
    """Bounds of an option, such as `> 0, <= 1`."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = []
    for mark in field.metadata:
        for name, sign in signs.items():
            value = getattr(mark, name, None)
            if value is not None:
                found.append(f"{sign} {value:g}")
    return ", ".join(found)


def default_text(field: FieldInfo) -> str | None:
    """Default as it would stand in an INI file; None for a required option."""
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)


def spellings(cls: type[Section]) -> dict[str, str]:
    """Map every accepted spelling (lower case) to the field's name."""
    names = {}
    for name, field in cls.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        names[name.lower()] = name
        names.update(dict.fromkeys(extra.get("aliases", ()), name))
    return names


def nearest(word: str, choices, cutoff: float = 0.6) -> str:
    """Return `; did you mean X?` for the choice nearest to `word`, or nothing."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(word.lower(), list(by_lower), n=1, cutoff=cutoff)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""


def prepare(field: FieldInfo, text: str) -> Any:
    """Bring INI text to the form that pydantic takes: lists split, choices in their own case."""
    inner = unwrap(field.annotation)
    if text == "" and inner is not field.annotation:
        return text if BLANK in get_args(inner) else None
    if get_origin(inner) in (list, tuple) and path_kind(field) is None:
        return split_list(text)
    if get_origin(inner) is Literal:
        by_lower = {str(choice).lower(): choice for choice in get_args(inner)}
        return by_lower.get(text.lower(), text)
    return text


def check_values(
    cls: type[Section], texts: dict[str, str]
) -> tuple[Section | None, dict[str, str]]:
    """Turn INI texts into an instance of `cls`.

    Parameters
    ----------
    cls : type
        Declaration of the section.
    texts : dict of str to str
        Text of each given option, by field name.

    Returns
    -------
    values : Section or None
        None when something is wrong.
    complaints : dict of str to str
        What is wrong, by field name.
    """
    fields = cls.model_fields
    given = {
        name: prepare(fields[name], text) if name in fields else text
        for name, text in texts.items()
    }
    try:
        return cls(**given), {}
    except ValidationError as error:
        complaints = {}
        for item in error.errors():
            name = str(item["loc"][0]) if item["loc"] else ""
            complaints.setdefault(name, _complaint(cls, name, item, texts.get(name)))
        return None, complaints


def _complaint(cls, name, item, text) -> str:
    field = cls.model_fields.get(name)
    if item["type"] == "missing":
        return f"required option is missing ({type_text(field)}: {field.description})"
    reason = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if field is None:
        return reason
    if path_kind(field) or item["type"] == "value_error":
        return reason
    allowed = ", ".join(part for part in (type_text(field), bounds_text(field)) if part)
    return f"{text!r} is not allowed (allowed: {allowed})"
