"""Supervised worker processes: each does one job at a time and is kept between jobs.

A worker that dies costs the job that it was doing and no other; one that takes too long is ended
with everything it started. This is the part that every pool has in common: the pool of one machine
is a crew, and each rank or cluster worker has a crew of one.
"""

from __future__ import annotations

import os
import pickle
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import psutil

from shapepipe.pipeline.job import (
    KILLED,
    LATE,
    LOG_FILE,
    LOST,
    MEMORY,
    TIMEOUT,
    Outcome,
    Task,
    failed_log_name,
)
from shapepipe.pipeline.points import reach

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
SHORT_JOB = 0.02
"""Seconds; workers whose jobs are shorter are handed several at a time."""
AHEAD = 6
"""Short jobs that a worker may have waiting."""
LOADING = 600.0
"""Seconds that a worker may take to start and to import a runner."""
LOOK_AT_MEMORY = 0.25
"""Seconds between two looks at the memory of jobs that have a limit."""
LAST_BREATH = 2.0
"""Seconds that a worker which closed its pipe gets to end by itself, so that the cause is known."""


class Assignment(NamedTuple):
    """A task with what a worker needs to do it.

    `context` is the file that holds the step's context; `scratch` and `logs` are its directories,
    for clearing up after a worker that died. `serial` asks for a worker beside the run loop;
    `memory` is the limit in MB.
    """

    task: Task
    context: str
    scratch: str
    logs: str
    timeout: float | None
    serial: bool = False
    memory: float | None = None


@dataclass
class _Slot:
    process: subprocess.Popen
    connection: Connection
    lifeline: int
    printed: Path
    waiting: deque[Assignment] = field(default_factory=deque)
    since: float = 0.0
    usual: float = 1.0
    loaded: set[str] = field(default_factory=set)
    excess: str = ""

    def memory(self) -> float | None:
        """Most memory, in MB, of what is under way."""
        return self.waiting[0].memory if self.waiting else None

    def limit(self) -> float | None:
        """Longest time of what is under way: loading a runner is not the job's own time."""
        if not self.waiting or not self.waiting[0].timeout:
            return None
        return self.waiting[0].timeout + (0 if self.waiting[0].context in self.loaded else LOADING)


