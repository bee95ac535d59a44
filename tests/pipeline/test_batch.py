"""Batch scripts, run here without any batch system; what is refused, noted and continued."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from shapepipe.errors import RunRefused
from shapepipe.pipeline import slurm
from shapepipe.pipeline.batch import shard_states
from shapepipe.pipeline.submit import submit

CHAIN = "noop_runner, expand_runner, part_runner, join_runner"


@pytest.fixture
def queue(monkeypatch):
    """Slurm's commands, replaced by lists of what is in the queue."""
    found: list[str] = []

    def take(jobs):
        found.extend(str(100 + k) for k in range(len(jobs)))
        return list(found)

    monkeypatch.setattr(slurm, "submit", take)
    monkeypatch.setattr(slurm, "in_queue", lambda numbers: [n for n in numbers if n in found])
    return found


def run_scripts(made) -> list[int]:
    """Run the elements of a submission here, one after the other; return how they ended."""
    statuses = []
    for job in made.jobs:
        script = job.folder / f"{job.name}.sh"
        for index in range(1, max(1, job.count) + 1):
            environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}
            done = subprocess.run(["bash", script], env=environment, capture_output=True)
            statuses.append(done.returncode)
    return statuses


def test_a_dry_run_shows_the_scripts_and_creates_nothing(case):
    case.files("a", "b", numbers=range(4))
    case.ini(
        CHAIN,
        "[BATCH]\nSHARDS = 3\nTIME = 01:30:10\nMEMORY = 3G\nPARTITION = long\nACCOUNT = lensing\n"
        "DIRECTIVES = --qos=low, --constraint=avx2\nPROLOGUE = module load gcc\n  ulimit -c 0",
    )
    status, text, _ = case.call("submit", "-c", case.path, "--on", "slurm", "--dry-run")
    assert status == 0 and os.listdir(case.out) == []
    for line in (
        "#SBATCH --array=1-3", "#SBATCH --time=91", "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=3G", "#SBATCH --partition=long", "#SBATCH --account=lensing",
        "#SBATCH --signal=B:USR1@120", "#SBATCH --requeue", "#SBATCH --qos=low",
        "#SBATCH --constraint=avx2", "module load gcc", "ulimit -c 0",
    ):  # fmt: skip
        assert f"\n{line}\n" in text
    status, text, _ = case.call("submit", "-c", case.path, "--on", "htcondor", "--dry-run")
    assert status == 0 and os.listdir(case.out) == []
    for line in ("queue 3", "request_memory = 3G", "accounting_group = lensing",
                 "PARENT run-stage0 CHILD run-stage1"):  # fmt: skip
        assert f"\n{line}\n" in text
    assert "--shard $(Element)/3 --stop-after 5340" in text


def test_scripts_of_a_submission_do_the_run(case, queue):
    case.files("a", "b", numbers=range(6))
    case.ini(CHAIN)
    made = submit(case.path, "slurm", shards=2)
    assert [(job.stage, job.count) for job in made.jobs] == [(0, 2), (1, 0)]
    assert shard_states(case.directory()) == {"waiting": 2}
    assert run_scripts(made) == [0, 0, 0]
    assert shard_states(case.directory()) == {"ended": 2}
    assert len(case.records()) == 6 + 6 + 18 + 1
    queue.clear()
    with pytest.raises(RunRefused, match="nothing is left to do"):
        submit(case.path, "slurm", continue_run=True)


def test_a_run_in_the_queue_is_not_submitted_again(case, queue):
    case.files("a", "b", numbers=range(2))
    case.ini(CHAIN)
    submit(case.path, "slurm")
    with pytest.raises(RunRefused, match="is in the queue as 100, 101"):
        submit(case.path, "slurm", continue_run=True)


