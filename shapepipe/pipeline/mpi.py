"""The pool of an MPI world: rank 0 plans, records and does the serial jobs; the others pull tasks.

Every rank runs the same command line. A rank does its jobs in a supervised process of its own, so
a job that crashes or hangs does not take the rank, and with it the whole world, along. A rank that
is not heard any more, as when its node hangs, loses the job that it had and gets no other.
"""

from __future__ import annotations

import sys
import time

from mpi4py import MPI

from shapepipe.pipeline.crew import Assignment, Crew
from shapepipe.pipeline.job import KILLED, LOST, Outcome
from shapepipe.pipeline.points import reach

TASK, OUTCOME, LIFE, FAREWELL = 1, 2, 3, 4
SHORT, LONG = 0.0002, 0.01
"""Seconds between two looks for a message: just after one came, and when none comes for a while."""
EACH = 2
"""Assignments that a rank may hold: one under way and one waiting."""
BEATS = 5
"""How often a rank gives a sign of life within the silence that it is allowed."""
PARTING, LAST = 60.0, 5.0
"""Seconds that ranks get to say farewell; those that were given up get the shorter time."""


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
    silence : float
        Seconds after which a rank that has assignments and gives no sign of life is given up.
    """

    def __init__(self, folder, silence: float):
        self._world = MPI.COMM_WORLD
        self._silence = silence
        ranks = range(1, self._world.Get_size())
        self._held: dict[int, list[Assignment]] = {rank: [] for rank in ranks}
        self._heard = dict.fromkeys(ranks, time.monotonic())
        self._looked = time.monotonic()
        self._own = Crew(1, folder)
        self.size = len(self._held)
        for rank in ranks:
            self._world.send(silence / BEATS, rank, LIFE)

    def room(self) -> int:
        """Number of assignments that can be taken at once."""
        if not self._held:
            return self._own.room()
        return sum(EACH - len(held) for held in self._held.values())

    def busy(self) -> int:
        """Number of assignments under way."""
        return sum(map(len, self._held.values())) + self._own.busy()

    def submit(self, assignment: Assignment) -> None:
        """Give an assignment to the rank that has least to do; a serial one stays here."""
        if assignment.serial or not self._held:
            self._own.submit(assignment)
            return
        target = min(self._held, key=lambda rank: len(self._held[rank]))
        if not self._held[target]:
            self._heard[target] = time.monotonic()
        self._held[target].append(assignment)
        self._world.send(tuple(assignment), target, TASK)

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes; empty when the time is over."""
        until = None if timeout is None else time.monotonic() + timeout
        rest = _Rest()
        while self.busy():
            outcomes = self._own.wait(0) if self._own.busy() else []
            outcomes += self._receive()
            outcomes += self._give_up_silent()
            if outcomes or (until is not None and time.monotonic() >= until):
                return outcomes
            rest.sleep()
        return []

    def _receive(self) -> list[Outcome]:
        """Take in what the ranks have sent: outcomes and signs of life."""
        outcomes, status = [], MPI.Status()
        while self._world.iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status):
            source, tag = status.Get_source(), status.Get_tag()
            message = self._world.recv(None, source, tag)
            if source not in self._held:  # given up; others do what it had
                continue
            self._heard[source] = time.monotonic()
            if tag == OUTCOME:
                outcomes.append(Outcome(*message))
                self._held[source].pop(0)
        return outcomes

    def _give_up_silent(self) -> list[Outcome]:
        """Lose what silent ranks have under way; what waited there goes to others."""
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        if away > 1.0:  # nobody was listening here
            self._heard = {rank: heard + away for rank, heard in self._heard.items()}
        silent = [
            k for k, held in self._held.items() if held and now - self._heard[k] > self._silence
        ]
        outcomes = []
        for rank in silent:
            (task, *_), *waiting = self._held.pop(rank)
            text = f"rank {rank} has not been heard for {self._silence:g} s and gets no more jobs"
            lost = Outcome(task.step, task.row, LOST, self._silence, 0.0, 0, time.time())
            outcomes.append(lost._replace(error=text, cause=KILLED))
            for assignment in waiting:
                self.submit(assignment)
        return outcomes

    def close(self) -> None:
        """Let the other ranks go, and give those that live the time to close their workers."""
        dismiss()
        self._own.close()
        rest, until = _Rest(), time.monotonic() + PARTING
        while not all(self._world.iprobe(rank, FAREWELL) for rank in self._held):
            if time.monotonic() > until:
                break
            rest.sleep()


def dismiss() -> None:
    """Tell the other ranks that there is nothing more to do."""
    for target in range(1, MPI.COMM_WORLD.Get_size()):
        MPI.COMM_WORLD.send(None, target, TASK)


def part(status: int) -> None:
    """Wait on rank 0 until all others have said farewell; end the world if one does not."""
    world, rest = MPI.COMM_WORLD, _Rest()
    missing, until = set(range(1, world.Get_size())), time.monotonic() + LAST
    found = MPI.Status()
    while missing and time.monotonic() < until:
        while world.iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, found):
            world.recv(None, found.Get_source(), found.Get_tag())
            if found.Get_tag() == FAREWELL:
                missing.discard(found.Get_source())
        rest.sleep()
    if missing:
        sys.stdout.flush()
        sys.stderr.flush()
        abort(status)


def serve() -> None:
    """Take assignments from rank 0 until it says that there are no more."""
    world, crew, rest = MPI.COMM_WORLD, None, _Rest()
    pause, beat = float("inf"), time.monotonic()
    while True:
        if world.iprobe(0, LIFE):
            pause = world.recv(None, 0, LIFE)
        if world.iprobe(0, TASK):
            message = world.recv(None, 0, TASK)
            if message is None:
                break
            reach("rank-has-task")
            assignment = Assignment(*message)
            crew = crew or Crew(1, assignment.scratch)
            crew.submit(assignment)
            rest.reset()
        if time.monotonic() - beat > pause:
            world.send(None, 0, LIFE)
            beat = time.monotonic()
        if crew is None or not crew.busy():
            rest.sleep()
            continue
        for outcome in crew.wait(LONG / 2):
            reach("rank-has-outcome")
            world.send(tuple(outcome), 0, OUTCOME)
            reach("rank-has-answered")
    if crew is not None:
        crew.close()
    world.send(None, 0, FAREWELL)
