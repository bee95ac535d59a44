"""A small survey of text files, and how to run chains of mock runners on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shapepipe import cli
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.run import execute, prepare

MOCKS = Path(__file__).parent / "mock_runners"
SLURM = Path(__file__).parents[2] / "scripts" / "slurm_cluster"


class Case:
    """A folder with inputs, an INI file, and runs of it.

    `ini` writes the file; `run` runs it in this process with its messages off; `call` is the
    command line, in this process too, and returns (exit status, standard output, standard error).
    """

    def __init__(self, folder: Path, capsys=None, monkeypatch=None):
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self.inputs, self.out = folder / "in", folder / "out"
        self.inputs.mkdir()
        self.out.mkdir()
        self.path = folder / "run.ini"

    def files(self, *patterns: str, numbers=range(4), ext=".txt", form="-{:06d}", where=None):
        """Write one small file for each pattern and number."""
        folder = where or self.inputs
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in patterns:
            for k in numbers:
                name = f"{pattern}{form.format(k) if isinstance(k, int) else k}{ext}"
                (folder / name).write_text(f"{pattern}{k}")
        return folder

    def ini(self, modules: str, more: str = "", *, file="", job="", **default) -> Path:
        """Write an INI file for a chain."""
        given = {"RUN_NAME": "run", "RUN_DATETIME": "False", "VERBOSE": "False", **default}
        first = "\n".join(f"{key} = {value}" for key, value in given.items())
        self.path.write_text(
            f"[DEFAULT]\n{first}\n[EXECUTION]\nMODULE = {modules}\nMODULE_PATH = {MOCKS}\n"
            f"[FILE]\nINPUT_DIR = {self.inputs}\nOUTPUT_DIR = {self.out}\n{file}\n"
            f"[JOB]\nSMP_BATCH_SIZE = 2\n{job}\n{more}\n"
        )
        return self.path

    @staticmethod
    def plant(step: str, faults: dict[int, str]) -> str:
        """Section of an INI file that plants faults in units of a step."""
        listed = [f"{step} {number:06d} {fault}" for number, fault in faults.items()]
        return f"[REHEARSAL]\nFAULTS = {', '.join(listed)}\n"

    def plan(self, *overrides: str, **how):
        """Plan the chain."""
        return prepare(self.path, overrides, **how)

    def run(self, *overrides: str, allow_change=False, **how):
        """Run the chain."""
        return execute(prepare(self.path, overrides, **how), allow_change=allow_change)

    def call(self, command: str, *words) -> tuple[int, str, str]:
        """Run `shapepipe_run` (an empty command) or a verb of `shapepipe`."""
        words = [str(word) for word in words]
        name = "shapepipe" if command else "shapepipe_run"
        self._monkeypatch.setattr(sys, "argv", [name, *([command] if command else []), *words])
        self._monkeypatch.setenv("COLUMNS", "1000")
        self._capsys.readouterr()
        here = os.getcwd()
        with pytest.raises(SystemExit) as end:
            (cli.main if command else cli.run_command)()
        os.chdir(here)
        out, err = self._capsys.readouterr()
        return end.value.code, plain(out), plain(err)

    def directory(self, name: str = "run") -> RunDirectory:
        """A run of this case."""
        return RunDirectory(self.out / name)

    def records(self, name: str = "run") -> list[dict]:
        """Lines of a run's records that are outcomes, oldest first."""
        return [line for line in self.directory(name).lines() if "status" in line]

    def products(self, name: str = "run") -> dict[str, str]:
        """Content of every product of a run, by `step/file`."""
        top = self.out / name
        paths = [path for path in sorted(top.glob("*/output/**/*")) if path.is_file()]
        return {
            str(path.relative_to(top)).replace("/output/", "/"): path.read_text() for path in paths
        }


def plain(text: str) -> str:
    """Text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def case(tmp_path, capsys, monkeypatch) -> Case:
    """An empty case."""
    return Case(tmp_path, capsys, monkeypatch)


@pytest.fixture
def mocks() -> Path:
    """Folder with the mock runners."""
    return MOCKS


@pytest.fixture(scope="session")
def start_slurm(tmp_path_factory):
    """Start a private Slurm with some nodes and make it the one that is used; all end at last."""
    folders = {}

    def start(nodes: int = 1) -> Path:
        if nodes not in folders:
            # the names of sockets must be short
            folders[nodes] = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
            words = [SLURM, "start", folders[nodes], "--nodes", str(nodes)]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        os.environ["SLURM_CONF"] = str(folders[nodes] / "slurm.conf")
        return folders[nodes]

    yield start
    os.environ.pop("SLURM_CONF", None)
    for folder in folders.values():
        subprocess.run([SLURM, "stop", folder], check=True, timeout=60)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_case():
    """Make a case in a folder, for what lasts longer than a test."""
    return Case
