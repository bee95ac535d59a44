"""The pool of an MPI world: rank 0 plans, records and does the serial jobs; the others pull tasks.

Every rank runs the same command line. A rank does its jobs in a supervised process of its own, so
a job that crashes or hangs does not take the rank, and with it the whole world, along.
"""

from __future__ import annotations

import time

from mpi4py import MPI

from shapepipe.pipeline.crew import Assignment, Crew
from shapepipe.pipeline.job import Outcome
from shapepipe.pipeline.points import reach

TASK, OUTCOME = 1, 2
SHORT, LONG = 0.0002, 0.01
"""Seconds between two looks for a message: just after one came, and when none comes for a while."""
EACH = 2
"""Assignments that a rank may hold: one under way and one waiting."""


def world_size() -> int:
    """Number of ranks."""
    return MPI.COMM_WORLD.Get_size()


def rank() -> int:
    """Rank of this process."""
    return MPI.COMM_WORLD.Get_rank()


def abort(status: int) -> None:
    """End all ranks, when rank 0 cannot go on."""
    MPI.COMM_WORLD.Abort(status)


class _Rest:
    """Sleeps longer the longer nothing happens, so that waiting costs little."""

    def __init__(self):
        self.pause = SHORT

    def reset(self) -> None:
        self.pause = SHORT

    def sleep(self) -> None:
        time.sleep(self.pause)
        self.pause = min(LONG, 1.5 * self.pause)


class MpiPool:
    """Hands assignments to the other ranks; opened on rank 0.

    Parameters
    ----------
    folder : path
        Directory for what the worker of rank 0 prints.
    """

    def __init__(self, folder):
        self._world = MPI.COMM_WORLD
        self._load = dict.fromkeys(range(1, self._world.Get_size()), 0)
        self._own = Crew(1, folder)
        self.size = len(self._load)

    def room(self) -> int:
        """Number of assignments that can be taken at once."""
        return sum(EACH - load for load in self._load.values())

    def busy(self) -> int:
        """Number of assignments under way."""
        return sum(self._load.values()) + self._own.busy()

    def submit(self, assignment: Assignment) -> None:
        """Give an assignment to the rank that has least to do; a serial one stays here."""
        if assignment.serial:
            self._own.submit(assignment)
            return
        target = min(self._load, key=self._load.get)
        self._load[target] += 1
        self._world.send(tuple(assignment), target, TASK)

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes; empty when the time is over."""
        until = None if timeout is None else time.monotonic() + timeout
        rest, status = _Rest(), MPI.Status()
        while self.busy():
            outcomes = self._own.wait(0) if self._own.busy() else []
            while self._world.iprobe(MPI.ANY_SOURCE, OUTCOME, status):
                source = status.Get_source()
                outcomes.append(Outcome(*self._world.recv(None, source, OUTCOME)))
                self._load[source] -= 1
            if outcomes or (until is not None and time.monotonic() >= until):
                return outcomes
            rest.sleep()
        return []

    def close(self) -> None:
        """Let the other ranks go."""
        dismiss()
        self._own.close()


def dismiss() -> None:
    """Tell the other ranks that there is nothing more to do."""
    for target in range(1, MPI.COMM_WORLD.Get_size()):
        MPI.COMM_WORLD.send(None, target, TASK)


def serve() -> None:
    """Take assignments from rank 0 until it says that there are no more."""
    world, crew, rest = MPI.COMM_WORLD, None, _Rest()
    while True:
        if world.iprobe(0, TASK):
            message = world.recv(None, 0, TASK)
            if message is None:
                break
            reach("rank-has-task")
            assignment = Assignment(*message)
            crew = crew or Crew(1, assignment.scratch)
            crew.submit(assignment)
            rest.reset()
        if crew is None or not crew.busy():
            rest.sleep()
            continue
        for outcome in crew.wait(LONG / 2):
            reach("rank-has-outcome")
            world.send(tuple(outcome), 0, OUTCOME)
            reach("rank-has-answered")
    if crew is not None:
        crew.close()
