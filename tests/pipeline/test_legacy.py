"""Runners written for ShapePipe 1.x run unchanged, wherever they stand, under every pool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shapepipe import module_runner
from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.config import load_config
from shapepipe.pipeline.execute import execute
from shapepipe.pipeline.run import run
from shapepipe.pipeline.runner import find_runner
from shapepipe.testing import trial

HERE = Path(__file__).parent
LEGACY = HERE / "legacy_runners"
PACKAGE = HERE.parents[1] / "shapepipe"
POOLS = ["serial", "supervised", "loky", "multiprocessing", "threading"]
CHAIN = "python_example_runner, serial_example_runner, execute_example_runner"


@pytest.fixture
def survey(tmp_path):
    """Four pairs of text files, and an INI file as it was written for 1.x."""
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "output").mkdir()
    for k in range(4):
        (data / f"numbers_{k}.txt").write_text(f"{k}\n{k + 10}\n")
        (data / f"letters_{k}.txt").write_text(f"{'abcd'[k]}\n{'wxyz'[k]}\n")
    return tmp_path


def write_ini(folder, chain=CHAIN, path=LEGACY, more=""):
    ini = folder / "config.ini"
    ini.write_text(
        f"[DEFAULT]\nVERBOSE = False\nRUN_NAME = run\nRUN_DATETIME = False\n"
        f"[EXECUTION]\nMODULE = {chain}\n" + (f"MODULE_PATH = {path}\n" if path else "") +
        f"[FILE]\nINPUT_DIR = {folder}/data\nOUTPUT_DIR = {folder}/output\n"
        "[JOB]\nSMP_BATCH_SIZE = 2\n"
        "[PYTHON_EXAMPLE_RUNNER]\nMESSAGE = The value is\n"
        f"[SERIAL_EXAMPLE_RUNNER]\nADD_INPUT_DIR = {folder}/data\nADD_INPUT = True\n"
        f"[EXECUTE_EXAMPLE_RUNNER]\nADD_INPUT_DIR = {folder}/data\n{more}"
    )  # fmt: skip
    return ini


def check_products(folder):
    top = folder / "output" / "run"
    outputs = sorted(path.name for path in top.glob("*_runner/output/*"))
    assert outputs == sorted(
        [f"pyex_output_{k}.cat" for k in range(4)]
        + [f"head_output_{k}.txt" for k in range(4)]
        + ["serial_example.txt"]
    )
    text = (top / "python_example_runner/output/pyex_output_2.cat").read_text()
    assert text == "The value is c 2\nThe value is y 12\n"
    text = (top / "execute_example_runner/output/head_output_3.txt").read_text()
    assert [line for line in text.splitlines() if line] == ["3", "d", "The value is d 3"]
    lines = (top / "serial_example_runner/output/serial_example.txt").read_text().splitlines()
    assert lines[:3] == ["numbers_0.txt", "0", "10"]
    assert lines.count("The value is c 2") == 1
    assert len(lines) == 4 * 9


@pytest.mark.parametrize("pool", POOLS)
def test_examples_of_old_run_in_a_folder(pool, survey):
    words = ["EXECUTION:MODE=serial"] if pool == "serial" else [f"JOB:SMP_BACKEND={pool}"]
    result = run(write_ini(survey), overrides=words)
    assert result.exit_status == 0, result.outcomes()
    check_products(survey)


def in_folder(survey):
    """The runners stand in a folder that MODULE_PATH names."""
    return write_ini(survey), survey


def in_tree(survey):
    """The runners stand among those of the package."""
    tree = survey / "tree" / "shapepipe"
    (tree / "modules").mkdir(parents=True)
    for path in PACKAGE.iterdir():
        if path.name not in ("modules", "__pycache__"):
            (tree / path.name).symlink_to(path)
    for name in ("__init__.py", "module_decorator.py"):
        (tree / "modules" / name).symlink_to(PACKAGE / "modules" / name)
    for path in LEGACY.glob("*.py"):
        shutil.copy(path, tree / "modules")
    return write_ini(survey, path=None), tree.parent


def in_package(survey):
    """The runners stand in a package of their own."""
    package = survey / "mylab"
    shutil.copytree(LEGACY, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").touch()
    chain = ", ".join(f"mylab.{name}:{name}" for name in CHAIN.split(", "))
    return write_ini(survey, chain, None), survey


PLACES = {"folder": in_folder, "tree": in_tree, "package": in_package}
MODES = ["smp", pytest.param("mpi", marks=pytest.mark.mpi),
         pytest.param("dask", marks=pytest.mark.dask)]  # fmt: skip


def call(folder, pythonpath, *words, before=()):
    """Call shapepipe as a command; it and what it starts find packages below `pythonpath`."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "shapepipe", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(pythonpath)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
def test_examples_of_old_run_anywhere(place, mode, survey):
    ini, pythonpath = PLACES[place](survey)
    before = ["mpiexec", "-n", "3"] if mode == "mpi" else []
    words = ["run", "-c", ini, "-o", f"EXECUTION:MODE={mode}"]
    status, said = call(survey, pythonpath, *words, before=before)
    assert status == 0, said
    check_products(survey)


@pytest.mark.slurm
@pytest.mark.parametrize("place", PLACES)
def test_examples_of_old_run_on_a_cluster(place, survey, start_slurm):
    start_slurm(1)
    ini, pythonpath = PLACES[place](survey)
    words = ["submit", "-c", ini, "--on", "slurm", "--shards", "2", "-o", "BATCH:TIME=300"]
    status, said = call(survey, pythonpath, *words)
    assert status == 0, said
    until = time.monotonic() + 120
    while subprocess.run(["squeue", "-h"], capture_output=True).stdout:
        assert time.monotonic() < until
        time.sleep(0.2)
    check_products(survey)


