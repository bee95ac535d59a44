"""What only ranks of MPI can do: fall silent, or break, while the head waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi
UNITS = 12
LAST_SECONDS = 30.0
"""Time within which mpiexec ends when its last rank has."""
BROKEN = """
import os, sys
from shapepipe import cli
from shapepipe.pipeline.crew import Crew
def submit(self, assignment):
    raise OSError(28, "No space left on device", "/here")
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    Crew.submit = submit
cli.run_command()
"""


def start(case, *words) -> subprocess.Popen:
    """Start a case under three ranks."""
    command = ["mpiexec", "-n", "3", sys.executable, *words, "-c", case.path]
    command += ["-o", "EXECUTION:MODE=mpi"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def end_of(mpiexec: subprocess.Popen) -> tuple[int, str]:
    """Wait for the end; return the exit status and what was said.

    Now and then the mpiexec of Open MPI 4 hangs in PMIx when it has ended ranks that would not end
    by themselves; when no rank is left for a while it is ended too, with status -9.
    """
    patience = 0.0
    with mpiexec.stdout, ThreadPoolExecutor(1) as reader:
        said = reader.submit(mpiexec.stdout.read)
        while mpiexec.poll() is None:
            time.sleep(0.1)
            patience = 0.0 if list(ranks(mpiexec)) else patience + 0.1
            if patience > LAST_SECONDS:
                mpiexec.kill()
        return mpiexec.returncode, said.result()


def ranks(mpiexec: subprocess.Popen) -> Iterator[tuple[int, bytes]]:
    """Processes of the ranks that are alive, each with its environment."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            environment = path.read_bytes()
        except (OSError, ValueError):
            continue
        if parent == mpiexec.pid and environment:
            yield int(path.parent.name), environment


def rank(mpiexec: subprocess.Popen, number: int) -> int:
    """Process of a rank."""
    for pid, environment in ranks(mpiexec):
        if b"OMPI_COMM_WORLD_RANK=%d" % number in environment.split(b"\0"):
            return pid
    raise AssertionError(f"there is no rank {number}")


@pytest.fixture
def chain(case):
    """A step that takes some time for each of its units, and one that joins them."""
    case.files("a", "b", numbers=range(UNITS))
    case.ini("noop_runner, expand_runner, part_runner, join_runner", "[NOOP_RUNNER]\nSLEEP = 0.5")
    return case


def test_a_rank_that_falls_silent_costs_one_job(chain):
    chain.ini("noop_runner", "[NOOP_RUNNER]\nSLEEP = 0.5", job="RANK_SILENCE = 3")
    mpiexec = start(chain, "-m", "shapepipe", "run")
    until = time.monotonic() + 60
    while not (chain.out / "run").is_dir() or not chain.records():
        assert time.monotonic() < until and mpiexec.poll() is None
        time.sleep(0.05)
    os.kill(rank(mpiexec, 1), signal.SIGSTOP)
    status, said = end_of(mpiexec)
    assert status in (1, -9), said
    assert (
        "end of the run, exit status 1"
        in (chain.out / "run" / "logs" / "shapepipe.log").read_text()
    )
    lost = [line for line in chain.records() if line["status"] != "ok"]
    assert [line["status"] for line in lost] == ["lost"]
    assert lost[0]["error"] == "rank 1 has not been heard for 3 s and gets no more jobs"
    assert len(chain.records()) == UNITS
    assert chain.run("NOOP_RUNNER:SLEEP=0", continue_run=True, allow_change=True).exit_status == 0
    assert len(chain.products()) == UNITS


def test_a_rank_that_breaks_ends_the_run_with_its_reason(chain):
    mpiexec = start(chain, "-c", BROKEN)
    status, said = end_of(mpiexec)
    assert status != 0
    assert "No space left on device" in said
    assert chain.run(continue_run=True).exit_status == 0
    assert len(chain.products()["join_runner/all.txt"].splitlines()) == UNITS
