"""One suite for all pools: the same products, and exactly the guilty jobs lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shapepipe.pipeline import rehearsal

EXAMPLES = Path(__file__).parents[2] / "example" / "config"
WORK = "rehearse_runner_run_2"
POOLS = [
    "serial",
    "supervised",
    "loky",
    "multiprocessing",
    "threading",
    pytest.param("mpi", marks=pytest.mark.mpi),
    pytest.param("dask", marks=pytest.mark.dask),
    pytest.param("slurm", marks=pytest.mark.slurm),
]
ODD = {1: "speak", 5: "sysexit", 11: "program", 12: "none", 15: "call"}
FAULTS = {
    2: "enospc",
    3: "raise",
    4: "eio",
    6: "exit",
    7: "sigkill",
    8: "sigsegv",
    9: "half",
    10: "hang",
    13: "missing",
    14: "baddata",
    16: "deaf",
    17: "leak",
    18: "slow",
}
EXPECTED = {
    1: ("ok", ""),
    2: ("failed", "No space left on device"),
    3: ("failed", "RuntimeError: rehearsed fault of the code in -000003"),
    4: ("failed", "Input/output error: {inputs}/a-000004.txt"),
    5: ("failed", "SystemExit: 4"),
    6: ("lost", "ended by itself with exit code 3"),
    7: ("lost", "was ended by SIGKILL"),
    8: ("lost", "was ended by SIGSEGV"),
    9: ("lost", "was ended by SIGKILL"),
    10: ("timeout", "took longer than TIMEOUT (5 s)"),
    11: ("lost", "was ended by SIGKILL"),
    12: ("empty", "no star left"),
    13: ("failed", "product not written: d-000013.txt (d)"),
    14: ("failed", "a-000014.txt: rehearsed fault of the data"),
    15: ("failed", "sh: exit code 7: cannot open file"),
    16: ("timeout", "took longer than TIMEOUT (5 s)"),
    17: ("lost", "more than MEMORY (400 MB)"),
}
"""What each unit must come to, and what is said of it; all others are ok."""
UNITS = 24


def run_in(pool: str, case, name: str = "run") -> int:
    """Run a case in a pool; return the exit status."""
    if pool == "dask":
        return call_in_main("run", "-c", case.path, "-o", "EXECUTION:MODE=dask")
    if pool == "slurm":
        return run_in_slurm(case, name)
    if pool != "mpi":
        words = ["EXECUTION:MODE=serial"] if pool == "serial" else [f"JOB:SMP_BACKEND={pool}"]
        return case.run(*words).exit_status
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "shapepipe", "run", "-c", case.path]
    return show_and_tell([*command, "-o", "EXECUTION:MODE=mpi"])


def show_and_tell(command) -> int:
    """Run a command; show what it says should the test fail, and return how it ended."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    sys.stdout.write(done.stdout)
    return done.returncode


def call_in_main(*words) -> int:
    """Run `shapepipe` as a command, as workers that are spawned need it."""
    return show_and_tell([sys.executable, "-m", "shapepipe", *(str(word) for word in words)])


