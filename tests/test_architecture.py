"""Holds the house together: who may import whom, and habits that a reader may rely on.

The directions are those of the page "How the code is laid out" of the documentation. Imports are
read from the syntax tree, so nothing is imported here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "shapepipe"
FILES = sorted(PACKAGE.rglob("*.py"))

#: part of the package -> what of the package it may import besides itself
MAY_IMPORT = {
    "errors": (),
    "pipeline": ("errors",),
    "pipeline.file_io": ("astro", "errors"),
    "astro": ("errors",),
    "shear": ("astro", "errors"),
    "simulate": ("astro", "errors", ""),
    "judge": ("simulate", "astro", "shear", "errors"),
    "modules": ("astro", "shear", "simulate", "errors", ""),
    "starter": ("astro", "pipeline", "errors", ""),
    "cli": ("pipeline", "starter", "errors", ""),
    "__main__": ("cli",),
    "testing": ("pipeline", "errors", ""),
    "": ("pipeline", "errors"),
}
#: outside packages that only the named parts may import
ONLY_IN = {
    "numba": ("shear",),
    "mpi4py": ("pipeline",),
    "distributed": ("pipeline",),
    "dask_jobqueue": ("pipeline",),
    "pydantic": ("pipeline", "modules", "simulate"),  # validators of options
    "click": ("cli", "starter"),
}
#: the framework knows nothing of the sky
SKY_PACKAGES = {"astropy", "galsim", "treecorr", "regions", "healsparse", "sip_tpv", "numba"}
#: text that would tie the tree to one machine or carry somebody's secrets
PERSONAL = re.compile(
    r"/home/\w|/Users/\w|(?<![\w.])/work/|/automnt/|/n\d+data|BEGIN [A-Z ]*PRIVATE KEY"
)
TEXT_SUFFIXES = {".py", ".md", ".cfg", ".toml", ".yml", ".yaml", ".ini", ".sh", ".rst", ".cff", ""}


def part_of(path: Path) -> str:
    """Name of the part that a file belongs to, as in `MAY_IMPORT`: `astro`, `errors`, ``""``."""
    dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if dotted == "pipeline.file_io":
        return dotted
    first = dotted.split(".")[0]
    return "" if first == "__init__" else first


def imports(path: Path) -> list[tuple[ast.stmt, str, bool]]:
    """Return (statement, absolute dotted name, inside a function) for every import of a file."""
    tree = ast.parse(path.read_text(), str(path))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node, alias.name, id(node) in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            found += [(node, f"{base}.{alias.name}", id(node) in inside) for alias in node.names]
    return found


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """Resolve the module of ``from X import`` with its leading dots."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
    return ".".join(package + tuple(filter(None, [node.module])))


def target_part(name: str) -> str:
    """Name of the part that ``shapepipe.X.Y`` lies in; ``""`` for a public name."""
    pieces = name.split(".")
    exists = len(pieces) > 1 and (
        (PACKAGE / pieces[1]).is_dir() or (PACKAGE / f"{pieces[1]}.py").is_file()
    )
    return pieces[1] if exists else ""


def where(path: Path, node: ast.stmt) -> str:
    """Return ``file:line`` relative to the project."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def test_directions_of_import():
    complaints = []
    for path in FILES:
        part = part_of(path)
        assert part in MAY_IMPORT, f"{path.relative_to(ROOT)} is in no known part of the house"
        for node, name, _ in imports(path):
            if name.split(".")[0] != "shapepipe":
                continue
            target = target_part(name)
            own = target == part.split(".")[0] and (target or path.name == "__init__.py")
            if not own and target not in MAY_IMPORT[part]:
                complaints.append(f"{where(path, node)} imports {name}")
    assert not complaints, "\n".join(complaints)


def test_runners_never_import_each_other():
    complaints = [
        f"{where(path, node)} imports {name}"
        for path in FILES
        if part_of(path) == "modules"
        for node, name, _ in imports(path)
        if target_part(name) == "modules" and name.startswith("shapepipe")
    ]
    assert not complaints, "\n".join(complaints)


def test_no_import_inside_a_function():
    complaints = [
        f"{where(path, node)} imports {name} inside a function"
        for path in FILES
        for node, name, inside in imports(path)
        if inside and name.split(".")[0] not in lazily_imported(path)
    ]
    assert not complaints, "\n".join(complaints)


def lazily_imported(path: Path) -> set[str]:
    """Optional engines, importable only where they are installed, may be met late."""
    return {"mpi4py", "distributed", "dask_jobqueue"} if part_of(path) == "pipeline" else set()


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_package_stays_in_its_part(package):
    complaints = [
        f"{where(path, node)} imports {name}"
        for path in FILES
        if part_of(path).split(".")[0] not in ONLY_IN[package]
        for node, name, _ in imports(path)
        if name.split(".")[0] == package
    ]
    assert not complaints, "\n".join(complaints)


def test_framework_knows_nothing_of_the_sky():
    complaints = [
        f"{where(path, node)} imports {name}"
        for path in FILES
        if part_of(path) == "pipeline"
        for node, name, _ in imports(path)
        if name.split(".")[0] in SKY_PACKAGES
    ]
    assert not complaints, "\n".join(complaints)


def test_file_io_is_a_door_for_others():
    complaints = [
        f"{where(path, node)} imports {name}"
        for path in FILES
        for node, name, _ in imports(path)
        if name.startswith("shapepipe.pipeline.file_io")
    ]
    assert not complaints, "\n".join(complaints)


def test_every_file_opens_with_a_docstring():
    silent = [
        str(path.relative_to(ROOT))
        for path in FILES
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent, "\n".join(silent)


def test_random_numbers_come_from_a_generator_passed_in():
    own_state = "default_rng|Generator|RandomState|SeedSequence|PCG64|Philox"
    calls = re.compile(rf"np\.random\.(?!{own_state})\w+\(")
    complaints = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if calls.search(line)
    ]
    assert not complaints, "\n".join(complaints)


def texts_of_the_tree() -> list[Path]:
    """Text files of the tree that are not made by a build or a tool."""
    made = {
        "_build",
        "build",
        "dist",
        "generated",
        "quickstart",
        "shapepipe.egg-info",
        "__pycache__",
    }
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.suffix in TEXT_SUFFIXES
        and not any(part in made or part.startswith(".") for part in path.relative_to(ROOT).parts)
        and path.is_file()
    ]


def test_no_path_of_a_machine_in_the_tree():
    complaints = []
    for path in texts_of_the_tree() + [ROOT / ".ci/run"]:
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if PERSONAL.search(line):
                complaints.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not complaints, "\n".join(complaints)
