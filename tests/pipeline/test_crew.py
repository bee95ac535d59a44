"""Supervised workers, seen from their owner."""

from __future__ import annotations

import time

import pytest

from shapepipe.pipeline.crew import Assignment, Crew
from shapepipe.pipeline.job import StepContext, Task
from shapepipe.pipeline.options import check_values
from shapepipe.pipeline.rehearsal import parse_planted
from shapepipe.pipeline.runner import find_runner
from shapepipe.pipeline.worker import save_context


@pytest.fixture
def give(tmp_path, mocks):
    """Hand a crew one job of the odd runner; the second value is where its product will be."""
    for name in ("out", "scratch", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.txt").write_text("a")
    runner = find_runner("odd_runner", [str(mocks)])

    def submit(
        crew: Crew, number: str, oddity: str = "", timeout: float | None = None, killed=False
    ):
        opts, wrong = check_values(
            runner.options, {"plant": f"{number}={oddity}" if oddity else ""}
        )
        assert not wrong
        context = StepContext(
            runner, opts, ("a",), *(str(tmp_path / name) for name in ("out", "scratch", "logs"))
        )
        if killed:
            context.planted[f"-{number}"] = parse_planted(f"odd_runner {number} sigkill")
        path = tmp_path / f"{number}.step"
        save_context(path, context, "odd_runner", [str(mocks)])
        task = Task(0, int(number), f"-{number}", (str(tmp_path / "a.txt"),), "")
        crew.submit(
            Assignment(task, str(path), context.scratch, context.logs, timeout)  # not serial
        )
        return tmp_path / "out" / f"d-{number}.txt"

    return submit


@pytest.fixture
def crew(tmp_path):
    """One worker."""
    folder = tmp_path / "crew"
    folder.mkdir()
    one = Crew(1, folder)
    yield one
    one.close()


def outcomes(crew: Crew, n: int) -> dict[int, str]:
    """Statuses of the next `n` outcomes by row."""
    found, until = {}, time.monotonic() + 60
    while len(found) < n and time.monotonic() < until:
        found |= {outcome.row: outcome.status for outcome in crew.wait(1.0)}
    return found


def test_a_job_that_ended_in_time_is_no_timeout_though_its_owner_was_busy(crew, give):
    product = give(crew, "000001", timeout=0.2)
    until = time.monotonic() + 60
    while not product.exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.6)
    assert outcomes(crew, 1) == {1: "ok"}


def test_jobs_that_wait_behind_a_killed_one_are_done_by_another_worker(crew, give):
    give(crew, "000001")
    assert outcomes(crew, 1) == {1: "ok"}
    give(crew, "000002", killed=True)
    for number in ("000003", "000004"):
        give(crew, number)
    assert outcomes(crew, 3) == {2: "lost", 3: "ok", 4: "ok"}


def test_a_worker_that_dies_between_two_jobs_is_replaced(crew, give):
    give(crew, "000001")
    assert outcomes(crew, 1) == {1: "ok"}
    crew._slots[0].process.kill()
    crew._slots[0].process.wait()
    give(crew, "000002")
    give(crew, "000003")
    assert outcomes(crew, 2) == {2: "ok", 3: "ok"}


def test_a_job_that_closes_the_pipe_is_lost_alone(crew, give):
    give(crew, "000001", "closes")
    give(crew, "000002")
    assert outcomes(crew, 2) == {1: "lost", 2: "ok"}
    assert crew.busy() == 0 and crew.room() >= 1
