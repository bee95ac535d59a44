"""Faults that are planted in a chain on purpose, so that a campaign can be rehearsed.

The section [REHEARSAL] of an INI file says which unit of which step fails, and how. Whatever the
runner is, the fault strikes in the process that does the job, as it would in earnest. Faults at the
steps of a run's own writing are in `points`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from shapepipe.errors import BadInput

ONCE = "once"


class Planted(NamedTuple):
    """One fault as [REHEARSAL] FAULTS asks for it.

    `number` is empty for a step of a single job, and `5%` for that share of all units, which are
    the same ones each time. A fault that is planted once spares units that were tried before.
    """

    step: str
    number: str
    what: str
    once: bool
    seconds: float = 0.0
    memory: float = 0.0

    def strikes(self, labels: tuple[str, ...], number: str) -> bool:
        """Whether it is meant for a unit of a step that goes by these names."""
        if self.step not in labels:
            return False
        if not self.number.endswith("%"):
            return self.number == number.lstrip("-_")
        return zlib.crc32(f"{self.what}{number}".encode()) % 10000 < 100 * float(self.number[:-1])


def parse_planted(text: str) -> Planted:
    """Read `STEP NUMBER FAULT`, with `once` at the end for a fault that goes away by itself.

    Raises
    ------
    ValueError
        When it is something else.
    """
    words = re.sub(r"\s+%", "%", text).split()
    once = bool(words) and words[-1].lower() == ONCE
    step, *number, what = (words[:-1] if once else words) if len(words) > 1 + once else ("", "")
    share = "".join(number)
    wrong = share.endswith("%") and not share[:-1].replace(".", "", 1).isdigit()
    if len(number) > 1 or wrong or what.lower() not in FAULTS:
        raise ValueError(
            f"{text!r} is not of the form STEP NUMBER FAULT or STEP NUMBER FAULT once "
            f"(faults: {', '.join(FAULTS)})"
        )
    return Planted(step.lower(), share.lstrip("-_"), what.lower(), once)


def planted_in(rehearsal: Any, labels: tuple[str, ...], numbers: list[str]) -> dict[str, Planted]:
    """Faults of one step by number of the unit.

    Parameters
    ----------
    rehearsal : RehearsalSection
        What the INI file says.
    labels : tuple of str
        Names of the step.
    numbers : list of str
        Numbers of its units.
    """
    found: dict[str, Planted] = {}
    for text in rehearsal.faults:
        planted = parse_planted(text)._replace(seconds=rehearsal.slow, memory=rehearsal.leak)
        if planted.step in labels:
            found |= {n: planted for n in numbers if planted.strikes(labels, n)}
    return found


def strike(planted: Planted, work: Callable, job: Any, opts: Any) -> Any:
    """Do a job with its fault; what comes back is what the job returns, if it comes back."""
    job.log.info("rehearsal: %s", planted.what)
    return FAULTS[planted.what](planted, work, job, opts)


def _raise(planted, work, job, opts):
    raise RuntimeError(f"rehearsed fault of the code in {job.number}")


def _bad_data(planted, work, job, opts):
    raise BadInput(_first_input(job), "rehearsed fault of the data")


def _exit(planted, work, job, opts):
    os._exit(3)


def _be_killed(planted, work, job, opts):
    os.kill(os.getpid(), signal.SIGKILL)


def _crash(planted, work, job, opts):
    ctypes.string_at(0)


def _hang(planted, work, job, opts):
    while True:
        time.sleep(60)


def _be_deaf(planted, work, job, opts):
    """Hang, with a program, and ignore requests to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.run(["sleep", "100000"], check=False)  # which inherits that
    _hang(planted, work, job, opts)


def _leak(planted, work, job, opts):
    """Take more and more memory, up to a limit that keeps a rehearsal from being an accident."""
    taken = []
    while 10.0 * len(taken) < planted.memory:
        taken.append(bytearray(b"x" * 10_000_000))
        time.sleep(0.01)
    return work(job, opts)


def _write_half(planted, work, job, opts):
    _cut_in_half(work, job, opts)
    _be_killed(planted, work, job, opts)


def _make_nothing(planted, work, job, opts):
    work(job, opts)
    for path in _written(job):
        path.unlink()


def _fill_disk(planted, work, job, opts):
    _cut_in_half(work, job, opts)
    path = (*_written(job), job.scratch)[0]
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _fail_to_read(planted, work, job, opts):
    raise OSError(errno.EIO, os.strerror(errno.EIO), _first_input(job))


def _be_slow(planted, work, job, opts):
    time.sleep(planted.seconds)
    return work(job, opts)


def _cut_in_half(work, job, opts):
    work(job, opts)
    for path in _written(job):
        os.truncate(path, path.stat().st_size // 2)


def _written(job) -> list[Path]:
    """Products in the private directory."""
    return [path for path in sorted(job.scratch.rglob("*")) if path.is_file()
            and path.name != "job.log"]  # fmt: skip


def _first_input(job) -> str:
    return next((str(path) for path in job.inputs.values() if isinstance(path, Path)), "input")


FAULTS: Mapping[str, Callable] = MappingProxyType(
    {
        "raise": _raise,
        "baddata": _bad_data,
        "exit": _exit,
        "sigkill": _be_killed,
        "sigsegv": _crash,
        "hang": _hang,
        "deaf": _be_deaf,
        "leak": _leak,
        "half": _write_half,
        "missing": _make_nothing,
        "enospc": _fill_disk,
        "eio": _fail_to_read,
        "slow": _be_slow,
    }
)
"""What can be planted."""
