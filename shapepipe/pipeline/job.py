"""A job: what a runner is given, and the outcome that comes back.

`run_job` is called in a worker process for every unit under every pool. It never raises. Products
are written in a private directory and renamed into the step's output directory only on success.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import resource
import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shapepipe.errors import BadInput, NoUsableData, PartlyDone, ShapePipeError
from shapepipe.pipeline.logs import close_logger, job_logger
from shapepipe.pipeline.points import reach
from shapepipe.pipeline.program import ProgramResult, call_program
from shapepipe.pipeline.rehearsal import Planted, strike
from shapepipe.pipeline.runner import Runner

OK, EMPTY, FAILED, TIMEOUT, LOST = "ok", "empty", "failed", "timeout", "lost"
OUTCOMES = (OK, EMPTY, FAILED, TIMEOUT, LOST)


class Task(NamedTuple):
    """One job as it travels to a worker.

    `inputs` holds one path per input role that is not gathered, in the order of declaration.
    `attempt` names the private directory: one of the worker's own, seen to be empty before it is
    used again, since making a directory for each of many short jobs costs more than the jobs.
    `tried` is how often the unit was tried before.
    """

    step: int
    row: int
    number: str
    inputs: tuple[str, ...]
    attempt: str
    share: tuple[int, int] | None = None
    tried: int = 0


@dataclass
class StepContext:
    """What all jobs of a step have in common; sent to each worker once.

    Attributes
    ----------
    runner : Runner
        Looked up again by name in the worker.
    opts : Options
        Resolved options.
    roles : tuple of str
        Roles of the inputs that come with each task.
    gathered : dict
        Role -> {number: path} for inputs that are handed over whole.
    merging : bool
        The jobs join the products of the shares of a runner of scope `rows`.
    output, scratch : str
        The step's output directory, and where attempts make their private directories.
    programs : dict
        Name of a program -> its full path.
    planted : dict
        Number -> the fault that is rehearsed in that unit.
    """

    runner: Runner
    opts: Any
    roles: tuple[str, ...]
    output: str
    scratch: str
    logs: str
    gathered: dict[str, dict[str, str]] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    merging: bool = False
    planted: dict[str, Planted] = field(default_factory=dict)

    @cached_property
    def expected(self) -> list[tuple[str, list[str], list[str], str, bool]]:
        """Declared products: (role, patterns, suffixes, extension, optional)."""
        return [
            (out.role, out.patterns(self.opts), out.suffixes(self.opts), out.extension(self.opts),
             out.optional)
            for out in self.runner.active_outputs(self.opts)
            if not out.many
        ]  # fmt: skip

    @cached_property
    def many(self) -> set[str]:
        """Roles whose file names only the job knows."""
        return {out.role for out in self.runner.active_outputs(self.opts) if out.many}


class Outcome(NamedTuple):
    """What became of a task, as it travels back."""

    step: int
    row: int
    status: str
    wall: float
    cpu: float
    memory: int
    started: float
    products: tuple[str, ...] = ()
    metrics: dict | None = None
    error: str = ""
    log: str = ""
    identities: tuple[str, ...] = ()
    read: int = 0
    written: int = 0
    cause: str = ""


@dataclass(frozen=True)
class Rows:
    """The share of a catalogue's rows that a job of scope `rows` takes."""

    index: int
    count: int

    def of(self, n_rows: int) -> slice:
        """Slice of this share in a table of `n_rows` rows."""
        return slice(self.index * n_rows // self.count, (self.index + 1) * n_rows // self.count)


class Job:
    """What a runner is given: its inputs, the paths of its products, a log, a random generator."""

    def __init__(self, context: StepContext, task: Task):
        self._context, self._task = context, task
        self.number = task.number.rpartition("_")[0] if task.share else task.number
        self.rows = Rows(*task.share) if task.share else Rows(0, 1)
        self.inputs: dict[str, Any] = {
            role: Path(path) for role, path in zip(context.roles, task.inputs, strict=True) if path
        }
        for role, paths in context.gathered.items():
            self.inputs[role] = {number: Path(path) for number, path in paths.items()}
        self.promised: list[Path] = []
        self.program_memory = 0

    @cached_property
    def scratch(self) -> Path:
        """Private directory for temporary files, made when it is first asked for."""
        path = Path(self._context.scratch, self._task.attempt)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def output(self, role: str, *, suffix: str = "", pattern: str = "", name: str = "") -> Path:
        """Path, in the private directory, at which to write a product.

        Parameters
        ----------
        role : str
            Declared role.
        suffix : str
            For products that are expanded: what is added to the number.
        pattern : str
            For roles with several patterns: which of them.
        name : str
            For roles declared with `many`: the whole file name.
        """
        if role in self._context.many:
            path = self.scratch / name
            self.promised.append(path)
        else:
            patterns, suffixes, ext = self._declared(role)
            pattern = pattern or patterns[0]
            if pattern not in patterns or suffix not in suffixes:
                raise KeyError(
                    f"{role!r} has no {pattern + suffix!r} (allowed: {patterns} x {suffixes})"
                )
            path = self.scratch / f"{pattern}{self._task.number}{suffix}{ext}"
        if path.parent != self.scratch:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _declared(self, role):
        for name, patterns, suffixes, ext, _ in self._context.expected:
            if name == role:
                return patterns, suffixes, ext
        names = sorted({item[0] for item in self._context.expected} | self._context.many)
        raise KeyError(
            f"{self._context.runner.name} declares no output {role!r} (allowed: {names})"
        )

    @cached_property
    def log(self) -> logging.Logger:
        """Log of this job: part of the step's log, or a file of its own when the job fails."""
        return job_logger(self.scratch / LOG_FILE)

    @cached_property
    def rng(self) -> np.random.Generator:
        """Random generator that depends on runner and number alone."""
        words = f"{self._context.runner.name}{self.number}".encode()
        seed = int.from_bytes(hashlib.sha256(words).digest()[:8], "big")
        return np.random.default_rng(seed)

    def call(self, program: str, arguments: Sequence, **how) -> ProgramResult:
        """Run a declared program with a list of arguments; see `program.call_program`."""
        path = self._context.programs.get(program)
        if path is None:
            declared = sorted(self._context.programs)
            raise KeyError(f"program {program!r} is not declared (declared: {declared})")
        words = [path, *arguments]
        self.log.info("%s", " ".join(str(word) for word in words))
        result = call_program(words, cwd=how.pop("cwd", self.scratch), **how)
        self.program_memory = max(self.program_memory, result.peak_memory)
        if result.output:
            self.log.info("%s", result.output)
        return result

    def write_json(self, role: str, value, **where) -> Path:
        """Write a product as JSON."""
        path = self.output(role, **where)
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return path


LOG_FILE = "job.log"
LOG_KEPT = 65536
"""Bytes of a successful job's log that go to the log of its step."""


def run_job(context: StepContext, task: Task) -> Outcome:
    """Do one job; whatever happens, an outcome comes back."""
    started, wall, cpu = time.time(), time.perf_counter(), _cpu_seconds()
    read, written = _bytes_moved()
    scratch = os.path.join(context.scratch, task.attempt)
    job, status, error, cause, metrics = None, FAILED, "", "", None
    products: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    try:
        identities = tuple(identity(path) for path in task.inputs)
        job = Job(context, task)
        work = merge_shares if context.merging else context.runner.function
        planted = context.planted.get(task.number)
        if planted is None or (planted.once and task.tried):
            metrics = _plain_metrics(work(job, context.opts))
        else:
            metrics = _plain_metrics(strike(planted, work, job, context.opts))
        products = _commit(job, context, task)
        status = OK
    except NoUsableData as none:
        status, error = EMPTY, str(none)
    except (Exception, SystemExit) as raised:
        if isinstance(raised, OSError) and raised.strerror and not raised.filename:
            raised.filename = scratch
        error, cause = _trouble(raised, context.scratch)
        if isinstance(raised, PartlyDone) and job is not None:
            products = _commit_part(job, context, task)
        if job is not None:
            job.log.error("%s", traceback.format_exc())
    log = _collect_log(job, scratch, context, task, status)
    reach("job-log-kept")
    if job is not None and "scratch" in job.__dict__:
        _empty(scratch)
    wall = time.perf_counter() - wall
    memory = max(_peak_memory(wall), job.program_memory if job else 0)
    read_now, written_now = _bytes_moved()
    return Outcome(
        task.step, task.row, status, wall, _cpu_seconds() - cpu, memory, started,
        products, metrics, error, log, identities, read_now - read, written_now - written,
        cause,
    )  # fmt: skip


def _empty(scratch: str) -> None:
    """Leave the private directory empty, or not at all."""
    try:
        if os.listdir(scratch):
            shutil.rmtree(scratch)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)