def test_a_second_start_does_nothing_again(survey):
    ini = write_ini(survey)
    first = run(ini)
    again = run(ini, resume=True)
    assert again.counts["python_example_runner"] == {"done": 4}
    assert again.counts["serial_example_runner"] == {"done": 1}
    assert len(again.outcomes()) == len(first.outcomes())


PROBE = {
    "TEXT": "a, b",
    "PATH_OPTION": "$PROBE_PLACE/x",
    "LIST": "a, b ,c",
    "INT": "3",
    "FLOAT": "2.5",
    "BOOLEAN": "yes",
}


def probe_ini(survey, **more):
    section = "\n".join(f"{key} = {text}" for key, text in {**PROBE, **more}.items())
    return write_ini(
        survey, "probe_runner", HERE / "legacy_2020", more=f"[PROBE_RUNNER]\n{section}\n"
    )


def test_runner_of_2020_is_given_what_it_expects(survey, monkeypatch):
    monkeypatch.setenv("PROBE_PLACE", "/somewhere")
    result = run(probe_ini(survey))
    assert result.exit_status == 0, result.outcomes()
    products = result.products("probe_runner")
    assert [path.name for path in products] == [f"probe_{k}.json" for k in range(4)]
    assert products[0].parent.name == "deep"
    assert json.loads(products[1].read_text()) == {
        "number": "_1",
        "files": ["numbers_1.txt"],
        "dirs": {"run": True, "log": True, "tmp": True, "output": True},
        "run_log": "shapepipe_runs.txt",
        "text": "a, b",
        "path": "/somewhere/x",
        "list": ["a", "b", "c"],
        "int": 3,
        "float": 2.5,
        "boolean": True,
        "has": [True, False],
        "batch": "2",
    }


def test_text_on_stderr_is_an_error(survey):
    result = run(probe_ini(survey, COMPLAINT="something is odd"))
    assert result.exit_status == 1
    assert {line["error"] for line in result.outcomes()} == {"probe_runner: something is odd"}
    assert not list((survey / "output/run/probe_runner/output").rglob("*.json"))


def test_a_missing_option_is_named(survey):
    ini = probe_ini(survey)
    ini.write_text(ini.read_text().replace("INT = 3\n", ""))
    result = run(ini)
    assert result.exit_status == 1
    assert "'int'" in result.outcomes()[0]["error"]
    assert "PROBE_RUNNER" in result.outcomes()[0]["error"]


def test_changed_option_of_an_old_runner_is_noticed(survey):
    run(probe_ini(survey))
    again = run(probe_ini(survey, INT="4"), resume=True, allow_change=True)
    assert again.counts["probe_runner"] == {"ok": 4}


def test_wiring_options_are_checked(survey):
    ini = probe_ini(survey, FILE_PATTERN="numbers*")
    with pytest.raises(ConfigurationError, match=r"'numbers\*' holds a '\*'"):
        run(ini)
    with pytest.raises(ConfigurationError, match="TIMEOUT"):
        load_config(probe_ini(survey, TIMEOUT="soon"))


def test_patterns_of_the_section_say_how_many_inputs_there_are(survey):
    result = run(probe_ini(survey, FILE_PATTERN="numbers, letters"))
    given = json.loads(result.products("probe_runner")[0].read_text())
    assert given["files"] == ["numbers_0.txt", "letters_0.txt"]


def test_second_call_reads_its_own_section(survey):
    chain = "python_example_runner, python_example_runner"
    more = (
        f"[PYTHON_EXAMPLE_RUNNER_RUN_2]\nMESSAGE = Then\nINPUT_DIR = {survey}/data\n"
        f"FILE_PATTERN = numbers, letters\n"
    )
    result = run(write_ini(survey, chain, more=more, path=LEGACY))
    assert result.exit_status == 0
    texts = [result.products(f"python_example_runner_run_{k}")[0].read_text() for k in (1, 2)]
    assert [text.split()[0] for text in texts] == ["The", "Then"]


def test_function_can_be_called_and_tried_as_it_is(survey):
    runner = find_runner("python_example_runner", [str(LEGACY)])
    outcome = trial(
        runner,
        inputs={"0:numbers": survey / "data/numbers_1.txt", "1:l": survey / "data/letters_1.txt"},
        options={"MESSAGE": "Here"},
        number="_1",
        folder=survey,
    )
    assert outcome.status == "ok", outcome.error
    assert outcome.products[0].read_text().startswith("Here b 1")
    with pytest.raises(TypeError):
        runner()


def test_unfit_declarations_are_refused():
    with pytest.raises(ValueError, match="run_method='fast'"):
        module_runner(run_method="fast")
    with pytest.raises(TypeError, match="takes input_file_list"):
        module_runner()(lambda files, dirs: None)


def test_missing_packages_and_programs_stop_the_plan(survey):
    folder = survey / "mine"
    folder.mkdir()
    (folder / "needy_runner.py").write_text(
        "from shapepipe.modules.module_decorator import module_runner\n"
        "@module_runner(file_pattern='numbers', file_ext='.txt', depends=['not_there>1'],\n"
        "               executes='no_such_program')\n"
        "def needy_runner(files, dirs, number, config, section, w_log):\n"
        "    return None, None\n"
    )
    with pytest.raises(ConfigurationError) as raised:
        run(write_ini(survey, "needy_runner", folder))
    assert "package not_there is not installed" in str(raised.value)
    assert "no_such_program" in str(raised.value)


def test_execute_always_tells_of_a_failure():
    assert execute("printf 'a b'") == ("a b", "")
    stdout, stderr = execute("sh -c 'exit 3'")
    assert stdout == ""
    assert "exit code 3" in stderr
