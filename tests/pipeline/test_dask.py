"""Runs on a Dask cluster: workers that die, a scheduler that goes, a cluster of a batch system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

CHAIN = "noop_runner, expand_runner, part_runner, join_runner"
UNITS = 10
RECORDS = UNITS * (1 + 1 + 3) + 1
IMPATIENT = """
from shapepipe import cli
from shapepipe.pipeline import dask_pool
dask_pool.PATIENCE = 1.0
cli.main()
"""
pytestmark = pytest.mark.dask


def wait_until(true, patience: float = 60.0) -> None:
    """Wait until something is true."""
    until = time.monotonic() + patience
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


class Cluster:
    """A Dask scheduler with two workers, as somebody else would have started them."""

    def __init__(self, folder):
        self.file = folder / "scheduler.json"
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._start(*words, "--scheduler-file", self.file)
        wait_until(self.file.exists)
        words = ["worker", "--nthreads", "1", "--no-dashboard", "--local-directory", folder]
        self.workers = [self._start(*words, "--scheduler-file", self.file) for _ in range(2)]

    def _start(self, *words) -> subprocess.Popen:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *map(str, words[1:])]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            process.wait(30)


@pytest.fixture(scope="module")
def clusters():
    """Clusters that were started; the last may be alive."""
    started: list[Cluster] = []
    yield started
    for cluster in started:
        cluster.stop()


@pytest.fixture
def cluster(clusters, tmp_path_factory):
    """A cluster that runs already."""
    if not clusters or clusters[-1].scheduler.poll() is not None:
        clusters.append(Cluster(tmp_path_factory.mktemp("dask")))
    return clusters[-1]


@pytest.fixture
def campaign(case):
    """A chain of which each unit takes a little time."""
    case.files("a", "b", numbers=range(UNITS))
    case.ledger = case.folder / "ledger"
    case.ini(CHAIN, f"[NOOP_RUNNER]\nSLEEP = 0.5\nLEDGER = {case.ledger}")
    return case


def start(case, *words, program=("-m", "shapepipe")) -> subprocess.Popen:
    """Start a run under Dask."""
    command = [sys.executable, *program, "run", "-c", case.path]
    options = ["EXECUTION:MODE=dask", *words]
    pairs = [part for option in options for part in ("-o", option)]
    return subprocess.Popen([*command, *pairs], stderr=subprocess.PIPE, text=True)


def end_of(run: subprocess.Popen) -> tuple[int, str]:
    """Wait for a run; return its exit status and what it said."""
    said = run.communicate(timeout=150)[1]
    return run.returncode, said


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_killed_dask_worker_costs_nothing_but_time(campaign, cluster):
    run = start(campaign, f"JOB:DASK_SCHEDULER={cluster.file}")
    wait_until(lambda: len(campaign.records()) >= 2)
    nanny = cluster.workers[0].pid
    victims = [pid for pid in children(nanny) if b"multiprocessing.resource" not in
               Path(f"/proc/{pid}/cmdline").read_bytes()]  # fmt: skip
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    status, said = end_of(run)
    assert status == 0, said
    assert {line["status"] for line in campaign.records()} == {"ok"}
    assert Counter(line["number"] for line in campaign.records()).most_common(1)[0][1] == 2
    assert len(campaign.records()) == RECORDS  # "-000001" is a unit of two steps
    twice = [n for n, k in Counter(campaign.ledger.read_text().split()).items() if k > 1]
    assert len(twice) <= 2  # what the worker held


def test_two_runs_can_follow_each_other_on_one_cluster(campaign, cluster):
    for name in ("one", "two"):
        words = (f"JOB:DASK_SCHEDULER={cluster.file}", f"DEFAULT:RUN_NAME={name}")
        run = start(campaign, *words, "NOOP_RUNNER:SLEEP=0")
        status, said = end_of(run)
        assert status == 0, said
    assert campaign.products("one") == campaign.products("two")
    workers = [pid for nanny in cluster.workers for pid in children(nanny.pid)]
    left = [child for pid in workers for child in children(pid)]
    assert not [pid for pid in left if b"shapepipe" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_scheduler_that_goes_stops_the_run_and_loses_nothing(campaign, cluster):
    run = start(campaign, f"JOB:DASK_SCHEDULER={cluster.file}")
    wait_until(lambda: len(campaign.records()) >= 3)
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    status, said = end_of(run)
    assert status == 1, said
    assert "the Dask scheduler has gone" in said
    before = len(campaign.records())
    assert campaign.run().exit_status == 0
    assert len(campaign.records()) == RECORDS >= before
    assert {line["try"] for line in campaign.records()} == {1}


def test_a_cluster_of_a_name_that_is_not_known_is_told(campaign):
    run = start(campaign, "JOB:DASK_CLUSTER=slrum")
    status, said = end_of(run)
    assert status == 2, said
    assert "DASK_CLUSTER = slrum: is not known" in said and "did you mean slurm?" in said


def test_a_scheduler_that_is_not_there_is_told(campaign):
    run = start(campaign, "JOB:DASK_SCHEDULER=tcp://127.0.0.1:9", program=("-c", IMPATIENT))
    status, said = end_of(run)
    assert status == 2, said
    assert "DASK_SCHEDULER = tcp://127.0.0.1:9: cannot be reached" in said


@pytest.mark.slurm
@pytest.mark.slow
def test_dask_workers_are_jobs_of_slurm(campaign, start_slurm):
    start_slurm(1)
    words = ("JOB:DASK_CLUSTER=slurm", "BATCH:TIME=300", "BATCH:MEMORY=900MB")
    run = start(campaign, *words, "NOOP_RUNNER:SLEEP=0")
    status, said = end_of(run)
    assert status == 0, said
    assert len(campaign.records()) == RECORDS
