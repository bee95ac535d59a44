"""The three example modules, one by one and as the chain of their example configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shapepipe.modules.execute_example_runner import execute_example_runner
from shapepipe.modules.python_example_runner import python_example_runner
from shapepipe.modules.serial_example_runner import serial_example_runner
from shapepipe.testing import trial

EXAMPLE = Path(__file__).parents[2] / "example"


@pytest.fixture
def inputs(tmp_path):
    for name, text in (("numbers_1.txt", "1\n2.5\n"), ("letters_1.txt", "a\nb\n"),
                       ("pyex_output_1.cat", "first\nsecond\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
    return {role: tmp_path / f"{role}_1{ext}" for role, ext in
            (("numbers", ".txt"), ("letters", ".txt"), ("pyex_output", ".cat"))}  # fmt: skip


def test_python_example_joins_the_lines(inputs, tmp_path):
    del inputs["pyex_output"]
    outcome = trial(python_example_runner, inputs, {"MESSAGE": "Line"}, "_1", tmp_path / "run")
    assert outcome.metrics == {"n_lines": 2, "total": 3.5}
    assert outcome.products[0].name == "pyex_output_1.cat"
    assert outcome.products[0].read_text() == "Line a: 1\nLine b: 2.5\n"


def test_python_example_without_numbers_is_empty(inputs, tmp_path):
    del inputs["pyex_output"]
    inputs["numbers"].write_text("")
    outcome = trial(python_example_runner, inputs, {}, "_1", tmp_path / "run")
    assert (outcome.status, outcome.error) == ("empty", "numbers_1.txt holds no number")


def test_serial_example_gathers_all_numbers(inputs, tmp_path):
    gathered = {role: {"_2": path, "_1": path} for role, path in inputs.items()}
    outcome = trial(serial_example_runner, gathered, {}, "", tmp_path / "run")
    lines = outcome.products[0].read_text().splitlines()
    assert outcome.metrics == {"n_files": 6}
    assert lines[:6] == ["# numbers_1", "1", "2.5", "# numbers_2", "1", "2.5"]


def test_execute_example_keeps_what_the_program_prints(inputs, tmp_path):
    outcome = trial(execute_example_runner, inputs, {"N_LINES": "1"}, "_1", tmp_path / "run")
    text = outcome.products[0].read_text()
    assert "\nfirst\n" in text and "second" not in text


def test_the_chain_runs_from_its_example_configuration(tmp_path):
    (tmp_path / "output").mkdir()
    command = [
        sys.executable,
        "-m",
        "shapepipe",
        "run",
        "-c",
        EXAMPLE / "config/config_example.ini",
    ]
    where = {"SP_RUN": str(tmp_path), "SP_CONFIG": str(EXAMPLE / "config")}
    done = subprocess.run(command, env=os.environ | where, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = sorted(path.name for path in tmp_path.rglob("*_runner/output/*"))
    assert made == ["final.txt", *(f"head_output_{i}.txt" for i in range(5)),
                    *(f"pyex_output_{i}.cat" for i in range(5))]  # fmt: skip
