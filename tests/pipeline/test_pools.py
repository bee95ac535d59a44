"""One suite for all pools: the same products, and exactly the guilty jobs lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
PLANTED = {
    1: "speak",
    2: "half",
    3: "raise",
    5: "sysexit",
    6: "exit",
    7: "kill",
    8: "segv",
    10: "hang",
    11: "program",
    12: "none",
    13: "miss",
    14: "badinput",
    15: "call",
}
STATUS = {
    "speak": "ok",
    "half": "failed",
    "raise": "failed",
    "sysexit": "failed",
    "exit": "lost",
    "kill": "lost",
    "segv": "lost",
    "hang": "timeout",
    "program": "lost",
    "none": "empty",
    "miss": "failed",
    "badinput": "failed",
    "call": "failed",
}
SAID = {
    "half": "No space left on device",
    "raise": "ValueError: bad pixel in -000003",
    "sysexit": "SystemExit: 4",
    "exit": "ended by itself with exit code 3",
    "kill": "was ended by SIGKILL",
    "segv": "was ended by SIGSEGV",
    "hang": "took longer than TIMEOUT (1.5 s)",
    "program": "was ended by SIGKILL",
    "none": "no star left",
    "miss": "product not written: d-000013.txt (d)",
    "badinput": "a-000014.txt: HDU 3 is missing (allowed: 2 HDUs)",
    "call": "sh: exit code 7: cannot open file",
}
UNITS = 20


def run_in(pool: str, case) -> int:
    """Run a case in a pool; return the exit status."""
    if pool == "dask":
        return call_in_main("run", "-c", case.path, "-o", "EXECUTION:MODE=dask")
    if pool == "slurm":
        return run_in_slurm(case)
    if pool != "mpi":
        words = ["EXECUTION:MODE=serial"] if pool == "serial" else [f"JOB:SMP_BACKEND={pool}"]
        return case.run(*words).exit_status
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "shapepipe", "run", "-c", case.path]
    done = subprocess.run([*command, "-o", "EXECUTION:MODE=mpi"], capture_output=True, text=True)
    return done.returncode


def call_in_main(*words) -> int:
    """Run `shapepipe` as a command, as workers that are spawned need it."""
    command = [sys.executable, "-m", "shapepipe", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True).returncode


def run_in_slurm(case) -> int:
    """Submit a case in two shards, wait until the queue is empty; return the last job's status."""
    words = ("submit", "-c", case.path, "--on", "slurm", "--shards", "2", "-o", "BATCH:TIME=300")
    assert call_in_main(*words) == 0
    until = time.monotonic() + 120
    while subprocess.run(["squeue", "-h"], capture_output=True).stdout:
        assert time.monotonic() < until
        time.sleep(0.2)
    return [line for line in case.directory().lines() if "ended" in line][-1]["ended"]["as"]


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
    plant = ", ".join(f"{number:06d}={fault}" for number, fault in PLANTED.items())
    case.ini("fault_runner", f"[FAULT_RUNNER]\nPLANT = {plant}\nPIDS = {pids}", job="TIMEOUT = 1.5")
    assert run_in(pool, case) == 1
    records = {line["number"]: line for line in case.records()}
    expected = {f"-{k:06d}": STATUS.get(PLANTED.get(k, ""), "ok") for k in range(UNITS)}
    assert {number: line["status"] for number, line in records.items()} == expected
    for k, fault in PLANTED.items():
        assert SAID.get(fault, "") in records[f"-{k:06d}"].get("error", ""), fault
    good = {number for number, status in expected.items() if status == "ok"}
    assert case.products() == {f"fault_runner/d{n}.txt": n for n in sorted(good)}
    check_logs(case, expected, records)
    left = [int(name) for name in os.listdir(pids)]
    assert len(left) == 2 and not any(is_alive(pid) for pid in left)
    assert os.listdir(case.out / "run" / "tmp") == []


def check_logs(case, expected, records):
    logs = case.directory().logs("fault_runner")
    bad = {n for n, status in expected.items() if status not in ("ok", "empty")}
    assert {path.name for path in logs.glob("process*")} == {f"process{n}.log" for n in bad}
    for k, fault in PLANTED.items():
        path = logs / f"process-{k:06d}.log"
        if path.exists() and fault != "miss":
            assert f"about to {fault}" in path.read_text(), fault
    assert "Traceback" in (logs / "process-000003.log").read_text()
    assert "Segmentation fault" in (logs / "process-000008.log").read_text()
    start, length, *shard = records["-000001"]["log"]
    log = logs / ".".join(["fault_runner", *shard, "log"])
    text = log.read_bytes()[start : start + length].decode()
    assert text.startswith("== fault_runner -000001\n")
    for word in ("about to speak", "on standard output", "of a program", "on standard error"):
        assert word in text


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
