"""`shapepipe new-runner NAME`: a package with a runner, its entry point, a test and a page."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.runner import locate_runner

TEMPLATES = Path(str(files("shapepipe"))) / "data" / "runner"
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "package/init.py.txt": "@PACKAGE@/__init__.py",
    "package/runner.py.txt": "@PACKAGE@/@RUNNER@.py",
    "tests/test_runner.py.txt": "tests/test_@RUNNER@.py",
    "docs/page.md.txt": "docs/@RUNNER@.md",
}
"""Template -> file of the package."""


def make_package(name: str, folder: str | Path = ".") -> list[Path]:
    """Write the package of a new runner.

    Parameters
    ----------
    name : str
        Name of the runner, with or without the ending `_runner`.
    folder : path
        Where the directory of the package is made.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigurationError
        When the name is no name, is taken, or the directory exists.
    """
    short = name.lower().removesuffix("_runner")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", short):
        raise ConfigurationError(
            f"{name!r} is no name for a runner (allowed: letters, digits and '_')"
        )
    runner = f"{short}_runner"
    if locate_runner(runner) is not None:
        raise ConfigurationError(f"there is a runner {runner} already; take another name")
    top = Path(folder) / f"shapepipe_{short}"
    if top.exists():
        raise ConfigurationError(f"{top} exists already; nothing is overwritten")
    words = {
        "RUNNER": runner,
        "NAME": short,
        "PACKAGE": f"shapepipe_{short}",
        "DISTRIBUTION": f"shapepipe-{short.replace('_', '-')}",
        "SECTION": runner.upper(),
        "CLASS": "".join(word.capitalize() for word in short.split("_")),
    }
    written = []
    for template, target in FILES.items():
        path = top / _fill(target, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_fill((TEMPLATES / template).read_text("utf-8"), words), encoding="utf-8")
        written.append(path)
    return written


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(rf"@({'|'.join(words)})@", lambda hit: words[hit.group(1)], text)
