"""Code in the documentation does what the text around it says."""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from shapepipe import errors
from shapepipe.pipeline.options import check_values, spellings
from shapepipe.pipeline.runner import Runner, find_runner, list_runners
from shapepipe.pipeline.sections import SECTIONS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("**/*.md")) + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def blocks(path: Path, language: str) -> list[str]:
    """Code blocks of a page in one language, without the indent of the list they may stand in."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", path.read_text(), re.MULTILINE | re.DOTALL
    )
    return [
        "\n".join(line.removeprefix(indent) for line in code.splitlines()) for indent, code in found
    ]


@pytest.fixture
def written_runner(tmp_path, monkeypatch):
    """Module made of the runner on the page 'Writing a runner'."""
    code = blocks(ROOT / "docs/guide/writing_a_runner.md", "python")[0]
    (tmp_path / "bright_runner.py").write_text(code + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module("bright_runner")
    sys.modules.pop("bright_runner")


def test_runner_of_the_page_passes_the_test_of_the_page(written_runner, tmp_path):
    code = blocks(ROOT / "docs/guide/writing_a_runner.md", "python")[1]
    names = {"np": np, "fits": fits, "bright_runner": written_runner.bright_runner}
    exec(code, names)
    names["test_bright_pixels_are_counted"](tmp_path)


def test_runner_of_the_page_is_found_in_a_folder(written_runner, tmp_path):
    found = find_runner("bright_runner", [str(tmp_path)])
    assert isinstance(found, Runner)
    assert "level" in found.options.model_fields


IN_TREE = [
    name
    for name in list_runners()
    if find_runner(name).function.__module__.startswith("shapepipe.")
]


@pytest.mark.parametrize("name", IN_TREE)
def test_every_runner_says_how_it_works_and_where_that_comes_from(name):
    sections = dict(re.findall(r"^(\w+)\n-+\n((?:.+\n?)+)", find_runner(name).doc, re.MULTILINE))
    assert len(sections.get("Algorithm", "")) > 60
    if not name.endswith("_example_runner"):
        assert re.search(r"(19|20)\d\d|[Mm]anual|documentation", sections.get("References", ""))


@pytest.mark.parametrize("name", IN_TREE)
def test_every_file_of_a_runner_is_explained(name):
    runner = find_runner(name)
    unexplained = [item.role for item in (*runner.inputs, *runner.outputs) if not item.doc]
    assert not unexplained


def test_every_exception_is_in_the_error_index():
    text = (ROOT / "docs/guide/errors.md").read_text()
    classes = [name for name, item in vars(errors).items() if inspect.isclass(item)
               and issubclass(item, errors.ShapePipeError)]  # fmt: skip
    assert len(classes) > 5
    assert not [name for name in classes if f"| `{name}` |" not in text]


@pytest.mark.parametrize("text", ["has no card {", "STAR_THRESH = {", "images cannot be had",
                                  "no HISTORY card names an exposure", "product not written",
                                  "is being run by ", "looked for a run with",
                                  "no longer does anything"])  # fmt: skip
def test_messages_of_the_error_index_are_still_printed(text):
    code = "".join(path.read_text() for path in (ROOT / "shapepipe").rglob("*.py"))
    assert text in code
    assert text.removesuffix("{") in (ROOT / "docs/guide/errors.md").read_text()


def ini_blocks():
    """INI files of a chain; the other languages with sections are not for us."""
    return [
        pytest.param(code, id=f"{path.stem}-{index}")
        for path in PAGES
        for index, code in enumerate(blocks(path, "ini"))
        if all(
            name in SECTIONS or re.search(r"_RUNNER(_RUN_\d+)?$", name)
            for name in re.findall(r"^\[(.+?)\]", code, re.MULTILINE)
        )
    ]


@pytest.mark.parametrize("code", ini_blocks())
def test_ini_of_the_page_has_only_options_that_exist(code, tmp_path, monkeypatch):
    some_file = tmp_path / "file"
    some_file.touch()
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    parser.read_string(re.sub(r"\s+;.*", "", code))
    for section in parser.sections():
        declared = SECTIONS.get(section) or (
            None if section == "BRIGHT_RUNNER" else find_runner(section.lower()).options
        )
        if declared is None:
            continue
        names = spellings(declared)
        texts = {}
        for key, text in parser[section].items():
            assert key in names, f"[{section}] {key.upper()} does not exist"
            texts[names[key]] = str(some_file) if "$SP_CONFIG" in text else text.replace("$", "/")
        required = {name for name, field in declared.model_fields.items() if field.is_required()}
        if required <= set(texts):
            _, complaints = check_values(declared, texts)
            assert not complaints


def test_every_link_between_pages_leads_somewhere():
    broken = []
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            made_or_remote = target.startswith(("http://", "https://")) or "/generated/" in target
            if not made_or_remote and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)


def test_every_script_that_a_page_names_exists():
    missing = []
    for path in PAGES:
        for name in re.findall(r"(?<![\w/.])scripts/(\w+)(?![\w./])", path.read_text()):
            if not (ROOT / "scripts" / name).exists():
                missing.append(f"{path.relative_to(ROOT)}: scripts/{name}")
    assert not missing, "\n".join(missing)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("furo") is None,
    reason="sphinx is not installed; scripts/check installs it",
)
def test_every_runner_and_option_is_on_a_page(tmp_path):
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-b", "text", "-d", str(tmp_path / "doctrees")]
    built = subprocess.run(
        [*sphinx, str(ROOT / "docs"), str(tmp_path / "text")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    for name in IN_TREE:
        runner = find_runner(name)
        page = (tmp_path / "text/reference/generated" / f"{name}.txt").read_text()
        general = (tmp_path / "text/reference/generated/sections.txt").read_text()
        for option in runner.options.model_fields:
            assert option.upper() in page + general
        assert all(f'"{item.role}"' in page for item in (*runner.inputs, *runner.outputs))
        assert "Algorithm" in page
