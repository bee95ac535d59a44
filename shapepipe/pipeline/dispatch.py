"""Pools: what hands assignments to workers. All call `run_job` in a supervised process.

serial and smp use a crew on this machine; the joblib backends and everything else that is a
`concurrent.futures.Executor` go through `ExecutorPool`. The pool of an MPI world is in `mpi`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
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
from shapepipe.pipeline.job import LOST, Outcome, describe_error


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
        self.size, self._make = size, make
        self._folder = tempfile.mkdtemp(dir=folder)  # as long as it is there, the workers work
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
            future = self._send(assignment)
        except BrokenExecutor:
            self._restart()
            future = self._send(assignment)
        self._pending[future] = assignment

    def _send(self, assignment: Assignment) -> Future:
        return self._executor.submit(do_supervised, assignment, self._folder)

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes; empty when the time is over."""
        if not self._pending:
            return []
        done, _ = wait(self._pending, timeout, return_when=FIRST_COMPLETED)
        outcomes, again = [], []
        for future in done:
            assignment = self._pending.pop(future)
            error = future.exception()
            if error is None:
                outcomes.append(future.result())
            elif isinstance(error, BrokenExecutor) and self._restarts < RESTARTS:
                again.append(assignment)
            else:
                task, reason = assignment.task, f"lost by the executor: {describe_error(error)}"
                outcomes.append(Outcome(task.step, task.row, LOST, 0.0, 0.0, 0, 0.0, error=reason))
        if again:
            self._restart()
            for assignment in again:
                self.submit(assignment)
        return outcomes

    def _restart(self) -> None:
        """Start another executor, which gets what is pending; a broken one ended its workers."""
        self._restarts += 1
        pending = list(self._pending.values())
        self._pending.clear()
        self._executor.shutdown(wait=False)
        self._executor = self._make()
        for assignment in pending:
            self.submit(assignment)

    def close(self) -> None:
        """Give up what is under way and end all workers."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for future in self._pending:
            future.cancel()
        self._executor.shutdown(wait=True)


class ThreadsPool(ExecutorPool):
    """A pool of threads of this process, each with a crew of its own.

    Parameters
    ----------
    size : int
        Number of threads.
    folder : path
        Directory for what workers print.
    """

    def __init__(self, size: int, folder: Path):
        super().__init__(lambda: ThreadPoolExecutor(size), size, folder)
        self._own, self._crews = threading.local(), []

    def _send(self, assignment: Assignment) -> Future:
        return self._executor.submit(self._do, assignment)

    def _do(self, assignment: Assignment) -> Outcome:
        if not hasattr(self._own, "crew"):
            self._own.crew = Crew(1, self._folder)
            self._crews.append(self._own.crew)
        return supervise(self._own.crew, assignment, self._folder)

    def close(self) -> None:
        """Give up what is under way and end all workers."""
        super().close()
        for crew in self._crews:
            crew.close()


LOOK = 0.5
"""Seconds between two looks at whether the head is still there."""
_own = threading.local()
"""The crew of an executor's worker process, kept between its jobs."""


def do_supervised(assignment: Assignment, folder: str) -> Outcome:
    """Do one assignment in the supervised process of this worker process of an executor."""
    if not hasattr(_own, "crew"):
        _own.crew = Crew(1, folder)
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    return supervise(_own.crew, assignment, folder)


def supervise(crew: Crew, assignment: Assignment, folder: str) -> Outcome:
    """Wait for the outcome of an assignment; give it up when the head removes the folder."""
    crew.submit(assignment)
    while True:
        outcomes = crew.wait(LOOK)
        if outcomes:
            return outcomes[0]
        if not os.path.isdir(folder):
            task = assignment.task
            return Outcome(task.step, task.row, LOST, 0.0, 0.0, 0, 0.0, error="given up")


def _end_with_parent(parent: int) -> None:
    """End this process when its parent has ended; executors would leave their workers behind."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


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
        return ThreadsPool(size, folder)
    return Crew(size, folder)
