"""The command line: what people see, and the exit status."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shapepipe.pipeline.match import Listing
from shapepipe.pipeline.run import execute

SPEC = importlib.util.spec_from_file_location(
    "pipeline_conftest", Path(__file__).parent / "pipeline" / "conftest.py"
)
pipeline_conftest = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pipeline_conftest)
MOCKS = pipeline_conftest.MOCKS


@pytest.fixture
def case(tmp_path, capsys, monkeypatch):
    """An empty case, as for the tests of the pipeline."""
    return pipeline_conftest.Case(tmp_path, capsys, monkeypatch)


@pytest.fixture
def finished(case):
    """A chain that has run to its end."""
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, join_runner", VERBOSE="True")
    assert case.run().exit_status == 0
    return case


def test_a_run_that_goes_well(case):
    case.files("a", "b")
    case.ini("noop_runner, join_runner", VERBOSE="True")
    status, out, err = case.call("", "-c", case.path)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"run {case.out}/run"
    assert "noop_runner: 4 of 4 units to do (-000000, -000001, -000002, -000003)" in lines
    assert "noop_runner: ends; 4 ok" in lines
    assert f"log: {case.out}/run/logs/shapepipe.log" in lines
    assert "to continue" not in out


def test_a_silent_run_says_nothing_when_all_is_well(case):
    case.files("a", "b")
    case.ini("noop_runner")
    assert case.call("", "-c", case.path) == (0, "", "")


def test_each_distinct_error_stands_once_with_its_units_and_what_to_do(case):
    case.files("a", numbers=range(8))
    faults = case.plant("odd_runner", dict.fromkeys(range(5), "raise") | {6: "baddata"})
    case.ini("odd_runner", f"[ODD_RUNNER]\nPLANT = 000007=none\n{faults}")
    status, out, err = case.call("", "-c", case.path)
    assert status == 1 and out == ""
    raised = [line for line in err.splitlines() if "of the code" in line]
    assert raised == [
        "odd_runner failed 5 x (-000000, -000001, -000002, -000003, -000004): "
        "RuntimeError: rehearsed fault of the code in -000000"
    ]
    assert f"log: {case.out}/run/odd_runner/logs/process-000000.log" in err
    assert "a-000006.txt: rehearsed fault of the data" in err
    assert "odd_runner empty 1 x (-000007): no star left" in err
    assert err.splitlines()[-1] == f"to continue: shapepipe resume {case.out}/run"


def test_a_log_that_is_not_there_is_not_named(case, capsys):
    case.files("a", "b")
    case.ini("noop_runner")
    plan = case.plan()
    (case.inputs / "b-000001.txt").unlink()
    assert execute(plan).exit_status == 1
    err = capsys.readouterr().err
    assert "b-000001.txt" in err and "process-000001.log" not in err
    assert "process-000001.log" not in (case.out / "run/logs/shapepipe.log").read_text()


def test_a_directory_that_cannot_be_read_is_told_once(case, monkeypatch):
    case.files("a", "b")
    case.ini("noop_runner, odd_runner")

    def refuse(_, folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(Listing, "below", refuse)
    status, _, err = case.call("plan", "-c", case.path)
    assert (status, err) == (2, f"error run.ini: {case.inputs}: Permission denied\n")


def test_long_lists_of_units_are_cut(case):
    case.files("a", numbers=range(8))
    faults = case.plant("odd_runner", dict.fromkeys(range(8), "raise"))
    case.ini("odd_runner", f"{faults}\n[WORKER]\nPROCESS_PRINT_LIMIT = 30")
    _, _, err = case.call("", "-c", case.path)
    assert "8 x (-000000, -000001, -000002 and 5 more)" in err


def test_incomplete_units_are_said_and_make_the_status_1(case):
    case.files("a", "b")
    (case.inputs / "b-000002.txt").unlink()
    case.ini("noop_runner")
    status, _, err = case.call("", "-c", case.path)
    assert status == 1
    assert "noop_runner -000002 did not run: no b (b-000002.txt)" in err


def test_mistakes_give_status_2_and_nothing_is_made(case):
    case.files("a", "b")
    case.ini("noop_runner, joyn_runner", job="TIMEOUT = soon")
    for command in ("", "check", "plan", "run"):
        status, out, err = case.call(command, "-c", case.path)
        assert (status, out) == (2, "")
        assert err.splitlines() == [
            "error run.ini:6 [EXECUTION] MODULE: there is no runner 'joyn_runner'; "
            "did you mean join_runner?",
            "error run.ini:14 [JOB] TIMEOUT: 'soon' is not a time (allowed: seconds, or H:M:S)",
        ]
    assert os.listdir(case.out) == []


@pytest.mark.parametrize("words", [["-c"], ["--no-such-option"], ["-c", "x.ini", "more"]])
def test_wrong_usage_is_status_2(case, words):
    status, _, err = case.call("", *words)
    assert status == 2 and "Error" in err


def test_no_ini_file(case, monkeypatch):
    monkeypatch.chdir(case.folder)
    status, _, err = case.call("")
    assert status == 2
    assert f"file {case.folder}/config.ini does not exist" in err


def test_version_list_and_help(case):
    assert "2." in case.call("", "--version")[1]
    assert "2." in case.call("", "-v")[1]
    assert "setools_runner" in case.call("", "-l")[1].splitlines()
    assert case.call("list")[1] == case.call("", "-l")[1]
    assert "noop_runner" in case.call("list", "--path", MOCKS)[1].splitlines()
    status, out, _ = case.call("", "-h")
    assert status == 0 and "0 all well, 1 some unit failed, 2 wrong configuration" in out


def test_single_units_from_the_command_line(case):
    case.files("a", "b")
    case.ini("noop_runner")
    assert case.call("", "-c", case.path, "-e", "000001", "-e", "-000003")[0] == 0
    assert {line["number"] for line in case.records()} == {"-000001", "-000003"}
    status, _, err = case.call("", "-c", case.path, "-e", "000009")
    assert status == 2 and "number 000009 was asked for, but there are no such files" in err


def test_check_shows_values_and_where_they_come_from(case):
    case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = x")
    status, out, _ = case.call("check", "-c", case.path, "--show", "-o", "JOB:TIMEOUT=9")
    assert status == 0
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in out.splitlines()}
    assert rows["[NOOP_RUNNER]", "WORD"] == ["x", "run.ini:16"]
    assert rows["[NOOP_RUNNER]", "SLEEP"] == ["0.0", "default"]
    assert rows["[JOB]", "TIMEOUT"] == ["9", "-o"]
    assert rows["[FILE]", "OUTPUT_DIR"] == [str(case.out), "run.ini:10"]
    assert out.splitlines()[-1].endswith("1 steps, no complaints")


def test_plan_shows_what_would_run(case):
    case.files("a", "b")
    (case.inputs / "b-000003.txt").unlink()
    case.files("b", numbers=[9])
    case.ini("noop_runner, expand_runner, join_runner")
    status, out, _ = case.call("plan", "-c", case.path, "--units")
    assert status == 0 and os.listdir(case.out) == []
    rows = [line.split()[:5] for line in out.splitlines()]
    assert ["noop_runner", "3", "3", "0", "a:"] in rows
    assert ["expand_runner", "3", "3", "0", "c:"] in rows
    assert "noop_runner -000003: no b (b-000003.txt); this unit does not run" in out
    assert "noop_runner: 1 numbers only in secondary inputs (-000009)" in out
    assert "join_runner: waits for the whole of noop_runner" in out
    assert "  noop_runner -000001: to do (new)" in out
    assert f"the run would be {case.out}/run" in out


def test_plan_of_a_run_that_exists_gives_reasons(finished):
    (finished.inputs / "a-000002.txt").write_text("changed")
    _, out, _ = finished.call("plan", "-c", finished.path)
    assert "noop_runner: 1 again because input a-000002.txt changed" in out
    assert f"the run continues {finished.out}/run" in out


def test_status_report_and_runs(finished):
    run = finished.out / "run"
    _, out, _ = finished.call("status", run)
    rows = [line.split() for line in out.splitlines()]
    assert ["noop_runner", "4", "yes"] in rows and ["join_runner", "1", "yes"] in rows
    assert "not running" in out
    _, out, _ = finished.call("status", run, "--json")
    assert '"noop_runner": {"ok": 4}' in out
    _, out, _ = finished.call("report", run)
    assert "shapepipe: 2." in out and "noop_runner" in out
    _, out, _ = finished.call("runs", "-d", finished.out)
    assert [line.split()[-1] for line in out.splitlines()] == ["state", "finished"]
    assert finished.call("status", finished.out)[0] == 2
    assert finished.call("status", finished.out / "nowhere")[0] == 2


def test_explain_goes_back_to_the_raw_files(finished):
    product = finished.out / "run" / "expand_runner" / "output" / "part-000001-2.txt"
    status, out, _ = finished.call("explain", product)
    lines = out.splitlines()
    assert status == 0 and lines[0] == str(product)
    assert "made by expand_runner -000001 of run run, try 1" in lines[1]
    assert f"    {finished.out}/run/noop_runner/output/c-000001.txt" in lines
    raw = f"{finished.inputs}/a-000001.txt: not made by a run (a raw file, or moved since)"
    assert raw in [line.strip() for line in lines]
    assert "  PARTS = 3" in lines and any("shapepipe: 2." in line for line in lines)
    status, out, _ = finished.call("explain", finished.inputs / "a-000001.txt")
    assert status == 0 and "not made by a run" in out


def test_explain_follows_inputs_into_earlier_runs(finished):
    finished.ini(
        "expand_runner", "[EXPAND_RUNNER]\nINPUT_DIR = last:noop_runner", RUN_NAME="second"
    )
    assert finished.run().exit_status == 0
    product = finished.out / "second" / "expand_runner" / "output" / "head-000000.txt"
    _, out, _ = finished.call("explain", product)
    assert "made by noop_runner -000000 of run run" in out
    assert f"{finished.inputs}/b-000000.txt" in out


def test_describe_lists_inputs_products_and_options(case):
    status, out, _ = case.call("describe", "expand_runner", "--path", MOCKS)
    assert status == 0
    assert "c<number>.txt" in out and "part<number><part>.txt" in out
    assert "PARTS" in out and "integer, >= 1" in out and "Number of parts." in out
    assert "cut_runner" in out
    assert case.call("describe", "expant_runner", "--path", MOCKS)[0] == 2


def test_a_template_passes_check_and_lists_every_option(case, monkeypatch):
    names = ["noop_runner", "expand_runner", "noop_runner"]
    status, text, _ = case.call("template", *names, "--path", MOCKS)
    assert status == 0
    for word in ("# SLEEP = 0.0", "# PARTS = 3", "[NOOP_RUNNER_RUN_2]", "# SMP_BATCH_SIZE = 1"):
        assert word in text.splitlines()
    monkeypatch.chdir(case.out)
    case.path.write_text(text.replace("# MODULE_PATH =", f"MODULE_PATH = {MOCKS}"))
    status, out, err = case.call("check", "-c", case.path)
    assert (status, err) == (0, "") and "3 steps, no complaints" in out


def test_templates_of_all_runners_of_the_package_pass_check(case, monkeypatch):
    monkeypatch.chdir(case.out)
    names = case.call("list")[1].split()
    assert len(names) > 5
    for name in names:
        case.path.write_text(case.call("template", name)[1])
        status, _, err = case.call("check", "-c", case.path)
        assert (status, err) == (0, ""), name


RUNNER = '''"""Counts letters."""

from shapepipe import Input, Options, Output, option, runner


class CountOptions(Options):
    letter: str = option("a", doc="Letter to count.")


@runner(
    inputs=[Input("c", ext=".txt")],
    outputs=[Output("count", ext=".json")],
    after=["noop_runner"],
)
def count_runner(job, opts: CountOptions):
    """Count one letter."""
    n = job.inputs["c"].read_text().count(opts.letter)
    job.write_json("count", {"n": n})
    return {"letters": n}
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody else's, installed with an entry point."""
    site = tmp_path / "site"
    (site / "mylab").mkdir(parents=True)
    (site / "mylab" / "__init__.py").touch()
    (site / "mylab" / "counting.py").write_text(RUNNER)
    info = site / "mylab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[shapepipe.runners]\ncount_runner = mylab.counting:count_runner\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.startswith("mylab")]:
        del sys.modules[name]


