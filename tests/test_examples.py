"""Every example configuration passes the checks, and every example file is used by one of them."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

import pytest

from shapepipe.pipeline.config import load_config, secondary_files
from shapepipe.simulate.survey import read_survey

FOLDER = Path(__file__).parents[1] / "example" / "config"
INI_FILES = sorted(FOLDER.rglob("*.ini"))


def is_survey(path: Path) -> bool:
    """Whether an INI file describes a sky to simulate, not a chain."""
    return "[EXECUTION]" not in path.read_text()


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """Set the environment variables that the examples use; make the directories they name."""

    def prepare(path: Path) -> None:
        monkeypatch.setenv("SP_RUN", str(tmp_path))
        monkeypatch.setenv("SP_CONFIG", str(FOLDER))
        text = path.read_text()
        for name in set(re.findall(r"\$\{?(\w+)", text)) - set(os.environ):
            monkeypatch.setenv(name, str(tmp_path))
        parser = configparser.ConfigParser(strict=False)
        parser.read_string(text)
        Path(os.path.expandvars(parser["FILE"]["OUTPUT_DIR"])).mkdir(parents=True, exist_ok=True)
        for name in re.findall(r"\$SP_RUN/(\S+\.(?:fits|sqlite|ecsv|txt))\b", text):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return prepare


@pytest.mark.parametrize("path", INI_FILES, ids=lambda path: path.stem)
def test_example_passes_the_checks(path, surroundings, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if is_survey(path):
        assert read_survey(path)
        return
    surroundings(path)
    config = load_config(path)
    assert config.steps
    assert not config.warnings


def test_every_example_file_is_named_by_an_example_or_a_page(surroundings):
    used = set()
    for path in INI_FILES:
        if not is_survey(path):
            surroundings(path)
            used.update(file.resolve() for file in secondary_files(load_config(path)))
    pages = [*FOLDER.rglob("*"), *(FOLDER.parents[1] / "docs").rglob("*.md")]
    text = "".join(path.read_text() for path in pages if path.is_file())
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix not in (".ini", ".md"):
            assert path.resolve() in used or path.name in text, f"nothing uses {path.name}"