def share_name(number: str, index: int, count: int) -> str:
    """Number of the unit that does one share of the rows of another."""
    return f"{number}_{index + 1}of{count}"


def merge_shares(job: Job, opts) -> None:
    """Join the products of the shares of one catalogue, in the order of its rows."""
    merge = job._context.runner.merge
    assert merge is not None  # `runner` refuses scope `rows` without it
    for role, patterns, _, _, _ in job._context.expected:
        for pattern in patterns:
            parts = [
                path for name, path in job.inputs.items() if name.startswith(f"{role}/{pattern}/")
            ]
            merge(parts, job.output(role, pattern=pattern))


KILLED, MEMORY, LATE, IO, DATA, CODE = "killed", "memory", "timeout", "io", "data", "code"
CURABLE = (KILLED, MEMORY, LATE, IO)
"""Causes that another try may not meet again; bad data and faults of the code stay."""
IO_ERRORS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "EREMOTEIO")
    if hasattr(errno, name)
}


def cause_of(error: BaseException) -> str:
    """Tell what kind of trouble an exception stands for."""
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno in IO_ERRORS:
        return IO
    return DATA if isinstance(error, BadInput) else CODE


def describe_error(error: BaseException) -> str:
    """One line that says what went wrong."""
    text = str(error).strip() or "(no message)"
    if isinstance(error, ShapePipeError):
        return text
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.strerror}: {error.filename}"
    return f"{type(error).__name__}: {text}"