class Crew:
    """Worker processes on this machine.

    Parameters
    ----------
    size : int
        Number of workers, which are started when first needed.
    folder : path
        Existing directory for what workers print.
    """

    def __init__(self, size: int, folder: str | Path):
        self.size, self._folder = size, Path(folder)
        self._slots: list[_Slot] = []
        self._selector = selectors.DefaultSelector()

    def room(self) -> int:
        """Number of assignments that can be taken at once."""
        free = self.size - len(self._slots)
        return free + sum(max(0, self._depth(slot) - len(slot.waiting)) for slot in self._slots)

    def _depth(self, slot: _Slot) -> int:
        return 1 + AHEAD if slot.usual < SHORT_JOB else 1

    def busy(self) -> int:
        """Number of assignments under way or waiting in a worker."""
        return sum(len(slot.waiting) for slot in self._slots)

    def submit(self, assignment: Assignment) -> None:
        """Hand an assignment to the worker that has least to do."""
        idle = [slot for slot in self._slots if not slot.waiting]
        if not idle and len(self._slots) < self.size:
            idle = [self._start()]
        slot = idle[0] if idle else min(self._slots, key=lambda slot: len(slot.waiting))
        self._give(slot, assignment)

    def _give(self, slot: _Slot, assignment: Assignment) -> None:
        if not slot.waiting:
            slot.since = time.monotonic()
        attempt = f"{os.uname().nodename}-{slot.process.pid}"
        assignment = assignment._replace(task=assignment.task._replace(attempt=attempt))
        slot.waiting.append(assignment)
        try:
            slot.connection.send_bytes(pickle.dumps((assignment.context, tuple(assignment.task))))
        except OSError:  # the worker is dead
            if len(slot.waiting) == 1:  # it died idle, which is not the fault of this job
                slot.waiting.clear()
                self._bury(slot, LOST)
                self._give(self._start(), assignment)

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes.

        Parameters
        ----------
        timeout : float, optional
            Longest time to wait, in seconds.

        Returns
        -------
        list of Outcome
            Empty when the time is over.
        """
        if not self.busy():
            return []
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            outcomes = []
            for key, _ in self._selector.select(self._pause(until)):
                outcomes += self._receive(key.data)
            outcomes += self._late() + self._too_large()
            if outcomes or (until is not None and time.monotonic() >= until):
                return outcomes

    def _pause(self, until: float | None) -> float | None:
        limits = [(slot.since, slot.limit()) for slot in self._slots]
        moments = [since + limit for since, limit in limits if limit]
        if any(slot.memory() for slot in self._slots):
            moments.append(time.monotonic() + LOOK_AT_MEMORY)
        if until is not None:
            moments.append(until)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _receive(self, slot: _Slot) -> list[Outcome]:
        outcomes = []
        try:
            while True:
                data, now = slot.connection.recv_bytes(), time.monotonic()
                if data:
                    outcomes.append(Outcome(*pickle.loads(data)))
                    slot.usual = 0.5 * (slot.usual + now - slot.since)
                    slot.waiting.popleft()
                else:
                    slot.loaded.add(slot.waiting[0].context)
                slot.since = now
                if not slot.connection.poll(0):
                    return outcomes
        except (EOFError, OSError):
            return outcomes + self._bury(slot, LOST)

    def _late(self) -> list[Outcome]:
        """End workers whose job has taken too long; what they sent has been received before."""
        now, outcomes = time.monotonic(), []
        for slot in list(self._slots):
            limit = slot.limit()
            if limit and now - slot.since >= limit:
                outcomes += self._bury(slot, TIMEOUT)
        return outcomes

    def _too_large(self) -> list[Outcome]:
        """End workers whose job, with its programs, has more memory than it may."""
        outcomes = []
        for slot in list(self._slots):
            limit = slot.memory()
            used = _resident(slot.process.pid) / 1e6 if limit else 0.0
            if limit and used > limit:
                slot.excess = f"needed {used:.0f} MB, more than MEMORY ({limit:g} MB)"
                outcomes += self._bury(slot, LOST)
        return outcomes

    def _bury(self, slot: _Slot, status: str) -> list[Outcome]:
        """End a worker and all it started; its job is lost, what waited behind finds another."""
        self._selector.unregister(slot.connection)
        self._slots.remove(slot)
        code = self._end(slot, LAST_BREATH if status == LOST and not slot.excess else 0.0)
        if not slot.waiting:
            return []
        guilty, *innocent = slot.waiting
        outcome = self._obituary(guilty, slot, status, code)
        if innocent:
            heir = self._start()
            for assignment in innocent:
                self._give(heir, assignment)
        return [outcome]

    def _end(self, slot: _Slot, patience: float = 0.0) -> int:
        """Kill a worker and all it started, after `patience` seconds; return how it ended."""
        _wait_unreaped(slot.process.pid, patience)
        try:
            os.killpg(slot.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        code = slot.process.wait()
        slot.connection.close()
        os.close(slot.lifeline)
        return code

    def _obituary(self, assignment: Assignment, slot: _Slot, status: str, code: int) -> Outcome:
        task, took = assignment.task, time.monotonic() - slot.since
        cause = LATE if status == TIMEOUT else MEMORY if slot.excess else KILLED
        if slot.excess:
            error = f"{slot.excess}; ended with all its programs"
        elif status == TIMEOUT:
            error = (
                f"took longer than TIMEOUT ({assignment.timeout:g} s); ended with all its programs"
            )
        else:
            error = f"worker process {slot.process.pid} {_cause(code)}"
        self._keep_log(assignment, slot, error)
        shutil.rmtree(os.path.join(assignment.scratch, task.attempt), ignore_errors=True)
        reach("dead-job-cleared")
        started = time.time() - took
        return Outcome(task.step, task.row, status, took, 0.0, 0, started, error=error, cause=cause)

    def _keep_log(self, assignment, slot, error) -> None:
        """Join what the dead job had logged and what its worker printed."""
        texts = []
        for path in (Path(assignment.scratch) / assignment.task.attempt / LOG_FILE, slot.printed):
            try:
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
            except OSError:
                continue
        try:
            os.makedirs(assignment.logs, exist_ok=True)
            target = Path(assignment.logs) / failed_log_name(assignment.task)
            target.write_text("".join(texts) + error + "\n", encoding="utf-8")
            slot.printed.unlink(missing_ok=True)
        except OSError:
            pass  # a full disk must not cost more than the log

    def _start(self) -> _Slot:
        ours, theirs = _socket_pair()
        their_end, our_end = os.pipe()
        # one file for each worker, readable since the worker takes out of it what a job printed
        descriptor, printed = tempfile.mkstemp(
            ".out", f"worker-{os.uname().nodename}-", self._folder
        )
        with open(descriptor, "a+b") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT.format(path=sys.path, pipe=theirs, life=their_end)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=(theirs, their_end),
                start_new_session=True,
                env={**dict.fromkeys(THREAD_VARIABLES, "1"), **os.environ},
            )
        os.close(theirs)
        os.close(their_end)
        slot = _Slot(process, Connection(ours), our_end, Path(printed))
        self._slots.append(slot)
        self._selector.register(slot.connection, selectors.EVENT_READ, slot)
        reach("worker-started")
        return slot

    def close(self) -> None:
        """End all workers; jobs under way are given up."""
        for slot in self._slots:
            self._selector.unregister(slot.connection)
            self._end(slot)
            slot.printed.unlink(missing_ok=True)
        self._slots = []
        self._selector.close()


_BOOT = """\
import sys
sys.path[:] = {path!r}
from shapepipe.pipeline.worker import main
main({pipe}, {life})
"""


def _socket_pair() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def _wait_unreaped(pid: int, patience: float) -> None:
    """Wait for a process to end; its exit code stays, so that its number cannot be used again."""
    until = time.monotonic() + patience
    try:
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() >= until:
                return
            time.sleep(0.001)
    except ChildProcessError:  # somebody else has taken the exit code, as where SIGCHLD is ignored
        return


def _resident(pid: int) -> int:
    """Memory of a process and of all that it started, in bytes."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _cause(code: int) -> str:
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (as when memory runs out)" if -code == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"
