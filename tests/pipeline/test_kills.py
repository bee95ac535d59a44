"""Runs that are killed at random moments end like undisturbed ones."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "kill_campaign", Path(__file__).parent / "kill_campaign.py"
)
kill_campaign = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(kill_campaign)

CHAIN = "noop_runner, expand_runner, part_runner, optional_runner, extra_runner, join_runner"


@pytest.fixture
def campaign(case):
    """A campaign on a chain of all kinds of steps."""
    case.files("a", "b", numbers=range(10))
    case.ini(
        CHAIN,
        "[NOOP_RUNNER]\nSLEEP = 0.05\n[OPTIONAL_RUNNER]\nWITHOUT = 000003\nEMPTY = 000004\n",
    )
    return lambda *words: kill_campaign.Campaign(case.path, *words)


def test_the_head_and_workers_are_killed(campaign):
    killed = campaign("smp", "head", 20261121)
    assert killed.run(5) == []
    killed.victim = "worker"
    assert killed.spend(2) == []
    assert killed.kills == 7


@pytest.mark.slow
@pytest.mark.mpi
def test_ranks_are_killed(campaign):
    killed = campaign("mpi", "head", 20261121)
    assert killed.run(1) == []
    killed.victim = "worker"
    assert killed.spend(1) == []
    assert killed.kills == 2


def test_a_campaign_sees_what_is_wrong(case, campaign):
    killed = campaign("smp", "head", 1)
    assert killed.run(0) == []
    output = case.out / "campaign_killed" / "noop_runner" / "output"
    (output / "c-000001.txt").write_text("other")
    (output / "c-000002.txt").unlink()
    (output / "c-000099.txt").write_text("more")
    with open(case.out / "campaign_killed" / "outcomes.jsonl", "r+") as records:
        lines = records.read().splitlines(keepends=True)
        records.write(next(line for line in lines if '"ok"' in line))
        records.seek(0, 2)
        records.write(lines[-1].replace('"ok"', '"lost"'))
    killed.compare()
    assert len(killed.complaints) == 5


def test_a_job_that_holds_the_interpreter_ends_with_its_head(case):
    case.files("a", numbers=range(1))
    pids = case.folder / "pids"
    pids.mkdir()
    case.ini("odd_runner", f"[ODD_RUNNER]\nPLANT = 000000=hold\nPIDS = {pids}")
    killed = kill_campaign.Campaign(case.path)
    head = killed.start("run", "smp")
    until = time.monotonic() + 60
    while not os.listdir(pids) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    head.kill()
    head.wait()
    killed.check_orphans()
    assert killed.complaints == []