def test_a_runner_of_another_package(case, package):
    assert len(RUNNER.splitlines()) < 25
    case.files("a", "b")
    case.ini("noop_runner, count_runner", "[COUNT_RUNNER]\nLETTER = b")
    assert "count_runner" in case.call("list")[1].splitlines()
    assert "Letter to count." in case.call("describe", "count_runner")[1]
    assert "# LETTER = a" in case.call("template", "count_runner")[1].splitlines()
    assert "LETTER" in case.call("check", "-c", case.path, "--show")[1]
    assert case.call("", "-c", case.path)[0] == 0
    counts = [line["metrics"] for line in case.records() if line["step"] == "count_runner"]
    assert counts == [{"letters": 1}] * 4
    case.ini("noop_runner, count_runner", "[COUNT_RUNNER]\nLETER = b")
    assert (
        "[COUNT_RUNNER] LETER: unknown option; did you mean LETTER?"
        in case.call("check", "-c", case.path)[2]
    )


def test_a_runner_by_package_and_function(case, package):
    case.files("a", "b")
    case.ini("noop_runner, mylab.counting:count_runner", "[COUNT_RUNNER]\nLETTER = b")
    assert case.call("", "-c", case.path)[0] == 0
    assert "count_runner/count-000000.json" in case.products()
    case.ini("mylab.counting:no_runner, mylab.nothing:count_runner")
    status, _, err = case.call("check", "-c", case.path)
    assert status == 2
    assert "mylab.counting has no @runner function no_runner" in err
    assert "cannot import mylab.nothing" in err


@pytest.mark.mpi
def test_mistakes_under_mpi_end_all_ranks_with_status_2(case):
    case.ini("noop_runner", job="TIMEOUT = soon")
    case.path.write_text(case.path.read_text().replace("[FILE]", "MODE = mpi\n[FILE]"))
    command = ["mpiexec", "-n", "2", sys.executable, "-m", "shapepipe", "run", "-c", case.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("'soon' is not a time") == 1
