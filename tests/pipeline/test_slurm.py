"""Runs under a real Slurm: several nodes, a warning and a requeue, a killed element."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter

import pytest

from shapepipe.errors import RunRefused
from shapepipe.pipeline.batch import shard_states
from shapepipe.pipeline.submit import submit

pytestmark = pytest.mark.slurm
CHAIN = "noop_runner, expand_runner, part_runner, join_runner"
PATIENCE = 120.0


def slurm(*words: str) -> str:
    """Call a command of Slurm."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def wait_until(true) -> None:
    """Wait until something is true."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, slurm("squeue")
        time.sleep(0.1)


def wait_empty() -> None:
    """Wait until the queue is empty."""
    wait_until(lambda: not slurm("squeue", "-h"))


def done(case) -> int:
    """Number of jobs of the first step that are recorded."""
    return len([line for line in case.records() if line["step"] == "noop_runner"])


@pytest.fixture
def campaign(case, start_slurm):
    """A chain of which each unit takes a little time, and a cluster of one node."""
    start_slurm(1)
    case.files("a", "b", numbers=range(8))
    case.ledger = case.folder / "ledger"
    case.ini(
        CHAIN,
        f"[NOOP_RUNNER]\nSLEEP = 2\nLEDGER = {case.ledger}\n[BATCH]\nTIME = 240\nMEMORY = 900M",
    )
    return case


def test_shards_on_three_nodes_make_what_one_process_makes(case, start_slurm):
    start_slurm(3)
    case.files("a", "b", numbers=range(9))
    case.ini(CHAIN, "[NOOP_RUNNER]\nSLEEP = 0.5\n[BATCH]\nTIME = 300\nMEMORY = 900M")
    made = submit(case.path, "slurm", shards=3)
    with pytest.raises(RunRefused, match=f"is in the queue as {made.numbers[0]}, "):
        submit(case.path, "slurm", continue_run=True)
    wait_empty()
    assert shard_states(case.directory()) == {"ended": 3}
    launches = [line["launch"] for line in case.directory().lines() if "launch" in line]
    shards = [launch for launch in launches if launch["stage"] == 0]
    assert {launch["SLURMD_NODENAME"] for launch in shards} == {"n1", "n2", "n3"}
    products = case.products()
    case.ini(CHAIN, "[NOOP_RUNNER]\nSLEEP = 0.5", RUN_NAME="here")
    assert case.run("NOOP_RUNNER:SLEEP=0").exit_status == 0
    assert case.products("here") == products


@pytest.mark.slow
def test_the_end_of_the_time_and_a_requeue_lose_nothing(campaign):
    campaign.files("a", "b", numbers=range(16))
    campaign.ini(
        CHAIN,
        f"[NOOP_RUNNER]\nSLEEP = 5\nLEDGER = {campaign.ledger}\n"
        "[BATCH]\nTIME = 60\nWARNING = 30\nMEMORY = 900M",
    )
    one_core = ["JOB:SMP_BATCH_SIZE=1"]
    number = submit(campaign.path, "slurm", shards=2, overrides=one_core).numbers[0]
    reasons = ("squeue", "-h", "-r", "-j", number, "-o", "%r")
    wait_until(lambda: slurm(*reasons).split() == ["BeginTime"] * 2)
    assert 0 < done(campaign) < 16
    # Slurm would wait two minutes; a start in the very second of the requeue it refuses as revoked
    time.sleep(2.5)
    for index in (1, 2):
        slurm("scontrol", "update", f"JobId={number}_{index}", "StartTime=now")
    wait_empty()
    lines = list(campaign.directory().lines())
    launches = [line["launch"] for line in lines if "launch" in line]
    restarts = [item.get("SLURM_RESTART_COUNT") for item in launches if item["stage"] == 0]
    assert restarts == [None, "1", None, "1"]
    # an element that ended in time has not been torn from its work by the other
    assert [line["ended"]["as"] for line in lines if "ended" in line].count(75) == 2
    assert Counter(campaign.ledger.read_text().split()) == {f"-{k:06d}": 1 for k in range(16)}
    assert {line["try"] for line in campaign.records()} == {1}
    assert len(campaign.products()) == 16 + 16 * 4 + 16 * 3 + 1


def test_elements_that_are_ended_cost_what_they_were_doing(campaign):
    """One is killed, one is cancelled, one is left alone."""
    campaign.files("a", "b", numbers=range(9))
    one_core = ["JOB:SMP_BATCH_SIZE=1"]
    number = submit(campaign.path, "slurm", shards=3, overrides=one_core).numbers[0]
    locks = [campaign.out / "run" / f"lock.{index}of3" for index in (1, 2)]
    wait_until(lambda: done(campaign) >= 1 and all(lock.exists() for lock in locks))
    os.kill(int(locks[0].read_text().split()[3]), signal.SIGKILL)
    slurm("scancel", f"{number}_2")
    wait_empty()
    states = shard_states(campaign.directory(), in_queue=False)
    assert states == {"died": 1, "interrupted": 1, "ended": 1}
    assert 3 <= len(campaign.products()["join_runner/all.txt"].splitlines()) < 9
    submit(campaign.path, "slurm", shards=3, continue_run=True, overrides=one_core)
    wait_empty()
    assert len(campaign.products()["join_runner/all.txt"].splitlines()) == 9
    twice = [n for n, k in Counter(campaign.ledger.read_text().split()).items() if k > 1]
    assert len(twice) <= 2  # as many as the elements had under way
    assert {line["status"] for line in campaign.records()} == {"ok"}


def test_what_slurm_refuses_is_told(campaign):
    text = campaign.path.read_text() + "\nPARTITION = no_such\n"
    campaign.path.write_text(text)
    with pytest.raises(RunRefused, match="sbatch: .*[Ii]nvalid partition"):
        submit(campaign.path, "slurm")
    assert not slurm("squeue", "-h")
