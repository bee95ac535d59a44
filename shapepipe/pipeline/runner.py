"""What a runner declares, and how a runner is found by its name.

A runner is reached by name only: from the package's own folder, from a folder of the user's
(MODULE_PATH), from an entry point in the group `shapepipe.runners`, or as
`package.module:function`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.options import Options, nearest

ENTRY_POINT_GROUP = "shapepipe.runners"
IN_TREE = "shapepipe.modules"


@dataclass(frozen=True)
class Input:
    """One role of a runner's input.

    Parameters
    ----------
    role : str
        Key under which the job finds the file.
    pattern : str, optional
        File name before the number; default: the role.
    ext : str
        File extension.
    when : callable, optional
        Of the options: whether the input is used at all.
    gather : bool
        Hand the job every file of this role, as number -> path, instead of the one of its number.
    doc : str
        What the file holds.
    """

    role: str
    pattern: str | None = None
    ext: str = ".fits"
    when: Callable[[Any], bool] | None = None
    gather: bool = False
    doc: str = ""


@dataclass(frozen=True)
class Output:
    """One role of a runner's products, named so that the next step can be planned before it runs.

    Parameters
    ----------
    role : str
        Key under which the job asks for the path.
    pattern : str or callable, optional
        File name before the number (sub-directories allowed), or a function of the options that
        returns one or several; default: the role.
    ext : str or callable
        Extension, or a function of the options.
    expand : callable, optional
        Of the options: suffixes that are added to the number, for one file each.
    when : callable, optional
        Of the options: whether the product is made at all.
    optional : bool
        The product may be missing on success.
    many : bool
        Names are known only to the job; steps that read them are planned when it has run.
    doc : str
        What the file holds.
    """

    role: str
    pattern: str | Callable[[Any], str | list[str]] | None = None
    ext: str | Callable[[Any], str] = ".fits"
    expand: Callable[[Any], Sequence[str]] | None = None
    when: Callable[[Any], bool] | None = None
    optional: bool = False
    many: bool = False
    doc: str = ""

    def patterns(self, opts) -> list[str]:
        """File names before the number."""
        found = self.pattern(opts) if callable(self.pattern) else self.pattern or self.role
        return [found] if isinstance(found, str) else list(found)

    def extension(self, opts) -> str:
        """File extension, with its dot."""
        return self.ext(opts) if callable(self.ext) else self.ext

    def suffixes(self, opts) -> list[str]:
        """What is added to the number; one empty suffix for a plain product."""
        return list(self.expand(opts)) if self.expand else [""]


@dataclass(frozen=True)
class Program:
    """An external program that a runner calls.

    Parameters
    ----------
    name : str
        Its usual name, and the key for `job.call`.
    alternatives : tuple of str
        Names it has elsewhere.
    option : str
        Field of the options that may name or locate it.
    version : tuple of str
        Arguments that make it print its version.
    when : callable, optional
        Of the options: whether it is needed.
    """

    name: str
    alternatives: tuple[str, ...] = ()
    option: str = ""
    version: tuple[str, ...] = ("--version",)
    when: Callable[[Any], bool] | None = None


@dataclass(frozen=True)
class Runner:
    """A function with its declaration; made by `runner`."""

    function: Callable
    name: str
    options: type[Options]
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    after: tuple[str, ...] = ()
    numbering: str | None = None
    scope: str = "each"
    programs: tuple[Program, ...] = ()
    packages: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    version: str = "1.0"
    merge: Callable | None = None
    reference: str = field(default="", compare=False)
    open_inputs: ClassVar[bool] = False
    """Whether the patterns alone say what the inputs are, and how many."""

    def __call__(self, job, opts):
        """Do the work of one job."""
        return self.function(job, opts)

    @property
    def doc(self) -> str:
        """Docstring of the module that holds the runner, else of the function."""
        module = sys.modules.get(self.function.__module__)
        return inspect.cleandoc(getattr(module, "__doc__", "") or self.function.__doc__ or "")

    @cached_property
    def code_digest(self) -> str:
        """Short hash of the version, the runner's file, and what it imports of its package."""
        digest = hashlib.sha256(self.version.encode())
        for path in _source_files(self.function.__module__):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:10]

    def active_inputs(self, opts) -> list[Input]:
        """Inputs that the options ask for."""
        return [item for item in self.inputs if item.when is None or item.when(opts)]

    def active_outputs(self, opts) -> list[Output]:
        """Products that the options ask for."""
        return [item for item in self.outputs if item.when is None or item.when(opts)]


def runner(
    *,
    inputs: Sequence[Input] = (),
    outputs: Sequence[Output] = (),
    after: Sequence[str] = (),
    numbering: str | None = None,
    scope: str = "each",
    programs: Sequence[Program] = (),
    packages: Sequence[str] = (),
    aliases: Sequence[str] = (),
    version: str = "1.0",
    merge: Callable | None = None,
) -> Callable[[Callable], Runner]:
    """Declare the decorated function as a runner.

    Parameters
    ----------
    inputs, outputs : sequence of Input, Output
        Roles of the files that go in and come out.
    after : sequence of str
        Runners whose products are the inputs (INPUT_MODULE overrides it).
    numbering : str, optional
        Numbering scheme of files on disk (NUMBERING_SCHEME overrides it).
    scope : {'each', 'all', 'rows'}
        One job per number; one job for all numbers; or, for a catalogue, several jobs per number
        that take a share of its rows each (`job.rows`) and are joined by `merge`.
    programs : sequence of Program
        External programs, looked up before the run.
    packages : sequence of str
        Python packages, looked up before the run.
    aliases : sequence of str
        Other names of the runner.
    version : str
        Counts in the fingerprint of every product.
    merge : callable, optional
        For scope `rows`: `merge(parts, output)` joins the products of the shares, in order.

    Returns
    -------
    callable
        Decorator that makes a `Runner` of a function of `(job, opts)`.
    """
    if scope not in ("each", "all", "rows") or (scope == "rows") != (merge is not None):
        raise ValueError(f"scope={scope!r} (allowed: each, all, or rows together with merge)")

    def declare(function: Callable) -> Runner:
        return Runner(
            function=function,
            name=function.__name__,
            options=_options_of(function),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            after=tuple(after),
            numbering=numbering,
            scope=scope,
            programs=tuple(programs),
            packages=tuple(packages),
            aliases=tuple(aliases),
            version=version,
            merge=merge,
        )

    return declare


