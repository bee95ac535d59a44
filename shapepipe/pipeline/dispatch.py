"""Pools: what hands assignments to workers. All call `run_job` in a supervised process.

serial and smp use a crew on this machine; the joblib backends and everything else that is a
`concurrent.futures.Executor` go through `ExecutorPool`. The pool of an MPI world is in `mpi`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

from joblib.externals.loky import get_reusable_executor

from shapepipe.pipeline.crew import Assignment, Crew
from shapepipe.pipeline.job import LOST, Outcome


class Pool(Protocol):
    """What the run loop needs of a pool."""

    size: int

    def room(self) -> int:
        """Number of assignments that can be taken at once."""

    def busy(self) -> int:
        """Number of assignments under way."""

    def submit(self, assignment: Assignment) -> None:
        """Take an assignment."""

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes; empty when the time is over."""

    def close(self) -> None:
        """Give up what is under way and end all workers."""


RESTARTS = 20
"""How often an executor whose own workers die is started again within one run."""


class ExecutorPool:
    """A pool on top of an executor, each of whose workers supervises a process of its own.

    Parameters
    ----------
    make : callable
        Starts the executor; called again if its workers die.
    size : int
        Number of its workers.
    folder : path
        Directory for what workers print.
    """

    def __init__(self, make: Callable[[], Executor], size: int, folder: Path):
        self.size, self._make, self._folder = size, make, str(folder)
        self._executor = make()
        self._pending: dict[Future, Assignment] = {}
        self._restarts = 0

    def room(self) -> int:
        """Number of assignments that can be taken at once."""
        return max(0, 2 * self.size - len(self._pending))

    def busy(self) -> int:
        """Number of assignments under way."""
        return len(self._pending)

    def submit(self, assignment: Assignment) -> None:
        """Take an assignment."""
        try:
            future = self._executor.submit(do_supervised, assignment, self._folder)
        except BrokenExecutor:
            self._restart()
            future = self._executor.submit(do_supervised, assignment, self._folder)
        self._pending[future] = assignment

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes; empty when the time is over."""
        if not self._pending:
            return []
        done, _ = wait(self._pending, timeout, return_when=FIRST_COMPLETED)
        outcomes, again = [], []
        for future in done:
            assignment = self._pending.pop(future)
            if future.exception() is None:
                outcomes.append(future.result())
            elif self._restarts < RESTARTS:
                again.append(assignment)
            else:
                task, reason = assignment.task, f"the executor's worker died: {future.exception()}"
                outcomes.append(Outcome(task.step, task.row, LOST, 0.0, 0.0, 0, 0.0, error=reason))
        if again:
            again += self._pending.values()
            self._restart()
            for assignment in again:
                self.submit(assignment)
        return outcomes

    def _restart(self) -> None:
        self._restarts += 1
        self._pending.clear()
        self._executor.shutdown(wait=False)
        self._executor = self._make()

    def close(self) -> None:
        """Give up what is under way and end all workers."""
        self._executor.shutdown(wait=False)


_own = threading.local()
"""The crew of one of each executor worker, be it a thread or a process, kept between its jobs."""


def do_supervised(assignment: Assignment, folder: str) -> Outcome:
    """Do one assignment in the supervised process of this executor worker."""
    crew = getattr(_own, "crew", None)
    if crew is None:
        crew = _own.crew = Crew(1, folder)
    crew.submit(assignment)
    while True:
        outcomes = crew.wait()
        if outcomes:
            return outcomes[0]


def make_pool(mode: str, backend: str, size: int, folder: Path) -> Pool:
    """Open the pool of one machine.

    Parameters
    ----------
    mode : {'serial', 'smp'}
        One worker, or `size` of them.
    backend : {'supervised', 'loky', 'multiprocessing', 'threading'}
        What hands out the jobs under smp.
    size : int
        Number of workers.
    folder : Path
        Existing directory for what workers print.
    """
    if mode == "serial":
        return Crew(1, folder)
    if backend == "loky":
        return ExecutorPool(
            lambda: get_reusable_executor(size, timeout=600, kill_workers=True), size, folder
        )
    if backend == "multiprocessing":
        context = get_context("forkserver")
        return ExecutorPool(lambda: ProcessPoolExecutor(size, mp_context=context), size, folder)
    if backend == "threading":
        return ExecutorPool(lambda: ThreadPoolExecutor(size), size, folder)
    return Crew(size, folder)