def _trouble(error: BaseException, folder: str) -> tuple[str, str]:
    """One line that says what went wrong, and its cause.

    That a disk is full is seen on the disk: libraries say so in words of their own, and programs
    often do not say it at all.
    """
    text, cause = describe_error(error), cause_of(error)
    if cause == CODE and _is_full(folder):
        return f"{os.strerror(errno.ENOSPC)}: {folder} ({text})", IO
    return text, cause


FULL = 2**18
"""Bytes; a disk with less room is full. What was cut short may have been removed already."""


def _is_full(folder: str) -> bool:
    """Whether a disk has no room, be it for bytes or for files."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    no_bytes = disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < FULL
    return no_bytes or (disk.f_files > 0 and disk.f_favail == 0)


def identity(path: str) -> str:
    """Size and modification time of a file, which stand for its content; '-' for no file."""
    if not path:
        return "-"
    found = os.stat(path)
    return f"{found.st_size}:{found.st_mtime_ns}"


def _plain_metrics(metrics) -> dict | None:
    if metrics is None:
        return None
    if not isinstance(metrics, dict):
        raise TypeError(f"a runner returns a dict of metrics or None, not {type(metrics).__name__}")
    return {
        str(key): value.item() if hasattr(value, "item") else value
        for key, value in metrics.items()
    }


def _commit_part(job: Job, context: StepContext, task: Task) -> tuple[str, ...]:
    """Keep those products of a failed job that its runner calls whole."""
    try:
        return _commit(job, context, task, partly=True)
    except OSError as error:
        job.log.error("the products could not be kept: %s", error)
        return ()


def _commit(job: Job, context: StepContext, task: Task, partly: bool = False) -> tuple[str, ...]:
    """Rename the products into the output directory; all must be there before the first moves."""
    ready, missing, scratch = [], [], os.path.join(context.scratch, task.attempt)
    for role, patterns, suffixes, ext, optional in context.expected:
        for pattern in patterns:
            for suffix in suffixes:
                name = f"{pattern}{task.number}{suffix}{ext}"
                if os.path.exists(f"{scratch}/{name}"):
                    ready.append(name)
                elif not optional and not partly:
                    missing.append(f"{name} ({role})")
    ready += [str(path.relative_to(scratch)) for path in job.promised if path.exists()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise FileNotFoundError(f"product not written: {', '.join(missing[:3])}{more}")
    reach("products-ready")
    for name in ready:
        target = f"{context.output}/{name}"
        try:
            os.rename(f"{scratch}/{name}", target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(f"{scratch}/{name}", target)
        reach("product-renamed")
    return tuple(ready)


def _collect_log(job, scratch, context, task, status) -> str:
    """Hand back the log of a job that went well; keep that of a failed one as a file."""
    path = os.path.join(scratch, LOG_FILE)
    if job is None or "log" not in job.__dict__:
        return ""
    close_logger(job.log)
    try:
        if status == FAILED:
            os.makedirs(context.logs, exist_ok=True)
            os.replace(path, os.path.join(context.logs, failed_log_name(task)))
            return ""
        with open(path, "rb") as stream:
            return stream.read(LOG_KEPT).decode(errors="replace")
    except OSError:
        return ""


def failed_log_name(task: Task) -> str:
    """Name of the log file of a job that failed."""
    return f"process{task.number or '_serial'}.log"


def _cpu_seconds() -> float:
    own, children = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _bytes_moved() -> tuple[int, int]:
    """Bytes that this process and its ended programs have read and written so far (Linux).

    Counted where they pass through the kernel, be it to a disk, to its cache or to a pipe; files
    that are mapped into memory are not seen.
    """
    try:
        descriptor = os.open("/proc/self/io", os.O_RDONLY)
    except OSError:
        return 0, 0
    try:
        fields = os.read(descriptor, 256).split()
    finally:
        os.close(descriptor)
    return int(fields[1]), int(fields[3])


LONG_JOB = 0.02
"""Seconds; only after a longer job is the peak of memory set back, which costs some 50 us."""


def _peak_memory(wall: float) -> int:
    """Peak memory of this process, in bytes; after a long job it is counted anew (Linux)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if wall > LONG_JOB:
        try:
            descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
        except OSError:
            return peak
        try:
            os.write(descriptor, b"5")
        finally:
            os.close(descriptor)
    return peak