def run_in_slurm(case, name: str) -> int:
    """Submit a case in two shards, wait until the queue is empty; return the last job's status."""
    words = ("submit", "-c", case.path, "--on", "slurm", "--shards", "2", "-o", "BATCH:TIME=300")
    assert call_in_main(*words) == 0
    until = time.monotonic() + 120
    while subprocess.run(["squeue", "-h"], capture_output=True).stdout:
        assert time.monotonic() < until
        time.sleep(0.2)
    return [line for line in case.directory(name).lines() if "ended" in line][-1]["ended"]["as"]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children() -> set[int]:
    """Processes that this one has started, directly or not."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, more = set(), {os.getpid()}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more}
        found |= more
    return found


@pytest.fixture(params=POOLS)
def pool(request):
    """Each pool in turn."""
    if request.param == "slurm":
        request.getfixturevalue("start_slurm")(1)
    return request.param


def test_exactly_the_guilty_jobs_are_lost(case, pool):
    case.files("a", numbers=range(UNITS))
    pids = case.folder / "pids"
    pids.mkdir()
    odd = ", ".join(f"{number:06d}={oddity}" for number, oddity in ODD.items())
    more = (
        f"[ODD_RUNNER]\nPLANT = {odd}\nPIDS = {pids}\n{case.plant('odd_runner', FAULTS)}SLOW = 0.1"
    )
    case.ini("odd_runner", more, job="TIMEOUT = 5\nMEMORY = 400")
    assert sorted(FAULTS.values()) == sorted(rehearsal.FAULTS)
    assert run_in(pool, case) == 1
    records = {line["number"]: line for line in case.records()}
    assert len(records) == len(case.records()) == UNITS
    for k in range(UNITS):
        status, said = EXPECTED.get(k, ("ok", ""))
        line = records[f"-{k:06d}"]
        assert line["status"] == status, line
        assert said.format(inputs=case.inputs) in line.get("error", ""), line
    good = [n for n in sorted(records) if records[n]["status"] == "ok"]
    assert case.products() == {f"odd_runner/d{n}.txt": n for n in good}
    check_logs(case, records)
    left = [int(name) for name in os.listdir(pids)]
    assert len(left) == 1 and not any(is_alive(pid) for pid in left)
    assert os.listdir(case.out / "run" / "tmp") == []


def check_logs(case, records):
    logs = case.directory().logs("odd_runner")
    bad = {n for n, line in records.items() if line["status"] not in ("ok", "empty")}
    assert {path.name for path in logs.glob("process*")} == {f"process{n}.log" for n in bad}
    for k, what in (ODD | FAULTS).items():
        path = logs / f"process-{k:06d}.log"
        if path.exists():
            text = path.read_text()
            assert f"about to {what}" in text or f"rehearsal: {what}" in text, what
    assert "Traceback" in (logs / "process-000003.log").read_text()
    assert "Segmentation fault" in (logs / "process-000008.log").read_text()
    start, length, *shard = records["-000001"]["log"]
    log = logs / ".".join(["odd_runner", *shard, "log"])
    text = log.read_bytes()[start : start + length].decode()
    assert text.startswith("== odd_runner -000001\n")
    for word in ("about to speak", "on standard output", "of a program", "on standard error"):
        assert word in text


@pytest.mark.parametrize("pool", ["supervised", *POOLS[-3:]], indirect=True)
def test_the_rehearsal_of_the_examples_loses_what_it_says(case, pool, monkeypatch):
    """Of forty jobs one is killed, one hangs, one leaks, one crashes; what can be cured is."""
    for name, folder in {"SP_CONFIG": EXAMPLES, "SP_RUN": case.folder}.items():
        monkeypatch.setenv(name, str(folder))
    (case.folder / "output").mkdir()
    case.out = case.folder / "output"
    case.path = case.folder / "rehearse.ini"
    case.path.write_text((EXAMPLES / "rehearse.ini").read_text())
    assert run_in(pool, case, "run_rehearsal") == 1
    lines = [line for line in case.records("run_rehearsal") if line["step"] == WORK]
    tries: dict[str, list[str]] = {}
    for line in sorted(lines, key=lambda line: line["try"]):
        tries.setdefault(line["number"], []).append(line["status"])
    assert len(tries) == 40
    assert {number: states for number, states in tries.items() if states != ["ok"]} == {
        "_0-3": ["lost", "lost"],
        "_1-7": ["timeout", "timeout"],
        "_3-1": ["lost", "lost"],
        "_4-4": ["lost", "lost"],
        "_0-5": ["lost", "ok"],
        "_2-2": ["failed", "ok"],
    }
    folder = case.out / "run_rehearsal" / "rehearse_join_runner" / "output"
    assert len((folder / "all_units.txt").read_text().splitlines()) == 36
    missing = (folder / "missing_units.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1] for line in missing] == ["_0-3", "_1-7", "_3-1", "_4-4"]
    # not in this process: MPI, once begun, leaves marks in the environment that stop any mpiexec
    assert call_in_main("resume", case.out / "run_rehearsal", "-o", "REHEARSAL:FAULTS=") == 0
    assert len((folder / "all_units.txt").read_text().splitlines()) == 40
    assert not (folder / "missing_units.csv").exists()


@pytest.fixture(scope="module")
def reference(tmp_path_factory, make_case):
    """Products of one worker that does one job after the other."""
    case = make_case(tmp_path_factory.mktemp("reference"))
    case.files("a", "b", numbers=range(12))
    case.ini("noop_runner, expand_runner, part_runner, join_runner")
    assert case.run("EXECUTION:MODE=serial").exit_status == 0
    return case.products()


def test_products_do_not_depend_on_the_pool(case, pool, reference):
    case.files("a", "b", numbers=range(12))
    case.ini("noop_runner, expand_runner, part_runner, join_runner")
    assert run_in(pool, case) == 0
    products = case.products()
    assert len(products) == 12 + 12 * 4 + 12 * 3 + 1
    lines = products["join_runner/all.txt"].splitlines()
    assert [line.split(":")[0] for line in lines] == [f"-{k:06d}" for k in range(12)]
    assert products == reference


def test_records_say_what_a_job_cost(case):
    case.files("a", "b", numbers=range(3))
    case.ini("noop_runner", "[NOOP_RUNNER]\nSLEEP = 0.05")
    assert case.run().exit_status == 0
    for line in case.records():
        assert 0.05 <= line["wall"] < 60 and 0 <= line["cpu"] < 60 and line["mem"] > 1e6
        assert line["metrics"] == {"length": 2} and line["try"] == 1
        assert line["out"] == [f"c{line['number']}.txt"]
        assert [entry.split(":")[0] for entry in line["in"]] == [
            f"0/a{line['number']}.txt",
            f"0/b{line['number']}.txt",
        ]


def test_no_process_is_left_after_a_run(case):
    case.files("a", "b", numbers=range(4))
    case.ini("noop_runner")
    before = children()
    for backend in ("supervised", "threading"):
        case.run(f"JOB:SMP_BACKEND={backend}", f"DEFAULT:RUN_NAME={backend}")
    until = time.monotonic() + 10
    while children() - before and time.monotonic() < until:
        time.sleep(0.05)
    assert children() <= before


def test_loading_a_slow_runner_is_not_the_jobs_time(case):
    mine = case.folder / "mine"
    mine.mkdir()
    (mine / "heavy_runner.py").write_text(
        "import os, time\nfrom shapepipe import Input, Options, runner\n"
        f"if os.getpid() != {os.getpid()}:\n    time.sleep(1.2)\n\n"
        "@runner(inputs=[Input('a', ext='.txt')], numbering='-0')\n"
        "def heavy_runner(job, opts: Options):\n    pass\n"
    )
    case.files("a", numbers=range(3))
    case.ini("heavy_runner", job="TIMEOUT = 0.8")
    text = case.path.read_text().replace("MODULE_PATH = ", f"MODULE_PATH = {mine}, ")
    case.path.write_text(text)
    assert case.run().exit_status == 0
