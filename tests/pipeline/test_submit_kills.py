"""Whoever submits dies at a named point; the next submission does the run, and no unit twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from shapepipe.errors import RunRefused
from shapepipe.pipeline.batch import SUBMITTED_FILE, refuse_stray, submissions
from shapepipe.pipeline.points import POINTS, SUBMISSION, VARIABLE

CHAIN = "noop_runner, expand_runner, join_runner"
SBATCH = """\
#!/bin/sh
for word; do script=$word; done
echo "$script" >> "$QUEUE"
wc -l < "$QUEUE"
"""
"""Takes a job, and answers with its number."""
SQUEUE = """\
#!/bin/sh
[ -s "$QUEUE" ] && echo 1 || true
"""


class Queue:
    """A batch system of two scripts that never starts anything by itself."""

    def __init__(self, case, monkeypatch):
        self.case, self.path = case, case.folder / "queue"
        commands = case.folder / "commands"
        commands.mkdir()
        for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
        monkeypatch.setenv("QUEUE", str(self.path))

    def submit(self, *words, fault: str = "") -> subprocess.CompletedProcess:
        """Submit, with a fault."""
        command = [sys.executable, "-m", "shapepipe", "submit", "-c", self.case.path, *words]
        environment = {**os.environ, **({VARIABLE: fault} if fault else {})}
        return subprocess.run(
            [*command, "--on", "slurm", "--shards", "1"],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip

    def work(self) -> list[int]:
        """Run what is in the queue, and empty it; return how the elements ended."""
        scripts = self.path.read_text().split() if self.path.exists() else []
        self.path.unlink(missing_ok=True)
        statuses = []
        for script in scripts:
            with open(script) as stream:
                index = "1" if "--array=1-1" in stream.read() else ""
            environment = {**os.environ, "SLURM_ARRAY_TASK_ID": index}
            done = subprocess.run(["bash", script], env=environment, capture_output=True)
            statuses.append(done.returncode)
        return statuses


@pytest.fixture
def queue(case, monkeypatch):
    """An empty queue."""
    case.files("a", "b", numbers=range(4))
    case.ledger = case.folder / "ledger"
    case.ini(CHAIN, f"[NOOP_RUNNER]\nLEDGER = {case.ledger}")
    return Queue(case, monkeypatch)


def test_a_submission_that_is_killed_is_made_again(case, queue):
    """Each continues what the one before it has left; of the third, elements are in the queue."""
    points = [name for name, (who, _) in POINTS.items() if who == SUBMISSION]
    assert points[2:] == ["submission-queued", "submission-noted"]
    for words, point in zip(((), *[("--resume",)] * 3), points, strict=True):
        assert submissions(case.directory()) == []
        assert queue.submit(*words, fault=point).returncode == -9
    assert [note["name"] for note in submissions(case.directory())] == ["3"]
    assert "is in the queue as" in queue.submit("--resume").stderr
    assert queue.work() == [2, 2, 0, 0]
    assert Counter(case.ledger.read_text().split()) == {f"-{k:06d}": 1 for k in range(4)}
    assert {line["status"] for line in case.records()} == {"ok"}
    assert len(case.products()) == 4 + 4 * 4 + 1


@pytest.fixture
def noted(case):
    """Note submissions of a run."""

    def note(*names: str):
        for name in names:
            folder = case.directory().path / "batch" / name
            folder.mkdir(parents=True)
            text = json.dumps({"system": "slurm", "at": 0.0, "jobs": []})
            (folder / SUBMITTED_FILE).write_text(text)
        return case.directory()

    return note


def test_an_element_works_for_the_last_submission_only(noted):
    directory = noted("2")
    refuse_stray(directory, "2", 0.0)
    with pytest.raises(RunRefused, match="submission 3 was cut short; submit again with --resume"):
        refuse_stray(directory, "3", 0.0)
    noted("10")
    for name in ("2", "3"):
        with pytest.raises(RunRefused, match=f"submission 10 has taken the place of {name}"):
            refuse_stray(directory, name)