NOT_SCIENCE = ("shapepipe.pipeline", "shapepipe.errors")
"""Parts of this package whose changes do not change a product."""


def _source_files(name: str) -> list[Path]:
    """Source files of a module and of what it uses, directly or not, of the same package."""
    package, pending, found = name.partition(".")[0], [name], {}
    while pending:
        name = pending.pop()
        module = sys.modules.get(name)
        source = getattr(module, "__file__", None)
        if source is None or name in found:
            continue
        found[name] = Path(source)
        for value in vars(module).values():
            used = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
            if not isinstance(used, str) or used.partition(".")[0] not in (package, "shapepipe"):
                continue
            if used != "shapepipe" and not used.startswith(NOT_SCIENCE):
                pending.append(used)
    return [found[name] for name in sorted(found)]


def _options_of(function: Callable) -> type[Options]:
    names = list(inspect.signature(function).parameters)
    if len(names) < 2:
        raise TypeError(
            f"{function.__name__}: a runner takes (job, opts), not ({', '.join(names)})"
        )
    hint = get_type_hints(function).get(names[1], Options)
    if not (isinstance(hint, type) and issubclass(hint, Options)):
        raise TypeError(f"{function.__name__}: {names[1]} must be annotated with an Options class")
    return hint


def find_runner(reference: str, folders: Sequence[str] = ()) -> Runner:
    """Load a runner by name.

    Parameters
    ----------
    reference : str
        Name, alias, or `package.module:function`.
    folders : sequence of str
        Folders with runners of the user's own, searched first.

    Raises
    ------
    ConfigurationError
        When there is no such runner, or its file cannot be loaded.
    """
    where = locate_runner(reference, folders)
    if where is None:
        known = [*list_runners(folders), *_aliases(folders)]
        raise ConfigurationError(f"there is no runner {reference!r}{nearest(reference, known)}")
    module_name, attribute, path = where
    try:
        module = _load_file(module_name, path) if path else importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"runner {reference}: cannot import {module_name}: {error}"
        ) from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Runner):
        raise ConfigurationError(
            f"runner {reference}: {path or module_name} has no @runner function {attribute}"
        )
    return found


def locate_runner(reference: str, folders: Sequence[str] = ()) -> tuple[str, str, str] | None:
    """Find where a runner is, without importing it: (module, attribute, file or '')."""
    if ":" in reference:
        module, _, attribute = reference.partition(":")
        return module, attribute, ""
    name = reference.lower()
    for folder in folders:
        path = Path(folder) / f"{name}.py"
        if path.is_file():
            return f"shapepipe_drop_in_{name}", name, str(path)
    if _in_tree_file(name).is_file():
        return f"{IN_TREE}.{name}", name, ""
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return point.module, point.attr, ""
    real = _aliases(folders).get(name)
    if real is None:
        return None
    if real.parent == _in_tree_folder():
        return f"{IN_TREE}.{real.stem}", real.stem, ""
    return f"shapepipe_drop_in_{real.stem}", real.stem, str(real)


def list_runners(folders: Sequence[str] = ()) -> list[str]:
    """Names of all runners that can be found, without importing them."""
    names = {path.stem for folder in folders for path in Path(folder).glob("*_runner.py")}
    names.update(path.stem for path in _in_tree_folder().glob("*_runner.py"))
    names.update(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return sorted(names)


def canonical_name(reference: str, folders: Sequence[str] = ()) -> str:
    """Name under which a runner is filed; an unknown name comes back as it is, in lower case."""
    where = locate_runner(reference, folders)
    return where[1] if where else reference.lower()


def _in_tree_folder() -> Path:
    return Path(__file__).parents[1] / "modules"


def _in_tree_file(name: str) -> Path:
    return _in_tree_folder() / f"{name}.py" if name.endswith("_runner") else Path("/nonexistent")


def _aliases(folders: Sequence[str]) -> dict[str, Path]:
    """Aliases of the runners in the tree and in folders, read without importing their files."""
    found: dict[str, Path] = {}
    places = [_in_tree_folder(), *map(Path, folders)]
    everywhere = [folder.glob("*_runner.py") for folder in places]
    for path in (path for files in everywhere for path in sorted(files)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "aliases":
                try:
                    names = ast.literal_eval(node.value)
                except ValueError:
                    continue
                found.update((name, path) for name in names if str(name).endswith(_ENDINGS))
    return found


_ENDINGS = ("_runner", "_runner2", "_runner_exp", "_runner_me")
"""How names of runners end; `aliases` of options are told apart by it."""


def _load_file(module_name: str, path: str):
    known = sys.modules.get(module_name)
    if known is not None and getattr(known, "__file__", None) == path:
        return known
    loader = SourceFileLoader(module_name, path)
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(module_name, None)
        raise ConfigurationError(
            f"{path}: cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module