def test_what_failed_is_tried_once_in_each_submission(case, queue):
    case.files("a", numbers=range(6))
    case.ini("odd_runner", case.plant("odd_runner", {1: "raise", 4: "baddata"}))
    made = submit(case.path, "slurm", shards=1)
    assert run_scripts(made) == [1, 1]
    assert run_scripts(made) == [1, 1]  # as after a requeue
    attempts = {line["number"]: line["try"] for line in case.records()}
    assert attempts == {f"-{k:06d}": 1 for k in range(6)}
    queue.clear()
    made = submit(case.path, "slurm", continue_run=True)
    assert made.jobs[0].folder.name == "2" and made.jobs[0].count == 2
    assert run_scripts(made) == [1, 1, 1]
    attempts = {line["number"]: line["try"] for line in case.records()}
    assert {n for n, attempt in attempts.items() if attempt == 2} == {"-000001", "-000004"}


def test_shards_that_died_or_never_started_are_told(case, queue):
    case.files("a", "b", numbers=range(6))
    case.ini(CHAIN)
    submit(case.path, "slurm", shards=3)
    launch = '{"launch":{"submission":"1"}}\n'
    ended = '{"ended":{"as":0,"submission":"1"}}\n'
    (case.out / "run" / "outcomes.1of3.jsonl").write_text(launch + ended)
    (case.out / "run" / "outcomes.2of3.jsonl").write_text(launch)
    _, text, _ = case.call("status", case.out / "run")
    assert "shards: 1 died, 1 ended, 1 waiting" in text
    queue.clear()
    _, text, _ = case.call("status", case.out / "run")
    assert "shards: 1 died, 1 ended, 1 never started" in text


def test_files_that_come_after_the_submission_are_done_once(case, queue):
    case.files("a", "b", numbers=range(6))
    ledger = case.folder / "ledger"
    case.ini(CHAIN, f"[NOOP_RUNNER]\nLEDGER = {ledger}")
    made = submit(case.path, "slurm", shards=3)
    case.files("a", "b", numbers=range(6, 10))
    assert run_scripts(made) == [0, 0, 0, 0]
    assert Counter(ledger.read_text().split()) == {f"-{k:06d}": 1 for k in range(10)}


def test_words_that_a_shell_would_split_stay_together(case, queue, tmp_path):
    odd = tmp_path / "a run's folder"
    odd.mkdir()
    case.out = odd
    case.files("a", "b", numbers=range(2))
    case.ini("noop_runner")
    made = submit(case.path, "slurm", shards=1)
    assert run_scripts(made) == [0, 0]
    line = next(x for x in made.files["run-stage0.sh"].splitlines() if "--output" in x)
    assert shlex.split(line)[1] == f"--output={odd}/run/batch/1/run-stage0-%a.log"


def test_slurm_that_is_not_here_is_told(case, monkeypatch, tmp_path):
    case.files("a", "b", numbers=range(2))
    case.ini("noop_runner")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunRefused, match="Slurm is not here: there is no sbatch on PATH"):
        submit(case.path, "slurm")


def test_an_element_speaks_for_itself_and_not_for_its_array(monkeypatch, tmp_path):
    for name in ("scontrol", "squeue"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said-{name}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    element = {"SLURM_JOB_ID": "21", "SLURM_ARRAY_JOB_ID": "21", "SLURM_ARRAY_TASK_ID": "2"}
    for environment, number in ((element, "21_2"), ({"SLURM_JOB_ID": "22"}, "22")):
        assert slurm.requeue(environment)
        slurm.time_left(environment)
        assert (tmp_path / "said-scontrol").read_text() == f"requeue {number}\n"
        assert (tmp_path / "said-squeue").read_text() == f"-h -j {number} -o %L\n"
    assert not slurm.requeue({})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-02:03:04", 93784), ("2:03:04", 7384), ("59:59", 3599), ("0:07", 7), ("UNLIMITED", None)],
)
def test_times_of_slurm_are_read(monkeypatch, tmp_path, text, seconds):
    command = Path(tmp_path / "squeue")
    command.write_text(f"#!/bin/sh\necho {text}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert slurm.time_left({"SLURM_JOB_ID": "7"}) == seconds
    assert slurm.time_left({}) is None
